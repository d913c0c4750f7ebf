package main

import (
	"context"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// Positions of the fake Comeet. An event names one by uid, by custom id or by name.
var (
	backend  = comeettest.Position{UID: "87.405", Name: "Backend Engineer", Department: "R&D", InternalUseCustomID: "BE-1"}
	analyst  = comeettest.Position{UID: "48.16A", Name: "Data Analyst", Department: "BI", InternalUseCustomID: "DA-2"}
	designer = comeettest.Position{UID: "5C.2F0", Name: "Product Designer", Department: "Design", InternalUseCustomID: "PD-3"}
	closed   = comeettest.Position{UID: "22.0C1", Name: "Office Manager", InternalUseCustomID: "OM-4", Status: comeettest.PositionClosed}
	onHold   = comeettest.Position{UID: "61.B03", Name: "Field Engineer", InternalUseCustomID: "FE-5", Status: comeettest.PositionOnHold}
	// Two of one name: by name alone nobody can tell which is meant.
	supportNorth = comeettest.Position{UID: "11.111", Name: "Support Agent", Department: "North", InternalUseCustomID: "SA-6"}
	supportSouth = comeettest.Position{UID: "11.112", Name: "Support Agent", Department: "South", InternalUseCustomID: "SA-7"}
)

// requestsKept is how many requests the fake remembers, to find the busiest window among.
const requestsKept = 20_000

// newComeet makes a Comeet with one company. usedUIDs is an upper bound of how many uids earlier
// runs on the same bus have seen: Comeet forgets them when the process ends, but must not give them
// to others, because the bus remembers.
func newComeet(budget comeet.Limit, usedUIDs uint64) *comeettest.Server {
	opts := []comeettest.Option{
		comeettest.WithRateLimit(budget.Requests, budget.Window),
		comeettest.WithRecording(requestsKept),
		// A merge is then found by the next poll, not by the sweep of the coming days.
		comeettest.WithSwitches(comeettest.Switches{MergedInDeleted: true}),
		comeettest.WithAccount(comeettest.Account{
			Name: comeettest.DefaultAccount, APIKey: comeettest.DefaultAPIKey, Company: "Example Ltd",
			Positions: []comeettest.Position{backend, analyst, designer, closed, onHold, supportNorth, supportSouth},
		}),
	}
	if usedUIDs > 0 {
		// A position that names no uid takes the next one; this company is asked by nobody.
		opts = append(opts, comeettest.WithAccount(comeettest.Account{
			Name: "earlier runs", Positions: make([]comeettest.Position, usedUIDs+100),
		}))
	}
	return comeettest.New(opts...)
}

const (
	// outageEvery is the time between outages of a run without end; a run with an end has one, at a
	// third.
	outageEvery = time.Minute
	firstOutage = 10 * time.Second
	outageTakes = 2 * time.Second
	// lostEvery is the time between two answers that get lost.
	lostEvery = 6 * time.Second
)

// troubles is what befalls Comeet until ctx ends.
func troubles(ctx context.Context, total time.Duration, fake *comeettest.Server, v *view) {
	first, takes, lost := firstOutage, outageTakes, lostEvery
	if total > 0 {
		first, takes, lost = total/3, min(outageTakes, total/8), min(lostEvery, total/6)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait := lost / 2; rest(ctx, wait); wait = lost {
			loseAnswer(ctx, fake, v)
		}
	}()
	defer func() { <-done }()
	for wait := first; rest(ctx, wait); wait = outageEvery {
		v.notice("comeet", "OUTAGE", "every request is answered 503 for "+takes.String(), red)
		fake.Outage(comeettest.HTMLPage(503))
		rest(ctx, takes)
		fake.Recover()
		v.notice("comeet", "RECOVERED", "answers again", green)
		if total > 0 {
			return
		}
	}
}

// loseAnswer lets Comeet act on the next submission and lose its answer, and waits until that has
// come to pass.
func loseAnswer(ctx context.Context, fake *comeettest.Server, v *view) {
	lost := make(chan struct{})
	var once sync.Once // two requests may come at the same time
	remove := fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		hit := false
		once.Do(func() {
			hit = true
			close(lost)
			v.line("comeet", "answer lost", "", "", "acts on a submission, then cuts the connection instead of answering", yellow)
		})
		return comeettest.DropAfter(), hit
	})
	defer remove()
	select {
	case <-lost:
	case <-ctx.Done():
	}
}
