package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// person is in every field that is masked.
const person = "Nóór"

// operated is a sidecar that runs, and what an operator needs to work beside it.
type operated struct {
	*testing.T
	vars map[string]string
	js   jetstream.JetStream
	dir  string
}

func operate(t *testing.T) *operated {
	url, js := startBus(t)
	fake := comeettest.New(comeettest.WithSecret(marker), comeettest.WithAccount(comeettest.Account{Name: "default", APIKey: marker, Positions: []comeettest.Position{
		{UID: "87.405", Name: "Open", Status: "open"}, {UID: "22.0C1", Name: "Closed", Status: "closed"},
	}}))
	t.Cleanup(fake.Close)
	o := &operated{T: t, js: js, dir: t.TempDir(), vars: map[string]string{
		"NATS_URL": url, "COMEET_BASE_URL": fake.URL(), "ADMIN_ADDR": "off", "LOG_LEVEL": "error", apiKey: marker, apiSecret: marker,
	}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"run"}, env(o.vars), io.Discard, io.Discard) }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("the sidecar's exit code: %d", code)
		}
	})
	succeed(t, o.vars, "setup", "--apply")
	return o
}

// refuse publishes events that must be refused and waits until there are their letters.
func (o *operated) refuse(letters int, documents ...string) {
	o.Helper()
	for _, d := range documents {
		if _, err := o.js.PublishMsg(o.Context(), &nats.Msg{Subject: "candidate.sourced", Header: nats.Header{"Content-Type": {events.ContentType}}, Data: []byte(d)}); err != nil {
			o.Fatal(err)
		}
	}
	o.until("the refusals", func() bool {
		return strings.Count(succeed(o.T, o.vars, "deadletters", "list", "--json"), `"reason":`) == letters
	})
}

func (o *operated) until(what string, holds func() bool) {
	o.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(bustest.Stretch(20 * time.Second)); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			o.Fatalf("waited in vain for %s", what)
		}
	}
}

func document(id, position string) string {
	return `{"specversion":"1.0","type":"candidate.sourced","source":"/scout","id":"` + id + `","data":{"candidate":{"id":"c-` + id + `","first_name":"` + person +
		`","last_name":"` + person + `"},"position":{"uid":"` + position + `"}}}`
}

func TestDeadletters(t *testing.T) {
	t.Parallel()
	o := operate(t)
	misspelled := strings.Replace(document("e1", "87.405"), "last_name", "lastname", 1)
	o.refuse(3, misspelled, document("e2", "22.0C1"), document("e3", "22.0C1"))
	o.until("the positions", func() bool {
		return strings.Contains(succeed(t, o.vars, "deadletters", "replay", "--all", "--dry-run"), "still position_closed")
	})
	var listed []ops.DeadLetter
	dec := json.NewDecoder(strings.NewReader(succeed(t, o.vars, "deadletters", "list", "--json")))
	seqs := map[string]string{}
	for dec.More() {
		var l ops.DeadLetter
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		listed = append(listed, l)
		seqs[l.Sourced.ID] = strconv.FormatUint(l.Seq, 10)
	}

	for _, tt := range []struct {
		args []string
		want []string // regular expressions
	}{
		{[]string{"list"}, []string{`SEQ +REFUSED +ACCOUNT +REASON`, `\d+ +20\S+Z +default +invalid_event +c-e1 +e1 +the event does not`}},
		{[]string{"list", "--candidate", "c-e3", "--since", "1h"}, []string{`(?s)\A[^\n]+\n\d+ [^\n]+ e3 [^\n]+\n\z`}},
		{[]string{"list", "--since", "2020-01-01T00:00:00Z", "--account", "other"}, []string{`\ASEQ[^\n]+\n\z`}},
		{[]string{"reasons"}, []string{`2 +default +position_closed`, `1 +default +invalid_event`}},
		{[]string{"reasons", "--json", "--reason", "position_closed"}, []string{`"count":2`}},
		{[]string{"show", seqs["e1"]}, []string{`reason +invalid_event`, `violation +/data/candidate/last_name is required`, `event +e1`, `header +Content-Type: application/cloudevents`, `"first_name": "•••"`, `"lastname": "•••"`}},
		{[]string{"show", seqs["e1"], "--json"}, []string{`"seq":` + seqs["e1"], `"first_name":"•••"`}},
		{[]string{"replay", seqs["e2"], seqs["e3"], "--dry-run"}, []string{`(?m)^\d+: still position_closed: the position is closed`}},
		{[]string{"replay", "--reason", "invalid_event", "--dry-run", "--json"}, []string{`"verdict":"invalid"`, `/data/candidate/last_name`}},
	} {
		got := succeed(t, o.vars, append([]string{"deadletters"}, tt.args...)...)
		for _, want := range tt.want {
			if !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("%v lacks %s:\n%s", tt.args, want, got)
			}
		}
		if strings.Contains(got, person) {
			t.Errorf("%v shows the person:\n%s", tt.args, got)
		}
	}
	// An operator without credentials knows the fallback positions too.
	config := file(t, "accounts:\n  - name: default\n    fallback_position: \"87.405\"\n")
	for _, vars := range []map[string]string{
		{"NATS_URL": o.vars["NATS_URL"], "LOG_LEVEL": "error", "FALLBACK_POSITION": "87.405"},
		{"NATS_URL": o.vars["NATS_URL"], "LOG_LEVEL": "error", "CONFIG": config},
	} {
		if got := succeed(t, vars, "deadletters", "replay", seqs["e2"], "--dry-run"); !strings.Contains(got, "would be submitted to position 87.405, matched by fallback") {
			t.Errorf("with a fallback position and no credentials: %s", got)
		}
	}
	if got := succeed(t, o.vars, "deadletters", "show", seqs["e1"], "--unmask"); !strings.Contains(got, person) {
		t.Errorf("unmasked:\n%s", got)
	}

	code, out, errs := command(t, o.vars, "deadletters", "replay", "--source", "/scout")
	if code != 1 || strings.Count(out, "stays: ") != len(listed) || !strings.Contains(errs, "3 of 3 dead letters were not replayed") {
		t.Errorf("replay of what can't succeed: exit code %d\n%s%s", code, out, errs)
	}
	raw := succeed(t, o.vars, "deadletters", "show", seqs["e1"], "--raw")
	if raw != misspelled {
		t.Errorf("raw: %s", raw)
	}
	file := filepath.Join(o.dir, "event.json")
	if err := os.WriteFile(file, bytes.Replace([]byte(raw), []byte("lastname"), []byte("last_name"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := succeed(t, o.vars, "deadletters", "replay", seqs["e1"], "--edit", file, "--rate", "100/60s"); !strings.Contains(got, "would be submitted to position 87.405, matched by uid -> replayed as message 4") {
		t.Errorf("edited: %s", got)
	}
	o.until("the edited one to be accepted", func() bool {
		return strings.Contains(succeed(t, o.vars, "explain", "c-e1"), "accepted: candidate ")
	})
	if got := succeed(t, o.vars, "deadletters", "discard", seqs["e2"], seqs["e3"], "--reason", "filled"); !strings.Contains(got, "2 dead letters discarded") {
		t.Errorf("discard: %s", got)
	}
	if got := succeed(t, o.vars, "deadletters", "list"); strings.Count(got, "\n") != 1 {
		t.Errorf("left: %s", got)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	o := operate(t)
	o.refuse(1, document("e1", "22.0C1"))
	got := succeed(t, o.vars, "explain", "e1", "--comeet")
	for _, want := range []string{
		`\Ae1, taken for: event\n`, `(?m)^[a-z2-7]{26} +default +failed: position_closed +c-e1`, `CANDIDATES_SOURCED 1 +/scout +published: event e1, candidate c-e1, position 22\.0C1`,
		`CANDIDATES_DEADLETTER 1 +connector`, `CANDIDATE_EVENTS 1 +connector +failed: position_closed: the position is closed`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("lacks %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, person) {
		t.Errorf("shows the person:\n%s", got)
	}
	if open := succeed(t, o.vars, "explain", "e1", "--unmask", "--kind", "event"); !strings.Contains(open, person) {
		t.Errorf("unmasked:\n%s", open)
	}
	var history ops.History
	if err := json.Unmarshal([]byte(succeed(t, o.vars, "explain", "1", "--json")), &history); err != nil || history.Kind != ops.KindLetter || len(history.Entries) != 3 {
		t.Errorf("%+v, %v", history, err)
	}
}

func TestDeadlettersRefusesNonsense(t *testing.T) {
	t.Parallel()
	url, _ := startBus(t)
	vars := map[string]string{"NATS_URL": url, "LOG_LEVEL": "error"}
	succeed(t, vars, "setup", "--apply")
	for want, args := range map[string][]string{
		"say which letters":                {"deadletters", "replay"},
		"say which":                        {"deadletters", "replay", "1", "--all"},
		"names no dead letters":            {"deadletters", "discard", "9-7", "--reason", "x"},
		`"x" names no dead letters`:        {"deadletters", "replay", "x"},
		"must be an age such as 24h":       {"deadletters", "list", "--since", "yesterday"},
		"must be like 5/s":                 {"deadletters", "replay", "1", "--rate", "fast"},
		"no such file":                     {"deadletters", "replay", "1", "--edit", "/nowhere/event.json"},
		"there is no dead letter 1":        {"deadletters", "show", "1"},
		"there is no dead letter 2":        {"deadletters", "discard", "2", "--reason", "x"},
		"account name":                     {"deadletters", "list", "--account", "A.B"},
		"1 of 1 dead letters were not":     {"deadletters", "replay", "1"},
		"nothing on the bus is known":      {"explain", "nobody"},
		"--kind must be one of":            {"explain", "x", "--kind", "person"},
		"erase nobody: nothing on the bus": {"erase", "nobody"},
		"say which kind of id it is":       {"erase", "12"},
		"an edited event replaces exactly": {"deadletters", "replay", "1-2", "--edit", os.Args[0]},
	} {
		code, _, errs := command(t, vars, args...)
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %q, want %q", args, code, errs, want)
		}
	}
}
