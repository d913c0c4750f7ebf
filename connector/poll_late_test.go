package connector_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

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
