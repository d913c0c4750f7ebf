package connector_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
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

// aside is the name under which the second of two pollers knows Comeet.
const aside = "//localhost:"

// hold makes the second poller's next page at once, in the state that happen brings about, and answers it much later.
func (w *world) hold(answer time.Duration, happen func() error) (answered func()) {
	w.Helper()
	ready := func(answered bool) func() bool {
		return func() bool {
			return slices.ContainsFunc(w.fake.Requests(), func(q comeettest.Request) bool {
				return q.Fault == "delay_answer" && q.Acted && (!answered || !q.Answered.IsZero())
			})
		}
	}
	w.fake.Control(comeettest.ListCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
		if !strings.Contains(q.Base, aside) {
			return comeettest.Fault{}, false
		}
		if err := happen(); err != nil {
			w.Error(err)
		}
		return comeettest.DelayAnswer(answer), true
	})
	w.eventually("a page to be made", ready(false))
	return func() { w.eventually("the page to be answered", ready(true)) }
}

// twoPollers follows one candidate with two pollers, each of which takes itself for the other one.
func (w *world) twoPollers(overlap time.Duration) (uid string) {
	w.Helper()
	conf := func(c *connector.Config) {
		c.PollInterval, c.PollOverlap, c.RequestTimeout = 50*time.Millisecond, overlap, 20*time.Second
	}
	w.run(conf)
	uid = w.follow(1)[0]
	w.run(conf, func(c *connector.Config) { c.BaseURL = strings.Replace(c.BaseURL, "//127.0.0.1:", aside, 1) })
	w.eventually("Comeet's clock to move on, so that what is seen now is surely newer", func() bool { return time.Since(w.last(uid).SeenAt) > 2*time.Second })
	return uid
}

// A page can be ready long before its answer is dated. It must not overwrite what somebody else has published meanwhile.
func TestLatePageIsNotPublishedOverANewerState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid := w.twoPollers(20 * time.Second) // so that its age alone does not make the page too old to be told
	r := w.fake.Recruiter("default")
	answered := w.hold(2*time.Second, func() error { return r.MoveToStep(uid, "Technical interview") })
	w.eventually("the other poller to see the step", func() bool { return len(w.last(uid).CompletedSteps) == 1 })
	if err := r.Hire(uid); err != nil {
		t.Fatal(err)
	}
	w.eventuallyTrue(uid)
	answered()
	w.polled()
	w.inOrder(uid)
	if n := len(w.read().statuses("default")[uid]); n != 3 {
		t.Errorf("%d status events, want the first, the step and the hire", n)
	}
	w.check()
}

// A poller that was frozen holds a state which has passed, and which nobody else found worth an event. It looks anew before
// it publishes anything.
func TestFrozenPollerPublishesWhatIsTrueNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uid := w.twoPollers(200 * time.Millisecond)
	r := w.fake.Recruiter("default")
	answered := w.hold(3*time.Second, func() error {
		var once sync.Once
		w.fake.Control(comeettest.ListCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
			// The other poller never gets to see the state of the page that is held.
			once.Do(func() {
				if err := r.SetProspectStatus(uid, ""); err != nil {
					t.Error(err)
				}
			})
			return comeettest.Delay(0), true
		})
		w.fake.Control(comeettest.ListDeletedCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
			return comeettest.HTMLPage(503), strings.Contains(q.Base, aside)
		})
		return r.SetProspectStatus(uid, "Contacted")
	})
	answered()
	w.polled()
	w.eventuallyTrue(uid)
	w.inOrder(uid)
	if n := len(w.read().statuses("default")[uid]); n != 1 {
		t.Errorf("%d status events, want the first alone: what the held page showed has passed", n)
	}
	w.check()
}

// A poller loses the bus, or stands still, between its look and its write. Another replica takes over, finds the candidate as it
// was before and moves the cursor on. When the first one is back the account is no longer its own: it must not publish what it
// saw, and it has no time left to look once more.
func TestStatusIsNotPublishedLate(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]comeet.Limit{"with a budget": {Requests: 1000, Window: 2 * time.Second}, "without a budget": {}} {
		for how, strike := range map[string]struct {
			stop, release func(*process, *proxy)
		}{
			"cut off": {func(*process, *proxy) {}, func(_ *process, p *proxy) { p.release() }},
			"frozen":  {func(c *process, _ *proxy) { c.freeze() }, func(c *process, p *proxy) { p.release(); c.thaw() }},
		} {
			t.Run(how+", "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				p := newProxy(t, w.NATSURL)
				conf := func(c *child) {
					c.RateLimit = limit
					c.PollInterval, c.PollOverlap = 50*time.Millisecond, 200*time.Millisecond
				}
				first := w.spawn(conf, func(c *child) { c.NATSURL, c.Replica = p.url(), "first" })
				uid := w.follow(1)[0]
				w.eventually("Comeet's clock to move on, so that what is seen now is surely newer", func() bool { return time.Since(w.last(uid).SeenAt) > 2*time.Second })
				r := w.fake.Recruiter("default")
				sprung := p.set("candidate.status.changed.", false)
				if err := r.SetProspectStatus(uid, "Contacted"); err != nil {
					t.Fatal(err)
				}
				select {
				case <-sprung:
				case <-time.After(bustest.Stretch(15 * time.Second)):
					t.Fatal("the change was not published")
				}
				strike.stop(first, p)
				if err := r.SetProspectStatus(uid, ""); err != nil {
					t.Fatal(err)
				}
				back := time.Now()
				second := w.spawn(conf, func(c *child) { c.Replica = "second" })
				w.eventually("the second replica's cursor to leave the change behind", func() bool {
					return w.cursors().pollStarted("poll.default").After(back.Add(3 * time.Second))
				})
				joined := strings.Count(first.logs.String(), "connected to the bus")
				strike.release(first, p)
				w.eventually("the first replica to be back", func() bool { return strings.Count(first.logs.String(), "connected to the bus") > joined })
				w.polled()
				first.stop()
				w.polled()
				if n := len(w.read().statuses("default")[uid]); n != 1 {
					t.Errorf("%d status events, want the first alone: the change was over before it could be told", n)
				}
				if d := difference(w.last(uid).State, w.truth("default", uid)); d != "" {
					t.Errorf("the feed does not end in the truth: %s", d)
				}
				second.stop()
				w.check()
			})
		}
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

// While Comeet denies reading, nothing is lost: the cursor waits.
func TestDeniedPollCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(quick, func(c *connector.Config) { c.PollOverlap, c.DeniedRetry = time.Millisecond, 300*time.Millisecond })
	uids := w.follow(3)
	r := w.fake.Recruiter("default")
	r.Deny(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	refused := w.fake.Counts().ByRoute[comeettest.ListCandidates]
	w.counted("a denied poll", func(c comeettest.Counts) bool { return c.ByRoute[comeettest.ListCandidates] > refused })
	for _, uid := range uids {
		if err := r.Hire(uid); err != nil {
			t.Fatal(err)
		}
	}
	w.counted("a denied trial", func(c comeettest.Counts) bool { return c.ByRoute[comeettest.ListCandidates] > refused+1 })
	for _, uid := range uids {
		if n := len(w.read().statuses("default")[uid]); n != 1 {
			t.Errorf("candidate %s has %d status events while nobody may read it", uid, n)
		}
	}
	r.Grant(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	for _, uid := range uids {
		w.eventuallyTrue(uid)
		w.inOrder(uid)
	}
	w.check()
}

// refuse answers each look at a candidate with a fault, until it is allowed again.
func (w *world) refuse(uid string, f comeettest.Fault) (allow func()) {
	var mu sync.Mutex
	refused := true
	var arm func()
	arm = func() {
		w.fake.Control(comeettest.RetrieveCandidate, func(q comeettest.Request) (comeettest.Fault, bool) {
			mu.Lock()
			defer mu.Unlock()
			if !refused || !strings.HasSuffix(q.Path, "/"+uid) {
				return comeettest.Fault{}, false
			}
			arm()
			return f, true
		})
	}
	arm()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		refused = false
	}
}

// One candidate that Comeet cannot show holds up neither the others nor the cursor, and is told when Comeet can, however far
// the cursor has moved by then.
func TestUnreadableCandidateHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]comeettest.Fault{
		"an error page": comeettest.HTMLPage(500), "not authorised": comeettest.APIError(401, "unauthorized"), "no uid": comeettest.Answer(200, "{}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := func(c *connector.Config) {
				c.PollInterval, c.PollOverlap, c.AdminAddr = 50*time.Millisecond, 100*time.Millisecond, "127.0.0.1:0"
			}
			first := w.run(conf)
			uids := w.follow(4)
			r := w.fake.Recruiter("default")
			allow := w.refuse(uids[0], f)
			for _, uid := range uids {
				if err := r.Delete(uid); err != nil {
					t.Fatal(err)
				}
			}
			at := w.truth("default", uids[0]).TimeHiringProcessUpdated
			for _, uid := range uids[1:] {
				w.eventuallyTrue(uid)
			}
			w.eventually("the cursor to leave the deletion behind", func() bool {
				return w.cursors().pollStarted("poll.default").After(at.Add(3 * time.Second))
			})
			if shown := metrics(t, first); !strings.Contains(shown, `comeet_connector_poll_unread_candidates{account="default"} 1`) {
				t.Errorf("the unread candidate is not counted")
			}
			first.stop(w)
			if st := w.last(uids[0]); st.Deleted {
				t.Error("a candidate counts as deleted before it was looked at: it may have been merged")
			}
			allow()
			second := w.run(conf)
			w.eventuallyTrue(uids[0])
			w.eventually("nobody to be left", func() bool {
				return strings.Contains(metrics(t, second), `comeet_connector_poll_unread_candidates{account="default"} 0`)
			})
			w.check()
		})
	}
}

// What a list calls deleted, and at whose address Comeet has nothing, is deleted, but not at once: a gateway may say so for a
// while. Many of them are no sign of a sick Comeet.
func TestDeletedWithoutAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{DeletedGetPage: 410, MergedInDeleted: true})))
	w.run(quick, func(c *connector.Config) { c.PollOverlap = time.Second })
	uids := w.follow(12)
	r := w.fake.Recruiter("default")
	allow := w.refuse(uids[11], comeettest.HTMLPage(404))
	if err := r.Merge(uids[11], uids[10]); err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids[:10] {
		if err := r.Delete(uid); err != nil {
			t.Fatal(err)
		}
	}
	// After a few polls the next one is held up.
	few, checked := make(chan struct{}), make(chan struct{})
	polls := 0
	remove := w.fake.Control(comeettest.ListCandidates, func(comeettest.Request) (comeettest.Fault, bool) {
		if polls++; polls == 6 {
			close(few)
			<-checked
		}
		return comeettest.Fault{}, false
	})
	<-few
	for _, uid := range uids {
		if st := w.last(uid); st.Deleted || st.Merged {
			t.Errorf("candidate %s is told to be gone after few polls", uid)
		}
	}
	remove()
	close(checked)
	allow()
	for _, uid := range append(uids[:10:10], uids[11]) {
		w.eventuallyTrue(uid)
		w.inOrder(uid)
	}
	if strings.Contains(w.logs.String(), "breaker open") {
		t.Error("the breaker has opened")
	}
	w.check()
}

// A candidate that this integration may not see any more, told by 403, is no verdict on the permission to read. If a list calls it
// deleted, it is.
func TestForbiddenCandidateHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(quick)
	uids := w.follow(4)
	r := w.fake.Recruiter("default")
	w.refuse(uids[0], comeettest.APIError(403, "no_permission"))
	for _, uid := range uids {
		if err := r.Delete(uid); err != nil {
			t.Fatal(err)
		}
	}
	for _, uid := range uids {
		w.eventuallyTrue(uid)
	}
	if strings.Contains(w.logs.String(), "Comeet denies") {
		t.Error("one candidate's address has denied reading")
	}
	w.check()
}
