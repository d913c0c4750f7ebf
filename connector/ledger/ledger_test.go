package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestPutWinsAndLoses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := soon(t)
	if last, err := w.ledger.Last(ctx, op); err != nil || last.Seq != 0 || last.Claimed() != nil {
		t.Fatalf("nothing yet: %+v, %v", last, err)
	}
	claim, won, err := w.ledger.Put(ctx, op, 0, claimed("1", "a"))
	if err != nil || !won || claim.Seq != 1 || claim.Claimed().Owner != "a" || !claim.Stored.IsZero() {
		t.Fatalf("first claim: %+v, %v, %v", claim, won, err)
	}
	for name, e := range map[string]events.Event{"claim": claimed("2", "b"), "accepted": accepted("2"), "failed": failed("2")} {
		for _, before := range []uint64{0, 99} {
			inTheWay, won, err := w.ledger.Put(ctx, op, before, e)
			if err != nil || won || inTheWay.Seq != claim.Seq || inTheWay.Stored.IsZero() || inTheWay.Claimed() == nil || inTheWay.Claimed().Owner != "a" {
				t.Errorf("%s over %d: %+v, %v, %v", name, before, inTheWay, won, err)
			}
		}
	}
	refusal, won, err := w.ledger.Put(ctx, op, claim.Seq, failed("3"))
	if err != nil || !won || refusal.Failed() == nil || refusal.Claimed() != nil {
		t.Fatalf("refusal: %+v, %v, %v", refusal, won, err)
	}
	second, won, err := w.ledger.Put(ctx, op, refusal.Seq, claimed("4", "b"))
	if err != nil || !won {
		t.Fatalf("claim over a refusal: %v, %v", won, err)
	}
	outcome, won, err := w.ledger.Put(ctx, op, second.Seq, accepted("5"))
	if err != nil || !won || outcome.Accepted() == nil {
		t.Fatalf("outcome: %v, %v", won, err)
	}
	last, err := w.ledger.Last(ctx, op)
	if err != nil || last.Seq != outcome.Seq || last.Stored.IsZero() {
		t.Fatalf("last: %+v, %v", last, err)
	}
	if diff := cmp.Diff(accepted("5"), last.Event); diff != "" {
		t.Error(diff)
	}
	// Another operation, and the event's own one, are not concerned.
	if _, won, err := w.ledger.Put(ctx, op.Of(ledger.Identity{Source: "/s", ID: "1"}), 0, accepted("6")); err != nil || !won {
		t.Errorf("another operation: %v, %v", won, err)
	}
}

func TestEntriesAreWhereReadersLook(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := soon(t)
	var before uint64
	for _, tt := range []struct {
		event   events.Event
		subject string
	}{
		{claimed("1", "a"), "candidate.submission.claimed.acme." + op.ID},
		{accepted("2"), "candidate.submission.accepted.acme." + op.ID},
		{failed("3"), "candidate.submission.failed.acme." + op.ID},
	} {
		e, won, err := w.ledger.Put(ctx, op, before, tt.event)
		if err != nil || !won {
			t.Fatal(won, err)
		}
		before = e.Seq
		m, err := w.bus.Message(ctx, bus.EventsStream, e.Seq)
		if err != nil || m.Subject != tt.subject {
			t.Fatalf("stored on %q, %v, want %q", m.Subject, err, tt.subject)
		}
		if ttl, err := time.ParseDuration(m.Header[jetstream.MsgTTLHeader][0]); err != nil || ttl != ledger.KeepOutcomes {
			t.Errorf("%s is kept for %v", tt.subject, ttl)
		}
		if diff := cmp.Diff([]string{"e1"}, m.Header[events.HeaderSourcedID]); diff != "" {
			t.Error(diff)
		}
	}
	status := statusOf("1", "screening")
	e, won, err := w.ledger.PutStatus(ctx, "acme", "CA.1", 0, status)
	if err != nil || !won {
		t.Fatal(won, err)
	}
	m, err := w.bus.Message(ctx, bus.EventsStream, e.Seq)
	if err != nil || m.Subject != events.StatusSubject("acme", "CA.1") || len(m.Header[jetstream.MsgTTLHeader]) != 0 {
		t.Errorf("status stored on %q with %v, %v", m.Subject, m.Header, err)
	}
}

func statusOf(id, status string) events.Event {
	return event(id, &events.StatusChanged{
		Account: "acme", CandidateUID: "CA.1", Changed: []events.Change{events.ChangedStatus},
		State: events.State{Status: status, PositionUID: "87.405"}, SeenAt: moment,
	})
}

func TestPutStatus(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := soon(t)
	if last, err := w.ledger.LastStatus(ctx, "acme", "CA.1"); err != nil || last.Seq != 0 || last.Status() != nil {
		t.Fatalf("nothing yet: %+v, %v", last, err)
	}
	var before uint64
	for i, status := range []string{"A", "B", "A"} {
		e, won, err := w.ledger.PutStatus(ctx, "acme", "CA.1", before, statusOf(ledger.StatusID("acme", "CA.1", before), status))
		if err != nil || !won || e.Status().Status != status {
			t.Fatalf("%d: %+v, %v, %v", i, e, won, err)
		}
		old, won, err := w.ledger.PutStatus(ctx, "acme", "CA.1", before, statusOf(fmt.Sprint(i), "C"))
		if err != nil || won || old.Seq != e.Seq || old.Status().Status != status {
			t.Fatalf("%d, a second writer: %+v, %v, %v", i, old, won, err)
		}
		before = e.Seq
	}
	for _, other := range [][2]string{{"acme", "CA.2"}, {"other", "CA.1"}, {"acme", "CA"}, {"acme", "CA.1.2"}} {
		if last, err := w.ledger.LastStatus(ctx, other[0], other[1]); err != nil || last.Seq != 0 {
			t.Errorf("%v has %+v, %v", other, last, err)
		}
	}
}

// Of many replicas that put the same outcome at once one wins, and all learn the same entry.
func TestPutRace(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ledgers := []*ledger.Ledger{w.ledger, ledger.New(connect(t, w.server.ClientURL()))}
	const keys, claimants = 50, 8
	var won [keys]atomic.Int32
	var seen [keys][claimants]uint64
	var wg sync.WaitGroup
	for c := range claimants {
		wg.Go(func() {
			for k := range keys {
				e, mine, err := ledgers[c%2].Put(soon(t), ledger.Op{Account: "acme", ID: fmt.Sprint("k", k)}, 0, claimed(ledger.NewID(), fmt.Sprint(c)))
				if err != nil {
					t.Error(err)
					return
				}
				if mine {
					won[k].Add(1)
				}
				seen[k][c] = e.Seq
			}
		})
	}
	wg.Wait()
	for k := range keys {
		if n := won[k].Load(); n != 1 {
			t.Errorf("k%d: %d winners", k, n)
		}
		for _, seq := range seen[k] {
			if seq == 0 || seq != seen[k][0] {
				t.Errorf("k%d: seen %v", k, seen[k])
				break
			}
		}
	}
}

// The server stored the entry, its answer is lost: the write is recognised as won.
func TestPutWithLostAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t)
	p, err := bustest.NewProxy(w.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	mine := ledger.New(connect(t, p.URL()))
	type result struct {
		e   ledger.Entry
		won bool
		err error
	}
	put := func(o ledger.Op, e events.Event) <-chan result {
		done := make(chan result, 1)
		go func() {
			e, won, err := mine.Put(soon(t), o, 0, e)
			done <- result{e, won, err}
		}()
		return done
	}
	other := ledger.Op{Account: "acme", ID: "other"}
	p.Mute(true)
	undisturbed, overwritten := put(op, claimed("1", "a")), put(other, claimed("2", "a"))
	stored := map[ledger.Op]ledger.Entry{}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for ctx := soon(t); len(stored) < 2; <-poll.C {
		for _, o := range []ledger.Op{op, other} {
			last, err := w.ledger.Last(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if last.Seq != 0 {
				stored[o] = last
			}
		}
	}
	// Somebody settles one of them in the meantime.
	after, won, err := w.ledger.Put(soon(t), other, stored[other].Seq, accepted("3"))
	if err != nil || !won {
		t.Fatal(won, err)
	}
	p.Mute(false)
	p.Cut()
	if r := <-undisturbed; r.err != nil || !r.won || r.e.Seq != stored[op].Seq || r.e.Stored.IsZero() || r.e.Claimed().Owner != "a" {
		t.Errorf("undisturbed: %+v", r)
	}
	if r := <-overwritten; r.err != nil || r.won || r.e.Seq != after.Seq || r.e.Accepted() == nil {
		t.Errorf("overwritten: %+v", r)
	}
	info, err := w.bus.StreamState(soon(t), bus.EventsStream, "")
	if err != nil || info.Messages != 3 {
		t.Errorf("%d entries, %v; want 3", info.Messages, err)
	}
}

// What was believed to be the last is gone, such as after an erasure: nothing stands in the way, and nothing was written.
func TestPutOverAVanishedEntry(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := soon(t)
	e, _, err := w.ledger.Put(ctx, op, 0, claimed("1", "a"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.js.Stream(ctx, bus.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SecureDeleteMsg(ctx, e.Seq); err != nil {
		t.Fatal(err)
	}
	last, won, err := w.ledger.Put(ctx, op, e.Seq, accepted("2"))
	if err != nil || won || last.Seq != 0 {
		t.Errorf("%+v, %v, %v", last, won, err)
	}
	if _, won, err := w.ledger.Put(ctx, op, last.Seq, accepted("2")); err != nil || !won {
		t.Errorf("then with what is known now: %v, %v", won, err)
	}
}

// An entry that somebody else wrote and nobody can read is named, its content is not.
func TestForeignEntry(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := soon(t)
	subject := "candidate.submission.claimed.acme." + op.ID
	if _, err := w.js.Publish(ctx, subject, []byte(`{"email":"noor@example.com"}`)); err != nil {
		t.Fatal(err)
	}
	_, readErr := w.ledger.Last(ctx, op)
	_, won, putErr := w.ledger.Put(ctx, op, 0, claimed("1", "a"))
	for _, err := range []error{readErr, putErr} {
		if err == nil || won {
			t.Fatalf("%v, won %v", err, won)
		}
		for _, word := range []string{"entry 1 ", subject} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not name %q", err, word)
			}
		}
		if strings.Contains(err.Error(), "noor") {
			t.Errorf("%q tells about a person", err)
		}
	}
}

func TestPutErrors(t *testing.T) {
	t.Parallel()
	w := setup(t)
	s, err := w.js.Stream(soon(t), bus.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if _, _, err := w.ledger.Put(soon(t), op, 0, event("", &events.Claimed{})); err == nil {
		t.Error("an event without id was stored")
	}
	cfg.MaxBytes = 100
	if _, err := w.js.UpdateStream(soon(t), cfg); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.ledger.Put(soon(t), op, 0, claimed("1", "a")); !errors.Is(err, bus.ErrFull) {
		t.Errorf("a full stream: %v", err)
	}
	if err := w.js.DeleteStream(soon(t), bus.EventsStream); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.ledger.Put(soon(t), op, 0, claimed("1", "a")); !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("put without a stream: %v", err)
	}
	if _, err := w.ledger.Last(soon(t), op); !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("last without a stream: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.ledger.Put(ended, op, 0, claimed("1", "a")); !errors.Is(err, context.Canceled) {
		t.Errorf("put after the end: %v", err)
	}
}
