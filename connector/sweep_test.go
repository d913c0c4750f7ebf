package connector_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// What no poll can see, the sweep tells within its interval.
func TestSweepSeesWhatPollsCannot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		sw   comeettest.Switches
		do   func(w *world, r comeettest.Recruiter, uids []string) error
		want events.Change
	}{
		{
			name: "merged, and told nowhere",
			do:   func(_ *world, r comeettest.Recruiter, uids []string) error { return r.Merge(uids[0], uids[1]) },
			want: events.ChangedMerged,
		},
		{
			name: "shown again after a change",
			do: func(w *world, r comeettest.Recruiter, uids []string) error {
				if err := r.Hide(uids[0]); err != nil {
					return err
				}
				if err := r.Hire(uids[0]); err != nil {
					return err
				}
				at := w.truth("default", uids[0]).TimeHiringProcessUpdated
				w.eventually("the hire to leave every poll's span", func() bool { return time.Since(at) > 3*time.Second })
				return r.Show(uids[0])
			},
			want: events.ChangedStatus,
		},
		{
			name: "skipped by every listing",
			sw:   comeettest.Switches{MaxPageSize: 1, SkipRows: 1},
			do: func(_ *world, r comeettest.Recruiter, uids []string) error {
				for _, uid := range uids {
					if err := r.Withdraw(uid); err != nil {
						return err
					}
				}
				return nil
			},
			want: events.ChangedStatus,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithSwitches(tt.sw)))
			w.run(quick, sweeping, func(c *connector.Config) { c.PollOverlap = 100 * time.Millisecond })
			uids := w.follow(4)
			if err := tt.do(w, w.fake.Recruiter("default"), uids); err != nil {
				t.Fatal(err)
			}
			for _, uid := range uids {
				w.eventuallyTrue(uid)
				w.inOrder(uid)
			}
			if st := w.last(uids[0]); !slices.Contains(st.Changed, tt.want) {
				t.Errorf("changed %v, want %s", st.Changed, tt.want)
			}
			w.check()
		})
	}
}

// A sweep lists all pages and looks only at those whom no page shows; gone and hidden ones change nothing, and those that
// ended are not asked for again.
func TestSweepLooksOnlyAtWhomNoPageShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{MaxPageSize: 3, Stubs: comeettest.StubsNever})))
	w.run(quick, sweeping, func(c *connector.Config) { c.AdminAddr = "127.0.0.1:0" })
	uids := w.follow(8)
	r := w.fake.Recruiter("default")
	hidden, merged, deleted := uids[0], uids[1], uids[2]
	for _, err := range []error{r.Hide(hidden), r.Merge(merged, uids[7]), r.Delete(deleted)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.eventuallyTrue(merged)
	w.eventuallyTrue(deleted)
	told := len(w.read())
	swept := func() (lists, looks int, others []string) {
		for _, q := range w.fake.Requests() {
			switch {
			case q.Route == comeettest.ListCandidates && q.Query.Get("time_hiring_process_updated:after") == "" && q.Query.Get("limit") != "":
				lists++
			case q.Route == comeettest.RetrieveCandidate && strings.HasSuffix(q.Path, "/"+hidden):
				looks++
			case q.Route == comeettest.RetrieveCandidate:
				others = append(others, q.Path)
			}
		}
		return lists, looks, others
	}
	w.fake.ForgetRequests()
	w.eventually("three passes", func() bool { lists, _, _ := swept(); return lists == 4 })
	lists, looks, others := swept()
	if looks < lists-2 || looks > lists || len(others) > 0 {
		t.Errorf("%d passes, %d looks at the hidden candidate, looks at %v", lists, looks, others)
	}
	if n := len(w.read()); n != told {
		t.Errorf("%d events about nothing", n-told)
	}
	w.check()
}

// One candidate that Comeet cannot show does not keep a pass from its end: the others behind it are read, and it is counted.
func TestSweepPassesOverWhomComeetCannotShow(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]comeettest.Fault{
		"an error page": comeettest.HTMLPage(500), "gone": comeettest.HTMLPage(410), "no page": comeettest.HTMLPage(404), "no uid": comeettest.Answer(200, "{}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.run(quick, sweeping, func(c *connector.Config) { c.AdminAddr = "127.0.0.1:0" })
			uids := w.follow(4)
			r := w.fake.Recruiter("default")
			allow := w.refuse(uids[0], f)
			if err := r.Hide(uids[0]); err != nil {
				t.Fatal(err)
			}
			w.eventually("a pass that counts it", func() bool {
				return strings.Contains(metrics(t, c), `comeet_connector_sweep_unread_candidates{account="default"} 1`)
			})
			// No list tells of this merge.
			if err := r.Merge(uids[2], uids[1]); err != nil {
				t.Fatal(err)
			}
			w.eventuallyTrue(uids[2])
			allow()
			w.eventually("a pass that reads it", func() bool {
				return strings.Contains(metrics(t, c), `comeet_connector_sweep_unread_candidates{account="default"} 0`)
			})
			if !strings.Contains(w.logs.String(), "the sweep could not read some followed candidates") {
				t.Error("no log tells of it")
			}
			w.check()
		})
	}
}

// A candidate that Comeet's conflict answer named by a number, while it could not be read, is followed by its uid as soon as a
// sweep has read it.
func TestSweepFollowsByUIDWhoWasKnownByNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.fake.Recruiter("default")
	r.Deny(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	w.run(quick, sweeping, func(c *connector.Config) { c.DeniedRetry = 300 * time.Millisecond })
	w.fake.Script(comeettest.CreateCandidate, comeettest.DropAfter())
	w.publish("e1", person(1))
	accepted, ok := w.outcome("e1").Data.(*events.Accepted)
	uid := w.fake.Candidates("default")[0].UID
	if !ok || accepted.CandidateUID == uid {
		t.Fatalf("outcome %+v, want one that names a number", accepted)
	}
	if err := r.Hire(uid); err != nil {
		t.Fatal(err)
	}
	r.Grant(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	w.eventually("a status under the uid", func() bool { return len(w.read().statuses("default")[uid]) > 0 })
	w.eventuallyTrue(uid)
	if st := w.last(uid); st.Operation != accepted.Operation || st.CandidateID != "src-1" || st.Sourced == nil {
		t.Errorf("the status does not say whose it is: %+v", st)
	}
	w.eventually("the number to end", func() bool { return w.last(accepted.CandidateUID).Merged })
	// From now on polls follow it.
	if err := r.Reject(uid, "not a fit"); err != nil {
		t.Fatal(err)
	}
	w.eventuallyTrue(uid)
	w.inOrder(uid)
	w.polled()
	if n := len(w.read().statuses("default")[accepted.CandidateUID]); n != 2 {
		t.Errorf("%d status events of the number, want the first and the end", n)
	}
	w.check()
}

// A pass that fails begins anew; what a crash leaves is when the last complete one began.
func TestSweepBeginsAnewAfterFailureAndCrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{MaxPageSize: 2})))
	slow := func(c *connector.Config) {
		c.PollInterval, c.PollOverlap, c.SweepInterval, c.AdminAddr = time.Hour, time.Millisecond, 3*time.Second, "127.0.0.1:0"
	}
	first := w.run(quick, sweeping)
	uids := w.follow(6)
	first.stop(w)
	if err := w.fake.Recruiter("default").Merge(uids[5], uids[0]); err != nil {
		t.Fatal(err)
	}
	// Every page but the first is refused as one whose life is over.
	var refuse func()
	refused := make(chan struct{})
	failures := 0
	refuse = func() {
		w.fake.Control(comeettest.ListCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
			if q.Query.Get("limit") != "" || failures == 2 {
				return comeettest.Fault{}, false
			}
			if failures++; failures == 2 {
				close(refused)
			} else {
				refuse()
			}
			return comeettest.APIError(400, "invalid_request"), true
		})
	}
	refuse()
	second := w.run(slow)
	select {
	case <-refused:
	case <-time.After(bustest.Stretch(10 * time.Second)):
		t.Fatal("no pass was begun")
	}
	w.eventually("a pass that fails to be counted", func() bool {
		return strings.Contains(metrics(t, second), `comeet_connector_sweeps_total{account="default",result="failed"} `) &&
			!strings.Contains(metrics(t, second), `comeet_connector_sweeps_total{account="default",result="failed"} 0`)
	})
	second.stop(w)
	third := w.run(slow)
	w.eventuallyTrue(uids[5])
	w.eventually("a complete pass to be counted", func() bool {
		return !strings.Contains(metrics(t, third), `comeet_connector_sweeps_total{account="default",result="completed"} 0`) &&
			!strings.Contains(metrics(t, third), `comeet_connector_last_sweep_timestamp_seconds{account="default"} 0`)
	})
	w.check()
}
