package connector_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/events"
)

var (
	seeds    = flag.Int("seeds", 8, "how many seeds TestCampaign runs")
	fromSeed = flag.Uint64("seed", 1, "the first seed of TestCampaign; with -seeds 1 it alone")
)

// TestCampaign draws everything from a seed: traffic, recruiters, Comeet's faults and habits, replicas that crash or freeze
// beyond every lease, a nats-server that is stopped and started. Afterwards the promises are checked from the outside. One seed
// again: go test ./connector -run TestCampaign -seeds 1 -seed N -v
func TestCampaign(t *testing.T) {
	for i := range uint64(*seeds) {
		seed := *fromSeed + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			newCampaign(t, seed).run()
		})
	}
}

type campaign struct {
	*world
	*rand.Rand
	replicas []*crashable
	started  int
	sent     int
	trace    strings.Builder
	limited  bool
}

func newCampaign(t *testing.T, seed uint64) *campaign {
	c := &campaign{Rand: rand.New(rand.NewPCG(seed, 0))}
	sw := comeettest.Switches{
		CreateStatus: c.one(200, 201), FullCreateBody: c.coin(), ConflictUIDString: c.coin(), Order: comeettest.Order(c.IntN(5)),
		PageSize: c.one(2, 7, 100), EmptyPages: c.IntN(4) == 0, RepeatRows: c.IntN(2), BoundsExclusive: c.coin(), OmitNextPage: c.coin(),
		StepMoveTouchesStatusTime: c.coin(), DeletedGetNotFound: c.coin(), DeletedEnvelope: c.coin(), MergedListed: c.coin(),
		MergedInDeleted: true, NoDate: c.IntN(8) == 0,
		VisibleInListAfter: time.Duration(c.one(0, 0, 50)) * time.Millisecond,
	}
	limit := comeettest.WithoutRateLimit()
	c.limited = c.coin()
	if c.limited {
		limit = comeettest.WithRateLimit(60, 2*time.Second)
	}
	c.world = newWorld(t, fakeWith(comeettest.WithSwitches(sw), comeettest.WithClockOffset(time.Duration(c.IntN(601)-300)*time.Second), limit), func(s *setup) {
		s.MemberTTL = time.Second
		s.RequestTimeout, s.SettleDelay = 300*time.Millisecond, 60*time.Millisecond
		if c.limited {
			s.RateLimit = comeet.Limit{Requests: 60, Window: 2 * time.Second}
		}
	})
	c.tell("switches %+v, limited %v", sw, c.limited)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d, what happened:\n%s", seed, c.trace.String())
		}
	})
	return c
}

func (c *campaign) coin() bool           { return c.IntN(2) == 0 }
func (c *campaign) one(of ...int) int    { return of[c.IntN(len(of))] }
func (c *campaign) upTo(d time.Duration) { c.elapse(time.Duration(c.Int64N(int64(d)))) }

// elapse lets the world go on for a while: the drawn distance between two of its accidents.
func (c *campaign) elapse(d time.Duration) { <-time.After(d) }

func (c *campaign) tell(format string, args ...any) {
	fmt.Fprintf(&c.trace, "%s  %s\n", time.Now().Format("05.000"), fmt.Sprintf(format, args...))
}

func (c *campaign) run() {
	c.start()
	// The integration's very first candidate is left alone until a poll has seen it: from it the connector learns what it is
	// itself to Comeet as a source. DESIGN.md names this limit.
	c.sent++
	c.publish("e1", person(1))
	c.eventually("a first status", func() bool { return len(c.read().statuses("default")) == 1 })
	c.polled()
	office := &office{rand: rand.New(rand.NewPCG(c.Uint64(), 1)), recruiter: c.fake.Recruiter("default"), merges: true}
	for range 12 + c.IntN(20) {
		c.step(office)
		c.upTo(120 * time.Millisecond)
	}
	c.tell("quiet")
	c.fake.Chaos(nil)
	c.fake.Recover()
	for _, r := range c.replicas {
		r.proxy.thaw()
	}
	if len(c.replicas) == 0 {
		c.start()
	}
	c.settled()
	c.check()
	c.checkOnlyDeserved()
	for uid := range c.read().statuses("default") {
		c.eventuallyTrue(uid)
		c.inOrder(uid)
	}
	if n := c.fake.Throttled("default"); n != 0 {
		c.Errorf("%d requests refused as too many", n)
	}
}

// step lets one thing happen.
func (c *campaign) step(o *office) {
	switch c.IntN(16) {
	case 0, 1, 2, 3, 4:
		for range 1 + c.IntN(6) {
			c.sent++
			d := person(c.sent)
			if c.IntN(5) == 0 {
				d.Position = events.Position{CustomID: "DA-1"}
			}
			c.publish(fmt.Sprint("e", c.sent), d)
			if c.IntN(6) == 0 {
				c.publish(fmt.Sprint("e", c.sent, "-again"), d)
			}
		}
		c.tell("%d events in all", c.sent)
	case 5, 6, 7:
		f := []comeettest.Fault{
			comeettest.DropAfter(), comeettest.Drop(), comeettest.HTMLPage(503), comeettest.ActThen(comeettest.HTMLPage(502)),
			comeettest.ActThen(comeettest.Redirect()), comeettest.Empty(), comeettest.ActThen(comeettest.Truncated()), comeettest.ActThen(comeettest.Hang()),
			comeettest.Hang(), comeettest.WrongJSON(), comeettest.ActThen(comeettest.WrongJSON()), comeettest.Delay(200 * time.Millisecond),
			comeettest.APIError(500, "internal_error"), comeettest.HTMLPage(403), comeettest.HTMLPage(404),
		}[c.IntN(15)]
		route := []comeettest.Route{comeettest.CreateCandidate, comeettest.CreateCandidate, comeettest.ListCandidates, comeettest.RetrieveCandidate, comeettest.ListDeletedCandidates, comeettest.ListPositions}[c.IntN(6)]
		c.fake.Script(route, f)
		c.tell("fault on %s: %v", route, f)
	case 8:
		f := []comeettest.Fault{comeettest.HTMLPage(503), comeettest.Refuse(), comeettest.Drop()}[c.IntN(3)]
		c.tell("outage: %v", f)
		c.fake.Outage(f)
		c.upTo(400 * time.Millisecond)
		c.fake.Recover()
		c.tell("outage over")
	case 9, 10:
		c.start()
	case 11:
		if len(c.replicas) > 0 {
			i := c.IntN(len(c.replicas))
			c.tell("crash of %s", c.replicas[i].name)
			c.replicas[i].kill()
			c.replicas = append(c.replicas[:i], c.replicas[i+1:]...)
		}
	case 12:
		if len(c.replicas) > 0 {
			r := c.replicas[c.IntN(len(c.replicas))]
			long := time.Duration(200+c.IntN(1200)) * time.Millisecond
			c.tell("%s freezes for %v", r.name, long)
			r.proxy.freeze()
			time.AfterFunc(long, r.proxy.thaw)
		}
	case 13:
		if len(c.replicas) > 1 {
			r := c.replicas[0]
			c.replicas = c.replicas[1:]
			c.tell("%s is stopped in order", r.name)
			r.proxy.thaw()
			r.cancel()
		}
	case 14:
		if c.IntN(3) == 0 {
			c.tell("nats-server restarts")
			if err := c.nats.Restart(); err != nil {
				c.Fatal(err)
			}
		}
	case 15:
		o.uids = o.uids[:0]
		for uid := range c.read().statuses("default") {
			o.uids = append(o.uids, uid)
		}
		if len(o.uids) > 0 {
			for range 1 + c.IntN(4) {
				o.act()
			}
			c.tell("recruiters at work")
		}
	}
}

// checkOnlyDeserved proves that nothing ended as a dead letter that could have succeeded: all events are valid, so only three
// POSTs in doubt may end one.
func (c *campaign) checkOnlyDeserved() {
	c.Helper()
	doubts := map[string]int{}
	for _, e := range c.read() {
		switch d := e.Data.(type) {
		case *events.Claimed:
			if d.State == events.StateInDoubt {
				doubts[d.Operation]++
			}
		case *events.Failed:
			if d.Reason != events.ReasonInDoubt || doubts[d.Operation] < 3 {
				c.Errorf("operation %s failed after %d doubts: %s: %s", d.Operation, doubts[d.Operation], d.Reason, d.Message)
			}
		}
	}
}

// crashable is a connector whose every effect on the world can be ended at once, as SIGKILL does, or held up, as SIGSTOP does.
type crashable struct {
	name   string
	proxy  *proxy
	cancel context.CancelFunc
}

func (r *crashable) kill() {
	r.proxy.kill()
	r.cancel()
}

func (c *campaign) start() {
	if len(c.replicas) >= 3 {
		return
	}
	c.started++
	r := &crashable{name: fmt.Sprint("r", c.started), proxy: newProxy(c.TB, c.nats.ClientURL())}
	c.tell("%s starts", r.name)
	cfg := c.config(zerolog.New(c.logs))
	cfg.NATSURL, cfg.Replica, cfg.BaseURL, cfg.Transport = r.proxy.url(), r.name, c.fake.InMemoryURL(), severable{c.fake.Transport(), r.proxy}
	cfg.PollInterval, cfg.PollOverlap, cfg.SweepInterval = 200*time.Millisecond, 5*time.Second, time.Second
	con, err := connector.New(cfg)
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	var done sync.WaitGroup
	done.Go(func() {
		if err := con.Run(ctx); err != nil {
			c.Errorf("%s: %v", r.name, err)
		}
	})
	c.Cleanup(func() {
		r.proxy.thaw()
		cancel()
		done.Wait()
	})
	c.replicas = append(c.replicas, r)
}

// severable is the way to Comeet of a crashable connector.
type severable struct {
	inner http.RoundTripper
	proxy *proxy
}

func (s severable) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.proxy.pass() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
	}
	resp, err := s.inner.RoundTrip(r)
	if !s.proxy.pass() {
		if err == nil {
			resp.Body.Close()
		}
		return nil, net.ErrClosed
	}
	return resp, err
}
