package connector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// feed is everything on the events stream, oldest first.
type feed []entry

type entry struct {
	subject string
	seq     uint64
	stored  time.Time // by the server's clock
	events.Event
}

// read takes the whole feed as an analyst would: what was read before is kept, and the tail read on.
func (w *world) read() feed {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var s jetstream.Stream
	w.again("look at the feed", func(ctx context.Context) (err error) {
		s, err = w.js.Stream(ctx, bus.EventsStream)
		return err
	})
	last := s.CachedInfo().State.LastSeq
	for len(w.feed) == 0 && last > 0 || len(w.feed) > 0 && w.feed[len(w.feed)-1].seq < last {
		var m jetstream.Msg
		w.again("read the feed", func(ctx context.Context) (err error) {
			if w.tail == nil {
				from := uint64(1)
				if n := len(w.feed); n > 0 {
					from = w.feed[n-1].seq + 1
				}
				c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
				if err != nil {
					return err
				}
				if w.tail, err = c.Messages(); err != nil {
					return err
				}
			}
			if m, err = w.tail.Next(jetstream.NextContext(ctx)); err != nil {
				w.tail.Stop() // its server may be gone, and it with it
				w.tail = nil
			}
			return err
		})
		meta, err := m.Metadata()
		if err != nil {
			w.Fatal(err)
		}
		e, err := events.Decode(m.Headers(), m.Data())
		if err != nil {
			w.Fatalf("message %d on %s is not of the contract: %v", meta.Sequence.Stream, m.Subject(), err)
		}
		w.feed = append(w.feed, entry{m.Subject(), meta.Sequence.Stream, meta.Timestamp, e})
	}
	return w.feed
}

// outcomes are the final outcomes per sourced event.
func (f feed) outcomes() map[string][]entry {
	out := map[string][]entry{}
	for _, e := range f {
		switch d := e.Data.(type) {
		case *events.Accepted:
			k := d.Sourced.Source + " " + d.Sourced.ID
			out[k] = append(out[k], e)
		case *events.Failed:
			k := ""
			if d.Sourced != nil {
				k = d.Sourced.Source + " " + d.Sourced.ID
			} else if d.DeadLetter != nil {
				k = fmt.Sprint("#letter ", d.DeadLetter.Sequence)
			}
			out[k] = append(out[k], e)
		}
	}
	return out
}

// statuses are the status events per candidate uid.
func (f feed) statuses(account string) map[string][]*events.StatusChanged {
	out := map[string][]*events.StatusChanged{}
	for _, e := range f {
		if d, ok := e.Data.(*events.StatusChanged); ok && d.Account == account {
			out[d.CandidateUID] = append(out[d.CandidateUID], d)
		}
	}
	return out
}

// settled waits until every published event has an outcome.
func (w *world) settled() feed {
	w.Helper()
	var f feed
	w.eventually("an outcome for every event", func() bool {
		f = w.read()
		return len(f.outcomes()) >= len(w.published)
	})
	return f
}

// outcome waits for the outcome of one event.
func (w *world) outcome(id string) entry {
	w.Helper()
	var found []entry
	w.eventually("an outcome of "+id, func() bool {
		found = w.read().outcomes()[source+" "+id]
		return len(found) > 0
	})
	return found[0]
}

func outcomeOf(e entry) string {
	switch d := e.Data.(type) {
	case *events.Accepted:
		return string(d.Outcome)
	case *events.Failed:
		return string(d.Reason)
	}
	return "none"
}

// matched says in one line what became of an event: how and where it was matched, or why not.
func matched(e entry) string {
	switch d := e.Data.(type) {
	case *events.Accepted:
		return string(d.MatchedBy) + " " + d.PositionUID
	case *events.Failed:
		return string(d.Reason)
	}
	return "no outcome"
}

// posts counts the POSTs of an account.
func (w *world) posts(account string) int {
	n := 0
	for _, r := range w.fake.Requests() {
		if r.Route == comeettest.CreateCandidate && r.Account == account {
			n++
		}
	}
	return n
}

func (w *world) truth(account, uid string) comeettest.Candidate {
	w.Helper()
	c, ok := w.fake.Candidate(account, uid)
	if !ok {
		w.Fatalf("Comeet has no candidate %s", uid)
	}
	return c
}

// last is the latest state that the feed tells of a candidate.
func (w *world) last(uid string) *events.StatusChanged { w.Helper(); return w.lastOf("default", uid) }

func (w *world) lastOf(account, uid string) *events.StatusChanged {
	w.Helper()
	all := w.read().statuses(account)[uid]
	if len(all) == 0 {
		w.Fatalf("nothing is told of candidate %s", uid)
	}
	return all[len(all)-1]
}

// stored is every message of every stream, buckets and object store included.
func (w *world) stored() map[string]map[uint64]*jetstream.RawStreamMsg {
	w.Helper()
	out := map[string]map[uint64]*jetstream.RawStreamMsg{}
	list := w.js.ListStreams(w.Context())
	for info := range list.Info() {
		s := w.stream(info.Config.Name)
		all := map[uint64]*jetstream.RawStreamMsg{}
		for seq := max(1, info.State.FirstSeq); seq <= info.State.LastSeq; seq++ {
			m, err := s.GetMsg(w.Context(), seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				w.Fatal(err)
			}
			all[seq] = m
		}
		out[info.Config.Name] = all
	}
	if err := list.Err(); err != nil {
		w.Fatal(err)
	}
	return out
}

// kept is the feed as it is now; world.read waits for messages that may be erased.
func (w *world) kept() feed {
	w.Helper()
	var out feed
	all := w.stored()[bus.EventsStream]
	for seq, m := range all {
		e, err := events.Decode(m.Header, m.Data)
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, entry{m.Subject, seq, m.Time, e})
	}
	slices.SortFunc(out, func(a, b entry) int { return int(a.seq) - int(b.seq) })
	return out
}

// keptOf are an event's outcomes that are stored now.
func (w *world) keptOf(id string) []string {
	w.Helper()
	var out []string
	for _, e := range w.kept().outcomes()[source+" "+id] {
		out = append(out, outcomeOf(e))
	}
	return out
}

// entryOf is an erased operation's only entry.
func (w *world) entryOf(op string) entry {
	w.Helper()
	var found []entry
	for _, e := range w.kept() {
		if strings.HasSuffix(e.subject, "."+op) {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		w.Fatalf("operation %s has the entries %+v, want one", op, found)
	}
	return found[0]
}

func opOf(d *events.Sourced) string { return ledger.OpOf("default", source, d).ID }

// stream is a stream as it is now.
func (w *world) stream(name string) jetstream.Stream {
	w.Helper()
	s, err := w.js.Stream(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// message is what a stream holds at a sequence.
func (w *world) message(stream string, seq uint64) *jetstream.RawStreamMsg {
	w.Helper()
	m, err := w.stream(stream).GetMsg(w.Context(), seq)
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// letters reads all dead letters by sequence.
func (w *world) letters() map[uint64]*jetstream.RawStreamMsg {
	w.Helper()
	s := w.stream(bus.DeadLettersStream)
	out := map[uint64]*jetstream.RawStreamMsg{}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(w.Context(), seq)
		if err != nil {
			w.Fatal(err)
		}
		out[seq] = m
	}
	return out
}

func (w *world) list(d *ops.Client, f ops.LetterFilter) []ops.DeadLetter {
	w.Helper()
	out, err := d.List(w.Context(), f)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// letterOf waits for an event's refusal and returns its letter.
func (w *world) letterOf(d *ops.Client, id string) ops.DeadLetter {
	w.Helper()
	f, ok := w.outcome(id).Data.(*events.Failed)
	if !ok {
		w.Fatalf("%s was not refused", id)
	}
	for _, l := range w.list(d, ops.LetterFilter{}) {
		if l.Seq == f.DeadLetter.Sequence {
			return l
		}
	}
	w.Fatalf("the letter of %s is not listed", id)
	return ops.DeadLetter{}
}

// bucket is the cursors bucket as an operator may spoil it.
type bucket struct {
	*world
	kv jetstream.KeyValue
}

func (w *world) cursors() bucket {
	w.Helper()
	kv, err := w.js.KeyValue(w.Context(), bus.CursorsBucket)
	if err != nil {
		w.Fatal(err)
	}
	return bucket{w, kv}
}

func (b bucket) drop(key string) {
	b.Helper()
	if err := b.kv.Delete(context.Background(), key); err != nil {
		b.Fatal(err)
	}
}

func (b bucket) put(key, value string) {
	b.Helper()
	if _, err := b.kv.PutString(context.Background(), key, value); err != nil {
		b.Fatal(err)
	}
}

// pollStarted is when the last complete poll began, by Comeet's clock.
func (b bucket) pollStarted(key string) time.Time {
	b.Helper()
	e, err := b.kv.Get(context.Background(), key)
	if err != nil {
		b.Fatal(err)
	}
	return startedOf(e.Value())
}

func (w *world) positionsBucket() jetstream.KeyValue {
	w.Helper()
	kv, err := w.js.KeyValue(context.Background(), bus.PositionsBucket)
	if err != nil {
		w.Fatal(err)
	}
	return kv
}

// shown is the positions bucket as a sourcing service sees it: status by position name.
func (w *world) shown() map[string]string {
	w.Helper()
	kv := w.positionsBucket()
	out := map[string]string{}
	keys, err := kv.Keys(w.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		w.Fatal(err)
	}
	for _, k := range keys {
		e, err := kv.Get(w.Context(), k)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			w.Fatal(err)
		}
		var p struct{ UID, Name, Status string }
		if err := json.Unmarshal(e.Value(), &p); err != nil {
			w.Fatal(err)
		}
		out[p.UID+" "+p.Name] = p.Status
	}
	return out
}

// metrics reads what the admin address shows.
func metrics(t testing.TB, r *replica) string { t.Helper(); return metricsAt(t, r.AdminAddr()) }

func metricsAt(t testing.TB, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (w *world) explain(d *ops.Client, id string, o ops.ExplainOptions) *ops.History {
	w.Helper()
	history, err := d.Explain(w.Context(), id, o)
	if err != nil {
		w.Fatal(err)
	}
	if !o.Unmask {
		raw, err := json.Marshal(history)
		if err != nil {
			w.Fatal(err)
		}
		w.checkLeaks(string(raw))
	}
	return history
}

// logBuffer collects what a connector writes.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail is the end of it, without what only tells that time passes.
func (l *logBuffer) tail(n int) string {
	var b strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, "sweep completed") {
			b.WriteString(line)
		}
	}
	return b.String()[max(0, b.Len()-n):]
}
