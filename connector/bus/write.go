package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Write is one message to store.
type Write struct {
	Subject string
	Header  map[string][]string
	Data    []byte
	// Expect makes the write a compare-and-set; nil stores unconditionally.
	Expect *Expect
	// TTL is how long the stream keeps this message, at least a second; 0 means as long as the
	// stream keeps any.
	TTL time.Duration
}

// Expect is the condition of a compare-and-set: the last message over Filter has sequence Seq; 0
// means there is none.
//
// Everybody who writes under a filter must use the very same filter string: a replicated stream's
// leader serialises writes in flight by it.
type Expect struct {
	Filter string
	Seq    uint64
}

// ReservedHeader reports whether headers of that name are the bus's: a message that is stored again
// must not have the original's, since the bus would act on them.
func ReservedHeader(name string) bool {
	const prefix = "Nats-"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// Stored is a message as a stream holds it.
type Stored struct {
	Subject string
	Header  map[string][]string
	Data    []byte
	Seq     uint64
	// Time is the server's, when the message was stored.
	Time time.Time
}

// Publish stores one message and returns its sequence. A try whose answer is lost is repeated with
// the same condition, so a write that had been stored after all answers ErrConflict: read the last
// message and compare. Errors: ErrConflict, ErrFull, ErrTooLarge, ErrAssetDeleted, or the
// context's. Without a condition such a write may be stored twice.
func (b *Bus) Publish(ctx context.Context, w Write) (uint64, error) {
	msg := message(w)
	var seq uint64
	err := b.try(ctx, func(ctx context.Context) error {
		ack, err := b.js.PublishMsg(ctx, msg)
		if errors.Is(err, jetstream.ErrNoStreamResponse) {
			return b.whoTakes(ctx, w.Subject, err)
		}
		if err != nil {
			return err
		}
		seq = ack.Sequence
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("publish to %s: %w", w.Subject, err)
	}
	return seq, nil
}

// whoTakes tells a stream that is away for a while from one that does not exist, of which a publish
// learns nothing but silence.
func (b *Bus) whoTakes(ctx context.Context, subject string, silence error) error {
	if _, err := b.js.StreamNameBySubject(ctx, subject); err != nil {
		return err
	}
	return silence
}

func message(w Write) *nats.Msg {
	h := make(nats.Header, len(w.Header)+3)
	maps.Copy(h, w.Header)
	if w.Expect != nil {
		h[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(w.Expect.Seq, 10)}
		h[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{w.Expect.Filter}
	}
	if w.TTL > 0 {
		h[jetstream.MsgTTLHeader] = []string{w.TTL.String()}
	}
	return &nats.Msg{Subject: w.Subject, Header: h, Data: w.Data}
}

// Last reads the last message over a filter, from the stream's leader. ErrNotFound if there is
// none.
func (b *Bus) Last(ctx context.Context, stream, filter string) (Stored, error) {
	return b.get(ctx, stream, filter, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, filter)
	})
}

// First reads the oldest message over a filter. ErrNotFound if there is none.
func (b *Bus) First(ctx context.Context, stream, filter string) (Stored, error) {
	return b.Next(ctx, stream, filter, 1)
}

// Next reads the oldest message over a filter from a sequence on. ErrNotFound if there is none.
func (b *Bus) Next(ctx context.Context, stream, filter string, from uint64) (Stored, error) {
	return b.get(ctx, stream, filter, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(filter))
	})
}

// Message reads one message by its sequence. ErrNotFound if the stream no longer holds it.
func (b *Bus) Message(ctx context.Context, stream string, seq uint64) (Stored, error) {
	return b.get(ctx, stream, strconv.FormatUint(seq, 10), func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, seq)
	})
}

func (b *Bus) get(ctx context.Context, stream, what string, read func(context.Context, jetstream.Stream) (*jetstream.RawStreamMsg, error)) (Stored, error) {
	var out Stored
	err := b.try(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		m, err := read(ctx, s)
		if err != nil {
			return err
		}
		out = Stored{Subject: m.Subject, Header: m.Header, Data: m.Data, Seq: m.Sequence, Time: m.Time}
		return nil
	})
	if err != nil {
		return Stored{}, fmt.Errorf("read %s of stream %s: %w", what, stream, err)
	}
	return out, nil
}

// stream returns a handle that is bound once: binding asks the server, and a read must cost one
// request, not two.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(name); ok {
		return s.(jetstream.Stream), nil
	}
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	// Where a stream allows direct reads the library would ask any replica, also one that lags; the
	// leader knows.
	s.CachedInfo().Config.AllowDirect = false
	b.streams.Store(name, s)
	return s, nil
}
