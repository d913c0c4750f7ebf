package connector_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
	"github.com/nats-io/nats.go/jetstream"
)

// eventsMaxBytes changes how much the events stream may hold, to a multiple of what it holds; 0 is the layout's size.
func (w *world) eventsMaxBytes(times float64) {
	w.Helper()
	w.reconfigure(bus.EventsStream, func(info *jetstream.StreamInfo) {
		info.Config.MaxBytes = 1 << 30
		if times > 0 {
			info.Config.MaxBytes = int64(times * float64(info.State.Bytes))
		}
	})
}

// At 95 % of its size the events stream takes no new claims and no new statuses, loudly, so that every outcome still fits; and it goes on when
// it was made larger.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(quick, func(c *connector.Config) { c.PositionsInterval = time.Second })
	for n := range 10 {
		w.publish(fmt.Sprint("before", n), person(n))
	}
	w.settled()
	w.eventually("all first statuses", func() bool { return len(w.read().statuses("default")) == 10 })
	w.noneOutstanding("default")
	w.eventsMaxBytes(1.04)
	w.eventually("the alarm", func() bool { return strings.Contains(w.logs.String(), "95 % full") })
	if err := r.Health(); err == nil || !strings.Contains(err.Error(), "max_bytes") {
		t.Errorf("health %v does not tell what to do", err)
	}
	for n := range 20 {
		w.publish(fmt.Sprint("after", n), person(100+n))
	}
	positionsRead := func(n int64) {
		t.Helper()
		from := w.fake.Counts().ByRoute[comeettest.ListPositions]
		w.counted("the positions to be read", func(c comeettest.Counts) bool { return c.ByRoute[comeettest.ListPositions] >= from+n })
	}
	// A poll that was under way comes to its end, and no other begins.
	positionsRead(1)
	polls := w.fake.Counts().ByRoute[comeettest.ListCandidates]
	uid := w.fake.Candidates("default")[0].UID
	if err := w.fake.Recruiter("default").Hire(uid); err != nil {
		t.Fatal(err)
	}
	positionsRead(2)
	if n := w.posts("default"); n != 10 {
		t.Errorf("%d POSTs, want no more than the 10 before", n)
	}
	if n := w.fake.Counts().ByRoute[comeettest.ListCandidates] - polls; n != 0 {
		t.Errorf("%d polls although there is no room for what they find", n)
	}
	w.eventsMaxBytes(0)
	w.settled()
	w.eventuallyTrue(uid)
	w.eventually("health", func() bool { return r.Health() == nil })
	w.check()
}

// At the signal nothing new is begun, what is in hand comes to its end, and another replica has the rest at once.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.RequestTimeout, s.Workers = bustest.Stretch(10*time.Second), 2 })
	posted, answer := make(chan struct{}, 2), make(chan struct{})
	hold := func(comeettest.Request) (comeettest.Fault, bool) {
		posted <- struct{}{}
		<-answer
		return comeettest.Delay(0), true
	}
	w.fake.Control(comeettest.CreateCandidate, hold)
	w.fake.Control(comeettest.CreateCandidate, hold)
	first := w.run()
	for n := range 6 {
		w.publish(fmt.Sprint("e", n), person(n))
	}
	<-posted
	<-posted
	first.cancel()
	w.eventually("draining", func() bool { return first.Health() != nil })
	begun := time.Now()
	close(answer)
	first.stop(w)
	if n := w.posts("default"); n != 2 {
		t.Errorf("%d POSTs, want the 2 in hand", n)
	}
	if n := len(w.read().outcomes()); n != 2 {
		t.Errorf("%d outcomes, want the 2 in hand", n)
	}
	w.run(func(c *connector.Config) { c.Replica = "r2" })
	w.settled()
	w.noneOutstanding("default")
	if took := time.Since(begun); took > w.RequestTimeout {
		t.Errorf("the rest took %v: it waited for leases, which take longer than %v", took, w.RequestTimeout)
	}
	if n := w.posts("default"); n != 6 {
		t.Errorf("%d POSTs, want 6", n)
	}
	w.check()
}

// Whatever an event in hand waits for, a stop does not wait for it, and the next replica goes on from there.
func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		prepare func(*world)
		waits   string // the log line that shows that it waits
		want    string
	}{
		{"for an open breaker", func(w *world) { w.fake.Outage(comeettest.HTMLPage(503)) }, "breaker open", "created"},
		{"for a look-up", func(w *world) {
			w.fake.Script(comeettest.CreateCandidate, lostAnswer())
			w.fake.OutageOf(comeettest.Scope{Route: comeettest.ListCandidates}, comeettest.HTMLPage(503))
		}, "could not look up", "recovered"},
		{"for a rest", func(w *world) { w.fake.Script(comeettest.CreateCandidate, lostAnswer()) }, "fate of a submission is unknown", "recovered"},
		{"for the positions", func(w *world) {
			w.fake.OutageOf(comeettest.Scope{Route: comeettest.ListPositions}, comeettest.HTMLPage(503))
		}, "could not read the positions", "created"},
		{"for a permission", func(w *world) { w.fake.Recruiter("default").Deny(comeettest.CreateCandidates) }, "denies this account", "created"},
		{"for the budget", func(w *world) {
			w.fake.Script(comeettest.CreateCandidate, comeettest.Throttle(time.Hour))
		}, "too many requests", "created"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.prepare(w)
			w.publish("e1", person(1))
			rest := bustest.Stretch(5 * time.Second)
			slow := func(c *connector.Config) { c.SettleDelay, c.DrainTimeout = rest, 4*rest }
			first := w.run(slow)
			w.eventually("the wait", func() bool { return strings.Contains(w.logs.String(), c.waits) })
			begun := time.Now()
			first.stop(w)
			if took := time.Since(begun); took > rest {
				t.Errorf("the stop took %v", took)
			}
			w.fake.Recover()
			w.fake.Recruiter("default").Grant(comeettest.CreateCandidates)
			w.run(slow, func(c *connector.Config) { c.Replica, c.SettleDelay = "r2", 100*time.Millisecond })
			if c.name == "for the budget" {
				return // that an hour is kept to is the budget's matter
			}
			if got := outcomeOf(w.outcome("e1")); got != c.want {
				t.Errorf("outcome %s, want %s", got, c.want)
			}
			w.check()
		})
	}
}

// Replicas come and go under traffic.
func TestReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("default", "b"))
	n := 0
	some := func() {
		for range 15 {
			n++
			w.publishTo(w.Accounts[n%2], source, fmt.Sprint("e", n), person(n))
		}
	}
	named := func(name string) func(*connector.Config) { return func(c *connector.Config) { c.Replica = name } }
	first := w.run(named("r1"))
	some()
	second := w.run(named("r2"))
	some()
	first.stop(w)
	some()
	w.run(named("r3"))
	some()
	second.stop(w)
	some()
	w.settled()
	w.noneOutstanding("default")
	w.noneOutstanding("b")
	w.check()
	if got := len(w.fake.Candidates("default")) + len(w.fake.Candidates("b")); got != n {
		t.Errorf("%d candidates, want %d", got, n)
	}
}

// What Comeet denies one account stops that account's submissions, and nothing else: its polls and the other accounts go on,
// nothing is refused, and it resumes by itself.
func TestDeniedSubmissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("default", "denied"))
	w.fake.Recruiter("denied").Deny(comeettest.CreateCandidates)
	w.run(func(c *connector.Config) { c.DeniedRetry = 300 * time.Millisecond })
	for n := range 20 {
		w.publishTo("denied", source, fmt.Sprint("d", n), person(n))
	}
	w.eventually("the alarm", func() bool { return strings.Contains(w.logs.String(), "denies this account") })
	for n := range 20 {
		w.publish(fmt.Sprint("e", n), person(n))
	}
	w.eventually("the other account's outcomes", func() bool { return len(w.read().outcomes()) == 20 })
	if n := len(w.fake.Candidates("default")); n != 20 {
		t.Errorf("%d candidates of the other account, want 20", n)
	}
	polls := func() int {
		n := 0
		for _, r := range w.fake.Requests() {
			if r.Account == "denied" && r.Route == comeettest.ListCandidates {
				n++
			}
		}
		return n
	}
	before := polls()
	w.eventually("polls of the denied account", func() bool { return polls() > before })
	if n := w.posts("denied"); n > 16+6 {
		t.Errorf("%d POSTs while denied, want those in flight at first and few trials", n)
	}
	w.fake.Recruiter("denied").Grant(comeettest.CreateCandidates)
	for id, es := range w.settled().outcomes() {
		if got := outcomeOf(es[0]); got != "created" {
			t.Errorf("%s: %s", id, got)
		}
	}
	w.check()
}

// An account whose Comeet answers nothing at all, and one whose key is refused, cost the others nothing.
func TestSickAccountsHurtNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("default", "hangs", "revoked"))
	w.fake.OutageOf(comeettest.Scope{Account: "hangs"}, comeettest.Hang())
	w.fake.Recruiter("revoked").Revoke()
	w.run(func(c *connector.Config) { c.DeniedRetry = 300 * time.Millisecond })
	for n := range 30 {
		for _, a := range w.Accounts {
			w.publishTo(a, source, fmt.Sprint(a, n), person(n))
		}
	}
	w.within(20*time.Second, "the healthy account's outcomes", func() bool {
		n := 0
		for _, e := range w.read() {
			if d, ok := e.Data.(*events.Accepted); ok && d.Account == "default" {
				n++
			}
		}
		return n == 30
	})
	w.fake.Recover()
	w.fake.Recruiter("revoked").Allow()
	for id, es := range w.settled().outcomes() {
		if _, ok := es[0].Data.(*events.Accepted); !ok {
			t.Errorf("%s: %s", id, outcomeOf(es[0]))
		}
	}
	w.check()
}
