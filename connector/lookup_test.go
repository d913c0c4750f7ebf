package connector_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/events"
)

// Incident: a look-up over several pages lost the row that it looked for, since rows moved while it read, and sent again. Comeet's order
// of rows is not documented, so they move in two of the likely ones: a recruiter's move ahead of the candidate pulls it over the border
// of a page that was read, or its own move does.
func TestLookUpLosesNoRowBetweenPages(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]comeettest.Order{
		"least recently active first": comeettest.OrderUpdated, "most recently active first": comeettest.OrderUpdatedNewestFirst,
	} {
		for _, spread := range []bool{true, false} {
			for border := range 3 {
				t.Run(fmt.Sprintf("%s/spread=%v/border=%d", name, spread, border), func(t *testing.T) {
					t.Parallel()
					lookUpUnderMoves(t, order, spread, border)
				})
			}
		}
	}
}

func lookUpUnderMoves(t *testing.T, order comeettest.Order, spread bool, border int) {
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{Order: order, MaxPageSize: 3})), func(s *setup) {
		s.PollInterval, s.RequestTimeout = time.Hour, 2*time.Second
	})
	r := w.fake.Recruiter("default")
	var mu sync.Mutex   // guards all that the fake's requests change
	var others []string // the least recently active one first
	add := func() {
		d := person(1000 + len(others)).Candidate
		uid, err := r.AddCandidate(comeettest.Candidate{PositionUID: "87.405", FirstName: d.FirstName, LastName: d.LastName, Email: d.Email})
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, uid)
	}
	w.run()
	w.eventually("the first poll", func() bool { return w.fake.Counts().ByRoute[comeettest.ListDeletedCandidates] > 0 })
	pages := 0
	defer w.fake.Control(comeettest.ListCandidates, func(comeettest.Request) (comeettest.Fault, bool) {
		mu.Lock()
		defer mu.Unlock()
		if pages++; pages > 24 || len(others) == 0 {
			return comeettest.Fault{}, false
		}
		moved := others[0]
		others = append(others[1:], moved)
		if order == comeettest.OrderUpdatedNewestFirst && pages == 2+border {
			for _, c := range w.fake.Candidates("default") {
				if c.Email == person(1).Candidate.Email {
					moved = c.UID
				}
			}
		}
		_ = r.SetProspectStatus(moved, fmt.Sprint("stage ", pages))
		return comeettest.Fault{}, false
	})()
	// Others are made after the claim and before the candidate, at once or over minutes, as a budget of 100 requests a minute does it.
	defer w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		mu.Lock()
		defer mu.Unlock()
		pages = 0
		for n := range 9 + border {
			if spread {
				w.fake.SetClockOffset(time.Duration(n) * 30 * time.Second)
			}
			add()
		}
		return comeettest.Fault{}, false
	})()
	w.fake.Script(comeettest.CreateCandidate, lostAnswer())
	w.publish("e1", person(1))
	// Automation moves the candidate on, so that Comeet would take it again.
	w.eventually("the candidate at Comeet", func() bool {
		for _, c := range w.fake.Candidates("default") {
			if c.Email == person(1).Candidate.Email {
				return r.Reject(c.UID, "automation") == nil
			}
		}
		return false
	})
	got := w.outcome("e1")
	if d, ok := got.Data.(*events.Accepted); !ok || d.Outcome != events.OutcomeRecovered {
		t.Errorf("outcome %+v, want the one that was there all the time", got.Data)
	}
	if n := w.posts("default"); n != 1 {
		t.Errorf("%d POSTs, want 1", n)
	}
}

// A server may ignore the end of a span of time, or drop filters from the second page on: then what is older than the claim is not ours.
func TestLookUpWhereFiltersAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{NextPageDropsFilters: true, MaxPageSize: 2, Order: comeettest.OrderNewestFirst})), func(s *setup) {
		s.RequestTimeout = 2 * time.Second
	})
	r := w.fake.Recruiter("default")
	add := func(n int, age time.Duration) string {
		w.fake.SetClockOffset(-age)
		d := person(n).Candidate
		uid, err := r.AddCandidate(comeettest.Candidate{PositionUID: "87.405", FirstName: d.FirstName, LastName: d.LastName, Email: d.Email, Status: comeettest.Rejected})
		if err != nil {
			t.Fatal(err)
		}
		return uid
	}
	// The same person was here a year ago, by another way.
	old := add(1, 365*24*time.Hour)
	for n := range 6 {
		add(1000+n, 0)
	}
	w.fake.SetClockOffset(0)
	w.run()
	w.fake.Script(comeettest.CreateCandidate, comeettest.Drop())
	w.publish("e1", person(1))
	if d, ok := w.outcome("e1").Data.(*events.Accepted); !ok || d.CandidateUID == old || d.Outcome != events.OutcomeCreated {
		t.Errorf("outcome %+v, want a candidate of its own", d)
	}
}

// A backlog of minutes takes several pages. It is read by creation time, in pieces that one page holds each, so that moves don't matter.
func TestLookUpReadsPieces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{MaxPageSize: 4})), func(s *setup) {
		s.PollInterval, s.RequestTimeout = time.Hour, 2*time.Second
	})
	r := w.fake.Recruiter("default")
	for n := range 16 {
		w.fake.SetClockOffset(time.Duration(n-17) * 30 * time.Second)
		d := person(1000 + n).Candidate
		if _, err := r.AddCandidate(comeettest.Candidate{PositionUID: "87.405", FirstName: d.FirstName, LastName: d.LastName, Email: d.Email}); err != nil {
			t.Fatal(err)
		}
	}
	w.fake.SetClockOffset(0)
	w.run()
	w.fake.Script(comeettest.CreateCandidate, comeettest.Drop())
	w.publish("e1", person(1))
	if got := outcomeOf(w.outcome("e1")); got != string(events.OutcomeCreated) {
		t.Errorf("outcome %s, want created", got)
	}
	pieces := map[string]bool{}
	for _, q := range w.fake.Requests() {
		if q.Route == comeettest.ListCandidates && q.Query.Has("time_created:before") {
			pieces[q.Query.Get("time_created:after")] = true
		}
		if q.Query.Has("opaque") && q.Route == comeettest.ListCandidates {
			t.Errorf("a second page was asked for: %v", q.Query)
		}
	}
	if len(pieces) < 4 {
		t.Errorf("%d pieces were read, want at least 4", len(pieces))
	}
	w.check()
}
