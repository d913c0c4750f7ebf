package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	stamped := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	at := debug.BuildSetting{Key: "vcs.revision", Value: "4f1c"}
	for name, c := range map[string]struct {
		version, revision string
		info              *debug.BuildInfo
		want              string
	}{
		"from a clean tree":    {"", "", stamped("v0.1.0", at, debug.BuildSetting{Key: "vcs.modified", Value: "false"}), "v0.1.0, revision 4f1c, "},
		"from a changed tree":  {"", "", stamped("v0.1.0+dirty", at, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "v0.1.0+dirty, revision 4f1c-dirty, "},
		"by go install":        {"", "", stamped("v0.1.0"), "v0.1.0, revision unknown, "},
		"nothing is known":     {"", "", stamped("(devel)"), "of no version, revision unknown, "},
		"the linker was told":  {"v0.2.0", "77aa-dirty", stamped("(devel)", at), "v0.2.0, revision 77aa-dirty, "},
		"only of the revision": {"", "77aa", stamped("(devel)"), "of no version, revision 77aa, "},
	} {
		if got := describe(c.version, c.revision, c.info); !strings.HasPrefix(got, "comeet-connector "+c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	byCommand, byFlag := succeed(t, nil, "version"), succeed(t, nil, "--version")
	if byCommand != buildText()+"\n" || byFlag != byCommand {
		t.Errorf("the command prints %q, the flag %q, want %q", byCommand, byFlag, buildText())
	}
}
