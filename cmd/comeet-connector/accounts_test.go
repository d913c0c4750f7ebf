package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	o := operate(t)
	o.vars["LOG_LEVEL"] = "warn"
	o.until("the account default is served", func() bool {
		_, err := o.js.Consumer(t.Context(), "CANDIDATES_SOURCED", "comeet-default")
		return err == nil
	})
	if got := succeed(t, o.vars, "accounts", "pause", "default", "--reason", "under review"); got != "account default is paused\n" {
		t.Errorf("pause: %q", got)
	}
	code, out, errs := command(t, o.vars, "accounts", "pause", "defautl", "--reason", "x")
	if code != 0 || out != "account defautl is paused\n" || !strings.Contains(errs, "check the spelling") {
		t.Errorf("pause of a name that nobody serves: exit code %d, %q, %q", code, out, errs)
	}
	if got := succeed(t, o.vars, "accounts", "paused"); !regexp.MustCompile(`(?m)^default +20\S+Z +under review$`).MatchString(got) {
		t.Errorf("paused:\n%s", got)
	}
	for _, want := range []string{"goes on", "was not paused"} {
		if got := succeed(t, o.vars, "accounts", "resume", "default"); got != "account default "+want+"\n" {
			t.Errorf("resume: %q, want %s", got, want)
		}
	}
	for _, name := range []string{"*", "a b", "Acme", ""} {
		for _, args := range [][]string{{"resume", name}, {"pause", name, "--reason", "x"}} {
			if code, _, errs := command(t, o.vars, append([]string{"accounts"}, args...)...); code != 1 || !strings.Contains(errs, "account name") {
				t.Errorf("%q: exit code %d, %q", args, code, errs)
			}
		}
	}
}
