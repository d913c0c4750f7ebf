package bus_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func TestMain(m *testing.M) {
	// An object store's Put may end before the client library's goroutine has looked at the channel that tells it to end.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// patience bounds every wait of a test.
var patience = bustest.Stretch(10 * time.Second)

var layout = bus.Layout{EventsMaxBytes: 64 << 20}

func start(t *testing.T, o bustest.Options) *bustest.Server {
	t.Helper()
	o.Dir = t.TempDir()
	s, err := bustest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func connect(t *testing.T, url string, tell func(bus.ConnEvent)) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(soon(t), bus.Config{URL: url, Name: t.Name(), OnEvent: tell})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// library is a plain connection beside the bus, as another program has it.
func library(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(bustest.Stretch(5*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// ready is a server with the whole layout.
func ready(t *testing.T, o bustest.Options) (*bustest.Server, *bus.Bus) {
	t.Helper()
	s := start(t, o)
	b := connect(t, s.ClientURL(), nil)
	if err := b.Ensure(soon(t), layout); err != nil {
		t.Fatal(err)
	}
	return s, b
}

// told keeps what the bus told about its connection.
type told struct {
	mu   sync.Mutex
	all  []bus.ConnEvent
	news chan struct{}
}

func newTold() *told { return &told{news: make(chan struct{}, 1)} }

func (l *told) tell(e bus.ConnEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *told) find(state, words string) (bus.ConnEvent, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if e.State == state && (words == "" || e.Err != nil && strings.Contains(e.Err.Error(), words)) {
			return e, true
		}
	}
	return bus.ConnEvent{}, false
}

// await waits for an event in a state whose error contains words.
func (l *told) await(t *testing.T, state, words string) bus.ConnEvent {
	t.Helper()
	limit := time.After(patience)
	for {
		if e, ok := l.find(state, words); ok {
			return e
		}
		select {
		case <-l.news:
		case <-limit:
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("no event %q with %q; there were %v", state, words, l.all)
		}
	}
}

// until polls a condition that no event tells.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func proxy(t *testing.T, s *bustest.Server) *bustest.Proxy {
	t.Helper()
	p, err := bustest.NewProxy(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
