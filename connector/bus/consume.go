package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ConsumerSpec is one account's durable consumer.
type ConsumerSpec struct {
	Stream, Durable string
	// Subjects are the filters; at least one.
	Subjects []string
	// AckWait is how long a delivered message may stay without a sign of life before it is
	// delivered again.
	AckWait time.Duration
	// MaxAckPending bounds the messages that are delivered and not yet acknowledged, those given
	// back with a delay included.
	MaxAckPending int
	// Replicas of the consumer's state; 0 means as many as the stream.
	Replicas int
}

// Consumer hands out messages one by one, only as many as are asked for.
type Consumer struct {
	bus  *Bus
	spec ConsumerSpec
	c    jetstream.Consumer
}

// Consumer creates the durable, or adjusts it to the spec; what it has delivered and seen
// acknowledged is kept. Explicit acks, no delivery limit and no back-off list (which would replace
// AckWait): the ledger counts, not the bus.
func (b *Bus) Consumer(ctx context.Context, spec ConsumerSpec) (*Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Durable:        spec.Durable,
		Description:    "comeet-connector: one account's sourced candidates",
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        spec.AckWait,
		MaxDeliver:     -1,
		FilterSubjects: spec.Subjects,
		MaxAckPending:  spec.MaxAckPending,
		Replicas:       spec.Replicas,
	}
	if len(spec.Subjects) == 1 {
		cfg.FilterSubject, cfg.FilterSubjects = spec.Subjects[0], nil
	}
	out := &Consumer{bus: b, spec: spec}
	err := b.try(ctx, func(ctx context.Context) error {
		c, err := b.js.CreateOrUpdateConsumer(ctx, spec.Stream, cfg)
		if isHollow(err) {
			if err := b.js.DeleteConsumer(ctx, spec.Stream, spec.Durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return err
			}
			return errAgain
		}
		out.c = c
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer %s on stream %s: %w", spec.Durable, spec.Stream, err)
	}
	return out, nil
}

// HasConsumer reports whether a durable exists.
func (b *Bus) HasConsumer(ctx context.Context, stream, durable string) (bool, error) {
	err := b.try(ctx, func(ctx context.Context) error {
		_, err := b.js.Consumer(ctx, stream, durable)
		return err
	})
	if err == nil || errors.Is(err, ErrAssetDeleted) {
		return err == nil, nil
	}
	return false, fmt.Errorf("look for consumer %s on stream %s: %w", durable, stream, err)
}

// isHollow tells a consumer that has lost its folder on the server's disk: nats-server (2.15.2)
// leaves such a one behind when a consumer is made at the moment at which it is deleted, and
// refuses every change of it from then on. Made anew it delivers everything once more, which the
// ledger recognises.
func isHollow(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeConsumerCreate && strings.Contains(api.Description, "no such file or directory")
}

// fetchHeartbeat tells a server that forgot a pull (restart, new leader) from a quiet stream: two
// missing ones end it.
const fetchHeartbeat = 2 * time.Second

// Fetch asks for up to n messages and calls handle for each as it arrives, in order; handle must
// not block. It returns nil when n have come, the pull has expired (30 s), or the connection broke,
// a server stopped or another leads, so that the pull is forgotten: ask again. While there is no
// connection it waits. ErrAssetDeleted if stream or consumer was deleted; the cause if ctx ended;
// else what went wrong with this pull. Messages that were on their way when ctx ended come again
// after AckWait.
func (c *Consumer) Fetch(ctx context.Context, n int, handle func(*Msg)) error {
	// The client library never lets go of the subscription of a pull that it could not send.
	if !c.bus.untilConnected(ctx, 0) {
		return fmt.Errorf("fetch from consumer %s: %w", c.spec.Durable, c.bus.ended(ctx))
	}
	now := c.bus.epoch.Load()
	reconnects := c.bus.nc.Stats().Reconnects
	// Without ctx's deadline, which the library would take for the pull's expiry and refuse if it
	// is near.
	pull, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	batch, err := c.c.Fetch(n, jetstream.FetchContext(pull), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		verdict, _ := classify(err)
		return fmt.Errorf("fetch from consumer %s: %w", c.spec.Durable, verdict)
	}
	msgs := batch.Messages()
	changed := now.ctx.Done()
	for open := true; open; {
		var m jetstream.Msg
		select {
		case m, open = <-msgs:
			if open {
				handle(&Msg{m: m})
			}
		case <-changed:
			changed = nil
			if c.bus.nc.IsConnected() && c.bus.nc.Stats().Reconnects == reconnects {
				// News of the reconnect that came before this pull.
				changed = c.bus.epoch.Load().ctx.Done()
				continue
			}
			cancel()
		}
	}
	err = batch.Error()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.bus.nc.IsClosed():
		return fmt.Errorf("fetch from consumer %s: %w", c.spec.Durable, nats.ErrConnectionClosed)
	case err == nil, pull.Err() != nil, errors.Is(err, jetstream.ErrServerShutdown), errors.Is(err, jetstream.ErrConsumerLeadershipChanged):
		return nil
	}
	// Most of what ends a pull can mean a deletion, and none is proof of it.
	if _, gone := c.State(ctx); gone != nil {
		return gone
	}
	return fmt.Errorf("fetch from consumer %s: %w", c.spec.Durable, err)
}

// State looks at the consumer: how many messages wait and how many are out. ErrAssetDeleted if it
// was deleted.
func (c *Consumer) State(ctx context.Context) (ConsumerState, error) {
	var st ConsumerState
	err := c.bus.try(ctx, func(ctx context.Context) error {
		info, err := c.c.Info(ctx)
		if err != nil {
			return err
		}
		st = ConsumerState{Pending: info.NumPending, AckPending: info.NumAckPending, AckFloor: info.AckFloor.Stream}
		return nil
	})
	if err != nil {
		return ConsumerState{}, fmt.Errorf("look at consumer %s: %w", c.spec.Durable, err)
	}
	return st, nil
}

// Oldest is when the oldest message that is not acknowledged was stored. ErrNotFound if there is
// none.
func (c *Consumer) Oldest(ctx context.Context) (time.Time, error) {
	st, err := c.State(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var oldest time.Time
	for _, filter := range c.spec.Subjects {
		m, err := c.bus.Next(ctx, c.spec.Stream, filter, st.AckFloor+1)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		if oldest.IsZero() || m.Time.Before(oldest) {
			oldest = m.Time
		}
	}
	if oldest.IsZero() {
		return oldest, ErrNotFound
	}
	return oldest, nil
}

// ConsumerState is what a look at a consumer tells.
type ConsumerState struct {
	// Pending messages were never delivered, AckPending are delivered and not acknowledged.
	Pending    uint64
	AckPending int
	// AckFloor is the stream sequence up to which all is acknowledged.
	AckFloor uint64
}

// Msg is one delivered message. Acks are fire and forget: on a single server even a confirmed one
// can be forgotten in a crash, so nothing may depend on them.
type Msg struct {
	m jetstream.Msg
}

// Subject is where the message was published.
func (m *Msg) Subject() string { return m.m.Subject() }

// Header holds the message's headers as they came; names keep the publisher's case.
func (m *Msg) Header() map[string][]string { return m.m.Headers() }

// Data is the message's body.
func (m *Msg) Data() []byte { return m.m.Data() }

// Metadata says where the message is stored and since when, by the server's clock.
func (m *Msg) Metadata() (seq uint64, stored time.Time, err error) {
	meta, err := m.m.Metadata()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read a delivery's metadata: %w", err)
	}
	return meta.Sequence.Stream, meta.Timestamp, nil
}

// Ack says that the message has its outcome.
func (m *Msg) Ack() error { return m.m.Ack() }

// Term says that the message is refused for good; its dead letter is stored by then.
func (m *Msg) Term(reason string) error { return m.m.TermWithReason(reason) }

// InProgress asks for another AckWait.
func (m *Msg) InProgress() error { return m.m.InProgress() }

// NakWithDelay gives the message back, to come again after the delay; until then it holds one of
// MaxAckPending.
func (m *Msg) NakWithDelay(delay time.Duration) error { return m.m.NakWithDelay(delay) }
