package connector_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

func (w *world) eventuallyShows(want map[string]string) {
	w.Helper()
	var got map[string]string
	defer func() {
		if w.Failed() {
			w.Log(cmp.Diff(want, got))
		}
	}()
	w.eventually("the positions bucket to be right", func() bool {
		got = w.shown()
		return cmp.Equal(want, got)
	})
}

// revision is the bucket's last write.
func (w *world) revision() uint64 {
	w.Helper()
	return w.stream("KV_" + bus.PositionsBucket).CachedInfo().State.LastSeq
}

// readings waits for n more complete readings of the positions.
func (w *world) readings(n int64) {
	w.Helper()
	before := w.fake.Counts().ByRoute[comeettest.ListPositions]
	w.eventually("the positions to be read again", func() bool {
		return w.fake.Counts().ByRoute[comeettest.ListPositions] >= before+n
	})
}

func TestPositionsBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{MaxPageSize: 2, RepeatRows: 1, EmptyPages: true})))
	w.run(func(c *connector.Config) { c.PositionsInterval = time.Second })
	all := map[string]string{
		"87.405 Backend Engineer": "open", "48.16A Data Analyst": "open", "11.111 Twin": "open", "11.112 Twin": "open",
		"22.0C1 Closed One": "closed", "22.0C2 Waiting One": "on hold",
	}
	w.eventuallyShows(all)

	// Nothing is written that has not changed, and a row that pages repeat is one position.
	before := w.revision()
	w.readings(20)
	if now := w.revision(); now != before {
		t.Errorf("%d writes although nothing changed", now-before)
	}
	w.publish("e1", person(1))
	if got := matched(w.outcome("e1")); got != "uid 87.405" {
		t.Errorf("outcome %s", got)
	}

	r := w.fake.Recruiter("default")
	for _, err := range []error{
		r.ClosePosition("48.16A"), r.UnsharePosition("11.111"),
		r.AddPosition(comeettest.Position{UID: "33.3", Name: "A template", IsTemplate: true}),
		r.AddPosition(comeettest.Position{UID: "44.4", Name: "New"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all["48.16A Data Analyst"], all["44.4 New"] = "closed", "open"
	delete(all, "11.111 Twin")
	w.eventuallyShows(all)

	// What somebody else wrote into the bucket is put right.
	kv := w.positionsBucket()
	for key, value := range map[string]string{"default.87=2E405": `{"uid":"87.405","name":"Backend Engineer","status":"closed"}`, "default.stray": `{}`} {
		if _, err := kv.PutString(w.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	w.eventuallyShows(all)
	w.check()
}

// A listing of which a page cannot be read proves no absence: nobody is refused by it, and nothing leaves the bucket.
func TestPositionsWithAMissingPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{MaxPageSize: 2})))
	w.run(func(c *connector.Config) { c.PositionsInterval = time.Second })
	w.eventually("the positions", func() bool { return len(w.shown()) == len(positions()) })
	breakPages(w.fake, comeettest.ListPositions, 3)
	w.eventually("broken pages", func() bool { return w.fake.Counts().Faults >= 3 })
	if got := len(w.shown()); got != len(positions()) {
		t.Errorf("%d positions in the bucket, want %d", got, len(positions()))
	}
	d := person(1)
	d.Position.UID = "22.0C2" // on a late page
	w.publish("e1", d)
	if got := matched(w.outcome("e1")); got != "position_on_hold" {
		t.Errorf("outcome %s", got)
	}
	w.check()
}

// A reading that fails is repeated soon: at a start everybody waits for it.
func TestPositionsAreReadSoonAfterAShortTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(comeettest.ListPositions, comeettest.HTMLPage(503), comeettest.HTMLPage(503))
	w.run()
	w.publish("e1", person(1))
	w.within(9*time.Second, "an outcome", func() bool { return len(w.read().outcomes()) == 1 })
	w.check()
}

// With the positions out of reach at a start, those that an earlier process left tell of a uid that it is open. What a name or a custom id means may
// have changed since: that waits for a reading.
func TestPositionsOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run()
	w.eventually("the positions", func() bool { return len(w.shown()) == len(positions()) })
	first.stop(w)
	scope := comeettest.Scope{Route: comeettest.ListPositions}
	w.fake.OutageOf(scope, comeettest.HTMLPage(503))
	w.run(func(c *connector.Config) { c.PositionsInterval = 3 * time.Second })
	named := person(0)
	named.Position = events.Position{CustomID: "DA-1"}
	w.publish("named", named)
	for i := range 3 {
		w.publish(fmt.Sprint("e", i), person(1+i))
		if got := matched(w.outcome(fmt.Sprint("e", i))); got != "uid 87.405" {
			t.Errorf("outcome %s", got)
		}
	}
	// By now the custom id is another position's.
	r := w.fake.Recruiter("default")
	if err := errors.Join(r.UnsharePosition("48.16A"), r.AddPosition(comeettest.Position{UID: "55.5", Name: "New", Status: "open", InternalUseCustomID: "DA-1"})); err != nil {
		t.Fatal(err)
	}
	w.fake.RecoverOf(scope)
	if got := matched(w.outcome("named")); got != "custom_id 55.5" {
		t.Errorf("outcome %s", got)
	}
	w.check()
}

// A reading that lacks most positions is believed when it is confirmed, and by nobody before: events wait or go on by what was known,
// and the bucket stays. It is told, with its name.
func TestPositionsThatVanishAtOnce(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body string }{
		{"none", `{"positions":[],"next_page":null}`},
		{"null", `{"positions":null}`},
		{"rows that say nothing", `{"positions":[null,{"uid":""}]}`},
		{"an error beside it", `{"positions":[],"next_page":null,"error":"timeout"}`},
		{"one of many", `{"positions":[{"uid":"11.111","name":"Twin","status":"open"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(func(c *connector.Config) { c.PositionsInterval = 3 * time.Second })
			w.eventually("the positions", func() bool { return len(w.shown()) == len(positions()) })
			w.fake.Script(comeettest.ListPositions, comeettest.Answer(200, tt.body), comeettest.Answer(200, tt.body))
			w.eventually("both odd answers", func() bool { return w.fake.Scripted(comeettest.ListPositions) < 2 })
			closed := person(0)
			closed.Position.UID = "22.0C1"
			w.publish("closed", closed)
			for i := range 3 {
				w.publish(fmt.Sprint("e", i), person(1+i))
				if got := matched(w.outcome(fmt.Sprint("e", i))); got != "uid 87.405" {
					t.Errorf("outcome %s", got)
				}
			}
			if got := matched(w.outcome("closed")); got != "position_closed" {
				t.Errorf("outcome %s", got)
			}
			if got := len(w.shown()); got != len(positions()) {
				t.Errorf("%d positions in the bucket, want %d", got, len(positions()))
			}
			w.check()
		})
	}
}

// Positions that are gone for good are believed to be.
func TestPositionsThatAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(func(c *connector.Config) { c.PositionsInterval = time.Second })
	w.eventually("the positions", func() bool { return len(w.shown()) == len(positions()) })
	r := w.fake.Recruiter("default")
	for _, p := range positions() {
		if err := r.UnsharePosition(p.UID); err != nil {
			t.Fatal(err)
		}
	}
	w.publish("e1", person(1))
	if got := matched(w.outcome("e1")); got != "position_not_found" {
		t.Errorf("outcome %s", got)
	}
	w.eventuallyShows(map[string]string{})
	w.check()
}
