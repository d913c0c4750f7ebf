package connector_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// Three replicas share five accounts under backlog. One is killed, one drained, one joins; Comeet never has to say "too many
// requests", and every event gets its one outcome.
func TestAccountsMoveWithinTheirBudget(t *testing.T) {
	t.Parallel()
	names := []string{"acme", "default", "globex", "initech", "umbrella"}
	const requests, window = 20, 2 * time.Second
	w := newWorld(t, accounts(names...), fakeWith(comeettest.WithRateLimit(requests, window)), func(s *setup) {
		s.RateLimit = comeet.Limit{Requests: requests, Window: window}
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
		want := min(w.fake.Counts().Created+by, int64(n))
		w.eventually("progress", func() bool { return w.fake.Counts().Created >= want })
	}
	more(60)
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

// When an account has moved, only the replica that serves it now shows how it is; the other keeps what it has counted.
func TestMovedAccountIsShownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("acme", "default", "globex", "initech", "umbrella"))
	show := func(c *connector.Config) { c.AdminAddr = "127.0.0.1:0" }
	first := w.run(show)
	for _, a := range w.Accounts {
		w.publishTo(a, source, a, person(1))
	}
	w.settled()
	present := []string{"events_waiting", "events_in_hand", "last_poll_timestamp_seconds", "last_sweep_timestamp_seconds", "positions"}
	shows := func(text, figure, account string) bool {
		return strings.Contains(text, "comeet_connector_"+figure+`{account="`+account+`"`)
	}
	w.eventually("the first shows all", func() bool {
		text, all := metrics(t, first), true
		for _, a := range w.Accounts {
			for _, figure := range present {
				all = all && shows(text, figure, a)
			}
		}
		return all
	})
	second := w.run(show, func(c *connector.Config) { c.Replica = "r2" }) // which wins some of them
	moved := 0
	w.eventually("each account is shown by one of the two", func() bool {
		one, two := metrics(t, first), metrics(t, second)
		moved = 0
		for _, a := range w.Accounts {
			for _, figure := range present {
				if shows(one, figure, a) == shows(two, figure, a) {
					return false
				}
			}
			if shows(two, "events_waiting", a) {
				moved++
			}
		}
		return moved > 0
	})
	for _, a := range w.Accounts {
		if !shows(metrics(t, first), "candidates_accepted_total", a) {
			t.Errorf("what the first has counted of account %s is gone", a)
		}
	}
}

// Incident: nats-server was restarted in order and then killed, and brought back members that had ended long ago, without their time
// to live. They owned every account, nobody served them, and all looked well.
func TestGhostsOwnNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("acme", "default", "globex"))
	kv, err := w.js.KeyValue(t.Context(), bus.MembersBucket)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		if _, err := kv.Put(t.Context(), fmt.Sprint("ghost-", n), nil); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	for _, a := range w.Accounts {
		w.publishTo(a, source, a, person(1))
	}
	w.settled()
	w.check()
	w.eventually("the ghosts to be removed", func() bool {
		keys, err := kv.Keys(t.Context())
		return err == nil && len(keys) == 1
	})
}
