package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func claimOf(key string) bus.Write {
	return bus.Write{
		Subject: "candidate.submission.claimed.acme." + key, Data: []byte("claim"),
		Expect: &bus.Expect{Filter: "candidate.submission.*.acme." + key},
	}
}

// race lets claimants of every connection claim each key and then end it; there must be one winner each.
func race(t *testing.T, buses []*bus.Bus, keys, claimants int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Stretch(40*time.Second))
	defer cancel()
	var wg sync.WaitGroup
	claims, outcomes := make([]atomic.Int32, keys), make([]atomic.Int32, keys)
	for c := range claimants {
		b := buses[c%len(buses)]
		wg.Go(func() {
			for k := range keys {
				key := fmt.Sprintf("k%d", k)
				_, err := b.Publish(ctx, claimOf(key))
				if err == nil {
					claims[k].Add(1)
				} else if !errors.Is(err, bus.ErrConflict) {
					t.Errorf("claim %s: %v", key, err)
					return
				}
				last, err := b.Last(ctx, bus.EventsStream, "candidate.submission.*.acme."+key)
				if err != nil {
					t.Errorf("last of %s: %v", key, err)
					return
				}
				if last.Subject != "candidate.submission.claimed.acme."+key {
					continue
				}
				w := claimOf(key)
				w.Subject, w.Expect.Seq = "candidate.submission.accepted.acme."+key, last.Seq
				if _, err = b.Publish(ctx, w); err == nil {
					outcomes[k].Add(1)
				} else if !errors.Is(err, bus.ErrConflict) {
					t.Errorf("outcome of %s: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		if c, o := claims[k].Load(), outcomes[k].Load(); c != 1 || o != 1 {
			t.Errorf("k%d: %d claims and %d outcomes, want one each", k, c, o)
		}
	}
}

func TestRaceHasOneWinner(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	race(t, []*bus.Bus{b, connect(t, s.ClientURL(), nil), connect(t, s.ClientURL(), nil)}, 300, 12)
}

func TestPublishSiblings(t *testing.T) {
	t.Parallel()
	_, b := ready(t, bustest.Options{})
	ctx := soon(t)
	claim, err := b.Publish(ctx, claimOf("op"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"claimed", "accepted", "failed"} {
		w := claimOf("op")
		w.Subject = "candidate.submission." + kind + ".acme.op"
		if _, err := b.Publish(ctx, w); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("%s over a claim that it does not know: %v, want ErrConflict", kind, err)
		}
	}
	w := claimOf("op")
	w.Subject, w.Expect.Seq = "candidate.submission.accepted.acme.op", claim
	outcome, err := b.Publish(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	if last, err := b.Last(ctx, bus.EventsStream, w.Expect.Filter); err != nil || last.Seq != outcome || last.Subject != w.Subject {
		t.Errorf("last is %+v, %v", last, err)
	}
	first, err := b.First(ctx, bus.EventsStream, w.Expect.Filter)
	if err != nil || first.Seq != claim {
		t.Errorf("first is %+v, %v", first, err)
	}
	if m, err := b.Message(ctx, bus.EventsStream, claim); err != nil || !cmp.Equal(m, first) {
		t.Errorf("message by sequence is %+v, %v", m, err)
	}
	if _, err := b.Message(ctx, bus.EventsStream, outcome+1); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a message that is not there: %v", err)
	}
	if _, err := b.Publish(ctx, claimOf("other")); err != nil {
		t.Errorf("another operation is not concerned: %v", err)
	}
}

func TestPublishKeepsHeadersAndTTL(t *testing.T) {
	t.Parallel()
	_, b := ready(t, bustest.Options{})
	ctx := soon(t)
	w := claimOf("op")
	w.TTL = 400 * 24 * time.Hour
	w.Header = map[string][]string{"sourced-id": {"a", "b"}}
	if _, err := b.Publish(ctx, w); err != nil {
		t.Fatal(err)
	}
	m, err := b.Last(ctx, bus.EventsStream, w.Subject)
	if err != nil {
		t.Fatal(err)
	}
	if got := nats.Header(m.Header).Get(jetstream.MsgTTLHeader); got != "9600h0m0s" {
		t.Errorf("time to live is %q", got)
	}
	if diff := cmp.Diff([]string{"a", "b"}, m.Header["sourced-id"]); diff != "" {
		t.Error(diff)
	}
	if len(w.Header) != 1 {
		t.Errorf("the caller's headers were changed: %v", w.Header)
	}
	if age := b.Now().Sub(m.Time); age < -time.Minute || age > time.Minute {
		t.Errorf("stored %v ago", age)
	}
}

// A dead letter costs no header of ours, so that an original of the largest size fits.
func TestDeadLetterOnce(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	_, b := ready(t, bustest.Options{MaxPayload: limit})
	ctx := soon(t)
	header := nats.Header{"a": {"b"}}
	w := bus.Write{Subject: "deadletter.candidate.sourced.acme.op", Header: header}
	probe := nats.Msg{Subject: w.Subject, Header: header}
	overhead := probe.Size() - len(probe.Subject)
	w.Data = bytes.Repeat([]byte("x"), limit-overhead)
	first, err := b.Publish(ctx, w)
	if err != nil {
		t.Fatalf("a message of exactly the largest size: %v", err)
	}
	if _, err := b.Publish(ctx, w); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("the second time: %v, want ErrConflict", err)
	}
	m, err := b.Last(ctx, bus.DeadLettersStream, w.Subject)
	if err != nil {
		t.Fatal(err)
	}
	if m.Seq != first || !bytes.Equal(m.Data, w.Data) || !cmp.Equal(m.Header, map[string][]string{"a": {"b"}}) {
		t.Errorf("stored %d with %d bytes and headers %v", m.Seq, len(m.Data), m.Header)
	}
	w.Data = append(w.Data, 'x')
	w.Subject += "2"
	if _, err := b.Publish(ctx, w); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("one byte more: %v, want ErrTooLarge", err)
	}
}

// Every refusal that does not heal by itself is a verdict.
func TestPublishVerdicts(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{})
	js := library(t, s.ClientURL())
	b := connect(t, s.ClientURL(), nil)
	for name, tt := range map[string]struct {
		change func(*jetstream.StreamConfig)
		write  func(*bus.Write)
		times  int
		want   error
		words  string
	}{
		"max_bytes":   {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 4 << 10 }, times: 8, want: bus.ErrFull},
		"max_msgs":    {change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }, times: 2, want: bus.ErrFull},
		"message":     {change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 }, times: 1, want: bus.ErrTooLarge},
		"max_payload": {write: func(w *bus.Write) { w.Data = make([]byte, 1<<20+1) }, times: 1, want: bus.ErrTooLarge},
		"headers": {write: func(w *bus.Write) {
			w.Header = map[string][]string{"h": {string(bytes.Repeat([]byte("x"), 65<<10))}}
		}, times: 1, want: bus.ErrTooLarge},
		"per subject": {change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject, c.DiscardNewPerSubject = 1, true }, times: 2, want: bus.ErrConflict},
		"no ttl":      {write: func(w *bus.Write) { w.TTL = time.Hour }, times: 1, words: "per-message TTL is disabled"},
		"sealed":      {change: func(c *jetstream.StreamConfig) { c.Sealed = true }, times: 1, words: "sealed"},
		"no stream":   {write: func(w *bus.Write) { w.Subject = "nobody.takes.this" }, times: 1, want: bus.ErrAssetDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := soon(t)
			token := fmt.Sprintf("s%x", name)
			c := jetstream.StreamConfig{Name: token, Subjects: []string{token}, Discard: jetstream.DiscardNew}
			seal := false
			if tt.change != nil {
				tt.change(&c)
				seal, c.Sealed = c.Sealed, false
			}
			if _, err := js.CreateStream(ctx, c); err != nil {
				t.Fatal(err)
			}
			if c.Sealed = seal; seal {
				if _, err := js.UpdateStream(ctx, c); err != nil {
					t.Fatal(err)
				}
			}
			w := bus.Write{Subject: token, Data: make([]byte, 1000)}
			if tt.write != nil {
				tt.write(&w)
			}
			var err error
			for i := range tt.times {
				if err != nil {
					t.Fatalf("write %d: %v", i, err)
				}
				if _, err = b.Publish(ctx, w); err != nil && errors.Is(tt.want, bus.ErrFull) {
					break
				}
			}
			switch {
			case err == nil, ctx.Err() != nil:
				t.Fatalf("no verdict: %v", err)
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("got %v, want %v", err, tt.want)
			case !bytes.Contains([]byte(err.Error()), []byte(tt.words)):
				t.Errorf("got %q, want words %q", err, tt.words)
			}
		})
	}
}

// Publishes that run while the server is stopped and started again are each stored exactly once.
func TestPublishThroughRestarts(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	ctx := soon(t)
	const writers, each = 4, 300
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, err := b.Publish(ctx, claimOf(fmt.Sprintf("w%d-%d", w, i)))
				// A conflict is our own write, whose answer was lost: nobody else writes these.
				if err != nil && !errors.Is(err, bus.ErrConflict) {
					t.Errorf("%d of %d: %v", i, w, err)
					return
				}
			}
		})
	}
	for range 2 {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	st, err := b.StreamState(ctx, bus.EventsStream, ">")
	if err != nil || st.Messages != writers*each || len(st.Subjects) != writers*each {
		t.Errorf("%d messages on %d subjects, %v; want %d", st.Messages, len(st.Subjects), err, writers*each)
	}
}

// The server stores the write and its answer is lost: the repetition meets its own entry.
func TestPublishLostAnswer(t *testing.T) {
	t.Parallel()
	s, _ := ready(t, bustest.Options{})
	p := proxy(t, s)
	b := connect(t, p.URL(), nil)
	ctx := soon(t)
	w := claimOf("op")
	p.Mute(true)
	done := make(chan error, 1)
	go func() { _, err := b.Publish(ctx, w); done <- err }()
	other := connect(t, s.ClientURL(), nil)
	until(t, "the write is stored", func() bool {
		_, err := other.Last(ctx, bus.EventsStream, w.Subject)
		return err == nil
	})
	p.Mute(false)
	p.Cut()
	if err := <-done; !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	m, err := b.Last(ctx, bus.EventsStream, w.Expect.Filter)
	if err != nil || m.Seq != 1 || !bytes.Equal(m.Data, w.Data) {
		t.Errorf("last is %+v, %v", m, err)
	}
}

func TestPublishWaitsAndTells(t *testing.T) {
	t.Parallel()
	s, _ := ready(t, bustest.Options{})
	news := newTold()
	b := connect(t, s.ClientURL(), news.tell)
	s.Stop()
	ctx, stop := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { _, err := b.Publish(ctx, claimOf("op")); done <- err }()
	news.await(t, "waiting", "")
	why := errors.New("no patience left")
	stop(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
	if b.Connected() {
		t.Error("connected to a stopped server")
	}
}

func TestClosedBusFails(t *testing.T) {
	t.Parallel()
	_, b := ready(t, bustest.Options{})
	c, err := b.Consumer(soon(t), bus.ConsumerSpec{Stream: bus.SourcedStream, Durable: "d", Subjects: []string{"candidate.sourced"}})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := b.Bucket(soon(t), bus.MembersBucket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	begun := make(chan struct{}, 100)
	go func() { ended <- c.Fetch(t.Context(), 1, func(*bus.Msg) {}) }()
	go func() { ended <- bucket.Watch(t.Context(), func(map[string]time.Time) { begun <- struct{}{} }) }()
	<-begun
	b.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("ended with %v", err)
		}
	}
	if _, err := b.Publish(t.Context(), claimOf("op")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("publish: %v", err)
	}
}
