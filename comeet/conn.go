package comeet

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A request that the client has given up must not reach Comeet afterwards: by then it may have been
// looked up, not found, and sent again. The process alone cannot promise that, since the kernel
// goes on sending what a connection holds, after close, after SIGKILL and while the process is
// frozen: 6, 13, 25 and 51 s later. Three rules on each connection of [NewTransport] do:
//
//   - Closing discards (SO_LINGER 0), be it by the client or by the kernel when the process ends.
//   - Each write tells the kernel how long it may go on trying (TCP_USER_TIMEOUT): until the
//     request's own deadline.
//   - Nothing is written after the request's deadline. That is asked immediately before each write,
//     by both clocks, since a process that was frozen wakes up in the middle of one.
//
// What is left are packets that are under way in the network, and bytes that something between here
// and Comeet holds back.

// MaxLateness is how long after the deadline of a request, which began with that timeout, bytes of
// it may still leave this host, if the process was killed or frozen meanwhile. A live process sends
// nothing after the deadline.
//
// On Linux it is the timeout itself: unacknowledged bytes die at the deadline, unless the link lets
// some of them through in its last moment, which gives the rest as long again. Elsewhere the kernel
// can't be told, and gives up by itself within 10 minutes.
func MaxLateness(timeout time.Duration) time.Duration { return maxLateness(timeout) }

// dialer makes the connections of [NewTransport].
type dialer struct{ net.Dialer }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		err = tcp.SetLinger(0) // guard: closing-discards
	}
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return &conn{Conn: tcp, raw: raw}, nil
}

// conn is a connection that sends nothing after the deadline of the request that it is used for. It
// must not offer ReadFrom, by which the standard library would write past it.
type conn struct {
	net.Conn
	raw syscall.RawConn
	// deadline is the present request's; nil before the first one.
	deadline atomic.Pointer[time.Time]
}

// errTooLate is what a write gets after the request's deadline.
var errTooLate = errors.New("the request's time was over before all of it was sent; the rest was not sent")

// expires sets until when the connection may send.
func (c *conn) expires(deadline time.Time) { c.deadline.Store(&deadline) }

// left is how much of the request's time is left, by the clock that leaves less: the monotonic one
// stands still while a virtual machine is suspended. It is false if no request uses the connection
// yet.
func (c *conn) left() (time.Duration, bool) {
	d := c.deadline.Load()
	if d == nil {
		return 0, false
	}
	now := time.Now()
	return min(d.Sub(now), d.Round(0).Sub(now.Round(0))), true
}

// connOf is our own connection below what a transport handed out; nil if the transport dials by
// other means.
func connOf(c net.Conn) *conn {
	for {
		switch have := c.(type) {
		case *conn:
			return have
		case *tls.Conn:
			c = have.NetConn()
		default:
			return nil
		}
	}
}
