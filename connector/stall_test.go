package connector_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// stalls counts how often an account had to be built anew.
func (w *world) stalls() int { return strings.Count(w.logs.String(), "the account stopped") }

// A replica dies with all its workers full. What it had in hand comes back when its lease is over; a new event need not wait for that.
func TestCrashedReplicaHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.RequestTimeout, s.Workers = bustest.Stretch(20*time.Second), 2 })
	w.fake.Script(comeettest.CreateCandidate, comeettest.Hang(), comeettest.Hang())
	first := w.spawn()
	w.publish("a", person(1))
	w.publish("b", person(2))
	w.eventually("both under way", func() bool { return w.posts("default") == 2 })
	first.kill()
	w.run(func(c *connector.Config) { c.Replica = "r2" })
	w.publish("c", person(3))
	w.within(20*time.Second, "an outcome within half a lease", func() bool { return len(w.read().outcomes()[source+" c"]) == 1 })
	if n := len(w.read().outcomes()); n != 1 {
		t.Errorf("%d outcomes: the leases of the crashed one have run out before", n)
	}
}

// More events than there are workers wait for the permission to read positions. One that names its position by uid need not.
func TestEventsPutBackHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.Workers = 4 })
	w.fake.Recruiter("default").Deny(comeettest.ReadPositions)
	w.run()
	for n := range 8 {
		p := person(n)
		p.Position = events.Position{CustomID: "BE-1"}
		w.publish(fmt.Sprint("named", n), p)
	}
	w.publish("by uid", person(50))
	if got := outcomeOf(w.outcome("by uid")); got != "created" {
		t.Errorf("outcome %s", got)
	}
	w.fake.Recruiter("default").Grant(comeettest.ReadPositions)
}

// That nothing is taken because all workers are busy, or because the free slots of the budget are the polls', is no stall.
func TestBusyIsNotStalled(t *testing.T) {
	t.Parallel()
	t.Run("all workers have requests under way", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, func(s *setup) { s.RequestTimeout, s.Workers = 20*time.Second, 2 })
		begun := time.Now()
		for range 2 {
			w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
				return comeettest.DelayAnswer(6 * time.Second), true
			})
		}
		w.run()
		for n := range 4 {
			w.publish(fmt.Sprint("e", n), person(n))
		}
		w.settled()
		if took := time.Since(begun); took < 6*time.Second {
			t.Fatalf("all over after %v: the workers were not busy for long enough", took)
		}
		if n := w.stalls(); n > 0 {
			t.Errorf("the account was built anew %d times", n)
		}
	})
	t.Run("the free slots of the budget are the polls'", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		// Submissions had their whole share half a minute ago. They borrow from the polls when that comes back soon enough: one in 6 s.
		spent, err := json.Marshal(comeet.BudgetState{Submissions: slices.Repeat([]time.Duration{30 * time.Second}, 90)})
		if err != nil {
			t.Fatal(err)
		}
		cursors, err := w.js.KeyValue(t.Context(), bus.CursorsBucket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cursors.Put(t.Context(), "budget.default", spent); err != nil {
			t.Fatal(err)
		}
		w.run(func(c *connector.Config) {
			c.RateLimit, c.NoRateLimit = comeet.Limit{Requests: 100, Window: time.Minute}, false
			c.PollInterval, c.SweepInterval = time.Hour, 24*365*time.Hour
		})
		w.eventually("the first poll and the positions", func() bool {
			n := w.fake.Counts().ByRoute
			return n[comeettest.ListDeletedCandidates] == 1 && n[comeettest.ListPositions] == 1
		})
		begun := time.Now()
		for n := range 8 { // for some of them the intake has had permits since the start, but not for all
			w.publish(fmt.Sprint("e", n), person(n))
		}
		w.settled()
		if took := time.Since(begun); took < 5*time.Second {
			t.Fatalf("all over after %v: the budget did not hold the last event for long enough", took)
		}
		if n := w.stalls(); n > 0 {
			t.Errorf("the account was built anew %d times", n)
		}
	})
}
