package connector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// Three replicas share five accounts under backlog. One is killed, one drained, one joins; Comeet never has to say "too many
// requests", and every event gets its one outcome.
func TestAccountsMoveWithinTheirBudget(t *testing.T) {
	names := []string{"acme", "default", "globex", "initech", "umbrella"}
	const requests, window = 20, 2 * time.Second
	w := newWorld(t, accounts(names...), fakeWith(comeettest.WithRateLimit(requests, window)), func(s *setup) {
		s.RateLimit, s.MemberTTL = comeet.Limit{Requests: requests, Window: window}, time.Second
	})
	named := func(name string) func(*child) { return func(c *child) { c.Replica = name } }
	one, two := w.spawn(named("one")), w.spawn(named("two"))
	w.spawn(named("three"))
	n := 0
	more := func(count int) {
		for range count {
			for _, a := range names {
				n++
				w.publishTo(a, source, fmt.Sprint("e", n), person(n))
			}
		}
	}
	progress := func(by int64) {
		w.Helper()
		from := w.fake.Counts().Created
		w.eventually("progress", func() bool { return w.fake.Counts().Created >= from+by })
	}
	more(40)
	progress(60)
	one.kill()
	progress(20)
	w.spawn(named("four"))
	two.stop()
	progress(20)
	w.settled()
	w.check()
	for _, a := range names {
		if got := w.fake.Throttled(a); got != 0 {
			t.Errorf("account %s: %d requests refused as too many", a, got)
		}
	}
}
