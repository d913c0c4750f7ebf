package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	sourcedStream = "CANDIDATES_SOURCED"
	eventsStream  = "CANDIDATE_EVENTS"
)

// before is what the streams held when the run began.
type before struct {
	sourced, events jetstream.StreamState
	// created is when the sourced stream was made; it is part of what identifies an unreadable
	// event.
	created time.Time
}

func lookAt(ctx context.Context, js jetstream.JetStream) (before, error) {
	var b before
	for _, one := range []struct {
		name string
		into *jetstream.StreamState
	}{{sourcedStream, &b.sourced}, {eventsStream, &b.events}} {
		s, err := js.Stream(ctx, one.name)
		if err != nil {
			return b, fmt.Errorf("look at stream %s: %w", one.name, err)
		}
		info := s.CachedInfo()
		*one.into = info.State
		if one.name == sourcedStream {
			b.created = info.Created
		}
	}
	return b, nil
}

// tally counts what is on the bus for the account default. It may be fed from two streams at once,
// in any order between them.
type tally struct {
	created time.Time

	mu sync.Mutex // guards what follows
	// changed is closed and replaced when something was counted.
	changed chan struct{}
	// seen is the last sequence of the sourced stream that was counted.
	seen uint64
	// stored are all sourced messages, repetitions included.
	stored   int
	sourced  map[string]*event
	outcomes map[events.Outcome]int
	reasons  map[events.Reason]int
	statuses int
	// last is the last status event of each candidate, by uid.
	last map[string]*events.StatusChanged
	// unreadable are messages on the feed that are not of the contract.
	unreadable int
}

// event is one sourced event, and its replays: each of these is to have one outcome.
type event struct {
	replays          map[string]bool
	accepted, failed int
}

func newTally(b before) *tally {
	return &tally{
		created: b.created, changed: make(chan struct{}), sourced: map[string]*event{},
		outcomes: map[events.Outcome]int{}, reasons: map[events.Reason]int{}, last: map[string]*events.StatusChanged{},
	}
}

func keyOf(source, id string) string { return source + " " + id }

// at finds or makes an entry. The caller holds mu.
func (t *tally) at(key string) *event {
	e := t.sourced[key]
	if e == nil {
		e = &event{replays: map[string]bool{}}
		t.sourced[key] = e
	}
	return e
}

// note tells those who wait. The caller holds mu.
func (t *tally) note() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// addSourced counts a message of the sourced stream. The same event again is the same event; one
// whose source or id can't be read is told by its place in the stream, like the connector does.
func (t *tally) addSourced(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	e, _ := events.Decode(events.Header(m.Headers()), m.Data())
	key := keyOf(e.Source(), e.ID())
	if e.Source() == "" || e.ID() == "" {
		place := ledger.Identity{Stream: meta.Stream, Created: t.created, Seq: meta.Sequence.Stream, Replay: m.Headers().Get(ledger.ReplayHeader)}
		key = ledger.Op{Account: events.DefaultAccount}.Of(place).ID
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = meta.Sequence.Stream
	if account, _ := events.AccountOfSubject(m.Subject()); account == events.DefaultAccount {
		t.stored++
		t.at(key).replays[m.Headers().Get(ledger.ReplayHeader)] = true
	}
	t.note()
}

// addEvent counts a message of the feed; ok is false if it is not of the contract.
func (t *tally) addEvent(m jetstream.Msg) (seq uint64, e events.Event, ok bool) {
	meta, err := m.Metadata()
	if err != nil {
		return 0, e, false
	}
	e, err = events.Decode(events.Header(m.Headers()), m.Data())
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.note()
	if err != nil {
		t.unreadable++
		return meta.Sequence.Stream, e, false
	}
	switch d := e.Data.(type) {
	case *events.Accepted:
		t.outcomes[d.Outcome]++
		t.at(keyOf(d.Sourced.Source, d.Sourced.ID)).accepted++
	case *events.Failed:
		t.reasons[d.Reason]++
		key := d.Operation
		if d.Sourced != nil {
			key = keyOf(d.Sourced.Source, d.Sourced.ID)
		} else {
			key = cmp.Or(key, lastToken(m.Subject()))
		}
		t.at(key).failed++
	case *events.StatusChanged:
		t.statuses++
		t.last[d.CandidateUID] = d
	}
	return meta.Sequence.Stream, e, true
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// totals are the figures of a tally at one moment.
type totals struct {
	stored, sourced, accepted, failed, waiting, statuses int
	// doubled are events with more than one outcome.
	doubled int
}

func (t *tally) totals() totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := totals{stored: t.stored, statuses: t.statuses}
	for _, e := range t.sourced {
		if len(e.replays) == 0 {
			continue // its event has left the stream, by age; or is not read yet
		}
		n.sourced += len(e.replays)
		n.accepted += e.accepted
		n.failed += e.failed
		n.waiting += max(0, len(e.replays)-e.accepted-e.failed)
		if e.accepted+e.failed > len(e.replays) {
			n.doubled++
		}
	}
	return n
}

// caughtUp reports whether the sourced stream was counted up to a sequence.
func (t *tally) caughtUp(seq uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen >= seq
}

// await waits until something holds, looking whenever something was counted.
func (t *tally) await(ctx context.Context, holds func() bool) error {
	for {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		if holds() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count reads both streams from their beginning to their present end.
func count(ctx context.Context, js jetstream.JetStream, b before) (*tally, error) {
	t := newTally(b)
	err := replay(ctx, js, sourcedStream, t.addSourced)
	if err == nil {
		err = replay(ctx, js, eventsStream, func(m jetstream.Msg) { t.addEvent(m) })
	}
	return t, err
}

func replay(ctx context.Context, js jetstream.JetStream, stream string, handle func(jetstream.Msg)) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	msgs, err := c.Messages()
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	defer msgs.Stop()
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		handle(m)
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Stream >= state.LastSeq {
			return err
		}
	}
}

// atComeet is what the fake Comeet has seen in this run.
type atComeet struct {
	candidates, duplicates int
	agreeing               int // candidates whose last status on the feed is their present one
	requests               int64
	busiest, budget        int // requests in the busiest window, and allowed in one
	window                 time.Duration
	throttled, faults      int64
	violations             []comeettest.Violation
}

func lookAtComeet(fake *comeettest.Server, t *tally, budget comeet.Limit) atComeet {
	counts := fake.Counts()
	found := atComeet{
		duplicates: len(fake.Duplicates(comeettest.DefaultAccount)), requests: counts.Requests, faults: counts.Faults,
		throttled: fake.Throttled(comeettest.DefaultAccount), violations: fake.Violations(),
		budget: budget.Requests, window: budget.Window, busiest: busiest(fake.Requests(), budget.Window),
	}
	found.agreeing, found.candidates = agreement(t, fake.Candidates(comeettest.DefaultAccount))
	return found
}

// busiest is the largest number of requests that arrived within one window.
func busiest(requests []comeettest.Request, window time.Duration) int {
	most, from := 0, 0
	for i, r := range requests {
		for r.Arrived.Sub(requests[from].Arrived) >= window {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// agreement counts the candidates whose last status on the feed is what Comeet shows now.
func agreement(t *tally, candidates []comeettest.Candidate) (agree, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range candidates {
		if agrees(t.last[candidates[i].UID], &candidates[i]) {
			agree++
		}
	}
	return agree, len(candidates)
}

func agrees(last *events.StatusChanged, c *comeettest.Candidate) bool {
	switch {
	case last == nil:
		return false
	case c.MergedInto != "":
		return last.Merged
	case c.Deleted:
		return last.Deleted
	}
	sameSteps := func(feed []events.Step, comeet []comeettest.StepState) bool {
		return slices.EqualFunc(feed, comeet, func(f events.Step, c comeettest.StepState) bool { return f.Name == c.Name })
	}
	return !last.Merged && !last.Deleted && last.Status == c.Status && last.PositionUID == c.PositionUID &&
		last.ProspectStatus == c.ProspectStatus && (c.DispositionReason == "" || last.DispositionReason == c.DispositionReason) &&
		sameSteps(last.CurrentSteps, c.CurrentSteps) && sameSteps(last.CompletedSteps, c.CompletedSteps)
}

// summarize prints what was found; its error names every promise that was broken.
func summarize(v *view, t *tally, c atComeet) error {
	n := t.totals()
	var broken []error
	check := func(holds bool, format string, args ...any) {
		mark := v.paint(green, "ok")
		text := fmt.Sprintf(format, args...)
		if !holds {
			mark = v.paint(red, "NO")
			broken = append(broken, errors.New("broken: "+text))
		}
		v.text("  %s  %s", mark, text)
	}
	note := func(format string, args ...any) { v.text("      "+format, args...) }

	v.text("")
	v.text("%s", v.paint(cyan, "Summary, counted from the streams and at Comeet"))
	check(n.sourced == n.accepted+n.failed+n.waiting && n.doubled == 0,
		"every event has at most one outcome: %d sourced = %d accepted + %d failed + %d waiting", n.sourced, n.accepted, n.failed, n.waiting)
	check(n.waiting == 0, "no event waits for its outcome: %d waiting", n.waiting)
	note("%d messages stored, %d of them the same event again", n.stored, n.stored-n.sourced)
	note("accepted: %s", list(t.outcomes))
	note("failed:   %s", list(t.reasons))
	check(c.agreeing == c.candidates, "the last status on the feed is the last at Comeet: %d of %d candidates of this run", c.agreeing, c.candidates)
	note("on the feed: %s; %d status events", list(t.stages()), n.statuses)
	check(c.duplicates == 0, "nobody was created twice at Comeet: %d duplicates", c.duplicates)
	check(c.throttled == 0 && c.busiest <= c.budget, "the budget was kept: at most %d requests in any %v, of %d; %d refused with 429", c.busiest, c.window, c.budget, c.throttled)
	note("%d requests in all, of which %d met an outage or lost their answer", c.requests, c.faults)
	check(len(c.violations) == 0, "every request was as Comeet documents it: %d violations", len(c.violations))
	for _, violation := range c.violations {
		note("%v", violation)
	}
	check(t.unreadable == 0, "every message on the feed is of the contract: %d are not", t.unreadable)
	return errors.Join(broken...)
}

// stages counts the candidates by where they stand.
func (t *tally) stages() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]int{}
	for _, s := range t.last {
		switch {
		case s.Merged:
			out["merged"]++
		case s.Deleted:
			out["deleted"]++
		default:
			out[s.Status]++
		}
	}
	return out
}

// list writes counts, the largest first.
func list[K ~string](counts map[K]int) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b K) int { return cmp.Or(counts[b]-counts[a], strings.Compare(string(a), string(b))) })
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%d %s", counts[k], k))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
