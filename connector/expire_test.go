package connector_test

import (
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// Comeet stays away for longer than the stream keeps events: each one ends as expired in time, whether a worker holds it or
// nobody may fetch it.
func TestWaitingEventsExpireInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keepEventsFor(bustest.Stretch(3 * time.Second))
	w.fake.Outage(comeettest.HTMLPage(503))
	w.publish("held", person(1))
	w.run()
	w.eventually("an open breaker", func() bool { return strings.Contains(w.logs.String(), "breaker open") })
	w.publish("never fetched", person(2))
	w.settled()
	for _, id := range []string{"held", "never fetched"} {
		f, ok := w.outcome(id).Data.(*events.Failed)
		if !ok || f.Reason != events.ReasonExpired || f.DeadLetter == nil {
			t.Errorf("%s: outcome %+v, want expired, with a dead letter", id, w.outcome(id).Data)
		}
	}
	w.fake.Recover()
	w.check()
	if n := len(w.fake.Candidates("default")); n != 0 {
		t.Errorf("%d candidates at Comeet, want none", n)
	}
}

// The worker that has found the candidate dies before the outcome, and Comeet stays away until the event expires. It does not end in doubt:
// the claim tells whose candidate that is.
func TestExpiringEventTakesWhatWasFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keepEventsFor(bustest.Stretch(4 * time.Second))
	uid := w.dieWithWhatWasFound()
	w.fake.Outage(comeettest.HTMLPage(503))
	w.run()
	d, ok := w.outcome("e1").Data.(*events.Accepted)
	if !ok || d.CandidateUID != uid || d.Outcome != events.OutcomeRecovered {
		t.Errorf("outcome %+v, want the candidate %s that was found", w.outcome("e1").Data, uid)
	}
	w.check()
}
