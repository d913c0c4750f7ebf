package bustest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands between clients and a server. It can swallow what the server says, so that writes
// are stored and their acknowledgements lost, hold it up, hold back what clients say, as a network
// does that was away for a while, and break connections.
type Proxy struct {
	l    net.Listener
	mute atomic.Bool
	// delay is how long each answer is under way, in nanoseconds.
	delay atomic.Int64
	wg    sync.WaitGroup

	mu    sync.Mutex // guards conns and held
	conns []net.Conn
	held  chan struct{} // closed when what clients say passes again; nil while it does
}

// NewProxy listens for clients of the server at an address, `host:port`.
func NewProxy(server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{l: l}
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.join(client, server)
		}
	})
	return p, nil
}

func (p *Proxy) join(client net.Conn, server string) {
	up, err := net.Dial("tcp", server)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, client, up)
	p.mu.Unlock()
	p.wg.Go(func() { _, _ = io.Copy(questions{p, up}, client); up.Close() })
	p.wg.Go(func() { _, _ = io.Copy(answers{p, client}, up); client.Close() })
}

// URL is where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.l.Addr().String() }

// Mute swallows what the server says, or no longer does. What was swallowed is lost: Cut before the
// client is to understand again.
func (p *Proxy) Mute(on bool) { p.mute.Store(on) }

// Delay holds up each piece of what the server says.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Hold keeps back what clients say, until it lets all of it through at once.
func (p *Proxy) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.held == nil:
		p.held = make(chan struct{})
	case !on && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// Cut breaks every connection; clients may connect anew.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// Close ends the proxy and waits until it has ended.
func (p *Proxy) Close() {
	p.l.Close()
	p.Hold(false)
	p.Cut()
	p.wg.Wait()
}

// questions is the way to the server.
type questions struct {
	p  *Proxy
	up net.Conn
}

func (q questions) Write(b []byte) (int, error) {
	q.p.mu.Lock()
	held := q.p.held
	q.p.mu.Unlock()
	if held != nil {
		<-held
	}
	return q.up.Write(b)
}

// answers is the way back to a client.
type answers struct {
	p      *Proxy
	client net.Conn
}

func (a answers) Write(b []byte) (int, error) {
	if a.p.mute.Load() {
		return len(b), nil
	}
	time.Sleep(time.Duration(a.p.delay.Load()))
	return a.client.Write(b)
}
