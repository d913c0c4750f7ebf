package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// A build without .git, such as that of an image, gets these from the linker:
//
//	go build -ldflags "-X main.version=v0.1.0 -X main.revision=$(git describe --always --dirty --abbrev=40 --exclude='*')" ./cmd/comeet-connector
var version, revision string

// buildText is one line that tells which source the program was built from.
func buildText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(version, revision, info)
}

// describe prefers what the linker was told to what Go has stamped.
func describe(version, revision string, info *debug.BuildInfo) string {
	if stamped := info.Main.Version; version == "" && stamped != "(devel)" {
		version = stamped
	}
	if revision == "" {
		set := map[string]string{}
		for _, s := range info.Settings {
			set[s.Key] = s.Value
		}
		if revision = set["vcs.revision"]; revision != "" && set["vcs.modified"] == "true" {
			revision += "-dirty"
		}
	}
	return "comeet-connector " + cmp.Or(version, "of no version") + ", revision " + cmp.Or(revision, "unknown") + ", " + runtime.Version()
}
