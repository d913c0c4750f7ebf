package connector_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// Each thing that a recruiter may do, and what the feed says of it.
func TestStatusEventSaysWhatChanged(t *testing.T) {
	t.Parallel()
	type R = comeettest.Recruiter
	agency := comeettest.Source{UID: "2A.1", Name: "One", Type: "Agency"}
	tests := []struct {
		name string
		sw   comeettest.Switches
		// before is done and told first.
		before func(r R, uid string) error
		do     func(r R, uid string) error
		want   []events.Change // none means no event
		// later is done when a list is surely newer than what was told, so that nothing else makes the poller look; and so are some polls
		// after it.
		later bool
		// grant lets the source be read again afterwards.
		grant bool
	}{
		{name: "moved to a step", do: func(r R, uid string) error { return r.MoveToStep(uid, "Technical interview") }, want: []events.Change{events.ChangedSteps}},
		{name: "in two steps at once", do: func(r R, uid string) error { return r.MoveToStep(uid, "Technical interview", "Offer call") }, want: []events.Change{events.ChangedSteps}},
		{name: "step scheduled later", do: func(r R, uid string) error { return r.ScheduleStep(uid, time.Now().Add(time.Hour)) }, want: []events.Change{events.ChangedSteps}},
		{name: "rejected", do: func(r R, uid string) error { return r.Reject(uid, "not a fit") }, want: []events.Change{events.ChangedStatus, events.ChangedSteps, events.ChangedDispositionReason}},
		{name: "rejected in its step", sw: comeettest.Switches{KeepCurrentSteps: true}, do: func(r R, uid string) error { return r.Reject(uid, "") }, want: []events.Change{events.ChangedStatus}},
		{name: "reopened", before: func(r R, uid string) error { return r.Reject(uid, "not a fit") }, do: func(r R, uid string) error { return r.Reopen(uid) }, want: []events.Change{events.ChangedStatus, events.ChangedSteps, events.ChangedDispositionReason}},
		{name: "unknown status", do: func(r R, uid string) error { return r.SetStatus(uid, "Parked by legal") }, want: []events.Change{events.ChangedStatus, events.ChangedSteps}},
		{name: "blank status", sw: comeettest.Switches{KeepCurrentSteps: true}, do: func(r R, uid string) error { return r.SetStatus(uid, "") }, want: []events.Change{events.ChangedStatus}},
		{name: "prospect status", do: func(r R, uid string) error { return r.SetProspectStatus(uid, "Contacted") }, want: []events.Change{events.ChangedProspectStatus}},
		{name: "another position", do: func(r R, uid string) error { return r.MoveToPosition(uid, "48.16A") }, want: []events.Change{events.ChangedPosition}},
		{name: "another source", do: func(r R, uid string) error { return r.ChangeSource(uid, agency) }, want: []events.Change{events.ChangedSource}},
		{name: "back to our source", before: func(r R, uid string) error { return r.ChangeSource(uid, agency) }, do: func(r R, uid string) error { return r.ChangeSource(uid, comeettest.AppSource) }, want: []events.Change{events.ChangedSource}},
		{name: "deleted", do: func(r R, uid string) error { return r.Delete(uid) }, want: []events.Change{events.ChangedDeleted}},
		{
			name: "merged, listed as deleted", sw: comeettest.Switches{MergedStubbed: true}, later: true,
			do: func(r R, uid string) error { return merge(r, uid) }, want: []events.Change{events.ChangedMerged},
		},
		{
			name: "merged, among the deleted", sw: comeettest.Switches{MergedInDeleted: true}, later: true,
			do: func(r R, uid string) error { return merge(r, uid) }, want: []events.Change{events.ChangedMerged},
		},
		{
			name: "merged, listed as it was and among the deleted", sw: comeettest.Switches{MergedListed: true, MergedInDeleted: true}, later: true,
			do: func(r R, uid string) error { return merge(r, uid) }, want: []events.Change{events.ChangedMerged},
		},
		{name: "pseudonymised", do: func(r R, uid string) error { return r.Pseudonymize(uid) }},
		{name: "hidden", do: func(r R, uid string) error { return r.Hide(uid) }},
		{name: "position unshared", do: func(r R, uid string) error { return r.UnsharePosition("87.405") }},
		{name: "same status again", do: func(r R, uid string) error { return r.SetStatus(uid, "IN PROGRESS") }, sw: comeettest.Switches{KeepCurrentSteps: true}},
		{
			name: "source hidden and shown", grant: true, before: func(r R, uid string) error { return r.ChangeSource(uid, agency) },
			do: func(r R, uid string) error {
				r.Deny(comeettest.ReadSource)
				return r.Pseudonymize(uid) // an activity, so that it is listed
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithSwitches(tt.sw)))
			w.run(quick)
			uid := w.follow(1)[0]
			r := w.fake.Recruiter("default")
			told := func() []*events.StatusChanged { return w.read().statuses("default")[uid] }
			if tt.before != nil {
				if err := tt.before(r, uid); err != nil {
					t.Fatal(err)
				}
				w.eventuallyTrue(uid)
			}
			clockMoves := func() {
				w.eventually("Comeet's clock to move on", func() bool { return time.Since(w.last(uid).SeenAt) > 2*time.Second })
			}
			if tt.later {
				clockMoves()
			}
			before := len(told())
			if err := tt.do(r, uid); err != nil {
				t.Fatal(err)
			}
			w.polled()
			if tt.later {
				clockMoves()
				w.polled()
			}
			if tt.grant {
				r.Grant(comeettest.ReadSource)
				w.polled()
			}
			news := told()[before:]
			if len(tt.want) == 0 {
				if len(news) != 0 {
					t.Errorf("told: %v, though nothing visible has changed", news[0].Changed)
				}
				return
			}
			if len(news) != 1 {
				t.Fatalf("%d events, want one", len(news))
			}
			slices.Sort(tt.want)
			slices.Sort(news[0].Changed)
			if d := cmp.Diff(tt.want, news[0].Changed); d != "" {
				t.Errorf("changed (-want +got): %s", d)
			}
			if news[0].CandidateID != "src-0" || news[0].Operation == "" || news[0].Sourced == nil || news[0].SeenAt.IsZero() {
				t.Errorf("the event does not say whose it is: %+v", news[0])
			}
			w.eventuallyTrue(uid)
			w.check()
		})
	}
}

// A row that leaves out the status, or says nothing but the uid, tells nothing new; one that says that it is blank does.
func TestWhatARowLeavesOutStaysAsItWasKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(quick)
	uid := w.follow(1)[0]
	w.eventually("Comeet's clock to move on, so that what is seen now is surely newer", func() bool { return time.Since(w.last(uid).SeenAt) > 2*time.Second })
	told := func() int { return len(w.read().statuses("default")[uid]) }
	before := told()
	row := func(more string) comeettest.Fault {
		return comeettest.Answer(200, `{"candidates":[{"uid":"`+uid+`"`+more+`}],"next_page":null}`)
	}
	w.fake.Script(comeettest.ListCandidates, row(""), row(`,"position_uid":"87.405"`))
	w.polled()
	if n := told(); n != before {
		t.Errorf("%d events about what was not told: %v", n-before, w.last(uid).Changed)
	}
	w.fake.Script(comeettest.ListCandidates, row(`,"status":null`))
	w.eventually("a blank status", func() bool { return told() == before+1 })
	w.check()
}

// merge puts a candidate into one that somebody else has brought.
func merge(r comeettest.Recruiter, uid string) error {
	survivor, err := r.AddCandidate(comeettest.Candidate{FirstName: personMark, LastName: "Other", PositionUID: "48.16A"})
	if err != nil {
		return err
	}
	return r.Merge(uid, survivor)
}

// The first status may come late: the submission died after Comeet had the candidate. What happened meanwhile is not lost.
func TestLateFirstStatusEndsInTheTruth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newProxy(t, w.NATSURL)
	sprung := p.set("candidate.status.changed.", false)
	first := w.spawn(func(c *child) { c.NATSURL = p.url() })
	w.publish("e1", person(1))
	select {
	case <-sprung:
	case <-time.After(bustest.Stretch(10 * time.Second)):
		t.Fatal("no status was published")
	}
	first.kill()
	uid := w.fake.Candidates("default")[0].UID
	if err := w.fake.Recruiter("default").Reject(uid, "not a fit"); err != nil {
		t.Fatal(err)
	}
	w.run(quick)
	w.eventually("a status", func() bool { return len(w.read().statuses("default")) == 1 })
	w.eventuallyTrue(uid)
	w.inOrder(uid)
	w.check()
}

// Comeet's conflict answer names a candidate that its own address does not show yet: the first status has the position, at least, and
// the next one the rest.
func TestFirstStatusOfACandidateThatIsNotShownYet(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"not_found", "candidate_not_found"} {
		w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{VisibleInListAfter: bustest.Stretch(time.Second), ConflictUIDString: true})))
		w.fake.Script(comeettest.CreateCandidate, comeettest.DropAfter())
		w.fake.Script(comeettest.RetrieveCandidate, comeettest.APIError(404, code))
		w.run()
		w.publish("e1", person(1))
		if got := matched(w.outcome("e1")); got != "uid 87.405" {
			t.Errorf("outcome %s", got)
		}
		uid := w.read().outcomes()[source+" e1"][0].Data.(*events.Accepted).CandidateUID
		w.eventuallyTrue(uid)
		w.inOrder(uid)
		first := w.read().statuses("default")[uid][0]
		if first.PositionUID != "87.405" || first.Status != "" {
			t.Errorf("the first status is %+v", first.State)
		}
		w.check()
	}
}
