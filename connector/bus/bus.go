// Package bus is the only code of the connector that knows NATS: the connection, compare-and-set
// writes, reads of a subject's last message, the consumer of an account, key-value buckets and the
// object store, and the assets they live in.
//
// It keeps four habits that the rest relies on. A write of unknown result is repeated with the same
// compare-and-set until the bus has answered, so a caller sees stored, conflict or the end of its
// own context, never "perhaps". Nothing is buffered while the connection is down: what was not sent
// is not sent later behind the caller's back. Reads go to the stream's leader. And time is the
// server's: see Bus.Now.
//
// All methods are safe for concurrent use, and block until the bus has answered or their context
// ends.
package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrConflict means that the compare-and-set found another last message over its filter:
	// somebody else wrote, or this very write was stored before and its acknowledgement was lost.
	// Read the last message to know.
	ErrConflict = errors.New("bus: another message is the last over this filter")
	// ErrNotFound means that no message, key or object is there.
	ErrNotFound = errors.New("bus: not found")
	// ErrFull means that the stream has reached its MaxBytes, or the account its storage limit;
	// nothing was stored.
	ErrFull = errors.New("bus: no room: raise the stream's max_bytes, or the account's storage limit")
	// ErrTooLarge means that the message exceeds the server's max_payload or the stream's limit;
	// nothing was stored.
	ErrTooLarge = errors.New("bus: the message is larger than the server accepts")
	// ErrAssetDeleted means that the stream or consumer was deleted under us.
	ErrAssetDeleted = errors.New("bus: the stream or consumer is gone")
)

// attemptTimeout bounds one try of a request; the try is repeated while the caller's context lives.
const attemptTimeout = 5 * time.Second

// Config says how to reach the bus.
type Config struct {
	// URL is one server or several separated by commas. Defaults to nats://127.0.0.1:4222.
	URL string
	// Creds is the path of a credentials file; empty means none.
	Creds string
	// Name is shown in the server's connection list, e.g. the replica's name.
	Name string
	// OnEvent is told what happens to the connection, from the client's own goroutine: it must not
	// block. nil means nobody.
	OnEvent func(ConnEvent)
	// Server joins a server in the same process instead of URL; used by the sandbox and by tests.
	Server InProcess
}

// InProcess is a nats-server in the same process.
type InProcess = nats.InProcessConnProvider

// inProcess marks the failure to join such a server, which has no type: it may be starting.
type inProcess struct{ InProcess }

var errInProcess = errors.New("the server in this process is not up")

func (p inProcess) InProcessConn() (net.Conn, error) {
	c, err := p.InProcess.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInProcess, err)
	}
	return c, nil
}

// ConnEvent is one change of the connection.
type ConnEvent struct {
	// State is "connected", "disconnected", "closed", "error", or "waiting": a request is repeated,
	// for a second or more by now. A failed try to connect is a "disconnected" too.
	State string
	// Server names the server after "connected".
	Server string
	// Err is the cause, if there is one.
	Err error
}

// Bus is one connection to NATS with JetStream.
type Bus struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	notify func(ConnEvent)
	// clock is the last trusted look at the server's clock; nil before the first.
	clock atomic.Pointer[clockLook]
	// epoch holds a context that ends when the connection breaks, comes back or is closed: what was
	// asked before gets no answer.
	epoch atomic.Pointer[connEpoch]
	// denied holds the server's last complaint about a missing permission.
	denied atomic.Pointer[denial]
	// streams holds bound handles by stream name.
	streams sync.Map
}

// connEpoch is the time between two changes of the connection.
type connEpoch struct {
	ctx context.Context
	end context.CancelFunc
}

func newConnEpoch() *connEpoch {
	ctx, end := context.WithCancel(context.Background())
	return &connEpoch{ctx, end}
}

// denial is a complaint that the server sends on its own, while the request that it is about just
// stays without answer.
type denial struct {
	at  time.Time
	err error
}

// Connect joins the bus. It waits for a bus that is not up yet, telling OnEvent every failure,
// until ctx ends; it fails at once only on a configuration that cannot work, such as an unreadable
// credentials file or credentials that are refused. Once joined it never gives up: credentials that
// are refused later may be replaced, their file is read at every try.
func Connect(ctx context.Context, cfg Config) (*Bus, error) {
	notify := cfg.OnEvent
	if notify == nil {
		notify = func(ConnEvent) {}
	}
	b := &Bus{notify: notify}
	b.epoch.Store(newConnEpoch())
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.Timeout(attemptTimeout),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.epoch.Swap(newConnEpoch()).end()
			notify(ConnEvent{State: "disconnected", Err: err})
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { notify(ConnEvent{State: "disconnected", Err: err}) }),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.epoch.Swap(newConnEpoch()).end()
			notify(ConnEvent{State: "connected", Server: nc.ConnectedServerName()})
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			b.epoch.Load().end()
			notify(ConnEvent{State: "closed", Err: nc.LastError()})
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				b.denied.Store(&denial{time.Now(), err})
			}
			notify(ConnEvent{State: "error", Err: err})
		}),
	}
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.Server != nil {
		opts = append(opts, nats.InProcessServer(inProcess{cfg.Server}))
	}
	for {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err == nil {
			b.nc = nc
			break
		}
		if !transient(err) {
			return nil, fmt.Errorf("connect to the bus: %w", err)
		}
		notify(ConnEvent{State: "disconnected", Err: err})
		if !Sleep(ctx, 250*time.Millisecond) {
			return nil, fmt.Errorf("connect to the bus: %w (last: %w)", context.Cause(ctx), err)
		}
	}
	js, err := jetstream.New(b.nc, jetstream.WithDefaultTimeout(attemptTimeout))
	if err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	b.js = js
	notify(ConnEvent{State: "connected", Server: b.nc.ConnectedServerName()})
	return b, nil
}

// transient tells a bus that may come up later from a configuration that never works.
func transient(err error) bool {
	if errors.As(err, new(*fs.PathError)) || errors.As(err, new(*net.AddrError)) {
		return false
	}
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*net.DNSError)) || slices.ContainsFunc([]error{
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrStaleConnection, nats.ErrDisconnected, nats.ErrConnectionClosed,
		nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded, errInProcess,
		// A server that stops while it is joined, or a load balancer without one behind it.
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,
	}, func(e error) bool { return errors.Is(err, e) })
}

// Close ends the connection at once. Everything of value has been acknowledged by then.
func (b *Bus) Close() { b.nc.Close() }

// Connected reports whether the connection stands right now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// Clustered reports whether the server that we are connected to is part of a cluster.
func (b *Bus) Clustered() bool { return b.nc.ConnectedClusterName() != "" }

// Now is the server's clock, by which stored messages are stamped: what the last StreamState told,
// and the time that has passed since. A step of our own wall clock does not move it. Before the
// first StreamState it is our own clock.
func (b *Bus) Now() time.Time {
	l := b.clock.Load()
	if l == nil {
		return time.Now()
	}
	return l.at(time.Now())
}

// clockLook is what the server's clock said at a moment of our monotonic one, and by how much that
// may be off: the server may have said it at any moment of the look.
type clockLook struct {
	server, here time.Time
	off          time.Duration
}

func (l *clockLook) at(here time.Time) time.Time { return l.server.Add(here.Sub(l.here)) }

// slowLook is how long a look at the server's clock may take to be taken for better than the one
// before: the answer may have been given at any moment of it.
const slowLook = time.Second

// sawClock takes in what the server's clock said between two moments of ours. A slow look counts
// only if there is none yet, or if it proves the last one wrong.
func (b *Bus) sawClock(server, before, after time.Time) {
	took := after.Sub(before)
	if l := b.clock.Load(); l != nil && took > slowLook &&
		!server.Before(l.at(before).Add(-l.off)) && !server.After(l.at(after).Add(l.off)) {
		return
	}
	b.clock.Store(&clockLook{server, before.Add(took / 2), took / 2})
}

// StreamState is what a look at a stream tells.
type StreamState struct {
	// Created is when the stream was made; with a sequence it identifies a message for ever.
	Created time.Time
	// Messages and Bytes are what the stream holds, MaxBytes what it may hold; MaxBytes <= 0 is no
	// limit.
	Messages        uint64
	Bytes, MaxBytes int64
	// MaxAge is how long the stream keeps a message; 0 is for ever.
	MaxAge time.Duration
	// Subjects counts the messages per subject, only if a filter was given.
	Subjects map[string]uint64
}

// StreamState looks at a stream and takes its server's clock for Now. With a filter it also counts
// messages per subject. ErrAssetDeleted if the stream does not exist.
func (b *Bus) StreamState(ctx context.Context, stream, filter string) (StreamState, error) {
	var st StreamState
	err := b.try(ctx, func(ctx context.Context) error {
		before := time.Now()
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		after := time.Now()
		info := s.CachedInfo()
		if !info.TimeStamp.IsZero() {
			b.sawClock(info.TimeStamp, before, after)
		}
		if filter != "" {
			if info, err = s.Info(ctx, jetstream.WithSubjectFilter(filter)); err != nil {
				return err
			}
		}
		st = StreamState{
			Created: info.Created, Messages: info.State.Msgs, Bytes: int64(info.State.Bytes), MaxBytes: info.Config.MaxBytes,
			MaxAge: info.Config.MaxAge, Subjects: info.State.Subjects,
		}
		return nil
	})
	if err != nil {
		return StreamState{}, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	return st, nil
}

// Sleep waits for d, and reports whether the context still lives.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
