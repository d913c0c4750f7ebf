package comeet_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// A server takes the second POST of a kept-alive connection, acts on it, and drops the connection without an answer. This is
// where net/http resends what it holds for idempotent.
func TestAPostIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := rawServer(t, func(_ int, conn net.Conn) {
		r := bufio.NewReader(conn)
		for readRequest(t, r) {
			if requests.Add(1)%2 == 0 {
				return
			}
			reply(t, conn, 201, `{"uid":"3C.7F2A1"}`)
		}
	})
	tr := new(http.Transport)
	t.Cleanup(tr.CloseIdleConnections)
	for name, rt := range map[string]http.RoundTripper{
		"net/http": tr,
		"wrapped":  transport(tr.RoundTrip),
	} {
		requests.Store(0)
		c := newClient(t, comeet.WithBaseURL(url), comeet.WithTransport(rt))
		if _, _, err := c.CreateCandidate(t.Context(), noor()); err != nil {
			t.Fatalf("%s: first: %v", name, err)
		}
		_, _, err := c.CreateCandidate(t.Context(), noor())
		if comeet.KindOf(err) != comeet.InDoubt {
			t.Errorf("%s: second: %v, want in doubt", name, err)
		}
		if n := requests.Load(); n != 2 {
			t.Errorf("%s: the server read %d requests of 2 calls", name, n)
		}
	}
}

// The same for reads: the budget has counted one, so the server must not see two.
func TestAReadIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := rawServer(t, func(_ int, conn net.Conn) {
		r := bufio.NewReader(conn)
		for readRequest(t, r) {
			if requests.Add(1)%2 == 0 {
				return
			}
			reply(t, conn, 200, `{"candidates":[],"next_page":null}`)
		}
	})
	tr := new(http.Transport)
	t.Cleanup(tr.CloseIdleConnections)
	for name, rt := range map[string]http.RoundTripper{
		"net/http": tr,
		"wrapped":  transport(tr.RoundTrip),
	} {
		requests.Store(0)
		c := newClient(t, comeet.WithBaseURL(url), comeet.WithTransport(rt))
		if _, _, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{}); err != nil {
			t.Fatalf("%s: first: %v", name, err)
		}
		if _, _, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{}); comeet.KindOf(err) != comeet.Unavailable {
			t.Errorf("%s: second: %v, want unavailable", name, err)
		}
		if n := requests.Load(); n != 2 {
			t.Errorf("%s: the server read %d requests of 2 calls", name, n)
		}
	}
}

// A server closes a connection that it kept alive, while the client may be writing to it already. Whatever the order, a
// call that is not in doubt was read once, and one that was not read is not lost silently.
func TestADeadConnectionIsNotInDoubtForNothing(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := rawServer(t, func(_ int, conn net.Conn) {
		if readRequest(t, bufio.NewReader(conn)) {
			requests.Add(1)
			reply(t, conn, 201, `{"uid":"3C.7F2A1"}`)
		}
	})
	c := newClient(t, comeet.WithBaseURL(url))
	accepted, doubted := 0, 0
	for range 200 {
		switch _, _, err := c.CreateCandidate(t.Context(), noor()); comeet.KindOf(err) {
		case 0:
			accepted++
		case comeet.InDoubt:
			doubted++
		default:
			t.Fatal(err)
		}
	}
	if n := int(requests.Load()); n < accepted || n > accepted+doubted {
		t.Errorf("%d read, %d accepted, %d in doubt", n, accepted, doubted)
	}
	if accepted == 0 {
		t.Error("no call passed")
	}
}

// hang fails as a transport does whose connection died with err.
func hang(err error) transport {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func TestWasItSentWithoutTraceHooks(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	tests := map[string]struct {
		err  error
		post comeet.Kind
	}{
		"dial":                {dial, comeet.Unavailable},
		"dial, wrapped":       {fmt.Errorf("x: %w", dial), comeet.Unavailable},
		"dns":                 {&net.DNSError{Err: "no such host", IsNotFound: true}, comeet.Unavailable},
		"certificate unknown": {x509.UnknownAuthorityError{}, comeet.Unavailable},
		"certificate of host": {x509.HostnameError{Certificate: new(x509.Certificate), Host: "x"}, comeet.Unavailable},
		"certificate expired": {x509.CertificateInvalidError{}, comeet.Unavailable},
		"write":               {&net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}, comeet.InDoubt},
		"read":                {&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, comeet.InDoubt},
		"refused, but by who": {syscall.ECONNREFUSED, comeet.InDoubt},
		"eof":                 {io.EOF, comeet.InDoubt},
		"deadline":            {context.DeadlineExceeded, comeet.InDoubt},
		"foreign":             {errors.New("marker"), comeet.InDoubt},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, comeet.WithTransport(hang(tt.err)))
			_, resp, err := c.CreateCandidate(t.Context(), noor())
			if comeet.KindOf(err) != tt.post || resp != nil {
				t.Errorf("POST: %v, want %v", err, tt.post)
			}
			_, _, err = c.RetrieveCandidate(t.Context(), "x")
			if comeet.KindOf(err) != comeet.Unavailable || strings.Contains(err.Error(), "marker") {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestWasItSentOverRealConnections(t *testing.T) {
	t.Parallel()
	closed := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return url
	}
	tests := map[string]struct {
		url  func(t *testing.T) string
		want comeet.Kind
		is   error
	}{
		"refused":      {closed, comeet.Unavailable, syscall.ECONNREFUSED},
		"not resolved": {func(*testing.T) string { return "https://comeet.invalid" }, comeet.Unavailable, nil},
		"certificate": {func(t *testing.T) string {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the handshake that we refuse
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		}, comeet.Unavailable, nil},
		"no TLS there": {func(t *testing.T) string {
			return "https" + strings.TrimPrefix(rawServer(t, func(_ int, conn net.Conn) {
				_, _ = io.WriteString(conn, "HTTP/1.0 400 Bad Request\r\n\r\n")
			}), "http")
		}, comeet.Unavailable, nil},
		"closed before reading": {func(t *testing.T) string { return rawServer(t, func(int, net.Conn) {}) }, comeet.InDoubt, nil},
		"closed after reading": {func(t *testing.T) string {
			return rawServer(t, func(_ int, conn net.Conn) { readRequest(t, bufio.NewReader(conn)) })
		}, comeet.InDoubt, io.EOF},
		"half an answer": {func(t *testing.T) string {
			return rawServer(t, func(_ int, conn net.Conn) {
				readRequest(t, bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "HTTP/1.1 400 X\r\nContent-Length: 100\r\n\r\n{\"error\":\"invalid_email\"}")
			})
		}, comeet.InDoubt, io.ErrUnexpectedEOF},
		"not HTTP": {func(t *testing.T) string {
			return rawServer(t, func(_ int, conn net.Conn) {
				readRequest(t, bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "marker-answer\r\n\r\n")
			})
		}, comeet.InDoubt, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := new(http.Transport)
			t.Cleanup(tr.CloseIdleConnections)
			c := newClient(t, comeet.WithBaseURL(tt.url(t)), comeet.WithTransport(tr))
			_, _, err := c.CreateCandidate(t.Context(), noor())
			if comeet.KindOf(err) != tt.want {
				t.Errorf("POST: %v, want %v", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v does not lead to %v", err, tt.is)
			}
			if strings.Contains(err.Error(), "marker") {
				t.Errorf("%v quotes the answer", err)
			}
			_, _, err = c.RetrieveCandidate(t.Context(), "x")
			if comeet.KindOf(err) != comeet.Unavailable {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestCallerThatGivesUp(t *testing.T) {
	t.Parallel()
	cause := errors.New("marker-cause of the caller")
	t.Run("before anything is sent", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		c := newClient(t, comeet.WithTransport(transport(func(*http.Request) (*http.Response, error) {
			t.Error("sent")
			return nil, io.EOF
		})))
		_, _, err := c.CreateCandidate(ctx, noor())
		if comeet.KindOf(err) != comeet.Canceled || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "marker") {
			t.Errorf("%v", err)
		}
		// With a permit in hand it is no different, and the permit is back.
		p, ok := c.Gate().TryAcquire(comeet.Poll, comeet.CanPoll)
		if !ok {
			t.Fatal("no permit")
		}
		_, _, err = c.RetrieveCandidate(ctx, "x", comeet.WithPermit(p))
		if comeet.KindOf(err) != comeet.Canceled || p.Valid() {
			t.Errorf("%v, permit valid: %v", err, p.Valid())
		}
	})
	for _, post := range []bool{true, false} {
		t.Run(fmt.Sprintf("after it was sent, post=%v", post), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			release := make(chan struct{})
			c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				cancel(cause)
				<-release
			})
			t.Cleanup(func() { close(release) }) // before the server's own, which waits for the handler
			var err error
			want := comeet.Canceled
			if post {
				want = comeet.InDoubt
				_, _, err = c.CreateCandidate(ctx, noor())
			} else {
				_, _, err = c.RetrieveCandidate(ctx, "x")
			}
			if comeet.KindOf(err) != want || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "marker") {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
	t.Run("while a POST waits for a connection", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			cancel(cause)
			return nil, context.Canceled
		}}
		c := newClient(t, comeet.WithTransport(tr))
		_, _, err := c.CreateCandidate(ctx, noor())
		if comeet.KindOf(err) != comeet.Canceled {
			t.Errorf("%v", err)
		}
	})
}

func TestTimeoutNamesItsSetting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, comeet.WithTimeout(7*time.Second), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})))
		tests := []struct {
			setting string
			limit   time.Duration
			opts    []comeet.CallOption
		}{
			{"WithTimeout)", 7 * time.Second, nil},
			{"WithTimeoutOf)", 2 * time.Second, []comeet.CallOption{comeet.WithTimeoutOf(2 * time.Second)}},
			{"WithTimeout)", 7 * time.Second, []comeet.CallOption{comeet.WithTimeoutOf(0)}},
		}
		for _, tt := range tests {
			start := time.Now()
			_, _, err := c.CreateCandidate(t.Context(), noor(), tt.opts...)
			if took := time.Since(start); took != tt.limit {
				t.Errorf("took %s, want %s", took, tt.limit)
			}
			if comeet.KindOf(err) != comeet.InDoubt || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.setting) {
				t.Errorf("POST: %v", err)
			}
			_, _, err = c.RetrieveCandidate(t.Context(), "x", tt.opts...)
			if comeet.KindOf(err) != comeet.Unavailable || !strings.Contains(err.Error(), tt.setting) {
				t.Errorf("read: %v", err)
			}
		}
		// The caller's own deadline is the caller's business.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := c.RetrieveCandidate(ctx, "x")
		if comeet.KindOf(err) != comeet.Canceled || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller's deadline: %v", err)
		}
	})
}

func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/prefix/elsewhere", http.StatusTemporaryRedirect)
	})
	_, _, err := c.CreateCandidate(t.Context(), noor())
	if comeet.KindOf(err) != comeet.InDoubt {
		t.Errorf("POST: %v", err)
	}
	_, resp, err := c.RetrieveCandidate(t.Context(), "x")
	if comeet.KindOf(err) != comeet.Unavailable || resp.Status != 307 {
		t.Errorf("read: %v", err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// endless is a body that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}
func (*endless) Close() error { return nil }

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		call   func(context.Context, *comeet.Client) error
		max    int
		want   comeet.Kind
	}{
		"list": {200, func(ctx context.Context, c *comeet.Client) error {
			_, _, err := c.ListPositions(ctx, comeet.PositionQuery{})
			return err
		}, 64 << 20, comeet.Unavailable},
		"object": {200, func(ctx context.Context, c *comeet.Client) error {
			_, _, err := c.CreateCandidate(ctx, noor())
			return err
		}, 8 << 20, comeet.InDoubt},
		"error": {400, func(ctx context.Context, c *comeet.Client) error {
			_, _, err := c.CreateCandidate(ctx, noor())
			return err
		}, 256 << 10, comeet.InDoubt},
		"throttled all the same": {429, func(ctx context.Context, c *comeet.Client) error {
			_, _, err := c.CreateCandidate(ctx, noor())
			return err
		}, 256 << 10, comeet.Throttled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := new(endless)
			c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				resp := answer(r, tt.status, nil, "")
				resp.Body, resp.ContentLength = body, -1
				return resp, nil
			})))
			if err := tt.call(t.Context(), c); comeet.KindOf(err) != tt.want {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if body.read > tt.max {
				t.Errorf("read %d bytes", body.read)
			}
		})
	}
}

func TestCompressedAnswersAreReadAndBounded(t *testing.T) {
	t.Parallel()
	compressed := func(body []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	bomb := compressed(append([]byte(`{"uid":"x","pad":"`), bytes.Repeat([]byte("a"), 5<<20)...))
	small := compressed([]byte(`{"uid":"3C.7F2A1"}`))
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		if strings.HasSuffix(r.URL.Path, "bomb") {
			_, _ = w.Write(bomb)
		} else {
			_, _ = w.Write(small)
		}
	})
	if got, _, err := c.RetrieveCandidate(t.Context(), "small"); err != nil || got.UID != "3C.7F2A1" {
		t.Errorf("%v %v", got, err)
	}
	_, _, err := c.RetrieveCandidate(t.Context(), "bomb")
	if comeet.KindOf(err) != comeet.Unavailable || !strings.Contains(err.Error(), "larger") {
		t.Errorf("bomb: %v", err)
	}
}
