package connector_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// office is a recruiter's random activity: something happens whenever Comeet is asked for something, also between two pages.
type office struct {
	recruiter comeettest.Recruiter
	uids      []string
	merges    bool
	hides     bool

	mu   sync.Mutex // guards what follows
	rand *rand.Rand
	left int
	done chan struct{}
}

// work lets n things happen.
func (w *world) work(o *office, n int) {
	w.Helper()
	o.recruiter, o.left, o.done = w.fake.Recruiter("default"), n, make(chan struct{})
	remove := w.fake.Control("", func(r comeettest.Request) (comeettest.Fault, bool) {
		switch r.Route {
		case comeettest.ListCandidates, comeettest.ListDeletedCandidates, comeettest.RetrieveCandidate:
			o.bustle()
		}
		return comeettest.Fault{}, false
	})
	defer remove()
	select {
	case <-o.done:
	case <-time.After(bustest.Stretch(30 * time.Second)):
		w.Fatal("Comeet was not asked often enough")
	}
}

func (o *office) bustle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range o.rand.IntN(4) {
		if o.left == 0 {
			return
		}
		o.act()
		if o.left--; o.left == 0 {
			close(o.done)
		}
	}
}

// act does one thing; what cannot be done to a deleted or merged candidate does not happen.
func (o *office) act() {
	r, uid := o.recruiter, o.any()
	names := []string{"CV Screen", "Technical interview", "Offer call", "Send notification"}
	switch o.rand.IntN(20) {
	case 0, 1, 2, 3:
		n := 1 + o.rand.IntN(2)
		at := o.rand.IntN(len(names) - 1)
		_ = r.MoveToStep(uid, names[at:at+n]...)
	case 4:
		_ = r.ScheduleStep(uid, time.Now().Add(time.Duration(o.rand.IntN(100))*time.Hour))
	case 5, 6:
		_ = r.Reject(uid, []string{"", "not a fit", "withdrew"}[o.rand.IntN(3)])
	case 7, 8:
		_ = r.Reopen(uid)
	case 9:
		_ = r.Hire(uid)
	case 10:
		_ = r.PutOnHold(uid)
	case 11:
		_ = r.SetStatus(uid, []string{"", "Parked by legal", comeettest.AwaitingDecision}[o.rand.IntN(3)])
	case 12, 13:
		_ = r.SetProspectStatus(uid, []string{"", "Contacted", "Not interested"}[o.rand.IntN(3)])
	case 14:
		_ = r.ChangeSource(uid, []comeettest.Source{{UID: "2A.1", Name: "One", Type: "Agency"}, {UID: "2A.2", Type: "Web"}}[o.rand.IntN(2)])
	case 15:
		_ = r.MoveToPosition(uid, []string{"87.405", "48.16A"}[o.rand.IntN(2)])
	case 16:
		_ = r.Pseudonymize(uid)
	case 17:
		if o.rand.IntN(2) == 0 {
			_ = r.Delete(uid)
		}
	case 18:
		if o.merges {
			_ = r.Merge(uid, o.any())
		}
	case 19:
		if o.hides {
			_ = r.Hide(uid)
			_ = r.Show(o.any())
		}
	}
}

func (o *office) any() string { return o.uids[o.rand.IntN(len(o.uids))] }

// The way back under every behaviour of Comeet that its documentation leaves open: whatever recruiters do, each candidate's
// feed tells true states in their order, never one twice in a row, and ends in what Comeet shows.
func TestFeedFollowsComeet(t *testing.T) {
	type switches = comeettest.Switches
	const (
		polls     = 1 << iota // two pollers at once
		sweeps                // polls alone cannot see it all
		noMerges              // a merged candidate is listed as it was, so nothing tells of the merge
		disturbed             // pages fail
	)
	tests := []struct {
		name   string
		sw     switches
		offset time.Duration
		with   int
	}{
		{name: "gentlest"},
		{name: "clock ahead", offset: 5 * time.Minute},
		{name: "clock behind", offset: -5 * time.Minute},
		{name: "no Date", sw: switches{NoDate: true}},
		{name: "no Date, clock ahead", sw: switches{NoDate: true}, offset: 5 * time.Minute},
		{name: "no Date, clock behind", sw: switches{NoDate: true}, offset: -5 * time.Minute},
		{name: "bounds exclude the second", sw: switches{BoundsExclusive: true}},
		{name: "pages", sw: switches{MaxPageSize: 2}},
		{name: "pages by row number", sw: switches{MaxPageSize: 2, Order: comeettest.OrderCreatedOffset}},
		{name: "pages newest first", sw: switches{MaxPageSize: 2, Order: comeettest.OrderNewestFirst}},
		{name: "pages by activity", sw: switches{MaxPageSize: 2, Order: comeettest.OrderUpdated}},
		{name: "pages by activity, newest first", sw: switches{MaxPageSize: 2, Order: comeettest.OrderUpdatedNewestFirst}},
		{name: "rows repeat", sw: switches{MaxPageSize: 3, RepeatRows: 2}},
		{name: "rows are skipped", sw: switches{MaxPageSize: 2, SkipRows: 1}, with: sweeps},
		{name: "empty pages", sw: switches{MaxPageSize: 2, EmptyPages: true}},
		{name: "relative next_page", sw: switches{MaxPageSize: 2, NextPageBase: "/"}},
		{name: "no next_page at the end", sw: switches{MaxPageSize: 2, OmitNextPage: true}},
		{name: "next_page forgets the filter", sw: switches{MaxPageSize: 2, NextPageDropsFilters: true}},
		{name: "pages fail", sw: switches{MaxPageSize: 2}, with: disturbed},
		{name: "stubs in every list", sw: switches{Stubs: comeettest.StubsAlways}},
		{name: "no stubs", sw: switches{Stubs: comeettest.StubsNever}},
		{name: "deleted are not found", sw: switches{DeletedGetNotFound: true}},
		{name: "deleted have no page", sw: switches{DeletedGetPage: 404}},
		{name: "deleted are gone", sw: switches{DeletedGetPage: 410}},
		{name: "deletions in an envelope", sw: switches{Stubs: comeettest.StubsNever, DeletedEnvelope: true}},
		{name: "merged are listed", sw: switches{MergedListed: true}, with: sweeps | noMerges},
		{name: "merged are stubs", sw: switches{MergedStubbed: true}},
		{name: "merged are among the deleted", sw: switches{MergedInDeleted: true}},
		{name: "merged are listed and among the deleted", sw: switches{MergedListed: true, MergedInDeleted: true}},
		{name: "merged are nowhere", with: sweeps},
		{name: "POST answers in full", sw: switches{FullCreateBody: true}},
		{name: "current steps of rejected ones stay", sw: switches{KeepCurrentSteps: true}},
		{name: "lists are late", sw: switches{VisibleInListAfter: 3500 * time.Millisecond}},
		{name: "hidden are forbidden", sw: switches{HiddenGetStatus: 403}, with: sweeps},
		{name: "two pollers", with: polls},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithSwitches(tt.sw), comeettest.WithClockOffset(tt.offset)))
			conf := []func(*connector.Config){quick}
			if tt.with&sweeps != 0 {
				conf = append(conf, sweeping)
			}
			w.run(conf...)
			if tt.with&polls != 0 {
				w.run(conf...) // a replica that takes itself for the other one
			}
			uids := w.follow(8)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			o := &office{uids: uids, rand: rand.New(rand.NewPCG(seed, uint64(i))), hides: tt.with&sweeps != 0}
			o.merges = tt.with&noMerges == 0 && (o.hides || tt.sw.MergedStubbed || tt.sw.MergedInDeleted)
			if tt.with&disturbed != 0 {
				w.fake.Chaos(rand.New(rand.NewPCG(seed, 0)),
					comeettest.Weighted{Probability: 0.1, Route: comeettest.ListCandidates, Fault: comeettest.HTMLPage(503)},
					comeettest.Weighted{Probability: 0.1, Route: comeettest.ListCandidates, Fault: comeettest.Truncated()})
			}
			w.work(o, 30)
			w.fake.Chaos(nil)
			_ = o.recruiter.Delete(uids[0]) // unless that has happened
			if o.merges {
				_ = o.recruiter.Merge(uids[1], uids[2])
			}
			for _, uid := range uids {
				w.eventuallyTrue(uid)
				w.inOrder(uid)
			}
			w.check()
		})
	}
}

// A poll asks two questions when nothing has changed, however many candidates are followed, and looks at nobody.
func TestQuietPollCostsTwoRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(quick)
	uids := w.follow(20)
	if err := w.fake.Recruiter("default").Delete(uids[0]); err != nil {
		t.Fatal(err)
	}
	w.eventuallyTrue(uids[0])
	w.polled()
	before, told := w.fake.Counts(), len(w.read())
	for range 3 {
		w.polled()
	}
	r.stop(w)
	after := w.fake.Counts()
	polls := after.ByRoute[comeettest.ListDeletedCandidates] - before.ByRoute[comeettest.ListDeletedCandidates]
	lists := after.ByRoute[comeettest.ListCandidates] - before.ByRoute[comeettest.ListCandidates]
	if polls < 3 || lists < polls-1 || lists > polls+1 {
		t.Errorf("%d lists and %d lists of deletions, want as many", lists, polls)
	}
	if looks := after.ByRoute[comeettest.RetrieveCandidate] - before.ByRoute[comeettest.RetrieveCandidate]; looks != 0 {
		t.Errorf("%d looks at single candidates, want none", looks)
	}
	if n := len(w.read()); n != told {
		t.Errorf("%d events about nothing", n-told)
	}
	w.check()
}

// What a run of several pages did not see, because rows moved while it read or because a page failed, the next ones see: by
// then it is older than the overlap reaches back.
func TestRunOfSeveralPagesMissesNothing(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(r comeettest.Recruiter, uids []string) (comeettest.Fault, error){
		// The first row moves to the end when the first page has been read, so that the third one becomes the second.
		"a row moves": func(r comeettest.Recruiter, uids []string) (comeettest.Fault, error) {
			return comeettest.Delay(0), r.SetProspectStatus(uids[0], "Contacted")
		},
		"a page fails": func(comeettest.Recruiter, []string) (comeettest.Fault, error) { return comeettest.HTMLPage(503), nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{Order: comeettest.OrderUpdated, MaxPageSize: 2})))
			// The interval is more than the two seconds by which filters and overlap are rounded.
			w.run(func(c *connector.Config) { c.PollInterval, c.PollOverlap = 3300*time.Millisecond, time.Millisecond })
			uids := w.submit(4)
			w.pollsEnd(1)
			r := w.fake.Recruiter("default")
			for _, uid := range uids {
				if err := r.Reject(uid, "not a fit"); err != nil {
					t.Fatal(err)
				}
			}
			happened := make(chan struct{})
			w.fake.Control(comeettest.ListCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
				if q.Query.Get("limit") != "" {
					return comeettest.Fault{}, false
				}
				defer close(happened)
				fault, err := happens(r, uids)
				if err != nil {
					t.Error(err)
				}
				return fault, true
			})
			select {
			case <-happened:
			case <-time.After(bustest.Stretch(15 * time.Second)):
				t.Fatal("no run came to its second page")
			}
			for _, uid := range uids {
				w.eventuallyTrue(uid)
				w.inOrder(uid)
			}
			w.check()
		})
	}
}

// Whoever dies between publishing and moving the cursor leaves a span that is read again, and found unchanged.
func TestCrashBeforeTheCursorRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newProxy(t, w.NATSURL)
	first := w.spawn(func(c *child) { c.NATSURL, c.PollInterval = p.url(), 50*time.Millisecond })
	uids := w.follow(5)
	sprung := p.set("$KV."+bus.CursorsBucket+".poll.", false)
	r := w.fake.Recruiter("default")
	<-sprung
	for _, uid := range uids {
		if err := r.Reject(uid, "not a fit"); err != nil {
			t.Fatal(err)
		}
	}
	first.kill()
	second := w.spawn(func(c *child) { c.NATSURL, c.PollInterval = p.url(), 50*time.Millisecond })
	sprung = p.set("$KV."+bus.CursorsBucket+".poll.", false)
	select {
	case <-sprung:
	case <-time.After(bustest.Stretch(10 * time.Second)):
		t.Fatal("the second poller moved no cursor")
	}
	second.kill()
	w.run(quick)
	for _, uid := range uids {
		w.eventuallyTrue(uid)
	}
	w.polled()
	for uid, told := range w.read().statuses("default") {
		if len(told) != 2 {
			t.Errorf("candidate %s has %d status events, want the first and the rejection", uid, len(told))
		}
	}
	w.check()
}

// Without its cursor the poller reads all that it may have missed, and takes nothing for changed that is not.
func TestLostCursor(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*world){
		"deleted":    func(w *world) { w.cursors().drop("poll.default") },
		"unreadable": func(w *world) { w.cursors().put("poll.default", "{") },
		"of a clock that was set back since": func(w *world) {
			w.cursors().put("poll.default", fmt.Sprintf(`{"started":%q,"since":%[1]q}`, time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.run(quick)
			w.follow(6)
			var uids []string
			for _, c := range w.fake.Candidates("default") {
				uids = append(uids, c.UID)
			}
			r := w.fake.Recruiter("default")
			// The first in every list has another source by now.
			if err := r.ChangeSource(uids[0], comeettest.Source{UID: "2A.1", Type: "Agency"}); err != nil {
				t.Fatal(err)
			}
			w.eventuallyTrue(uids[0])
			first.stop(w)
			for _, uid := range uids[:3] {
				if err := r.Reject(uid, "not a fit"); err != nil {
					t.Fatal(err)
				}
			}
			harm(w)
			at := w.truth("default", uids[2]).TimeLastStatusChanged
			w.eventually("the rejections to leave the span of a first poll", func() bool { return time.Since(at) > 3*time.Second })
			w.run(func(c *connector.Config) { c.PollInterval, c.PollOverlap = 50*time.Millisecond, time.Millisecond })
			for _, uid := range uids {
				w.eventuallyTrue(uid)
				w.inOrder(uid)
			}
			w.polled()
			for uid, told := range w.read().statuses("default") {
				for _, st := range told[1:] {
					if slices.Contains(st.Changed, events.ChangedSource) && uid != uids[0] {
						t.Errorf("candidate %s: a change of source that nobody made", uid)
					}
				}
			}
			w.check()
		})
	}
}

// Comeet's clock is set back. What happens next is stamped before the cursor.
func TestClockSetBackLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithClockOffset(5*time.Minute)))
	conf := func(c *connector.Config) { c.PollInterval, c.PollOverlap = 50*time.Millisecond, time.Millisecond }
	first := w.run(conf)
	uids := w.follow(2)
	first.stop(w)
	w.fake.SetClockOffset(0)
	r := w.fake.Recruiter("default")
	for _, err := range []error{r.Reject(uids[0], "not a fit"), r.Delete(uids[1])} {
		if err != nil {
			t.Fatal(err)
		}
	}
	at := w.truth("default", uids[1]).TimeHiringProcessUpdated
	w.eventually("both to leave the span of a poll", func() bool { return time.Since(at) > 3*time.Second })
	w.run(conf)
	for _, uid := range uids {
		w.eventuallyTrue(uid)
		w.inOrder(uid)
	}
	w.check()
}
