package connector_test

import (
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// Every step of an operation, the connector dying there, and what the next one makes of it: the crash table of DESIGN.md.
func TestCrashAtEveryStep(t *testing.T) {
	const (
		claimed  = "candidate.submission.claimed."
		accepted = "candidate.submission.accepted."
		status   = "candidate.status.changed."
		ack      = "$JS.ACK."
	)
	steps := []struct {
		name    string
		subject string // where the proxy stops the connector
		stored  bool   // whether the bus still got that message
		fault   *comeettest.Fault
		outcome events.Outcome
		posts   int64
	}{
		{name: "claim not stored", subject: claimed, outcome: events.OutcomeCreated, posts: 1},
		{name: "claim stored, ack lost", subject: claimed, stored: true, outcome: events.OutcomeCreated, posts: 1},
		{name: "POST under way, Comeet has not acted", fault: new(comeettest.Hang()), outcome: events.OutcomeCreated, posts: 2},
		{name: "POST under way, Comeet has acted", fault: new(comeettest.ActThen(comeettest.Hang())), outcome: events.OutcomeRecovered, posts: 1},
		{name: "POST answered, outcome not stored", subject: accepted, outcome: events.OutcomeRecovered, posts: 1},
		{name: "outcome stored, ack lost", subject: accepted, stored: true, outcome: events.OutcomeCreated, posts: 1},
		{name: "first status not stored", subject: status, outcome: events.OutcomeCreated, posts: 1},
		{name: "first status stored, ack lost", subject: status, stored: true, outcome: events.OutcomeCreated, posts: 1},
		{name: "event not acknowledged", subject: ack, outcome: events.OutcomeCreated, posts: 1},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := newProxy(t, w.NATSURL)
			var sprung <-chan struct{}
			if step.fault != nil {
				c := make(chan struct{})
				sprung = c
				w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
					close(c)
					return *step.fault, true
				})
			} else {
				sprung = p.set(step.subject, step.stored)
			}
			first := w.spawn(func(c *child) { c.NATSURL = p.url() })
			w.publish("e1", person(1))
			select {
			case <-sprung:
			case <-time.After(bustest.Stretch(15 * time.Second)):
				t.Fatal("the connector did not come to this step")
			}
			if step.fault != nil && step.outcome == events.OutcomeRecovered {
				w.eventually("Comeet to act", func() bool { return w.fake.Counts().Created == 1 })
			}
			first.kill()
			w.run()
			got := w.outcome("e1")
			d, ok := got.Data.(*events.Accepted)
			if !ok || d.Outcome != step.outcome {
				t.Errorf("outcome %+v, want accepted (%s)", got.Data, step.outcome)
			}
			w.eventually("a first status", func() bool { return len(w.read().statuses("default")) == 1 })
			w.check()
			if n := w.fake.Counts().ByRoute[comeettest.CreateCandidate]; n != step.posts {
				t.Errorf("%d POSTs, want %d", n, step.posts)
			}
			if n := len(w.fake.Candidates("default")); n != 1 {
				t.Errorf("%d candidates at Comeet, want 1", n)
			}
			w.checkLeaks(first.logs.String())
		})
	}
}

// A process that is stopped beyond every lease, wherever it is, changes nothing when it goes on: another one has settled what
// it had in hand, and it learns so from the ledger.
func TestFrozenBeyondEveryLease(t *testing.T) {
	for _, step := range []struct {
		name, subject string
		held          bool // the message is stored, and its acknowledgement comes when it goes on
		fault         *comeettest.Fault
	}{
		{name: "with a claim, before the POST", subject: "candidate.submission.claimed.", held: true},
		{name: "with a POST under way that Comeet has acted on", fault: new(comeettest.ActThen(comeettest.Delay(100 * time.Millisecond)))},
		{name: "with the answer, before the outcome", subject: "candidate.submission.accepted."},
	} {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) {
				// Not stretched: leases must be over before the frozen one's write of its claim times out. It would
				// be repeated then, and lose, before the connector's own clocks are asked.
				s.RequestTimeout = 500 * time.Millisecond
			})
			p := newProxy(t, w.NATSURL)
			var there <-chan struct{}
			if step.fault != nil {
				c := make(chan struct{})
				there = c
				w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
					close(c)
					return *step.fault, true
				})
			} else if step.held {
				there = p.hold(step.subject)
			} else {
				there = p.set(step.subject, false)
			}
			first := w.spawn(func(c *child) { c.NATSURL, c.Replica = p.url(), "first" })
			w.publish("e1", person(1))
			select {
			case <-there:
			case <-time.After(bustest.Stretch(15 * time.Second)):
				t.Fatal("the connector did not come to this step")
			}
			first.freeze()
			w.run(func(c *connector.Config) { c.Replica = "second" })
			uid := w.outcome("e1").Data.(*events.Accepted).CandidateUID
			if err := w.fake.Recruiter("default").Reject(uid, "too far"); err != nil {
				t.Fatal(err) // Comeet itself would refuse a second one only while the first is in progress
			}
			first.thaw()
			p.thaw()
			if !step.held {
				p.release()
			}
			w.publish("e2", person(2))
			w.outcome("e2")
			first.stop()
			w.check()
			if n := len(w.fake.Candidates("default")); n != 2 {
				t.Errorf("%d candidates at Comeet, want 2", n)
			}
		})
	}
}
