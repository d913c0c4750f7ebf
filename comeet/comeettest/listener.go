package comeettest

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// pausableListener keeps its address over pauses in which the port is really closed, so that
// clients get a true "connection refused" and not an accepted connection that is cut later.
type pausableListener struct {
	addr net.Addr

	mu     sync.Mutex
	inner  net.Listener // nil while paused
	woken  chan struct{}
	closed bool
	idle   map[net.Conn]struct{}
}

func listenPausable(addr string) (*pausableListener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &pausableListener{addr: l.Addr(), inner: l, woken: make(chan struct{}), idle: map[net.Conn]struct{}{}}, nil
}

func (p *pausableListener) Addr() net.Addr { return p.addr }

func (p *pausableListener) Accept() (net.Conn, error) {
	for {
		p.mu.Lock()
		inner, woken, closed := p.inner, p.woken, p.closed
		p.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if inner == nil {
			<-woken
			continue
		}
		conn, err := inner.Accept()
		if err == nil {
			return conn, nil
		}
		p.mu.Lock()
		paused := p.inner != inner
		p.mu.Unlock()
		if !paused {
			return nil, err
		}
	}
}

func (p *pausableListener) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.wake()
	if p.inner == nil {
		return nil
	}
	return p.inner.Close()
}

func (p *pausableListener) wake() { close(p.woken); p.woken = make(chan struct{}) }

// pause closes the port and the connections on which nothing is in flight; requests in flight are
// answered.
func (p *pausableListener) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inner == nil || p.closed {
		return
	}
	inner := p.inner
	p.inner = nil
	_ = inner.Close()
	for c := range p.idle {
		_ = c.Close()
	}
}

// resume listens on the same address again. The port may take a moment to come free, or be lost to
// another process.
func (p *pausableListener) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inner != nil || p.closed {
		return
	}
	l, err := net.Listen("tcp", p.addr.String())
	for deadline := time.Now().Add(5 * time.Second); err != nil; l, err = net.Listen("tcp", p.addr.String()) {
		if time.Now().After(deadline) {
			panic("comeettest: the port of the fake was taken by another process during an outage: " + err.Error())
		}
		time.Sleep(time.Millisecond)
	}
	p.inner = l
	p.wake()
}

func (p *pausableListener) connState(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state != http.StateIdle {
		delete(p.idle, c)
		return
	}
	if p.inner == nil {
		_ = c.Close()
		return
	}
	p.idle[c] = struct{}{}
}
