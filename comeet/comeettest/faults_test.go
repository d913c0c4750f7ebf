package comeettest_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault     comeettest.Fault
		status    int // 0: no answer
		created   int
		html      bool
		contains  string
		fails     bool // while the body is read
		header    string
		headerHas string
	}{
		{fault: comeettest.Refuse()},
		{fault: comeettest.Drop()},
		{fault: comeettest.DropAfter(), created: 1},
		{fault: comeettest.Delay(time.Millisecond), status: 201, created: 1},
		{fault: comeettest.DelayAnswer(time.Millisecond), status: 201, created: 1},
		{fault: comeettest.After(time.Millisecond, comeettest.HTMLPage(504)), status: 504, html: true},
		{fault: comeettest.Answer(500, `{"oops":1}`), status: 500, contains: `{"oops":1}`},
		{fault: comeettest.APIError(403, "no_permission"), status: 403, contains: `"no_permission"`},
		{fault: comeettest.HTMLPage(502), status: 502, html: true},
		{fault: comeettest.HTMLPage(200), status: 200, html: true},
		{fault: comeettest.HTMLPage(403), status: 403, html: true},
		{fault: comeettest.Empty(), status: 200},
		{fault: comeettest.Redirect(), status: 302, html: true, header: "Location", headerHas: "https://"},
		{fault: comeettest.Throttle(0), status: 429, contains: "too_many_requests", header: "Retry-After"},
		{fault: comeettest.Throttle(1500 * time.Millisecond), status: 429, header: "Retry-After", headerHas: "2"},
		{fault: comeettest.ThrottleHTML(time.Second), status: 429, html: true, header: "Retry-After", headerHas: "1"},
		{fault: comeettest.WrongJSON(), status: 200, contains: "unexpected"},
		{fault: comeettest.Truncated(), status: 201, created: 1, fails: true},
		{fault: comeettest.SlowBody(time.Millisecond), status: 201, created: 1, contains: "In progress"},
		{fault: comeettest.ActThen(comeettest.HTMLPage(502)), status: 502, html: true, created: 1},
		{fault: comeettest.ActThen(comeettest.Redirect()), status: 302, html: true, created: 1},
		{fault: comeettest.ActThen(comeettest.Empty()), status: 200, created: 1},
	}
	for _, test := range tests {
		t.Run(test.fault.String(), func(t *testing.T) {
			t.Parallel()
			eachDoor(t, nil, func(t *testing.T, s *comeettest.Server, c *client) {
				s.Script(comeettest.CreateCandidate, test.fault)
				if a := c.get("/positions"); a.status != 200 {
					t.Fatalf("the fault hit another route: %v %d", a.err, a.status)
				}
				a := c.post(noor())
				if (a.err != nil) != (test.status == 0 || test.fails) || a.status != test.status {
					t.Fatalf("answered %v %d, want %d", a.err, a.status, test.status)
				}
				if isHTML := strings.HasPrefix(a.header.Get("Content-Type"), "text/html"); isHTML != test.html || !strings.Contains(a.raw, test.contains) {
					t.Errorf("answered %v %s", a.header, a.raw)
				}
				if test.header != "" && (a.header.Get(test.header) == "") != (test.headerHas == "") || !strings.Contains(a.header.Get(test.header), test.headerHas) {
					t.Errorf("%s: %q", test.header, a.header.Get(test.header))
				}
				if n := len(s.Candidates(comeettest.DefaultAccount)); n != test.created {
					t.Errorf("%d candidates, want %d", n, test.created)
				}
				got := s.Requests()[1]
				if got.Fault != test.fault.String() || got.Acted != (test.created == 1) || got.Status != test.status {
					t.Errorf("recorded %+v", got)
				}
				if a := c.post(noor("partner_candidate_id", "src-2")); a.status != 201 {
					t.Errorf("afterwards: %v %d %s", a.err, a.status, a.raw)
				}
				assertNoViolations(t, s)
			})
		})
	}
}

func TestFaultsLookLikeNetworkErrors(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	for fault, op := range map[string]string{"refuse": "dial", "drop": "read"} {
		s.Script("", map[string]comeettest.Fault{"refuse": comeettest.Refuse(), "drop": comeettest.Drop()}[fault])
		var wrote, connected bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn:      func(httptrace.GotConnInfo) { connected = true },
			WroteRequest: func(httptrace.WroteRequestInfo) { wrote = true },
		})
		a := c.send(c.request(ctx, "GET", "/positions", ""))
		var got *net.OpError
		if !errors.As(a.err, &got) || got.Op != op {
			t.Errorf("%s: %v", fault, a.err)
		}
		if sent := fault == "drop"; wrote != sent || connected != sent {
			t.Errorf("%s: trace says connected %v, wrote %v", fault, connected, wrote)
		}
	}
}

func TestScriptsAreFirstInFirstOutPerRoute(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	s.Script(comeettest.ListCandidates, comeettest.HTMLPage(502), comeettest.HTMLPage(503))
	s.Script("", comeettest.HTMLPage(504))
	var got []int
	for _, path := range []string{"/candidates", "/positions", "/candidates", "/candidates", "/positions"} {
		got = append(got, c.get(path).status)
	}
	if d := cmp.Diff([]int{502, 504, 503, 200, 200}, got); d != "" {
		t.Error(d)
	}
	if s.Scripted(comeettest.ListCandidates) != 0 || s.Counts().Faults != 3 {
		t.Errorf("counts %+v", s.Counts())
	}
}

func TestControlObservesUntilItHandles(t *testing.T) {
	t.Parallel()
	eachDoor(t, nil, func(t *testing.T, s *comeettest.Server, c *client) {
		var seen []string
		s.Control(comeettest.CreateCandidate, func(q comeettest.Request) (comeettest.Fault, bool) {
			seen = append(seen, string(q.Body))
			return comeettest.HTMLPage(503), strings.Contains(string(q.Body), "src-2")
		})
		watched := 0
		remove := s.Control("", func(comeettest.Request) (comeettest.Fault, bool) {
			watched++
			return comeettest.Fault{}, false
		})
		var got []int
		for _, id := range []string{"src-1", "src-2", "src-2"} {
			got = append(got, c.post(noor("partner_candidate_id", id)).status)
		}
		remove()
		remove()
		got = append(got, c.get("/positions").status)
		if d := cmp.Diff([]int{201, 503, 201, 200}, got); d != "" {
			t.Error(d)
		}
		if len(seen) != 2 || watched != 2 {
			t.Errorf("handler saw %d requests, observer %d; want 2 and 2", len(seen), watched)
		}
	})
}

func TestOutages(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithAccount(comeettest.Account{Name: "a"}), comeettest.WithAccount(comeettest.Account{Name: "b"}))
	a, b := inMemory(t, s), inMemory(t, s)
	a.apiKey, b.apiKey = "api-key-of-a", "api-key-of-b"
	look := func() []int {
		return []int{a.get("/positions").status, a.get("/candidates").status, b.get("/positions").status, b.get("/candidates").status}
	}
	check := func(what string, want ...int) {
		t.Helper()
		if d := cmp.Diff(want, look()); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	one := comeettest.Scope{Account: "a", Route: comeettest.ListPositions}
	check("healthy", 200, 200, 200, 200)
	s.Outage(comeettest.HTMLPage(503))
	check("all", 503, 503, 503, 503)
	s.OutageOf(one, comeettest.HTMLPage(502))
	check("the latest wins", 502, 503, 503, 503)
	s.RecoverOf(comeettest.Scope{})
	check("one route of one account", 502, 200, 200, 200)
	s.Recover()
	check("recovered", 200, 200, 200, 200)
	s.OutageOf(comeettest.Scope{Account: "b"}, comeettest.Drop())
	check("one account", 200, 200, 0, 0)
}

func TestRefusingOutageClosesThePort(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]comeettest.Option{nil, {comeettest.WithTLS()}} {
		s := start(t, opts...)
		c := onSocket(t, s)
		for range 3 {
			if a := c.get("/positions"); a.status != 200 {
				t.Fatalf("answered %v %d", a.err, a.status)
			}
			s.Outage(comeettest.Refuse())
			a := c.get("/positions")
			var op *net.OpError
			if !errors.As(a.err, &op) || op.Op != "dial" {
				t.Errorf("during the outage: %v %d", a.err, a.status)
			}
			s.Recover()
		}
		s.Outage(comeettest.Refuse()) // and is closed while refusing
	}
}

func TestAnOutageBeforeTheDoorOpens(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Outage(comeettest.Refuse())
	c := onSocket(t, s)
	if a := c.get("/positions"); a.err == nil {
		t.Errorf("answered %d", a.status)
	}
	s.Recover()
	if a := c.get("/positions"); a.status != 200 {
		t.Errorf("answered %v %d", a.err, a.status)
	}
}

func TestChaosRepeatsItself(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (got []string) {
		s := start(t, comeettest.WithoutRateLimit())
		c := inMemory(t, s)
		s.Chaos(rand.New(rand.NewPCG(seed, 0)), comeettest.Weighted{Probability: 0.2, Fault: comeettest.HTMLPage(503)},
			comeettest.Weighted{Probability: 0.3, Route: comeettest.CreateCandidate, Fault: comeettest.DropAfter()})
		for i := range 200 {
			if i%2 == 0 {
				c.get("/candidates")
			} else {
				c.post(noor("partner_candidate_id", nil))
			}
		}
		count := map[string]int{}
		for _, q := range s.Requests() {
			got = append(got, q.Fault)
			count[q.Fault]++
			if q.Fault != "" && q.Fault != "html_503" && q.Route != comeettest.CreateCandidate {
				t.Errorf("%s hit %s", q.Fault, q.Route)
			}
		}
		if count["html_503"] < 20 || count["html_503"] > 60 || count["act_then_drop"] < 15 || count["act_then_drop"] > 45 {
			t.Errorf("faults %v", count)
		}
		s.Chaos(nil)
		if a := c.get("/candidates"); a.status != 200 {
			t.Errorf("chaos goes on: %v %d", a.err, a.status)
		}
		return got
	}
	if d := cmp.Diff(run(1), run(1)); d != "" {
		t.Error("the same seed gave other faults")
	}
}

func TestDelaysRunOnTheBubblesClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		c := inMemory(t, s)
		took := func(f comeettest.Fault, timeout time.Duration) (time.Duration, answer) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			s.Script("", f)
			begin := time.Now()
			a := c.send(c.request(ctx, "POST", "/candidates", `{"position_uid":"87.405","first_name":"N","last_name":"L"}`))
			return time.Since(begin), a
		}
		tests := []struct {
			name    string
			fault   comeettest.Fault
			timeout time.Duration
			took    time.Duration
			status  int
			created int
		}{
			{"delay", comeettest.Delay(time.Minute), time.Hour, time.Minute, 201, 1},
			{"delay, client gone", comeettest.Delay(time.Minute), time.Second, time.Second, 0, 0},
			{"late answer, client gone", comeettest.DelayAnswer(time.Minute), time.Second, time.Second, 0, 1},
			{"hang", comeettest.Hang(), time.Minute, time.Minute, 0, 0},
			{"act, then hang", comeettest.ActThen(comeettest.Hang()), time.Minute, time.Minute, 0, 1},
			{"slow body", comeettest.SlowBody(time.Second), time.Hour, 10 * time.Second, 201, 1},
			{"slow body, client gone", comeettest.SlowBody(time.Second), 5 * time.Second, 5 * time.Second, 201, 1},
		}
		for _, test := range tests {
			before := len(s.Candidates(comeettest.DefaultAccount))
			d, a := took(test.fault, test.timeout)
			if d != test.took || a.status != test.status {
				t.Errorf("%s: %d after %v (%v), want %d after %v", test.name, a.status, d, a.err, test.status, test.took)
			}
			if gone := test.timeout == test.took || test.status == 0; gone != errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", test.name, a.err)
			}
			if n := len(s.Candidates(comeettest.DefaultAccount)) - before; n != test.created {
				t.Errorf("%s: created %d", test.name, n)
			}
		}
	})
}

func TestDropThenActLandsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		c := inMemory(t, s)
		s.Script("", comeettest.DropThenAct(time.Minute), comeettest.DropThenAct(time.Hour))
		for _, id := range []string{"src-1", "src-2"} {
			if a := c.post(noor("partner_candidate_id", id)); a.err == nil {
				t.Fatalf("answered %d", a.status)
			}
		}
		for _, want := range []int{0, 1} {
			if n := len(s.Candidates(comeettest.DefaultAccount)); n != want {
				t.Errorf("%d candidates, want %d", n, want)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		s.Close() // abandons the second
		if n := len(s.Candidates(comeettest.DefaultAccount)); n != 1 {
			t.Errorf("%d candidates after Close", n)
		}
	})
}

func TestCloseEndsWhatHangs(t *testing.T) {
	t.Parallel()
	s := comeettest.New()
	c := onSocket(t, s)
	hung := make(chan struct{})
	s.Control("", func(comeettest.Request) (comeettest.Fault, bool) {
		close(hung)
		return comeettest.Hang(), true
	})
	done := make(chan answer)
	go func() { done <- c.get("/positions") }()
	<-hung
	s.Close()
	s.Close()
	if a := <-done; a.err == nil {
		t.Errorf("answered %d", a.status)
	}
	if err := s.Listen("127.0.0.1:0"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Listen after Close: %v", err)
	}
}

func TestListenOnAGivenAddress(t *testing.T) {
	t.Parallel()
	s, taken := start(t), start(t)
	must(t, s.Listen("127.0.0.1:0"))
	url := s.URL()
	must(t, s.Listen("127.0.0.1:0"))
	if s.URL() != url {
		t.Error("a second Listen moved the door")
	}
	if err := taken.Listen(strings.TrimPrefix(url, "http://")); err == nil {
		t.Error("a taken address was listened on")
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestABrokenBodyIsNotServed(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	q, err := http.NewRequest("POST", c.base+"/candidates", failingReader{})
	must(t, err)
	q.Header.Set("Authorization", c.request(t.Context(), "GET", "/", "").Header.Get("Authorization"))
	if a := c.send(q); a.err == nil || len(s.Candidates(comeettest.DefaultAccount)) != 0 {
		t.Errorf("answered %d", a.status)
	}
}
