//go:build netns

package connector_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/events"
)

// TestLinkDark cuts the link between a replica and Comeet while POSTs are on their way, and brings it
// back. The cut is silent: packets are lost, and neither side is told. A kernel goes on sending what
// was written into a connection, long after the program gave it up, was killed or was frozen. No POST
// may come to Comeet once another attempt or an outcome has taken its claim's place.
//
// It needs root, iproute2 and Linux's network namespaces, and takes about three minutes, nearly all of
// it waiting:
//
//	go test -tags netns ./connector -run 'TestLinkDark$' -timeout 15m
//	go test -tags netns ./connector -run 'TestLinkDark$/tls/.*/killed' -v     # some of them
func TestLinkDark(t *testing.T) {
	if os.Getenv(hubEnv) == "" {
		deadline := "15m"
		if at, ok := t.Deadline(); ok {
			deadline = (time.Until(at) - time.Second).String()
		}
		inHub(t, deadline)
		return
	}
	prepareHub(t)
	ca := newAuthority(t)
	// Few begin at a time: POSTs are given up soon after the cut, and must have been written by
	// then, on any machine.
	turn := make(chan struct{}, 2)
	var all tallies
	t.Cleanup(func() { t.Logf("in all: %v", &all) })
	for _, d := range linkCases() {
		t.Run(d.name(), func(t *testing.T) {
			t.Parallel()
			s := beginScenario(t, d, ca, turn)
			s.playOn()
			s.check(&all)
		})
	}
}

// fate is what becomes of the replica whose link is cut.
type fate string

const (
	alive  fate = "alive"
	killed fate = "killed"
	frozen fate = "frozen" // until all is over
	thawed fate = "thawed" // when others may take its claims for abandoned
)

// linkCase says what happens in one scenario.
type linkCase struct {
	tls, defaults bool
	fate          fate
	// back is how long the link is cut.
	back time.Duration
}

func linkCases() []linkCase {
	var all []linkCase
	for _, fate := range []fate{alive, killed, frozen, thawed} {
		for _, of := range []struct {
			tls, defaults bool
			seconds       []time.Duration
		}{
			{false, true, []time.Duration{5, 40, 90}},
			{true, true, []time.Duration{40, 75}},
			{false, false, []time.Duration{5, 9, 30}},
			{true, false, []time.Duration{9, 14}},
		} {
			for _, s := range of.seconds {
				all = append(all, linkCase{of.tls, of.defaults, fate, s * time.Second})
			}
		}
	}
	return all
}

func (d linkCase) name() string {
	way, settings := "clear", "short"
	if d.tls {
		way = "tls"
	}
	if d.defaults {
		settings = "default"
	}
	return fmt.Sprintf("%s/%s/%s/%v", way, settings, d.fate, d.back)
}

// settings are those of the replicas.
func (d linkCase) settings(s *setup) {
	s.servers, s.PlainHTTP = hubBus, !d.tls
	s.PollInterval, s.PollOverlap, s.Workers = 10*time.Second, time.Minute, workers
	if d.defaults {
		s.RequestTimeout, s.SettleDelay, s.MemberTTL = 30*time.Second, 5*time.Second, 10*time.Second
		s.RateLimit = comeet.DefaultLimit
	} else {
		s.RequestTimeout, s.SettleDelay, s.MemberTTL = 2*time.Second, time.Second, 3*time.Second
	}
}

// quiet is how long the scenario goes on once the link is back.
func (d linkCase) quiet() time.Duration {
	if d.defaults {
		return time.Minute
	}
	return 30 * time.Second
}

// thaw is when a frozen process goes on: after the link is back and its claims were settled by
// another replica.
func (d linkCase) thaw(c child) time.Duration {
	abandoned := 3*c.RequestTimeout + c.SettleDelay
	return max(d.back, abandoned) + abandoned/4
}

// workers is how many POSTs one replica has under way at most: more than a scenario sends at once,
// so that a connection is left for a poll.
const workers = 20

// Sizes of the files of what is on its way: caught by the cut within its body, caught before its
// answer, and sent afterwards, over connections that were idle. Bodies are a third longer. Some fit
// into what the kernels of both sides take, so that nobody must go on writing for them to arrive;
// of others more or less is still to be written.
var (
	withinBody   = []int{50 << 10, 60 << 10, 120 << 10, 400 << 10}
	beforeAnswer = []int{0, 0}
	afterCut     = []int{0, 0, 0, 0, 0, 20 << 10, 60 << 10, 100 << 10, 200 << 10, 400 << 10}
)

// scenario is one that runs.
type scenario struct {
	*world
	linkCase
	front    *front
	replicas []*farReplica
	victim   *farReplica
	cutAt    time.Time
	silent   func()
	people   int
}

// beginScenario starts a scenario when it is its turn, and runs it until POSTs are in the dark.
func beginScenario(t *testing.T, d linkCase, ca *authority, turn chan struct{}) *scenario {
	t.Helper()
	turn <- struct{}{}
	defer func() { <-turn }()
	s := newScenario(t, d, ca)
	s.sendAndCut()
	return s
}

func newScenario(t *testing.T, d linkCase, ca *authority) *scenario {
	t.Helper()
	limit := comeettest.WithoutRateLimit()
	if d.defaults {
		limit = comeettest.WithRateLimit(comeet.DefaultLimit.Requests, comeet.DefaultLimit.Window)
	}
	s := &scenario{world: newWorld(t, fakeWith(limit), d.settings), linkCase: d}
	p := newSegment(t)
	certificate, env := ca.sign(t, p.comeet()), "SSL_CERT_FILE="+ca.file
	if !d.tls {
		certificate = nil
	}
	s.front = newFront(t, s.fake, p.comeet(), certificate)
	bus, err := url.Parse(s.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	// Of these names the first wins the account. It starts first, so that it has it from the beginning, and
	// the connections that it will need.
	for _, start := range []struct{ name, said string }{{"r1", "serving the account"}, {"r2", "ready"}} {
		c := s.child
		c.Replica, c.NATSURL, c.BaseURL = start.name, bus.Port(), s.front.url
		r := p.enter(t, c, env)
		s.eventually(start.name+" to say: "+start.said, func() bool { return strings.Contains(r.logs.String(), `"message":"`+start.said+`"`) })
		s.replicas = append(s.replicas, r)
	}
	s.victim = s.replicas[0]
	return s
}

// submit publishes events of new people, each with a file of that size.
func (s *scenario) submit(fileBytes ...int) {
	s.Helper()
	for _, n := range fileBytes {
		s.people++
		d := person(s.people)
		if n > 0 {
			d.Candidate.Resume = &events.File{Name: "cv.pdf", Content: make([]byte, n)}
		}
		s.publish(fmt.Sprint("e", s.people), d)
	}
}

// hold submits events and waits until Comeet has stopped within the POST of each.
func (s *scenario) hold(fileBytes ...int) {
	s.Helper()
	s.front.holdPosts()
	s.submit(fileBytes...)
	s.eventually("POSTs to be held", func() bool { return s.front.holds() == len(fileBytes) })
}

// sendAndCut brings POSTs on their way and cuts the link of the replica that sends them.
func (s *scenario) sendAndCut() {
	s.Helper()
	// Together, so that each worker opens a connection. What is sent into the dark needs one.
	s.hold(make([]int, workers)...)
	s.front.release()
	s.settled()
	s.hold(slices.Concat(withinBody, beforeAnswer)...)
	s.silent = s.victim.cut(s)
	s.cutAt = time.Now()
	s.front.release()
	written := s.victim.stuck()
	s.submit(afterCut...)
	s.eventually("POSTs in the dark", func() bool {
		maps.Copy(written, s.victim.stuck())
		return len(written) >= len(withinBody)+len(afterCut)
	})
	switch s.fate {
	case killed:
		s.victim.kill()
	case frozen, thawed:
		s.victim.freeze()
	}
}

// playOn brings the link back, and waits until all is over.
func (s *scenario) playOn() {
	s.Helper()
	s.until(s.back)
	s.silent()
	s.victim.mend(s)
	end := s.back + s.quiet()
	if s.fate == thawed {
		s.until(s.thaw(s.child))
		s.victim.thaw()
		end = max(end, s.thaw(s.child)+s.quiet()/2)
	}
	s.within(5*time.Minute, "an outcome for every event", func() bool { return len(s.read().outcomes()) >= len(s.published) })
	s.until(end)
	if s.fate == frozen {
		s.victim.thaw()
		s.until(time.Since(s.cutAt) + 5*time.Second)
	}
}

// until waits until so long after the cut.
func (s *scenario) until(d time.Duration) { <-time.After(time.Until(s.cutAt.Add(d))) }

// tallies count over all scenarios.
type tallies struct{ posts, late, doubled atomic.Int64 }

func (a *tallies) String() string {
	return fmt.Sprintf("%d POSTs, %d late, %d candidates doubled", a.posts.Load(), a.late.Load(), a.doubled.Load())
}
