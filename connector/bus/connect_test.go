package bus_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func TestConnectWaitsForTheServer(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{})
	url := s.ClientURL()
	s.Stop()
	news := newTold()
	type joined struct {
		b   *bus.Bus
		err error
	}
	done := make(chan joined, 1)
	go func() {
		b, err := bus.Connect(soon(t), bus.Config{URL: url, OnEvent: news.tell})
		done <- joined{b, err}
	}()
	news.await(t, "disconnected", "")
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	j := <-done
	if j.err != nil {
		t.Fatal(j.err)
	}
	if e := news.await(t, "connected", ""); e.Server != "embedded" {
		t.Errorf("connected to %q", e.Server)
	}
	if j.b.Clustered() {
		t.Error("a single server is no cluster")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is connected again", j.b.Connected)
	j.b.Close()
	news.await(t, "closed", "")
}

func TestConnectInProcess(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{Port: -1})
	s.Stop()
	news := newTold()
	done := make(chan error, 1)
	go func() {
		b, err := bus.Connect(soon(t), bus.Config{Server: s, OnEvent: news.tell})
		if err == nil {
			err = b.Ensure(soon(t), layout)
			b.Close()
		}
		done <- err
	}()
	news.await(t, "disconnected", "not up")
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestConnectGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	news := newTold()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		news.await(t, "disconnected", "")
		cancel(why)
	}()
	if _, err := bus.Connect(ctx, bus.Config{URL: "nats://" + l.Addr().String(), OnEvent: news.tell}); !errors.Is(err, why) || !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("got %v", err)
	}
}

// What no patience mends fails at once.
func TestConnectRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{Configure: func(o *server.Options) { o.Username, o.Password = "connector", "right" }})
	dir := t.TempDir()
	nonsense := filepath.Join(dir, "nonsense.creds")
	if err := os.WriteFile(nonsense, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]bus.Config{
		"no user":          {URL: s.ClientURL()},
		"wrong password":   {URL: "nats://connector:wrong@" + s.Addr().String()},
		"no creds file":    {URL: s.ClientURL(), Creds: filepath.Join(dir, "absent.creds")},
		"broken creds":     {URL: s.ClientURL(), Creds: nonsense},
		"not a URL":        {URL: "nats://%zz"},
		"not a port":       {URL: "nats://127.0.0.1:99999999"},
		"tls without keys": {URL: "tls://connector:right@" + s.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := soon(t)
			b, err := bus.Connect(ctx, cfg)
			if err == nil {
				b.Close()
				t.Fatal("connected")
			}
			if ctx.Err() != nil {
				t.Errorf("waited for what never comes: %v", err)
			}
		})
	}
}

// Credentials that are refused later may be put right; the bus goes on trying and says so.
func TestReconnectOutlivesRefusals(t *testing.T) {
	t.Parallel()
	password := "right"
	s := start(t, bustest.Options{Configure: func(o *server.Options) { o.Username, o.Password = "connector", password }})
	news := newTold()
	b := connect(t, "nats://connector:right@"+s.Addr().String(), news.tell)
	password = "changed"
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	news.await(t, "error", "authorization violation")
	password = "right"
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is connected again", b.Connected)
}

// A missing permission answers nothing; the operator must learn its name all the same.
func TestDeniedIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.>"}},
		}}}
	}})
	news := newTold()
	b := connect(t, "nats://u:p@"+s.Addr().String(), news.tell)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Ensure(ctx, layout) }()
	news.await(t, "waiting", "$JS.API.STREAM.INFO."+bus.EventsStream)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestJetStreamDisabledIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{Configure: func(o *server.Options) { o.JetStream = false }})
	news := newTold()
	b := connect(t, s.ClientURL(), news.tell)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Ensure(ctx, layout) }()
	news.await(t, "waiting", "JetStream is not enabled: start the server with --jetstream")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestNowIsTheServersClock(t *testing.T) {
	t.Parallel()
	_, b := ready(t, bustest.Options{})
	ctx := soon(t)
	st, err := b.StreamState(ctx, bus.EventsStream, "")
	if err != nil {
		t.Fatal(err)
	}
	if st.Messages != 0 || st.MaxBytes != layout.EventsMaxBytes || st.MaxAge != 0 || st.Subjects != nil || time.Since(st.Created) > time.Minute {
		t.Errorf("state is %+v", st)
	}
	asked := time.Now()
	if _, err := b.StreamState(ctx, bus.EventsStream, ""); err != nil {
		t.Fatal(err)
	}
	slack := time.Since(asked) // at least, since no answer was better than half of what the best one took
	before := b.Now()
	if _, err := b.Publish(ctx, claimOf("op")); err != nil {
		t.Fatal(err)
	}
	after := b.Now()
	m, err := b.Last(ctx, bus.EventsStream, claimOf("op").Subject)
	if err != nil {
		t.Fatal(err)
	}
	if m.Time.Before(before.Add(-slack)) || m.Time.After(after.Add(slack)) {
		t.Errorf("stored %v, between %v and %v", m.Time, before, after)
	}
	if _, err := b.StreamState(ctx, "NOTHING", ""); !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("a stream that is not there: %v", err)
	}
}

// An answer that was long on its way says little of the server's clock, and does not replace a better one.
func TestNowIgnoresSlowLooks(t *testing.T) {
	t.Parallel()
	s, _ := ready(t, bustest.Options{})
	p := proxy(t, s)
	b := connect(t, p.URL(), nil)
	look := func() (took time.Duration) {
		t.Helper()
		asked := time.Now()
		if _, err := b.StreamState(soon(t), bus.EventsStream, ""); err != nil {
			t.Fatal(err)
		}
		return time.Since(asked)
	}
	const late = 3 * time.Second
	until(t, "a look takes less than the delay", func() bool { return look() < late/6 })
	off := func() time.Duration { return time.Since(b.Now()) } // the server runs on our own clock
	before := off()
	p.Delay(late)
	look()
	if moved := (off() - before).Abs(); moved > late/6 {
		t.Errorf("an answer that took %v moved the clock by %v", late, moved)
	}
}
