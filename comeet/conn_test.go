package comeet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lateReader accepts one connection, takes little into its kernel's memory, and reads nothing until it is told to.
type lateReader struct {
	address string
	read    chan struct{}
	got     chan received
}

type received struct {
	bytes int64
	err   error
}

func startLateReader(t *testing.T, config *tls.Config) *lateReader {
	t.Helper()
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { smallReadBuffer(t, fd) })
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &lateReader{address: l.Addr().String(), read: make(chan struct{}), got: make(chan received, 1)}
	go func() {
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			r.got <- received{0, err}
			return
		}
		defer c.Close()
		if config != nil {
			secure := tls.Server(c, config)
			if err := secure.Handshake(); err != nil {
				r.got <- received{0, err}
				return
			}
			c = secure
		}
		<-r.read
		n, err := io.Copy(io.Discard, c)
		r.got <- received{n, err}
	}()
	t.Cleanup(func() { l.Close() })
	return r
}

// Incident: links to Comeet were dark for a while. POSTs that the process had given up were delivered by its kernel afterwards, when
// they had been looked up, not found, and sent again.
func TestGivenUpRequestIsDiscarded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"in the clear", "over TLS"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transport := NewTransport()
			base := "http://"
			var config *tls.Config
			if name == "over TLS" {
				made := httptest.NewTLSServer(nil) // for its certificate
				defer made.Close()
				config = &tls.Config{Certificates: made.TLS.Certificates}
				pool := x509.NewCertPool()
				pool.AddCert(made.Certificate())
				transport.TLSClientConfig = &tls.Config{RootCAs: pool}
				base = "https://"
			}
			server := startLateReader(t, config)
			c, err := NewClient(StaticCredentials("key", strings.Repeat("s", 32)),
				WithBaseURL(base+server.address), WithTransport(transport), WithTimeout(300*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			// As much as the kernel takes at once, and more than fits into the server's memory.
			note := strings.Repeat("x", 48<<10)
			_, _, err = c.CreateCandidate(t.Context(), &NewCandidate{PositionUID: "5A.1B9", FirstName: "Noor", LastName: "Lindqvist", Note: note})
			if KindOf(err) != InDoubt {
				t.Fatalf("the request that nobody reads: %v", err)
			}
			close(server.read)
			got := <-server.got
			if !errors.Is(got.err, syscall.ECONNRESET) || got.bytes > int64(len(note)) {
				t.Errorf("the server read %d bytes of a request that was given up, and then: %v", got.bytes, got.err)
			}
		})
	}
}

// A process that was frozen in the middle of a request goes on where it stood. Its connection does not.
func TestConnectionSendsNothingAfterTheDeadline(t *testing.T) {
	t.Parallel()
	server := startLateReader(t, nil)
	raw, err := (&dialer{}).dial(t.Context(), "tcp", server.address)
	if err != nil {
		t.Fatal(err)
	}
	c := raw.(*conn)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	deadline, _ := ctx.Deadline()
	c.expires(deadline)
	const all = 32 << 20
	wrote := make(chan error, 1)
	var n int
	go func() {
		var err error
		n, err = c.Write(make([]byte, all)) // blocks until the server reads
		wrote <- err
	}()
	<-ctx.Done()
	close(server.read)
	if err := <-wrote; !errors.Is(err, errTooLate) || n == all {
		t.Errorf("wrote %d bytes of %d, %v", n, all, err)
	}
	if _, err := c.Write([]byte("more")); !errors.Is(err, errTooLate) {
		t.Errorf("a write after the deadline: %v", err)
	}
	c.expires(time.Now().Add(time.Minute))
	if _, err := c.Write([]byte("the next request")); err != nil {
		t.Errorf("the next request on the same connection: %v", err)
	}
	_ = c.Close()
	if got := <-server.got; got.bytes > int64(n+len("the next request")) {
		t.Errorf("the server read %d bytes, %d were written", got.bytes, n)
	}
	// The wall clock counts as well: the other one stands still while a virtual machine is suspended.
	if left, bound := func() (time.Duration, bool) {
		c.expires(time.Now().Round(0).Add(-time.Second))
		return c.left()
	}(); !bound || left > 0 {
		t.Errorf("%v are left by the wall clock, %v", left, bound)
	}
}
