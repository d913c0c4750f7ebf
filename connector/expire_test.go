package connector_test

import (
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// Comeet stays away for longer than the stream keeps events: each one ends as expired in time, whether a worker holds it or
// nobody may fetch it.
func TestWaitingEventsExpireInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const keep = 5 * time.Second
	stream, err := w.js.Stream(t.Context(), bus.DefaultNames.Sourced)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxAge, cfg.Duplicates = keep, time.Second
	if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
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
