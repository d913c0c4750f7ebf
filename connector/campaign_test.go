package connector_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

var (
	seeds    = flag.Uint64("seeds", 0, "how many seeds each campaign runs; 0 is as many as a short run has")
	fromSeed = flag.Uint64("seed", 1, "the first seed of a campaign; with -seeds 1 it alone")
)

// TestCampaign draws everything from a seed: traffic, recruiters, operators, Comeet's faults and habits, replicas that are killed or stand
// still beyond every lease, at a point of the flow or anywhere, a slow network, a nats-server that is killed. Afterwards the promises
// are checked from the outside. One seed again:
//
//	go test ./connector -run 'TestCampaign$' -seeds 1 -seed N -v
//
// A seed fixes what is drawn, not how the machine interleaves it.
func TestCampaign(t *testing.T) {
	runCampaign(t, 8, func(r *rand.Rand) func(testing.TB) servers {
		if r.IntN(3) == 0 {
			return func(t testing.TB) servers { return startServers(t, 1) }
		}
		return oneServer
	})
}

// TestCampaignOnCluster is the campaign on three nats-servers with three replicas of every stream, of which one is killed now and then.
func TestCampaignOnCluster(t *testing.T) {
	runCampaign(t, 1, func(*rand.Rand) func(testing.TB) servers {
		return func(t testing.TB) servers { return startServers(t, 3) }
	})
}

func runCampaign(t *testing.T, short uint64, on func(*rand.Rand) func(testing.TB) servers) {
	n := *seeds
	if n == 0 {
		n = short
	}
	for i := range n {
		seed := *fromSeed + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			newCampaign(t, seed, r, on(r)).run()
		})
	}
}

// campaign is one seed's.
type campaign struct {
	*world
	*rand.Rand
	// replicas are all that were ever started.
	replicas []*crashable
	// processes makes them processes of their own, clustered is a bus of three servers.
	processes, clustered, limited, sweeps bool
	switches                              comeettest.Switches
	disarm                                []func()
	polls                                 pollsSeen
	sent                                  int
	offset                                time.Duration
	// jumps counts how often Comeet's clock was set.
	jumps int

	mu    sync.Mutex // guards trace
	trace strings.Builder
}

func newCampaign(t *testing.T, seed uint64, r *rand.Rand, on func(testing.TB) servers) *campaign {
	c := &campaign{Rand: r}
	c.switches = comeettest.Switches{
		CreateStatus: c.one(200, 201), FullCreateBody: c.coin(), ConflictUIDString: c.coin(), Order: comeettest.Order(c.IntN(5)),
		MaxPageSize: c.one(2, 7, 1000, 1000), EmptyPages: c.IntN(4) == 0, RepeatRows: c.IntN(2), BoundsExclusive: c.coin(), OmitNextPage: c.coin(),
		StepMoveTouchesStatusTime: c.coin(), DeletedGetNotFound: c.coin(), DeletedEnvelope: c.coin(), MergedListed: c.coin(),
		MergedInDeleted: true, NoDate: c.IntN(8) == 0, KeepCurrentSteps: c.coin(), Stubs: comeettest.StubFilter(c.IntN(3)),
		VisibleInListAfter: time.Duration(c.one(0, 0, 50)) * time.Millisecond, RetryAfter: c.coin(), RefuseClosedPositions: c.coin(),
		HiddenGetStatus: c.one(404, 403), DeletedGetPage: c.one(0, 0, 404, 410),
		RaceWindow: time.Duration(c.one(0, 40)) * time.Millisecond, // less than a doubt rests, else both nets of settling were down
	}
	c.offset = time.Duration(c.IntN(601)-300) * time.Second
	limit := comeettest.WithoutRateLimit()
	if c.limited = c.coin(); c.limited {
		limit = comeettest.WithRateLimit(60, 2*time.Second)
		// What a list calls deleted and whose address shows no more than a page is believed after 16 complete polls, which may take minutes
		// within such a budget.
		c.switches.DeletedGetPage = 0
	}
	c.processes = c.IntN(4) == 0
	// Where there is no pass of the sweep, polls alone must see everything.
	sweep := time.Hour
	if c.sweeps = c.coin(); c.sweeps {
		sweep = time.Second
	}
	c.world = newWorld(t, accounts([]string{"default", "acme"}[:1+c.IntN(2)]...),
		fakeWith(comeettest.WithSwitches(c.switches), comeettest.WithClockOffset(c.offset), limit),
		func(s *setup) {
			s.servers, s.MemberTTL = on, time.Second
			s.RequestTimeout, s.SettleDelay, s.DeniedRetry = 300*time.Millisecond, 60*time.Millisecond, 100*time.Millisecond
			s.PollInterval, s.PollOverlap, s.SweepInterval = 200*time.Millisecond, 5*time.Second, sweep
			s.PositionsInterval, s.AdminAddr = 3*time.Second, "127.0.0.1:0"
			if c.limited {
				s.RateLimit = comeet.Limit{Requests: 60, Window: 2 * time.Second}
			}
		})
	c.clustered = len(c.nats.urls()) > 1
	if c.coin() {
		c.shiftPages()
	}
	c.tell("switches %+v, offset %v, limited %v, processes %v, sweep %v, accounts %v, servers %d", c.switches, c.offset, c.limited, c.processes, sweep, c.Accounts, len(c.nats.urls()))
	if err := c.polls.watch(c.nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Logf("seed %d, what happened:\n%s", seed, c.trace.String())
			var feed strings.Builder
			for _, e := range c.feed {
				fmt.Fprintf(&feed, "%d %s %s %+v\n", e.seq, e.subject, e.ID(), e.Data)
			}
			t.Logf("the feed:\n%s", feed.String())
		}
	})
	return c
}

// shiftPages moves a candidate now and then while a look-up reads its pages, so that rows change their places between two.
func (c *campaign) shiftPages() {
	r := rand.New(rand.NewPCG(c.Uint64(), 2))
	var mu sync.Mutex // guards r
	c.disarm = append(c.disarm, c.fake.Control(comeettest.ListCandidates, func(q comeettest.Request) (comeettest.Fault, bool) {
		mu.Lock()
		defer mu.Unlock()
		lookUp := q.Query.Has("time_created:after") || !q.Query.Has("time_hiring_process_updated:after")
		if all := c.fake.Candidates(q.Account); lookUp && len(all) > 0 && r.IntN(3) == 0 {
			_ = c.fake.Recruiter(q.Account).SetProspectStatus(all[r.IntN(len(all))].UID, fmt.Sprint("stage ", r.IntN(5)))
		}
		return comeettest.Fault{}, false
	}))
}

func (c *campaign) coin() bool        { return c.IntN(2) == 0 }
func (c *campaign) one(of ...int) int { return of[c.IntN(len(of))] }
func (c *campaign) account() string   { return c.Accounts[c.IntN(len(c.Accounts))] }
func (c *campaign) ms(most int) time.Duration {
	return time.Duration(c.IntN(most*1000)) * time.Microsecond
}

// elapse lets the world go on for a while: the drawn distance between two of its accidents.
func (c *campaign) elapse(d time.Duration) { <-time.After(d) }

func (c *campaign) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.trace, "%s  %s\n", time.Now().Format("05.000"), fmt.Sprintf(format, args...))
}

func (c *campaign) run() {
	c.start()
	// The integration's very first candidate of an account is left alone until a poll has seen it: from it the connector learns what
	// it is itself to Comeet as a source. DESIGN.md names this limit.
	for _, account := range c.Accounts {
		c.sent++
		c.publishTo(account, source, fmt.Sprint("e", c.sent), person(c.sent))
	}
	c.eventually("the first statuses", func() bool {
		f := c.read()
		return !slices.ContainsFunc(c.Accounts, func(a string) bool { return len(f.statuses(a)) == 0 })
	})
	complete := map[string]int{}
	for _, a := range c.Accounts {
		complete[a] = c.polls.complete(a)
	}
	c.eventually("polls that show them", func() bool {
		return !slices.ContainsFunc(c.Accounts, func(a string) bool { return c.polls.complete(a) < complete[a]+2 })
	})
	offices := map[string]*office{}
	for _, account := range c.Accounts {
		offices[account] = &office{rand: rand.New(rand.NewPCG(c.Uint64(), 1)), recruiter: c.fake.Recruiter(account), merges: true, hides: c.coin()}
	}
	for range 12 + c.IntN(20) {
		c.step(offices)
		c.elapse(c.ms(120))
	}
	c.tell("quiet")
	c.quieten()
	c.settled()
	c.checkAll()
}

// quieten ends all accidents, so that what is left can come to its end.
func (c *campaign) quieten() {
	for _, off := range c.disarm {
		off()
	}
	c.fake.Chaos(nil)
	c.fake.Recover()
	for _, r := range c.replicas {
		r.proxy.lag.Store(0)
		r.thaw()
	}
	for _, a := range c.Accounts {
		c.resume(a)
	}
	if !slices.ContainsFunc(c.replicas, (*crashable).runs) {
		c.start()
	}
}

// running are the replicas that were neither killed nor told to stop.
func (c *campaign) running() []*crashable {
	var out []*crashable
	for _, r := range c.replicas {
		if r.runs() {
			out = append(out, r)
		}
	}
	return out
}

func (c *campaign) start() {
	if len(c.running()) >= 3 {
		return
	}
	child := c.child
	child.Replica = fmt.Sprint("r", len(c.replicas)+1)
	c.tell("%s starts", child.Replica)
	if c.processes {
		c.replicas = append(c.replicas, c.newProcess(child))
	} else {
		c.replicas = append(c.replicas, c.newInstance(child))
	}
}

// pollsSeen are the runs of polls that were complete, as the cursors tell that they leave behind.
type pollsSeen struct {
	mu   sync.Mutex // guards runs
	runs map[string][]pollRun
}

// pollRun is one run: it began no earlier than Started, by Comeet's clock, and was complete by done, by ours.
type pollRun struct {
	started, done time.Time
}

func (p *pollsSeen) watch(nc *nats.Conn) error {
	p.runs = map[string][]pollRun{}
	prefix := "$KV." + bus.CursorsBucket + ".poll."
	_, err := nc.Subscribe(prefix+"*", func(m *nats.Msg) {
		p.mu.Lock()
		defer p.mu.Unlock()
		account := strings.TrimPrefix(m.Subject, prefix)
		p.runs[account] = append(p.runs[account], pollRun{startedOf(m.Data), time.Now()})
	})
	return err
}

func (p *pollsSeen) complete(account string) int { return len(p.of(account)) }

func (p *pollsSeen) of(account string) []pollRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.runs[account])
}
