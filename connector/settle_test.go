package connector_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
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

// loseClaims removes all claims, as a disk may that was not written.
func (w *world) loseClaims() error {
	s, err := w.js.Stream(w.Context(), bus.EventsStream)
	if err != nil {
		return err
	}
	return s.Purge(w.Context(), jetstream.WithPurgeSubject(events.TypeClaimed+".>"))
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
				if err := w.loseClaims(); err != nil {
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
		err := w.loseClaims()
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
