package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/comeet-connector/comeet-connector/connector/ops"
)

func TestErase(t *testing.T) {
	t.Parallel()
	o := operate(t)
	o.refuse(1, document("e1", "22.0C1"))
	o.refuse(2, document("e2", "22.0C1"))
	check := func(got string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("lacks %s:\n%s", want, got)
			}
		}
		if strings.Contains(got, person) {
			t.Errorf("shows the person:\n%s", got)
		}
	}
	what := []string{
		`\Ac-e1, taken for: candidate\n`, `(?m)^[a-z2-7]{26} +default +/scout +failed$`, `(?m)^CANDIDATES_SOURCED +1 +[a-z2-7]{26} +sourced event$`,
		`(?m)^CANDIDATES_DEADLETTER +1 +[a-z2-7]{26} +dead letter$`, `(?m)^CANDIDATE_EVENTS +1 +[a-z2-7]{26} +outcome$`,
	}
	check(succeed(t, o.vars, "erase", "c-e1", "--dry-run"), append(what, `3 messages and 0 files would be erased\n\z`)...)
	check(succeed(t, o.vars, "erase", "c-e1"), append(what, `3 messages and 0 files erased\n\z`)...)
	code, _, errs := command(t, o.vars, "erase", "c-e1")
	if code != 1 || !strings.Contains(errs, "nothing on the bus is known") {
		t.Errorf("once more: exit code %d, %s", code, errs)
	}
	var e ops.Erasure
	if err := json.Unmarshal([]byte(succeed(t, o.vars, "erase", "2", "--kind", "letter", "--account", "default", "--source", "/scout", "--json")), &e); err != nil || len(e.Messages) != 3 || e.Operations[0].State != "failed" {
		t.Errorf("%+v, %v", e, err)
	}
	op := e.Operations[0].Operation
	check(succeed(t, o.vars, "erase", op), `(?m)^`+op+` +default +erased$`, `0 messages and 0 files erased`)
	check(succeed(t, o.vars, "explain", op), `(?m)^`+op+` +default +erased *$`, `operator +erased`)
	if got := succeed(t, o.vars, "deadletters", "list"); strings.Count(got, "\n") != 1 {
		t.Errorf("left of the letters:\n%s", got)
	}
}
