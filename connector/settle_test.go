package connector_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// Comeet's documentation leaves much open. Whatever it is like, a lost answer makes one candidate.
func TestSettleWhateverComeetIsLike(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		switches comeettest.Switches
		deny     []comeettest.Permission
		offset   time.Duration
		posts    int
	}{
		{name: "as documented", posts: 1},
		{name: "full answers, 200", switches: comeettest.Switches{FullCreateBody: true, CreateStatus: 200}, posts: 1},
		{name: "bounds exclusive, many pages", switches: comeettest.Switches{BoundsExclusive: true, MaxPageSize: 1, PageSize: 1, EmptyPages: true, RepeatRows: 1}, posts: 1},
		{name: "newest first", switches: comeettest.Switches{Order: comeettest.OrderNewestFirst, PageSize: 2}, posts: 1},
		{name: "clock ahead", offset: 8 * time.Minute, posts: 1},
		{name: "clock behind", offset: -8 * time.Hour, posts: 1},
		{name: "clock behind and never told", switches: comeettest.Switches{NoDate: true}, offset: -9 * time.Minute, posts: 1},
		{name: "list shows it late, conflict names the number", switches: comeettest.Switches{VisibleInListAfter: bustest.Stretch(time.Second)}, posts: 2},
		{name: "list shows it late, conflict names the uid", switches: comeettest.Switches{VisibleInListAfter: bustest.Stretch(time.Second), ConflictUIDString: true}, posts: 2},
		{name: "candidates may not be read", deny: []comeettest.Permission{comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates}, posts: 2},
		{name: "the list refuses", switches: comeettest.Switches{}, posts: 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithSwitches(c.switches), comeettest.WithClockOffset(c.offset)))
			w.fake.Recruiter("default").Deny(c.deny...)
			if c.name == "the list refuses" {
				w.fake.OutageOf(comeettest.Scope{Route: comeettest.ListCandidates}, comeettest.APIError(400, "invalid_datetime"))
			}
			w.run()
			// Somebody else's candidates on the same position are not ours.
			for n := range 4 {
				w.publish(fmt.Sprint("before", n), person(100+n))
				w.outcome(fmt.Sprint("before", n))
			}
			before := w.posts("default")
			w.fake.Script(comeettest.CreateCandidate, lostAnswer())
			w.publish("e1", person(1))
			got := w.outcome("e1")
			if outcomeOf(got) != string(events.OutcomeRecovered) {
				t.Errorf("outcome %+v", got.Data)
			}
			if n := w.posts("default") - before; n != c.posts {
				t.Errorf("%d POSTs, want %d", n, c.posts)
			}
			all := w.fake.Candidates("default")
			if len(all) != 5 {
				t.Fatalf("%d candidates, want 5", len(all))
			}
			if d, ok := got.Data.(*events.Accepted); ok && len(c.deny) == 0 && d.CandidateUID != all[4].UID {
				t.Errorf("adopted %s, want %s", d.CandidateUID, all[4].UID)
			}
			w.check()
		})
	}
}

// The look-up compares what the event says with what Comeet shows.
func TestSettleFindsThePerson(t *testing.T) {
	t.Parallel()
	base := comeettest.Candidate{PositionUID: "87.405", FirstName: "Noor", LastName: "Lindqvist"}
	mine := events.Candidate{ID: "x", FirstName: "Noor", LastName: "Lindqvist"}
	cases := []struct {
		name   string
		theirs func(*comeettest.Candidate)
		ours   func(*events.Candidate)
		found  bool
	}{
		{"full name, nothing else", func(*comeettest.Candidate) {}, func(*events.Candidate) {}, true},
		{"full name, nothing in common", func(c *comeettest.Candidate) { c.Email = "a@example.test" }, func(c *events.Candidate) { c.Phone = "+46 555 0100 11" }, true},
		{"full name in other letters", func(c *comeettest.Candidate) { c.FirstName = " NOOR " }, func(*events.Candidate) {}, true},
		{"other name", func(c *comeettest.Candidate) { c.FirstName = "Nora" }, func(*events.Candidate) {}, false},
		{"e-mail", func(c *comeettest.Candidate) { c.Email, c.LastName = "N@example.test", "Other" }, func(c *events.Candidate) { c.Email = "n@EXAMPLE.test" }, true},
		{"another e-mail", func(c *comeettest.Candidate) { c.Email = "m@example.test" }, func(c *events.Candidate) { c.Email = "n@example.test" }, false},
		{"phone", func(c *comeettest.Candidate) { c.Phone, c.LastName = "0046-555 0100 11", "Other" }, func(c *events.Candidate) { c.Phone = "+46 (555) 010011" }, true},
		{"phone as mobile", func(c *comeettest.Candidate) { c.MobilePhone, c.LastName = "+4655501001199", "Other" }, func(c *events.Candidate) { c.Phone = "55501001199" }, true},
		{"another phone", func(c *comeettest.Candidate) { c.Phone = "+46 555 0100 12" }, func(c *events.Candidate) { c.Phone = "+46 555 0100 11" }, false},
		{"LinkedIn", func(c *comeettest.Candidate) {
			c.LinkedInURL, c.LastName = "http://se.linkedin.com/in/Noor-L/?trk=x", "Other"
		}, func(c *events.Candidate) { c.LinkedInURL = "https://www.linkedin.com/in/noor-l" }, true},
		{"another LinkedIn", func(c *comeettest.Candidate) { c.LinkedInURL = "https://www.linkedin.com/in/noor-m" }, func(c *events.Candidate) { c.LinkedInURL = "https://www.linkedin.com/in/noor-l" }, false},
		{"another e-mail, same phone", func(c *comeettest.Candidate) { c.Email, c.Phone = "m@example.test", "+46 555 0100 11" }, func(c *events.Candidate) { c.Email, c.Phone = "n@example.test", "+46 555 0100 11" }, true},
		{"other position", func(c *comeettest.Candidate) { c.PositionUID, c.Email = "48.16A", "n@example.test" }, func(c *events.Candidate) { c.Email = "n@example.test" }, false},
	}
	names := make([]string, len(cases))
	for i := range cases {
		names[i] = fmt.Sprint("a", i)
	}
	w := newWorld(t, accounts(names...), func(s *setup) { s.PollInterval = time.Hour })
	uids := make([]string, len(cases))
	for i, c := range cases {
		theirs, ours := base, mine
		c.theirs(&theirs)
		c.ours(&ours)
		// The POST does not act; what is found must be what is there, as if it had.
		w.fake.Control(comeettest.CreateCandidate, func(r comeettest.Request) (comeettest.Fault, bool) {
			if r.Account != names[i] {
				return comeettest.Fault{}, false
			}
			uid, err := w.fake.Recruiter(names[i]).AddCandidate(theirs)
			if err != nil {
				t.Error(err)
			}
			uids[i] = uid
			return comeettest.Drop(), true
		})
		w.publishTo(names[i], source, "e-"+names[i], &events.Sourced{Candidate: ours, Position: events.Position{UID: "87.405"}})
	}
	w.run()
	outcomes := w.settled().outcomes()
	for i, c := range cases {
		e := outcomes[source+" e-"+names[i]][0]
		d, ok := e.Data.(*events.Accepted)
		if !ok || (d.Outcome == events.OutcomeRecovered) != c.found || (d.CandidateUID == uids[i]) != c.found {
			t.Errorf("%s: %+v, found should be %v", c.name, e.Data, c.found)
		}
	}
}

// Of several candidates that fit, the one that came with our POST is ours, not one that came by another way shortly before.
func TestSettleAdoptsItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := person(1)
	w.fake.SetClockOffset(-time.Minute)
	applied, err := w.fake.Recruiter("default").AddCandidate(comeettest.Candidate{PositionUID: "87.405", FirstName: "N", LastName: "L", Phone: d.Candidate.Phone})
	if err != nil {
		t.Fatal(err)
	}
	w.fake.SetClockOffset(0)
	w.fake.Script(comeettest.CreateCandidate, lostAnswer())
	w.run()
	w.publish("e1", d)
	got, ok := w.outcome("e1").Data.(*events.Accepted)
	if !ok || got.Outcome != events.OutcomeRecovered || got.CandidateUID == applied {
		t.Errorf("outcome %+v, want our own candidate, not %s", got, applied)
	}
	w.check()
}

// A candidate that is known from another operation is nobody else's, however alike the persons are.
func TestSettleNeverAdoptsTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twin := func(id string) *events.Sourced {
		d := person(1)
		d.Candidate.ID, d.Candidate.Email = id, ""
		return d
	}
	w.run()
	w.fake.Script(comeettest.CreateCandidate, lostAnswer())
	w.publish("e1", twin("t1"))
	w.outcome("e1")
	w.fake.Script(comeettest.CreateCandidate, comeettest.HTMLPage(502))
	w.publish("e2", twin("t2"))
	w.settled()
	var got []string
	for _, id := range []string{"e1", "e2"} {
		e := w.outcome(id)
		got = append(got, outcomeOf(e)+" "+e.Data.(*events.Accepted).CandidateUID)
	}
	all := w.fake.Candidates("default")
	if len(all) != 2 || !slices.Equal(got, []string{"recovered " + all[0].UID, "created " + all[1].UID}) {
		t.Errorf("%q with %d candidates, want two different candidates", got, len(all))
	}
}

// A look-up of which a page can't be read proves nothing: it is repeated, and nothing is sent in the meantime.
func TestSettleWithAMissingPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{PageSize: 2})))
	w.run()
	for n := range 5 {
		w.publish(fmt.Sprint("before", n), person(100+n))
	}
	w.settled()
	breakPages(w.fake, comeettest.ListCandidates, 4)
	w.fake.Script(comeettest.CreateCandidate, lostAnswer())
	w.publish("e1", person(1))
	if got := outcomeOf(w.outcome("e1")); got != "recovered" {
		t.Errorf("outcome %s", got)
	}
	if n := w.posts("default"); n != 6 {
		t.Errorf("%d POSTs, want 6", n)
	}
	w.check()
}

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

// Another act with a candidate that Comeet has in progress on that position is answered by that candidate.
func TestExisting(t *testing.T) {
	t.Parallel()
	for _, byUID := range []bool{false, true} {
		t.Run(fmt.Sprint("conflict names the uid: ", byUID), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{ConflictUIDString: byUID})))
			w.run()
			w.publish("e1", person(1))
			first := w.outcome("e1").Data.(*events.Accepted)
			again := person(1)
			again.SubmissionID = "second"
			w.publish("e2", again)
			d, ok := w.outcome("e2").Data.(*events.Accepted)
			if !ok || d.Outcome != events.OutcomeExisting || d.CandidateUID != first.CandidateUID {
				t.Errorf("outcome %+v, want existing %s", d, first.CandidateUID)
			}
			w.check()
		})
	}
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

// A repetition that was not even sent says nothing of the attempt before it: that is looked up anew, and not matched to
// whatever the positions are by then.
func TestSettleAfterARepetitionThatWasNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{VisibleInListAfter: bustest.Stretch(time.Second)})),
		func(s *setup) { s.RateLimit = comeet.Limit{Requests: 1000, Window: 2 * time.Second} })
	w.fake.Script(comeettest.CreateCandidate, lostAnswer(), comeettest.Throttle(0))
	w.run(func(c *connector.Config) { c.PositionsInterval = time.Second })
	w.publish("e1", person(1))
	w.eventually("both attempts", func() bool { return w.posts("default") == 2 })
	if err := w.fake.Recruiter("default").ClosePosition("87.405"); err != nil {
		t.Fatal(err)
	}
	if got := outcomeOf(w.outcome("e1")); got != "recovered" {
		t.Errorf("outcome %s, want recovered", got)
	}
	w.check()
}

// The claim vanishes while the candidate is being created, as with a server's disk, and a recruiter moves the candidate on, so that Comeet's
// conflict answer is no net either: what Comeet has is not sent again.
func TestClaimLostUnderItsPost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault comeettest.Fault
		want  string
	}{
		"created":                 {comeettest.DelayAnswer(0), "created"},
		"the answer is lost":      {lostAnswer(), "recovered"},
		"there is no answer":      {comeettest.ActThen(comeettest.Hang()), "recovered"},
		"the answer is of no use": {comeettest.ActThen(comeettest.WrongJSON()), "recovered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := newProxy(t, w.NATSURL)
			// What is stored after the claim is held up until the claim is gone.
			w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
				s, err := w.js.Stream(w.Context(), bus.EventsStream)
				if err == nil {
					err = s.Purge(w.Context(), jetstream.WithPurgeSubject(events.TypeClaimed+".>"))
				}
				if err != nil {
					t.Error(err)
				}
				p.freeze()
				return c.fault, true
			})
			w.run(func(c *connector.Config) { c.NATSURL = p.url() })
			w.publish("e1", person(1))
			w.eventually("Comeet to act", func() bool { return w.fake.Counts().Created == 1 })
			for _, c := range w.fake.Candidates("default") {
				if err := w.fake.Recruiter("default").Reject(c.UID, "by a rule"); err != nil {
					t.Fatal(err)
				}
			}
			p.thaw()
			if got := outcomeOf(w.outcome("e1")); got != c.want {
				t.Errorf("outcome %s, want %s", got, c.want)
			}
			if n := w.posts("default"); n != 1 {
				t.Errorf("%d POSTs, want 1", n)
			}
			w.check()
		})
	}
}

// The claim vanishes, such as with a server's disk, while the candidate is looked up, which a recruiter has moved on. What was found is not
// sent again.
func TestClaimLostUnderItsLookUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(comeettest.CreateCandidate, lostAnswer())
	w.fake.Control(comeettest.ListCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
		if q.Query.Get("time_created:after") == "" {
			return comeettest.Fault{}, false
		}
		s, err := w.js.Stream(w.Context(), bus.EventsStream)
		if err == nil {
			err = s.Purge(w.Context(), jetstream.WithPurgeSubject(events.TypeClaimed+".>"))
		}
		for _, c := range w.fake.Candidates("default") {
			err = errors.Join(err, w.fake.Recruiter("default").Reject(c.UID, "by a rule"))
		}
		if err != nil {
			t.Error(err)
		}
		return comeettest.Delay(0), true
	})
	w.run()
	w.publish("e1", person(1))
	if got := outcomeOf(w.outcome("e1")); got != "recovered" {
		t.Errorf("outcome %s, want recovered", got)
	}
	if n := w.posts("default"); n != 1 {
		t.Errorf("%d POSTs, want 1", n)
	}
	w.check()
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

// Comeet says that it has the candidate and never shows it: the event has its outcome all the same, and a poll tells the state when it can.
func TestExistingThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{ConflictUIDString: true})))
	uid := w.land(person(1))
	w.fake.OutageOf(comeettest.Scope{Route: comeettest.RetrieveCandidate}, comeettest.APIError(500, "internal_error"))
	w.run(quick)
	w.publish("e1", person(1))
	d, ok := w.outcome("e1").Data.(*events.Accepted)
	if !ok || d.Outcome != events.OutcomeExisting || d.CandidateUID != uid {
		t.Fatalf("outcome %+v, want existing %s", d, uid)
	}
	w.eventually("a first status", func() bool { return len(w.read().statuses("default")[uid]) == 1 })
	w.fake.Recover()
	if err := w.fake.Recruiter("default").Hire(uid); err != nil {
		t.Fatal(err)
	}
	w.eventuallyTrue(uid)
	w.check()
}

// A worker dies with what it has found. Meanwhile a recruiter, or Comeet itself, merges the candidate away: no list shows it any more, and
// Comeet would take it again. The next worker knows from the claim what was found.
func TestFoundCandidateMergedAwayBeforeItsOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{MergedInDeleted: true})))
	uid := w.dieWithWhatWasFound()
	if err := merge(w.fake.Recruiter("default"), uid); err != nil {
		t.Fatal(err)
	}
	w.run()
	d, ok := w.outcome("e1").Data.(*events.Accepted)
	if !ok || d.CandidateUID != uid || d.Outcome != events.OutcomeRecovered {
		t.Errorf("outcome %+v, want the candidate %s that was found", w.outcome("e1").Data, uid)
	}
	if n := w.fake.Counts().ByRoute[comeettest.CreateCandidate]; n != 1 {
		t.Errorf("%d POSTs, want 1", n)
	}
	w.eventuallyTrue(uid)
	w.check()
}
