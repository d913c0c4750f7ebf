package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// A write that was given up is in the network all the same, and arrives when the network is back: a minute later, or when a frozen process
// wakes up. Here the network holds back what one replica says, until another one has written. The compare-and-set refuses what comes late.
func TestWriteThatWasGivenUpIsRefusedWhenItArrives(t *testing.T) {
	t.Parallel()
	s, other := ready(t, bustest.Options{})
	p := proxy(t, s)
	replica := connect(t, p.URL(), nil)
	claim := claimOf("k1")
	outcome := claimOf("k2")
	outcome.Subject, outcome.Data = "candidate.submission.accepted.acme.k2", []byte("outcome of the one that was cut off")
	status := bus.Write{
		Subject: "candidate.status.changed.acme.uid", Data: []byte("an old look"), Expect: &bus.Expect{Filter: "candidate.status.changed.acme.uid"},
	}
	seq, err := other.Publish(soon(t), claimOf("k2"))
	if err != nil {
		t.Fatal(err)
	}
	outcome.Expect.Seq = seq
	booked, err := replica.Bucket(soon(t), bus.CursorsBucket)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := booked.Update(soon(t), "budget.acme", []byte("first"), 0)
	if err != nil {
		t.Fatal(err)
	}

	p.Hold(true)
	given, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, w := range []bus.Write{claim, outcome, status} {
		if _, err := replica.Publish(given, w); err == nil || errors.Is(err, bus.ErrConflict) {
			t.Fatalf("the write on %s came to an end: %v", w.Subject, err)
		}
	}
	if _, err := booked.Update(given, "budget.acme", []byte("late"), revision); err == nil {
		t.Fatal("the booking was written")
	}
	mine := map[string]uint64{}
	for _, w := range []bus.Write{claim, outcome, status} {
		w.Data = []byte("of the one that took over")
		if mine[w.Expect.Filter], err = other.Publish(soon(t), w); err != nil {
			t.Fatal(err)
		}
	}
	taken, err := other.Bucket(soon(t), bus.CursorsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if revision, err = taken.Update(soon(t), "budget.acme", []byte("of the one that took over"), revision); err != nil {
		t.Fatal(err)
	}
	p.Hold(false)
	// What the replica says now comes behind everything that was held back.
	if _, err := replica.Publish(soon(t), claimOf("after")); err != nil {
		t.Fatal(err)
	}
	for filter, seq := range mine {
		last, err := other.Last(soon(t), bus.EventsStream, filter)
		if err != nil || last.Seq != seq || string(last.Data) != "of the one that took over" {
			t.Errorf("the last entry over %s is %d, %q, %v; want %d", filter, last.Seq, last.Data, err, seq)
		}
	}
	have, at, _, err := taken.Read(soon(t), "budget.acme")
	if err != nil || at != revision || string(have) != "of the one that took over" {
		t.Errorf("the booking is %q at %d, %v; want revision %d", have, at, err, revision)
	}
}
