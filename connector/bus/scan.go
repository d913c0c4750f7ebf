package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ScanSpec says which messages of a stream to read.
type ScanSpec struct {
	Stream string
	// Filters are subjects, with wildcards; none means all.
	Filters []string
	// Since leaves out what was stored before; zero means nothing is.
	Since time.Time
	// HeadersOnly leaves Data empty, which makes a scan over large messages cheap. Header then has
	// a Nats-Msg-Size.
	HeadersOnly bool
}

const (
	// scanBatch bounds the messages in memory: with the largest of 1 MiB no more than that many
	// MiB.
	scanBatch = 16
	// headersBatch is the same without bodies.
	headersBatch = 512
	// scanPatience is how long a batch may take that is said to be there; messages may vanish
	// meanwhile.
	scanPatience = 5 * time.Second
	// scanIdle is when the server forgets the consumer of a scan that has died.
	scanIdle = time.Minute
)

// Scan reads what a stream holds when it begins, oldest first, and calls visit for each message. It
// goes on over a lost connection, visiting nothing twice. It ends with the first error of visit,
// with ErrAssetDeleted if there is no such stream, or with the context's.
func (b *Bus) Scan(ctx context.Context, spec ScanSpec, visit func(Stored) error) error {
	var end uint64
	err := b.try(ctx, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, spec.Stream)
		if err == nil {
			end = s.CachedInfo().State.LastSeq
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("scan stream %s: %w", spec.Stream, err)
	}
	s := &scan{bus: b, spec: spec, end: end, visit: visit}
	for {
		before := s.last
		done, err := s.stretch(ctx)
		if err != nil || done {
			return err
		}
		// What ended it at once may take a while to heal.
		if s.last == before && !Sleep(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

type scan struct {
	bus   *Bus
	spec  ScanSpec
	end   uint64
	visit func(Stored) error
	// last is the sequence of the message that was visited last.
	last uint64
}

// stretch reads with one consumer for as long as that lasts: a restarted server forgets it, and a
// broken connection loses what was on its way. done is false if another one must go on behind the
// last visited message.
func (s *scan) stretch(ctx context.Context) (done bool, err error) {
	if s.last >= s.end {
		return true, nil
	}
	cfg := jetstream.ConsumerConfig{
		Description: "comeet-connector: an operator looks", AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: scanIdle, HeadersOnly: s.spec.HeadersOnly, FilterSubjects: s.spec.Filters,
	}
	switch {
	case s.last > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, s.last+1
	case !s.spec.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.spec.Since
	}
	var c jetstream.Consumer
	err = s.bus.try(ctx, func(ctx context.Context) error {
		var err error
		c, err = s.bus.js.CreateConsumer(ctx, s.spec.Stream, cfg)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("scan stream %s: %w", s.spec.Stream, err)
	}
	defer func() {
		// Only to be tidy: the server forgets it by itself.
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
		defer cancel()
		_ = s.bus.js.DeleteConsumer(tidy, s.spec.Stream, c.CachedInfo().Name)
	}()
	from := &Consumer{bus: s.bus, spec: ConsumerSpec{Stream: s.spec.Stream, Durable: c.CachedInfo().Name}, c: c}
	size := uint64(scanBatch)
	if s.spec.HeadersOnly {
		size = headersBatch
	}
	pending, delivered := c.CachedInfo().NumPending, uint64(0)
	for pending > 0 {
		batch := make([]*Msg, 0, size)
		pull, cancel := context.WithTimeout(ctx, scanPatience)
		err := from.Fetch(pull, int(min(size, pending)), func(m *Msg) { batch = append(batch, m) })
		cancel()
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		for _, m := range batch {
			meta, err := m.m.Metadata()
			if err != nil {
				return false, fmt.Errorf("scan stream %s: %w", s.spec.Stream, err)
			}
			if meta.Sequence.Consumer != delivered+1 {
				return false, nil // something was lost on its way
			}
			delivered, pending = meta.Sequence.Consumer, meta.NumPending
			if meta.Sequence.Stream > s.end {
				return true, nil
			}
			s.last = meta.Sequence.Stream
			if err := s.visit(Stored{Subject: m.Subject(), Header: m.Header(), Data: m.Data(), Seq: s.last, Time: meta.Timestamp}); err != nil {
				return false, err
			}
		}
		if err != nil || len(batch) == 0 {
			return false, nil
		}
	}
	return true, nil
}
