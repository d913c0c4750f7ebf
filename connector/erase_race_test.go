package connector_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// Nothing is erased of an operation that somebody works on or will.
func TestEraseRefusesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.operator()
	w.publish("e1", person(1))
	w.refuseToErase(d, "e1", "waits")
	landed, answer := make(chan struct{}), make(chan struct{})
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		close(landed)
		<-answer
		return comeettest.Drop(), true
	})
	// What is in doubt stays so until the candidates can be listed.
	lists := comeettest.Scope{Route: comeettest.ListCandidates}
	w.fake.OutageOf(lists, comeettest.HTMLPage(503))
	r := w.run(func(c *connector.Config) { c.RequestTimeout = bustest.Stretch(2 * time.Second) })
	<-landed
	w.refuseToErase(d, "e1", "(claimed)")
	close(answer)
	w.eventually("doubt", func() bool {
		return slices.ContainsFunc(w.kept(), func(e entry) bool { c, ok := e.Data.(*events.Claimed); return ok && c.State == events.StateInDoubt })
	})
	w.refuseToErase(d, "e1", "(in_doubt)")
	w.fake.RecoverOf(lists)
	w.eventuallyKept("e1", "created")
	w.noneOutstanding("default")
	// A new event of an accepted operation waits.
	r.stop(w)
	w.publish("e2", person(1))
	w.refuseToErase(d, "e1", "waits")
	w.run()
	w.eventuallyKept("e2", "duplicate")
	w.erase(d, "e1", ops.EraseOptions{})
	for _, m := range w.marks("src-1", personMark) {
		t.Error(m)
	}
}

// An accepted candidate whose first status is not stored yet would be followed after the erasure.
func TestEraseWaitsForTheFirstStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newProxy(t, w.NATSURL)
	sprung := p.set("candidate.status.changed.", false)
	first := w.spawn(func(c *child) { c.NATSURL, c.Replica = p.url(), "first" })
	w.publish("e1", person(1))
	<-sprung
	first.freeze()
	d := w.operator()
	w.refuseToErase(d, "src-1", "first status is not stored")
	w.run(func(c *connector.Config) { c.Replica = "second" })
	w.eventually("a first status", func() bool { return len(w.kept().statuses("default")) == 1 })
	w.erase(d, "src-1", ops.EraseOptions{})
	// The frozen worker stores that first status now, and finds what has happened.
	first.thaw()
	p.release()
	w.eventuallyKept("e1", "erased")
	if s := w.kept().statuses("default"); len(s) != 0 {
		t.Errorf("followed again: %+v", s)
	}
	first.stop()
	w.candidates(1)
}

// The event of a claim is not there any more, so nobody will settle it and it may be erased; a POST that is still under way after all
// finds what has happened.
func TestErasedInMidRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	landed, answer := make(chan struct{}), make(chan struct{})
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		close(landed)
		<-answer
		return comeettest.Fault{}, false
	})
	w.run(func(c *connector.Config) { c.RequestTimeout = bustest.Stretch(20 * time.Second) })
	w.publish("e1", person(1))
	<-landed
	if err := w.stream(bus.SourcedStream).SecureDeleteMsg(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if e := w.erase(w.operator(), opOf(person(1)), ops.EraseOptions{}); e.Operations[0].State != "claimed" {
		t.Errorf("%+v", e)
	}
	close(answer)
	w.eventuallyKept("e1", "erased")
	if s := w.kept().statuses("default"); len(s) != 0 {
		t.Errorf("followed: %+v", s)
	}
	if !strings.Contains(w.logs.String(), "compare the candidates at Comeet") {
		t.Error("nobody is told of the candidate at Comeet")
	}
}

// The operator's process dies after each single step. Whoever repeats the command, by the same id, finishes it; meanwhile nobody is
// submitted again.
func TestEraseDiesAtEveryStep(t *testing.T) {
	for _, id := range []string{"src-1", "e2", "operation"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(oftenRead, briefly)
			d := w.operator()
			data := w.marked(1)
			uid := w.live(d, data)
			w.noneOutstanding("default")
			created := w.fake.Counts().Created
			if id == "operation" {
				id = opOf(data)
			}
			die := func(at string, stored bool) error {
				p := newProxy(t, w.NATSURL)
				mortal := w.operator(func(cfg *ops.Config) { cfg.NATSURL = p.url() })
				lost := p.set(at, stored)
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				dead := make(chan error, 1)
				go func() { _, err := mortal.Erase(ctx, id, ops.EraseOptions{}); dead <- err }()
				select {
				case <-lost:
				case err := <-dead:
					return err
				}
				kill()
				err := <-dead
				p.kill()
				mortal.Close()
				return err
			}
			before := len(w.kept())
			if err := die("candidate.submission.claimed.", false); !errors.Is(err, context.Canceled) || len(w.kept()) != before {
				t.Fatalf("before the first entry: %v", err)
			}
			if err := die("candidate.submission.claimed.", true); !errors.Is(err, context.Canceled) {
				t.Fatalf("after the first entry: %v", err)
			}
			w.eventually("the first entry", func() bool { return len(w.kept()) == before+1 })
			if err := die("$JS.API.STREAM.MSG.DELETE.", false); !errors.Is(err, context.Canceled) || len(w.marks(personMark)) == 0 {
				t.Fatalf("before the first removal: %v", err)
			}
			// From now on the operation is erased, whatever is left.
			w.publish("late", data)
			w.eventually("the end of an event that came in between", func() bool { return slices.Equal(w.keptOf("late"), []string{"erased"}) })
			w.noneOutstanding("default")
			would := w.erase(d, id, ops.EraseOptions{DryRun: true})
			deaths := 0
			for ; ; deaths++ {
				err := die("$JS.API.STREAM.MSG.DELETE.", true)
				if err == nil || errors.Is(err, ops.ErrUnknownID) {
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("after %d removals: %v", deaths, err)
				}
			}
			if want := len(would.Messages) + 2*len(would.Files); deaths < want || want < 9 {
				t.Errorf("died %d times, of %d removals", deaths, want)
			}
			marks := []string{uid, `"e1"`, `"e2"`, `"late"`}
			if id == "src-1" {
				marks = append(marks, personMark, mailMark, "src-1")
			}
			for _, m := range w.marks(marks...) {
				t.Error(m)
			}
			w.entryOf(opOf(data))
			w.polled()
			if s := w.kept().statuses("default")[uid]; len(s) != 0 {
				t.Errorf("followed again: %+v", s)
			}
			if got := w.fake.Counts().Created; got != created {
				t.Errorf("%d candidates were created of an erased one", got-created)
			}
		})
	}
}

// A status that a poll publishes while everything is erased goes too, although nobody knew of it.
func TestStatusOfTheLastMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(briefly)
	w.publish("e1", person(1))
	w.eventuallyKept("e1", "created")
	w.noneOutstanding("default")
	uid := w.outcome("e1").Data.(*events.Accepted).CandidateUID
	p := newProxy(t, w.NATSURL)
	d := w.operator(func(cfg *ops.Config) { cfg.NATSURL = p.url() })
	held := p.set("$JS.API.STREAM.MSG.DELETE.", false)
	done := make(chan error, 1)
	go func() { _, err := d.Erase(t.Context(), "e1", ops.EraseOptions{}); done <- err }()
	<-held
	if err := w.fake.Recruiter("default").Hire(uid); err != nil {
		t.Fatal(err)
	}
	w.eventually("the hire to be told", func() bool { return len(w.kept().statuses("default")[uid]) == 2 })
	p.release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.polled()
	for _, m := range w.marks(uid, "src-1") {
		t.Error(m)
	}
}

// A delivery has buried the original, and died before it learned that everything was erased.
func TestLetterOfTheLastMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run()
	w.publish("e1", person(1))
	w.eventuallyKept("e1", "created")
	w.noneOutstanding("default")
	w.erase(w.operator(), "e1", ops.EraseOptions{})
	r.stop(w)
	own := ledger.OpOf("default", source, person(1)).Of(ledger.Identity{Source: source, ID: "e2"})
	if _, err := w.js.Publish(t.Context(), "deadletter.candidate.sourced.default."+own.ID, []byte(personMark)); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.publish("e2", person(1))
	w.eventuallyKept("e2", "erased")
	if n := len(w.stored()[bus.DeadLettersStream]); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
