package connector_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// client is the fake's client of an account.
func (w *world) client(account string) (*comeet.Client, error) {
	return comeet.NewClient(comeet.StaticCredentials(apiKeyOf(account), secret), comeet.WithBaseURL(w.BaseURL))
}

// One candidate's history with everything in it, told alike from each of its ids, and without the person.
func TestExplainFromEveryID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	for n := 50; n < 60; n++ { // others, of whom nothing is told
		w.publish(fmt.Sprint("other", n), person(n))
	}
	w.publishInvalid("e1", person(1))
	l := w.letterOf(d, "e1")
	raw, err := d.Raw(t.Context(), l.Seq)
	if err != nil {
		t.Fatal(err)
	}
	w.fake.Script(comeettest.CreateCandidate, comeettest.APIError(400, "invalid_phone"))
	w.replay(d, ops.ReplayOptions{Edited: bytes.Replace(raw, []byte("lastname"), []byte("last_name"), 1)}, l.Seq)
	var again []ops.DeadLetter
	w.eventually("the replay to be refused", func() bool {
		again = w.list(d, ops.LetterFilter{Reason: events.ReasonRefused})
		return len(again) == 1
	})
	w.fake.Script(comeettest.CreateCandidate, comeettest.DropAfter())
	w.replay(d, ops.ReplayOptions{}, again[0].Seq)
	w.accepted("e1")
	w.publish("e2", person(1))
	w.accepted("e2")
	uid := w.outcome("e2").Data.(*events.Accepted).CandidateUID
	if err := w.fake.Recruiter("default").Reject(uid, "too far"); err != nil {
		t.Fatal(err)
	}
	w.eventually("the rejection to be seen", func() bool { return w.last(uid).Status == comeettest.Rejected })
	w.settled()

	want := w.explain(d, "e1", ops.ExplainOptions{})
	tells(t, want,
		"/sourcing/scout: published: event e1, candidate src-1, breaking the contract",
		"failed: invalid_event",
		"operator: replayed with mark",
		"r1: claimed: attempt 1, position 87.405, matched by uid",
		"Comeet: failed: refused",
		"operator: replayed with mark",
		"r1: in doubt",
		"Comeet: accepted: candidate "+uid+" (recovered)",
		"/sourcing/scout: published: event e2, candidate src-1",
		"connector: accepted: candidate "+uid+" (duplicate)",
		"status of candidate "+uid+" (status, steps, disposition_reason): Rejected")
	// An operator's note comes after what it notes, and the connector may have been faster.
	tells(t, want, fmt.Sprintf("operator: dead letter %d was replayed after an edit", l.Seq), fmt.Sprintf("operator: dead letter %d was replayed at", again[0].Seq))
	states := map[string]string{}
	for _, o := range want.Operations {
		states[o.State] = o.CandidateUID
	}
	if len(want.Operations) != 2 || states["accepted"] != uid || want.Kind != ops.KindEvent {
		t.Errorf("operations %+v, taken for %s", want.Operations, want.Kind)
	}
	for _, m := range want.Entries {
		if strings.Contains(m.What, "other") {
			t.Errorf("somebody else's: %+v", m)
		}
	}
	for id, kind := range map[string]ops.IDKind{
		"src-1": ops.KindCandidate, uid: ops.KindUID, want.Operations[0].Operation: ops.KindOperation,
		want.Operations[1].Operation: ops.KindOperation, fmt.Sprint(l.Seq): ops.KindLetter, fmt.Sprint(again[0].Seq): ops.KindLetter,
		"e2": ops.KindEvent,
	} {
		got := w.explain(d, id, ops.ExplainOptions{Kind: kind})
		if got.Kind != kind {
			t.Errorf("%s was taken for %s, want %s", id, got.Kind, kind)
		}
		if diff := cmp.Diff(want.Entries, got.Entries); diff != "" {
			t.Errorf("from %s %s: %s", kind, id, diff)
		}
		if diff := cmp.Diff(want.Operations, got.Operations); diff != "" {
			t.Errorf("from %s %s: %s", kind, id, diff)
		}
	}
	for _, id := range []string{"src-1", fmt.Sprint(l.Seq), "e2"} {
		if diff := cmp.Diff(want.Entries, w.explain(d, id, ops.ExplainOptions{}).Entries); diff != "" {
			t.Errorf("from %s, its kind not told: %s", id, diff)
		}
	}

	now := w.explain(d, "src-1", ops.ExplainOptions{Comeet: w.client})
	if last := now.Entries[len(now.Entries)-1]; last.Stream != "" || !strings.Contains(last.What, "now: candidate "+uid+": Rejected") {
		t.Errorf("Comeet says %+v", last)
	}
	nobodys := func(string) (*comeet.Client, error) { return nil, nil }
	tells(t, w.explain(d, "src-1", ops.ExplainOptions{Comeet: nobodys}), "no credentials here for account default")
	open := w.explain(d, "src-1", ops.ExplainOptions{Unmask: true, Comeet: w.client})
	if !bytes.Contains(open.Entries[0].Content, []byte(personMark)) || !bytes.Contains(open.Entries[len(open.Entries)-1].Content, []byte(mailMark)) {
		t.Errorf("unmasked: %+v", open.Entries)
	}
}

// A history is also told while nothing has come of it yet, and of an event that names nobody.
func TestExplainTheUnfinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.operator()
	w.publish("e1", person(1))
	waiting := w.explain(d, "e1", ops.ExplainOptions{})
	tells(t, waiting, "published: event e1")
	if len(waiting.Operations) != 1 || waiting.Operations[0].State != "waiting" {
		t.Errorf("%+v", waiting.Operations)
	}
	escaped := `{"specversion":"1.0","type":"candidate.sourced","source":"/s","id":"\u0065\u0039","data":{"candidate":{"id":"src-9","first_name":"A","last_name":"B"},"position":{"uid":"87.405"}}}`
	w.publishRaw(sent{account: "default"}, nil, []byte(escaped))
	tells(t, w.explain(d, "e9", ops.ExplainOptions{}), "/s: published: event e9, candidate src-9")
	w.publishRaw(sent{account: "default"}, nil, []byte("{"+personMark))
	w.run()
	w.accepted("e1")
	var letters []ops.DeadLetter
	w.eventually("a letter", func() bool { letters = w.list(d, ops.LetterFilter{}); return len(letters) == 1 })
	history := w.explain(d, fmt.Sprint(letters[0].Seq), ops.ExplainOptions{})
	tells(t, history, "unknown: published, breaking the contract", "stored as dead letter", "failed: invalid_event")
	if err := d.Discard(t.Context(), "noise", letters[0].Seq); err != nil {
		t.Fatal(err)
	}
	tells(t, w.explain(d, fmt.Sprint(letters[0].Seq), ops.ExplainOptions{}), "published", "failed: invalid_event", ": noise")
	// The note goes with the stream, the outcome stays.
	if err := w.js.DeleteStream(t.Context(), bus.DeadLettersStream); err != nil {
		t.Fatal(err)
	}
	w.setUp()
	tells(t, w.explain(w.operator(), fmt.Sprint(letters[0].Seq), ops.ExplainOptions{}), "published", "failed: invalid_event")
	for _, id := range []string{"", "nobody", "99", strings.Repeat("a", 26)} {
		if _, err := d.Explain(t.Context(), id, ops.ExplainOptions{}); !errors.Is(err, ops.ErrUnknownID) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := d.Explain(t.Context(), "src-1", ops.ExplainOptions{Kind: ops.KindEvent}); !errors.Is(err, ops.ErrUnknownID) {
		t.Errorf("a candidate's id as an event's: %v", err)
	}
}
