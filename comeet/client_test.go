package comeet_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	testKey    = "marker-api-key"
	testSecret = "marker-secret-of-at-least-32-bytes"
)

// transport answers requests in memory.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func always(status int, body string) transport {
	return func(r *http.Request) (*http.Response, error) { return answer(r, status, nil, body), nil }
}

func unlimited() comeet.Option {
	return comeet.WithGate(comeet.NewGate(comeet.GateConfig{}))
}

func newClient(t testing.TB, opts ...comeet.Option) *comeet.Client {
	t.Helper()
	c, err := comeet.NewClient(comeet.StaticCredentials(testKey, testSecret), append([]comeet.Option{unlimited()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve returns a client of a server on a base path of its own, so that a lost prefix shows.
func serve(t testing.TB, h http.HandlerFunc, opts ...comeet.Option) *comeet.Client {
	t.Helper()
	s := httptest.NewServer(http.StripPrefix("/prefix", h))
	t.Cleanup(s.Close)
	tr := new(http.Transport)
	t.Cleanup(tr.CloseIdleConnections)
	return newClient(t, append([]comeet.Option{comeet.WithBaseURL(s.URL + "/prefix/"), comeet.WithTransport(tr)}, opts...)...)
}

func noor() *comeet.NewCandidate {
	return &comeet.NewCandidate{PositionUID: "5A.1B9", PartnerCandidateID: "p-1", FirstName: "Noor", LastName: "Lindqvist", Email: "noor@example.test"}
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		creds comeet.Credentials
		opts  []comeet.Option
		want  string
	}{
		"no credentials":   {nil, nil, "credentials are nil"},
		"not a URL":        {opts: []comeet.Option{comeet.WithBaseURL("https://marker-secret\x7f")}, want: "WithBaseURL"},
		"no host":          {opts: []comeet.Option{comeet.WithBaseURL("https:///x")}, want: "WithBaseURL"},
		"only a port":      {opts: []comeet.Option{comeet.WithBaseURL("https://:443")}, want: "WithBaseURL"},
		"other scheme":     {opts: []comeet.Option{comeet.WithBaseURL("ftp://api.comeet.co")}, want: "WithBaseURL"},
		"user":             {opts: []comeet.Option{comeet.WithBaseURL("https://a:marker-secret@api.comeet.co")}, want: "user"},
		"query":            {opts: []comeet.Option{comeet.WithBaseURL("https://api.comeet.co?x=marker-secret")}, want: "query"},
		"plain http":       {opts: []comeet.Option{comeet.WithBaseURL("http://api.comeet.co")}, want: "WithPlainHTTP"},
		"loopback by name": {opts: []comeet.Option{comeet.WithBaseURL("http://127.0.0.1.example.test")}, want: "WithPlainHTTP"},
		"nil transport":    {opts: []comeet.Option{comeet.WithTransport(nil)}, want: "WithTransport"},
		"nil gate":         {opts: []comeet.Option{comeet.WithGate(nil)}, want: "WithGate"},
		"no timeout":       {opts: []comeet.Option{comeet.WithTimeout(0)}, want: "WithTimeout"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			creds := tt.creds
			if tt.opts != nil {
				creds = comeet.StaticCredentials(testKey, testSecret)
			}
			_, err := comeet.NewClient(creds, tt.opts...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v does not name %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "marker") {
				t.Errorf("error %q quotes its input", err)
			}
		})
	}
}

func TestNewClientAccepts(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]comeet.Option{
		"default":                    nil,
		"plain http, allowed before": {comeet.WithPlainHTTP(), comeet.WithBaseURL("http://comeet.internal")},
		"plain http, allowed after":  {comeet.WithBaseURL("http://comeet.internal"), comeet.WithPlainHTTP()},
		"loopback":                   {comeet.WithBaseURL("http://localhost:1/prefix")},
		"loopback v6":                {comeet.WithBaseURL("http://[::1]:1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newClient(t, opts...)
		})
	}
}

// Clients of many accounts need no connections of their own.
func TestClientsShareATransport(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"positions": []}`) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	tr := comeet.NewTransport()
	for range 5 {
		if _, _, err := newClient(t, comeet.WithBaseURL(s.URL), comeet.WithTransport(tr)).ListPositions(t.Context(), comeet.PositionQuery{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for requests one after the other, want 1", n)
	}
}

func TestRequestsAreAsDocumented(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	after := time.Date(2031, 2, 3, 5, 5, 6, 999, time.FixedZone("", 3600))
	before := time.Date(2031, 2, 4, 4, 5, 6, 1, time.UTC)
	no := false
	tests := map[string]struct {
		call func(context.Context, *comeet.Client) error
		want string
		body string
		have http.Header
	}{
		"list positions": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.ListPositions(ctx, comeet.PositionQuery{Status: "on hold", Limit: 500}, comeet.WithTraceparent(trace))
				return err
			},
			want: "GET /prefix/positions?status=on+hold&limit=500",
			body: `{"positions":[]}`,
			have: http.Header{"Traceparent": {trace}},
		},
		"all of list candidates": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.ListCandidates(ctx, comeet.CandidateQuery{
					TimeCreatedAfter: after, TimeCreatedBefore: before,
					TimeLastStatusChangeAfter: after, TimeLastStatusChangeBefore: before,
					TimeHiringProcessUpdatedAfter: after, TimeHiringProcessUpdatedBefore: before,
					TimePersonLastActivityAfter: after, TimePersonLastActivityBefore: before,
					Status: []string{"In progress", "On, hold"}, Deleted: &no, Limit: 7,
				})
				return err
			},
			want: "GET /prefix/candidates?status=In+progress,On%2C+hold" +
				"&time_created:after=2031-02-03T04:05:06Z&time_created:before=2031-02-04T04:05:07Z" +
				"&time_last_status_change:after=2031-02-03T04:05:06Z&time_last_status_change:before=2031-02-04T04:05:07Z" +
				"&time_hiring_process_updated:after=2031-02-03T04:05:06Z&time_hiring_process_updated:before=2031-02-04T04:05:07Z" +
				"&time_person_last_activity:after=2031-02-03T04:05:06Z&time_person_last_activity:before=2031-02-04T04:05:07Z" +
				"&deleted=False&limit=7",
			body: `{"candidates":[]}`,
		},
		"retrieve position": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.RetrievePosition(ctx, "87.405")
				return err
			},
			want: "GET /prefix/positions/87.405",
			body: `{"uid":"87.405"}`,
		},
		"a uid is one path segment": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.RetrieveCandidate(ctx, "a/../b?c=%2F")
				return err
			},
			want: "GET /prefix/candidates/a%2F..%2Fb%3Fc=%252F",
			body: `{"uid":"a"}`,
		},
		"by real id": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.RetrieveCandidate(ctx, "5555", comeet.ByRealID())
				return err
			},
			want: "GET /prefix/candidates/5555",
			body: `{"uid":"3C.7F2A1"}`,
			have: http.Header{"Identifier_type": {"REAL_ID"}},
		},
		"deleted": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.ListDeletedCandidates(ctx, after, time.Time{}, "")
				return err
			},
			want: "GET /prefix/deleted-candidates?time_deleted:after=2031-02-03T04:05:06Z",
			body: `[]`,
		},
		"create": {
			call: func(ctx context.Context, c *comeet.Client) error {
				_, _, err := c.CreateCandidate(ctx, noor(), comeet.WithTraceparent("00-zz"))
				return err
			},
			want: "POST /prefix/candidates",
			body: `{"uid":"3C.7F2A1"}`,
			have: http.Header{"Content-Type": {"application/json"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *http.Request
			c := newClient(t, comeet.WithBaseURL("https://api.example.test/prefix/"),
				comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
					got = r
					return answer(r, 200, nil, tt.body), nil
				})))
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if line := got.Method + " " + got.URL.RequestURI(); line != tt.want {
				t.Errorf("sent\n%s\nwant\n%s", line, tt.want)
			}
			header := got.Header.Clone()
			if !strings.HasPrefix(header.Get("Authorization"), "Bearer ey") {
				t.Error("no bearer token")
			}
			header.Del("Authorization")
			want := http.Header{"Accept": {"application/json"}, "User-Agent": {"comeet-connector"}}
			maps.Copy(want, tt.have)
			if d := cmp.Diff(want, header); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestTraceparentIsCheckedBeforeItIsSent: the client sends what package events takes for a trace
// context, and nothing else.
func TestTraceparentIsCheckedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, tt := range []struct {
		value string
		sent  bool
	}{
		{good, true}, {"", false}, {good + "\r\n", false}, {strings.ToUpper(good), false}, {"ff" + good[2:], false},
		{"00-" + strings.Repeat("0", 32) + good[35:], false}, {good[:36] + strings.Repeat("0", 16) + good[52:], false},
		{strings.Replace(good, "-", "_", 1), false}, {good[:30] + "-" + good[31:], false}, {good[:54] + "g", false}, {good[:54], false},
		{good + "-00", false}, {"01" + good[2:], true}, {"cc" + good[2:] + "-what-will-be", true}, {"cc" + good[2:] + "-", true},
		{"cc" + good[2:] + ".what", false}, {"cc" + good[2:] + "-a b", false}, {"cc" + good[2:] + "-é", false},
		{"cc" + good[2:] + "-" + strings.Repeat("x", 456), true}, {"cc" + good[2:] + "-" + strings.Repeat("x", 457), false},
	} {
		e := event.New()
		e.SetExtension(events.ExtTraceparent, tt.value)
		if got := (events.Event{Event: e}).Traceparent(); (got != "") != tt.sent {
			t.Errorf("%q: package events reads %q", tt.value, got)
		}
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			if _, sent := r.Header["Traceparent"]; sent != tt.sent {
				t.Errorf("%q: sent is %v", tt.value, sent)
			}
			return answer(r, 200, nil, `{"positions":[]}`), nil
		})))
		if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}, comeet.WithTraceparent(tt.value)); err != nil {
			t.Error(err)
		}
	}
}

func TestUIDsThatAreNoPathSegmentAreNotSent(t *testing.T) {
	t.Parallel()
	c := newClient(t, comeet.WithTransport(transport(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, io.EOF
	})))
	for _, uid := range []string{"", ".", "..", " ", "a b", "a\nb", strings.Repeat("a", 1000)} {
		_, _, err := c.RetrieveCandidate(t.Context(), uid)
		if comeet.KindOf(err) != comeet.Invalid {
			t.Errorf("candidate %q: %v", uid, err)
		}
		_, _, err = c.RetrievePosition(t.Context(), uid)
		if comeet.KindOf(err) != comeet.Invalid {
			t.Errorf("position %q: %v", uid, err)
		}
	}
}

func TestResponseTellsBothClocks(t *testing.T) {
	t.Parallel()
	date := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		return answer(r, 200, http.Header{"Date": {date.Format(http.TimeFormat)}}, `{"positions":[]}`), nil
	})))
	if _, known := c.ClockOffset(); known {
		t.Error("an offset is known before an answer told it")
	}
	if d := time.Until(c.Now()).Abs(); d > time.Second {
		t.Errorf("Now is %s from the local time before an answer told", d)
	}
	start := time.Now()
	_, resp, err := c.ListPositions(t.Context(), comeet.PositionQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if !resp.Date.Equal(date) || resp.Status != 200 {
		t.Errorf("%+v", resp)
	}
	if resp.Sent.Before(start) || resp.Answered.Before(resp.Sent) {
		t.Errorf("sent %v, answered %v", resp.Sent, resp.Answered)
	}
	if d := c.Now().Sub(date); d < 0 || d > 10*time.Second {
		t.Errorf("Now is %s after Comeet's Date", d)
	}
	offset, known := c.ClockOffset()
	if d := time.Now().Add(offset).Sub(c.Now()).Abs(); !known || d > 10*time.Second {
		t.Errorf("offset %s, known %v", offset, known)
	}
}

func TestDateOfACacheOrNoneTeachesNothing(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Header{
		"none":      {},
		"malformed": {"Date": {"yesterday"}},
		"cached":    {"Date": {"Mon, 03 Feb 2031 04:05:06 GMT"}, "Age": {"120"}},
	} {
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, h, `{"positions":[]}`), nil
		})))
		_, resp, err := c.ListPositions(t.Context(), comeet.PositionQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if _, known := c.ClockOffset(); known || !resp.Date.IsZero() {
			t.Errorf("%s: %v", name, resp.Date)
		}
	}
}

func TestProbeIsOneSmallRead(t *testing.T) {
	t.Parallel()
	var got string
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		got = r.Method + " " + r.URL.RequestURI()
		deadline, ok := r.Context().Deadline()
		if left := time.Until(deadline); !ok || left > comeet.ProbeTimeout {
			t.Errorf("deadline in %s", left)
		}
		return answer(r, 200, nil, `{"positions":[]}`), nil
	})))
	p, err := c.Gate().Acquire(t.Context(), comeet.Probe, comeet.CanPositions)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Probe(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if want := "GET /positions?limit=1"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestAPermitIsGoodForOneCall(t *testing.T) {
	t.Parallel()
	sent := 0
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		sent++
		return answer(r, 200, nil, `{"positions":[]}`), nil
	})))
	p, err := c.Gate().Acquire(t.Context(), comeet.Poll, comeet.CanPositions)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}, comeet.WithPermit(p)); err != nil {
		t.Fatal(err)
	}
	_, resp, err := c.ListPositions(t.Context(), comeet.PositionQuery{}, comeet.WithPermit(p))
	if comeet.KindOf(err) != comeet.Unavailable || resp != nil || sent != 1 {
		t.Errorf("the second call with one permit: %v, %d sent", err, sent)
	}
}

// takeAll takes every slot of a gate, one of them for a poll.
func takeAll(t testing.TB, gate *comeet.Gate) (poll *comeet.Permit, rest []*comeet.Permit) {
	t.Helper()
	poll, ok := gate.TryAcquire(comeet.Poll, comeet.CanPositions)
	if !ok {
		t.Fatal("no slot for a poll")
	}
	for _, p := range []comeet.Priority{comeet.Submit, comeet.Poll} {
		for {
			permit, ok := gate.TryAcquire(p, comeet.CanPoll)
			if !ok {
				break
			}
			rest = append(rest, permit)
		}
	}
	return poll, rest
}

func TestARefusedCallGivesItsPermitBack(t *testing.T) {
	t.Parallel()
	gate := comeet.NewGate(comeet.GateConfig{Limit: comeet.Limit{Requests: 10, Window: time.Hour}})
	c := newClient(t, comeet.WithGate(gate), comeet.WithTransport(always(200, `{"positions":[]}`)))
	p, _ := takeAll(t, gate)
	for i := range 3 {
		if _, _, err := c.RetrieveCandidate(t.Context(), "..", comeet.WithPermit(p)); comeet.KindOf(err) != comeet.Invalid {
			t.Fatal(err)
		}
		var ok bool
		if p, ok = gate.TryAcquire(comeet.Poll, comeet.CanPoll); !ok {
			t.Fatalf("round %d: the slot is not free again", i)
		}
	}
}

func TestClientPrintsNoField(t *testing.T) {
	t.Parallel()
	c := newClient(t, comeet.WithTransport(always(200, `{"positions":[]}`)))
	if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(format, c); strings.Contains(got, "marker") || strings.Contains(got, "ey") || !strings.Contains(got, "api.comeet.co") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestObserverSeesEachRequestAndItsMeaning(t *testing.T) {
	t.Parallel()
	status := 200
	var seen []comeet.Observation
	c := newClient(t, comeet.WithObserver(func(o comeet.Observation) { seen = append(seen, o) }),
		comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			return answer(r, status, nil, `{"positions":[]}`), nil
		})))
	_, _, _ = c.ListPositions(t.Context(), comeet.PositionQuery{})
	status = 503
	_, _, _ = c.ListPositions(t.Context(), comeet.PositionQuery{})
	if len(seen) != 2 || seen[0].Kind != 0 || seen[0].Status != 200 || seen[1].Kind != comeet.Unavailable || seen[1].Status != 503 ||
		seen[0].Op != "list positions" || seen[0].Took < 0 {
		t.Errorf("observed %+v", seen)
	}
}
