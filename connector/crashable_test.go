package connector_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector"
)

// crashable is a replica that can be killed, as SIGKILL does, or frozen, as SIGSTOP does. It is either a process of its own, or an instance
// in this process all of whose effects on the world pass a gate of ours.
type crashable struct {
	name  string
	proxy *proxy
	// process is nil for an instance.
	process *process
	// cancel ends an instance in order; done is closed when it has ended.
	cancel context.CancelFunc
	done   chan struct{}
	// admin is where an instance shows its metrics.
	admin string

	mu   sync.Mutex // guards gone
	gone bool
}

// runs reports whether it was neither killed nor told to stop.
func (r *crashable) runs() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.gone
}

func (r *crashable) leaves() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

// kill ends it at once: nothing of what it was about to do happens any more.
func (r *crashable) kill() {
	r.leaves()
	if r.process != nil {
		r.process.kill()
	}
	r.proxy.kill()
	if r.cancel != nil {
		r.cancel()
	}
}

// freeze stops it in the middle of whatever it does.
func (r *crashable) freeze() {
	if r.process != nil {
		r.process.freeze()
	} else {
		r.proxy.freeze()
	}
}

// thaw lets it go on from there.
func (r *crashable) thaw() {
	if r.process != nil {
		r.process.thaw()
	}
	r.proxy.thaw()
}

// stop asks it to end in order.
func (r *crashable) stop() {
	r.leaves()
	r.thaw()
	if r.process != nil {
		r.process.ask()
	} else {
		r.cancel()
	}
}

// ended waits until it is gone, in order or not.
func (r *crashable) ended() {
	if r.process != nil {
		<-r.process.gone
	} else {
		<-r.done
	}
}

// newInstance runs a replica in this process.
func (w *world) newInstance(c child) *crashable {
	w.Helper()
	r := &crashable{name: c.Replica, proxy: newProxy(w.TB, w.nats.urls()...), done: make(chan struct{})}
	cfg := c.config(zerolog.New(w.logs))
	cfg.NATSURL, cfg.BaseURL, cfg.Transport = r.proxy.url(), w.fake.InMemoryURL(), severable{w.fake.Transport(), r.proxy}
	con, err := connector.New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.admin = cancel, con.AdminAddr()
	go func() {
		defer close(r.done)
		if err := con.Run(ctx); err != nil {
			w.Errorf("%s: %v", r.name, err)
		}
	}()
	w.Cleanup(func() {
		r.stop()
		r.ended()
	})
	return r
}

// newProcess runs a replica in a process of its own.
func (w *world) newProcess(c child) *crashable {
	w.Helper()
	r := &crashable{name: c.Replica, proxy: newProxy(w.TB, w.nats.urls()...)}
	c.NATSURL = r.proxy.url()
	r.process = startChild(w.TB, c)
	return r
}

// severable is the way to Comeet of an instance.
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

// trip is how a replica falls at a point of the flow: just before a message to the bus is stored, or just after it, its
// acknowledgement lost.
type trip struct {
	// subject is how the message's subject begins.
	subject string
	stored  bool
	// heard means that the message is stored and its acknowledgement comes when it goes on, instead of being lost.
	heard bool
	// frozen is for how long it stands still there; 0 kills it.
	frozen time.Duration
}

// arm lets the replica fall when it comes to the point. The returned function takes the trap away and waits for what it has begun.
func (r *crashable) arm(t trip, tell func(string, ...any)) (disarm func()) {
	off, done := make(chan struct{}), make(chan struct{})
	var sprung <-chan struct{}
	if t.heard {
		sprung = r.proxy.hold(t.subject)
	} else {
		sprung = r.proxy.set(t.subject, t.stored)
	}
	go func() {
		defer close(done)
		select {
		case <-off:
			r.proxy.disarm()
			return
		case <-sprung:
		}
		if t.frozen == 0 {
			tell("%s dies at %s (stored: %v)", r.name, t.subject, t.stored)
			r.kill()
			return
		}
		tell("%s freezes at %s (stored: %v, heard: %v) for %v", r.name, t.subject, t.stored, t.heard, t.frozen)
		r.freeze()
		<-time.After(t.frozen)
		r.thaw()
		if !t.heard {
			r.proxy.release()
		}
	}()
	return func() {
		close(off)
		<-done
	}
}
