package connector_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// Another event of the same operation leaves a doubt to the event that was sent, and becomes its duplicate.
func TestSettleLeavesADoubtToItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doubt := make(chan struct{})
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		close(doubt)
		return lostAnswer(), true
	})
	w.run(func(c *connector.Config) { c.SettleDelay = 500 * time.Millisecond })
	w.publish("e1", person(1))
	<-doubt
	// The same act, told otherwise: a look-up by these data would find nobody.
	again := person(1)
	again.Candidate.Email, again.Candidate.Phone = "corrected@example.test", ""
	w.publish("e2", again)
	if got := outcomeOf(w.outcome("e1")); got != "recovered" {
		t.Errorf("first event: %s", got)
	}
	if got := outcomeOf(w.outcome("e2")); got != "duplicate" {
		t.Errorf("second event: %s", got)
	}
	if n := w.posts("default"); n != 1 {
		t.Errorf("%d POSTs, want 1", n)
	}
	w.check()
}

// An event that Comeet chokes on ends after three POSTs, for a person to look at, while others pass; where none pass, after six.
func TestPoisonedEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		poisoned, others int
		deny             []comeettest.Permission
		most             int // POSTs of one poisoned event; more than three only if their doubts cast doubt on Comeet, or nothing tells
	}{
		{"alone", 1, 0, nil, 6},
		{"alone, candidates may not be read", 1, 0, []comeettest.Permission{comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates}, 2},
		{"among others", 1, 1000, nil, 3},
		{"three among others", 3, 1000, nil, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithBodies()))
			w.fake.Recruiter("default").Deny(c.deny...)
			poison(w.fake)
			w.run(func(c *connector.Config) { c.SettleDelay = 50 * time.Millisecond })
			for n := range c.poisoned {
				d := person(n)
				d.Candidate.Note = "poison"
				w.publish(fmt.Sprint("bad", n), d)
			}
			n := 0
			w.eventually("an outcome for the poisoned events", func() bool {
				if n < c.others {
					w.publish(fmt.Sprint("good", n), person(1000+n))
					n++
				}
				outcomes := w.read().outcomes()
				done := 0
				for i := range c.poisoned {
					done += len(outcomes[source+fmt.Sprint(" bad", i)])
				}
				return done == c.poisoned
			})
			for id, es := range w.settled().outcomes() {
				want := "created"
				if id < source+" e" {
					want = "in_doubt"
				}
				if got := outcomeOf(es[0]); got != want {
					t.Errorf("%s: %s, want %s", id, got, want)
				}
			}
			if got := w.posts("default") - n; got > c.poisoned*c.most {
				t.Errorf("%d POSTs of poisoned events, want at most %d each", got, c.most)
			}
			w.check()
		})
	}
}

// poison makes every POST with the word in its body fail, up to a hundred of them: many more than a test makes.
func poison(fake *comeettest.Server) {
	for range 100 {
		fake.Control(comeettest.CreateCandidate, func(r comeettest.Request) (comeettest.Fault, bool) {
			return comeettest.APIError(500, "internal_error"), bytes.Contains(r.Body, []byte("poison"))
		})
	}
}

// An outage, of everything or of the POSTs alone, makes no dead letter of anybody and no candidate twice.
func TestOutageBlamesNobody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		scope  comeettest.Scope
		fault  comeettest.Fault
		events int
		doubts int // the outage lasts until one event has so many; 0: until it is noticed
	}{
		{"everything, one event", comeettest.Scope{}, comeettest.HTMLPage(503), 1, 0},
		{"everything, many", comeettest.Scope{}, comeettest.HTMLPage(503), 60, 0},
		{"connections refused", comeettest.Scope{}, comeettest.Refuse(), 60, 0},
		{"POSTs alone, one event", posts, comeettest.HTMLPage(503), 1, 0},
		{"POSTs alone, one event, for long", posts, comeettest.HTMLPage(503), 1, 5},
		{"POSTs alone, many", posts, comeettest.HTMLPage(503), 60, 0},
		{"POSTs alone, for long", posts, comeettest.HTMLPage(503), 20, 5},
		{"POSTs alone, all of them acted on", posts, lostAnswer(), 60, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithBodies()))
			w.run(func(c *connector.Config) {
				if c.SettleDelay = 500 * time.Millisecond; tc.doubts > 0 {
					c.SettleDelay, c.Workers = 50*time.Millisecond, 3
				}
			})
			w.publish("before", person(10_000))
			w.outcome("before")
			before := w.fake.Counts().ByRoute[comeettest.CreateCandidate]
			if tc.doubts > 0 {
				failPosts(w.fake, tc.fault, tc.doubts)
			} else {
				w.fake.OutageOf(tc.scope, tc.fault)
			}
			for n := range tc.events {
				w.publish(fmt.Sprint("e", n), person(n))
			}
			// Two rests, in the scale of the defaults ten seconds; refused connections reach nobody who could count them.
			w.eventually("the outage to be noticed", func() bool {
				return w.fake.Counts().ByRoute[comeettest.CreateCandidate] >= before+int64(max(2, tc.doubts)) ||
					tc.doubts == 0 && strings.Contains(w.logs.String(), "breaker open")
			})
			w.fake.RecoverOf(tc.scope)
			for id, es := range w.settled().outcomes() {
				if _, ok := es[0].Data.(*events.Accepted); !ok {
					t.Errorf("%s: %s", id, outcomeOf(es[0]))
				}
			}
			w.check()
		})
	}
}

// failPosts makes POSTs fail until so many of one event have.
func failPosts(fake *comeettest.Server, f comeettest.Fault, most int) {
	var mu sync.Mutex // guards what follows
	over := false
	requests := map[uint64]bool{} // a request may be shown to several controls
	ofEvent := map[string]int{}   // by the body, which repetitions have in common
	for range 100 {
		fake.Control(comeettest.CreateCandidate, func(r comeettest.Request) (comeettest.Fault, bool) {
			mu.Lock()
			defer mu.Unlock()
			if !over && !requests[r.ID] {
				requests[r.ID] = true
				ofEvent[string(r.Body)]++
				over = ofEvent[string(r.Body)] == most
			}
			return f, requests[r.ID]
		})
	}
}

// What ended in doubt, for a person to look at, lands after all and is moved on. Another event of its operation looks before it sends.
func TestAnotherEventAfterADoubtLooksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.OutageOf(posts, comeettest.APIError(500, "internal_error"))
	w.run(func(c *connector.Config) { c.SettleDelay = 30 * time.Millisecond })
	w.publish("e1", person(1))
	if got := outcomeOf(w.outcome("e1")); got != "in_doubt" {
		t.Fatalf("outcome %s, want in_doubt", got)
	}
	w.fake.RecoverOf(posts)
	// As a gateway does that sends on what it had long kept.
	landed := w.land(person(1))
	if err := w.fake.Recruiter("default").Reject(landed, "by a rule"); err != nil {
		t.Fatal(err)
	}
	w.publish("e2", person(1))
	d, ok := w.outcome("e2").Data.(*events.Accepted)
	if !ok || d.Outcome != events.OutcomeRecovered || d.CandidateUID != landed {
		t.Errorf("outcome %+v, want recovered %s", d, landed)
	}
	if n := len(w.fake.Candidates("default")); n != 1 {
		t.Errorf("%d candidates, want 1", n)
	}
	w.check()
}

// land creates a candidate as the connector would have, behind its back.
func (w *world) land(d *events.Sourced) (uid string) {
	w.Helper()
	client, err := comeet.NewClient(comeet.StaticCredentials(apiKeyOf("default"), secret), comeet.WithBaseURL(w.fake.URL()))
	if err != nil {
		w.Fatal(err)
	}
	c, _, err := client.CreateCandidate(w.Context(), &comeet.NewCandidate{
		PositionUID: d.Position.UID, PartnerCandidateID: ledger.PartnerCandidateID(source, d.Candidate.ID),
		FirstName: d.Candidate.FirstName, LastName: d.Candidate.LastName, Email: d.Candidate.Email, Phone: d.Candidate.Phone,
	})
	if err != nil {
		w.Fatal(err)
	}
	return c.UID
}

// An account that may not read candidates repeats a lost POST, and the repetition is refused. That says nothing of the first, which has landed:
// a person must look.
func TestRefusedRepetitionOfWhatNobodyCouldLookUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.SettleDelay = 200 * time.Millisecond })
	w.fake.Recruiter("default").Deny(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	w.run()
	w.eventually("the denial to be noticed", func() bool { return strings.Contains(w.logs.String(), "Comeet denies") })
	w.fake.Script(comeettest.CreateCandidate, lostAnswer(), comeettest.APIError(404, "position_not_found"))
	w.publish("e1", person(1))
	if got := outcomeOf(w.outcome("e1")); got != "in_doubt" {
		t.Errorf("outcome %s, want in_doubt", got)
	}
	w.check()
}
