package connector_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands between a connector and the bus, and stops the traffic at a chosen message, so that a crash can be placed
// exactly before or after it.
type proxy struct {
	listener net.Listener
	// targets are tried in turn, beginning with another one each time.
	targets []string
	next    atomic.Int64
	// lag holds up everything that passes, in nanoseconds.
	lag atomic.Int64

	mu   sync.Mutex // guards what follows
	trap *trap
	// ice is closed when nothing is frozen; while it is open nothing passes.
	ice  chan struct{}
	dead bool
	all  map[net.Conn]struct{}
	wg   sync.WaitGroup
}

// trap is a message to wait for.
type trap struct {
	// subject is how the message's subject begins.
	subject string
	// stored lets the message through and loses everything that the bus says from then on; else the message itself is lost.
	stored bool
	// held lets the message through and freezes: what the bus says comes late.
	held   bool
	sprung chan struct{}
	once   sync.Once
}

func newProxy(t testing.TB, targets ...string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ice: closedChannel(), listener: l, all: map[net.Conn]struct{}{}}
	for _, target := range targets {
		p.targets = append(p.targets, strings.TrimPrefix(target, "nats://"))
	}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.kill()
		p.listener.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

// set arms a trap; the channel is closed when it has sprung.
func (p *proxy) set(subject string, stored bool) <-chan struct{} {
	return p.arm(&trap{subject: subject, stored: stored})
}

// hold arms a trap that freezes just after the message is stored; thaw ends that, and nothing is lost.
func (p *proxy) hold(subject string) <-chan struct{} {
	return p.arm(&trap{subject: subject, held: true})
}

func (p *proxy) arm(t *trap) <-chan struct{} {
	t.sprung = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = t
	return t.sprung
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// freeze lets nothing pass until thaw, as if the process behind were stopped.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freezeLocked()
}

func (p *proxy) freezeLocked() {
	select {
	case <-p.ice:
		if !p.dead {
			p.ice = make(chan struct{})
		}
	default:
	}
}

// freezeAt is freeze for a trap that holds, unless it has been taken away meanwhile.
func (p *proxy) freezeAt(t *trap) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trap != t {
		return false
	}
	p.trap = nil
	p.freezeLocked()
	return true
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ice:
	default:
		close(p.ice)
	}
}

// pass waits while the proxy is frozen, and reports whether it lives.
func (p *proxy) pass() bool {
	p.mu.Lock()
	ice := p.ice
	p.mu.Unlock()
	<-ice
	if lag := p.lag.Load(); lag > 0 {
		<-time.After(time.Duration(lag))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead
}

// kill ends all traffic for ever, at once: whatever is behind has no effect on the world any more. The port stays taken: else a proxy of another
// test could get it, and what is behind this one would come back in that test's world.
func (p *proxy) kill() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.thaw()
	p.cut()
}

// disarm takes a trap away that has not sprung.
func (p *proxy) disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = nil
}

// release takes the trap away and cuts all connections, as a passing network failure does.
func (p *proxy) release() {
	p.mu.Lock()
	p.trap = nil
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.all {
		c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server := p.dial()
		if server == nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		if p.dead {
			p.mu.Unlock()
			client.Close()
			server.Close()
			continue
		}
		p.all[client], p.all[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		var muted sync.Once
		mute := make(chan struct{})
		end := func() {
			client.Close()
			server.Close()
			p.mu.Lock()
			delete(p.all, client)
			delete(p.all, server)
			p.mu.Unlock()
		}
		p.wg.Go(func() {
			defer end()
			p.up(client, server, func() { muted.Do(func() { close(mute) }) })
		})
		p.wg.Go(func() {
			defer end()
			buf := make([]byte, 32<<10)
			for {
				n, err := server.Read(buf)
				if !p.pass() {
					return
				}
				select {
				case <-mute:
					// Lost on the way: read and thrown away until the connection ends.
				default:
					if _, werr := client.Write(buf[:n]); werr != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		})
	}
}

func (p *proxy) dial() net.Conn {
	from := int(p.next.Add(1))
	for i := range p.targets {
		if c, err := net.Dial("tcp", p.targets[(from+i)%len(p.targets)]); err == nil {
			return c
		}
	}
	return nil
}

// up forwards what the client says, message by message.
func (p *proxy) up(client, server net.Conn, mute func()) {
	r := bufio.NewReaderSize(client, 64<<10)
	w := bufio.NewWriter(server)
	lost := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		frame := []byte(line)
		fields := strings.Fields(line)
		if len(fields) > 2 && (fields[0] == "PUB" || fields[0] == "HPUB") {
			n, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				return
			}
			payload := make([]byte, n+2)
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			frame = append(frame, payload...)
			p.mu.Lock()
			trap := p.trap
			p.mu.Unlock()
			// A sign of life goes where an ack goes, and is none.
			if trap != nil && strings.HasPrefix(fields[1], trap.subject) && !bytes.HasPrefix(payload, []byte("+WPI")) && (!trap.held || p.freezeAt(trap)) {
				if !trap.held {
					mute()
				}
				if !trap.stored && !trap.held {
					lost = true
				} else if _, err := w.Write(frame); err != nil || w.Flush() != nil {
					return
				}
				trap.once.Do(func() { close(trap.sprung) })
				continue
			}
		}
		if lost {
			continue
		}
		if !p.pass() {
			return
		}
		if _, err := w.Write(frame); err != nil {
			return
		}
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
	}
}
