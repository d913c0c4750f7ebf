package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

const durable = "comeet-acme"

func spec(ackWait time.Duration) bus.ConsumerSpec {
	return bus.ConsumerSpec{
		Stream: bus.SourcedStream, Durable: durable, Subjects: []string{"candidate.sourced", "candidate.sourced.acme"},
		AckWait: ackWait, MaxAckPending: 16,
	}
}

func consumer(t *testing.T, b *bus.Bus, s bus.ConsumerSpec) *bus.Consumer {
	t.Helper()
	c, err := b.Consumer(soon(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// source publishes events that say their number.
func source(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	for i := range n {
		if _, err := b.Publish(soon(t), bus.Write{Subject: "candidate.sourced.acme", Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
}

// fetch pulls until n messages have come, however many pulls it takes.
func fetch(t *testing.T, c *bus.Consumer, n int) []*bus.Msg {
	t.Helper()
	var got []*bus.Msg
	ctx := soon(t)
	for len(got) < n {
		if err := c.Fetch(ctx, n-len(got), func(m *bus.Msg) { got = append(got, m) }); err != nil {
			t.Fatalf("after %d of %d: %v", len(got), n, err)
		}
	}
	return got
}

func texts(msgs []*bus.Msg) (out []string) {
	for _, m := range msgs {
		out = append(out, string(m.Data()))
	}
	return out
}

func TestFetchTakesOnlyWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	_, b := ready(t, bustest.Options{})
	c := consumer(t, b, spec(time.Minute))
	source(t, b, 5)
	if _, err := b.Publish(soon(t), bus.Write{Subject: "candidate.sourced.other", Data: []byte("not ours")}); err != nil {
		t.Fatal(err)
	}
	var got []*bus.Msg
	if err := c.Fetch(soon(t), 2, func(m *bus.Msg) { got = append(got, m) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "1"}, texts(got)); diff != "" {
		t.Error(diff)
	}
	want := bus.ConsumerState{Pending: 3, AckPending: 2}
	until(t, fmt.Sprintf("the consumer's state is %+v", want), func() bool {
		st, err := c.State(soon(t))
		return err == nil && st == want
	})
	if seq, stored, err := got[1].Metadata(); err != nil || seq != 2 || time.Since(stored).Abs() > time.Minute {
		t.Errorf("place is %d, %v, %v", seq, stored, err)
	}
	for _, m := range got {
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	}
	until(t, "the acks are seen", func() bool {
		st, err := c.State(soon(t))
		return err == nil && st.AckPending == 0 && st.AckFloor == 2
	})
	// The same durable again goes on where it was, with its new settings.
	again := spec(2 * time.Minute)
	again.MaxAckPending = 1
	c = consumer(t, b, again)
	if diff := cmp.Diff([]string{"2"}, texts(fetch(t, c, 1))); diff != "" {
		t.Error(diff)
	}
}

// The server has lost the consumer's folder and refuses to change it: it is made anew, and delivers again.
func TestConsumerWithoutItsFolder(t *testing.T) {
	t.Parallel()
	srv, b := ready(t, bustest.Options{})
	c := consumer(t, b, spec(time.Minute))
	source(t, b, 2)
	if diff := cmp.Diff([]string{"0", "1"}, texts(fetch(t, c, 2))); diff != "" {
		t.Error(diff)
	}
	folders, err := filepath.Glob(filepath.Join(srv.StoreDir(), "*", "streams", bus.SourcedStream, "obs", spec(0).Durable))
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders %v, %v", folders, err)
	}
	if err := os.RemoveAll(folders[0]); err != nil {
		t.Fatal(err)
	}
	c = consumer(t, b, spec(2*time.Minute))
	if diff := cmp.Diff([]string{"0", "1"}, texts(fetch(t, c, 2))); diff != "" {
		t.Error(diff)
	}
}

func TestFetchRedelivery(t *testing.T) {
	t.Parallel()
	_, b := ready(t, bustest.Options{})
	const ackWait = time.Second
	s := spec(ackWait)
	c := consumer(t, b, s)
	source(t, b, 4)
	first := fetch(t, c, 4)
	begun := time.Now()
	later, kept, refused := first[1], first[2], first[3]
	if err := errors.Join(later.NakWithDelay(2*ackWait), refused.Term("refused")); err != nil {
		t.Fatal(err)
	}
	// kept shows signs of life until the first, of which nothing is heard, and the later one are back.
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		life := time.NewTicker(ackWait / 5)
		defer life.Stop()
		for {
			select {
			case <-life.C:
				_ = kept.InProgress()
			case <-stop:
				return
			}
		}
	}()
	again := fetch(t, c, 1)
	if d := time.Since(begun); again[0].Data()[0] != '0' || d < ackWait/2 {
		t.Errorf("%s came again after %v", again[0].Data(), d)
	}
	_ = again[0].Ack()
	again = fetch(t, c, 1)
	if d := time.Since(begun); again[0].Data()[0] != '1' || d < 2*ackWait-ackWait/4 {
		t.Errorf("%s came again after %v", again[0].Data(), d)
	}
	_ = again[0].Ack()
	close(stop)
	<-done
	again = fetch(t, c, 1)
	if string(again[0].Data()) != "2" {
		t.Errorf("%s came again", again[0].Data())
	}
	_ = again[0].Ack()
	until(t, "nothing is out: the refused one never came back", func() bool {
		st, err := c.State(soon(t))
		return err == nil && st.AckPending == 0 && st.Pending == 0 && st.AckFloor == 4
	})
}

// fetching runs a pull that finds nothing, and waits until the server has it.
func fetching(t *testing.T, s *bustest.Server, c *bus.Consumer, ctx context.Context) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Fetch(ctx, 1, func(*bus.Msg) { t.Error("a message out of nothing") }) }()
	js := library(t, s.ClientURL())
	until(t, "the pull waits at the server", func() bool {
		c, err := js.Consumer(soon(t), bus.SourcedStream, durable)
		return err == nil && c.CachedInfo().NumWaiting == 1
	})
	return done
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	c := consumer(t, b, spec(time.Minute))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := fetching(t, s, c, ctx)
	why := errors.New("enough")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
	// A deadline, however near, is the caller's end and not a setting of the pull.
	near, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := c.Fetch(near, 1, func(*bus.Msg) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	// What comes after goes to the next pull, not to a forgotten one.
	source(t, b, 1)
	fetch(t, c, 1)
}

func TestFetchGone(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(ctx context.Context, s *bustest.Server, t *testing.T) error{
		"consumer": func(ctx context.Context, s *bustest.Server, t *testing.T) error {
			return library(t, s.ClientURL()).DeleteConsumer(ctx, bus.SourcedStream, durable)
		},
		"stream": func(ctx context.Context, s *bustest.Server, t *testing.T) error {
			return library(t, s.ClientURL()).DeleteStream(ctx, bus.SourcedStream)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := ready(t, bustest.Options{})
			c := consumer(t, b, spec(time.Minute))
			done := fetching(t, s, c, soon(t))
			if err := remove(soon(t), s, t); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, bus.ErrAssetDeleted) {
				t.Errorf("the pull that waited: %v, want ErrAssetDeleted", err)
			}
			if err := c.Fetch(soon(t), 1, func(*bus.Msg) {}); !errors.Is(err, bus.ErrAssetDeleted) {
				t.Errorf("the next pull: %v, want ErrAssetDeleted", err)
			}
			if _, err := c.State(soon(t)); !errors.Is(err, bus.ErrAssetDeleted) {
				t.Errorf("state: %v, want ErrAssetDeleted", err)
			}
		})
	}
	t.Run("no stream to begin with", func(t *testing.T) {
		t.Parallel()
		b := connect(t, start(t, bustest.Options{}).ClientURL(), nil)
		if _, err := b.Consumer(soon(t), spec(time.Minute)); !errors.Is(err, bus.ErrAssetDeleted) {
			t.Errorf("got %v, want ErrAssetDeleted", err)
		}
	})
}

// A durable that somebody made otherwise can't be adjusted; waiting would not help.
func TestConsumerOfAnotherKind(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	other := spec(time.Minute)
	js := library(t, s.ClientURL())
	if _, err := js.CreateConsumer(soon(t), other.Stream, jetstream.ConsumerConfig{Durable: other.Durable, AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	if _, err := b.Consumer(ctx, other); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "ack policy") {
		t.Errorf("got %v", err)
	}
}

func TestFetchThroughRestart(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	c := consumer(t, b, spec(time.Minute))
	done := fetching(t, s, c, soon(t))
	s.Stop()
	if err := <-done; err != nil {
		t.Errorf("the pull that waited: %v, want nil: ask again", err)
	}
	taken := make(chan []*bus.Msg, 1)
	ctx := soon(t)
	go func() {
		var got []*bus.Msg
		for len(got) == 0 && ctx.Err() == nil {
			if err := c.Fetch(ctx, 1, func(m *bus.Msg) { got = append(got, m) }); errors.Is(err, bus.ErrAssetDeleted) {
				t.Error(err)
			}
		}
		taken <- got
	}()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	up := time.Now()
	other := connect(t, s.ClientURL(), nil)
	source(t, other, 1)
	if diff := cmp.Diff([]string{"0"}, texts(<-taken)); diff != "" {
		t.Error(diff)
	}
	if d := time.Since(up); d > bustest.Stretch(2*time.Second) {
		t.Errorf("the first message came %v after the restart", d)
	}
}

// While the connection is away pulls wait; the client library would keep a subscription of each that fails.
func TestFetchWaitsForTheConnection(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	c := consumer(t, b, spec(time.Minute))
	until(t, "the server counts", func() bool { return s.NumSubscriptions() > 0 })
	before := s.NumSubscriptions()
	s.Stop()
	until(t, "the connection is away", func() bool { return !b.Connected() })
	const tries = 50
	for range tries {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := c.Fetch(ctx, 1, func(*bus.Msg) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.State(soon(t)); err != nil {
		t.Fatal(err)
	}
	if after := s.NumSubscriptions(); after > before+tries/2 {
		t.Errorf("%d subscriptions, were %d", after, before)
	}
}
