package comeet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// flight watches one request through net/http's trace hooks, to answer "was it sent?" and to forbid
// silent resends.
//
// What net/http does by itself: a POST without Idempotency-Key goes out again, over HTTP/1.1, only
// if a kept-alive connection turned out to be dead before one byte was written. Over HTTP/2 it also
// goes out again after some resets by the server, when the server may have acted. Both ways it asks
// GetBody for the body once more, and there HTTP/2 is refused. A transport of another make gets no
// GetBody at all. A read goes out again whenever a kept-alive connection breaks, unless it has a
// body that cannot be had once more; so it has one, of no bytes.
type flight struct {
	native bool
	hooked atomic.Bool // any hook fired
	got    atomic.Bool // a connection was handed out: from here on bytes may be on their way
	http2  atomic.Bool
	// deadline is when the request's time is over; a connection of ours sends nothing after it.
	deadline time.Time
	hooks    httptrace.ClientTrace
}

func newFlight(native bool, deadline time.Time) *flight {
	f := &flight{native: native, deadline: deadline}
	f.hooks.GetConn = f.getConn
	f.hooks.GotConn = f.gotConn
	f.hooks.WroteHeaders = f.wrote
	return f
}

func (f *flight) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &f.hooks)
}

func (f *flight) getConn(string) {
	f.hooked.Store(true)
	if f.native {
		// A second search for a connection means that nothing was written on the first.
		f.got.Store(false)
	}
}

func (f *flight) gotConn(info httptrace.GotConnInfo) {
	f.hooked.Store(true)
	f.got.Store(true)
	if c := connOf(info.Conn); c != nil {
		c.expires(f.deadline)
	}
	c, ok := info.Conn.(interface{ ConnectionState() tls.ConnectionState })
	f.http2.Store(ok && c.ConnectionState().NegotiatedProtocol == "h2")
}

// wrote covers a transport that fires only the later hooks.
func (f *flight) wrote() {
	f.hooked.Store(true)
	f.got.Store(true)
}

// sent reports whether the request, which failed with err, may have reached the server.
func (f *flight) sent(err error) bool {
	if f.native || f.hooked.Load() {
		return f.got.Load()
	}
	return !neverSent(err)
}

var errNoResend = errors.New("a POST is not sent twice")

func (f *flight) rewind(body []byte) (io.ReadCloser, error) {
	if f.http2.Load() {
		return nil, errNoResend
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}
