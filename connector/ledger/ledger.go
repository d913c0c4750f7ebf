// Package ledger keeps what the connector knows, as the CloudEvents of one stream: for each
// operation its claim and its outcome, for each candidate at Comeet the last status that was
// published.
//
// The last message over an operation's subjects is the operation's state, and the message is the
// event that readers get, so ledger and feed cannot disagree. Every write is a compare-and-set over
// the entry that the writer believes to be the last. A write that loses learns the entry which
// stood in its way; there is no other read on the way to an outcome.
//
// A write that was stored although its acknowledgement was lost is recognised as won. All methods
// block until the bus has answered or the context ends, and are safe for concurrent use by any
// number of processes.
package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// KeepOutcomes is how long claims and outcomes stay; statuses stay as long as the stream does. No
// event older than half of it is submitted, however long its stream keeps it: it could come back to
// a ledger that has forgotten it.
const KeepOutcomes = 400 * 24 * time.Hour

// DefaultSource is the CloudEvents `source` of entries, unless the connector is told another one.
const DefaultSource = "/comeet-connector"

// Ledger reads and writes the entries of the events stream.
type Ledger struct{ bus *bus.Bus }

// New returns the ledger on a bus.
func New(b *bus.Bus) *Ledger { return &Ledger{bus: b} }

// Entry is the state of an operation or of a candidate: its last event. The zero Entry means that
// there is none yet.
type Entry struct {
	// Seq is the entry's sequence, the expectation of the next write; 0 means no entry.
	Seq uint64
	// Stored is when, by the server's clock; zero right after one's own write, which the server
	// does not tell.
	Stored time.Time
	// Event is what was stored; its Data is *events.Claimed, *events.Accepted, *events.Failed or
	// *events.StatusChanged.
	Event events.Event
	// Unreadable is the last entry, if that cannot be read: Seq and Stored are its own, and Event
	// is that of an earlier one. Else nil.
	Unreadable *UnreadableError
}

// UnreadableError means that an entry cannot be read: somebody else wrote it, or it is damaged. It
// is the trouble of one operation or of one candidate.
type UnreadableError struct {
	Seq     uint64
	Subject string
	Err     error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("ledger entry %d on %s is not readable; somebody else wrote it, or it is damaged: %v", e.Seq, e.Subject, e.Err)
}

// Unwrap returns why it is not readable.
func (e *UnreadableError) Unwrap() error { return e.Err }

// IsUnreadable reports whether an *UnreadableError is in err's tree.
func IsUnreadable(err error) bool {
	_, ok := errors.AsType[*UnreadableError](err)
	return ok
}

// NewEvent is the event of an entry that the connector calling itself source writes at a time. It
// carries on the trace of the sourced event, out of that event's extensions. The caller adds
// Subject, and an ID of its own where the entry has one.
func NewEvent(source string, at time.Time, data events.Data, sourced map[string]any) events.Event {
	e := events.Event{Event: events.New(source, NewID(), data), Data: data}
	e.SetTime(at.UTC().Truncate(time.Millisecond))
	for _, name := range []string{events.ExtTraceparent, events.ExtTracestate} {
		if v, ok := sourced[name].(string); ok && v != "" {
			e.SetExtension(name, v)
		}
	}
	return e
}

// Claimed is the entry's claim, or nil.
func (e Entry) Claimed() *events.Claimed { c, _ := e.Event.Data.(*events.Claimed); return c }

// Erased reports whether the operation was erased on request. The entry that says so knows nothing
// else, and nothing is written over it: the outcomes of events that come later are kept under their
// own.
func (e Entry) Erased() bool { c := e.Claimed(); return c != nil && c.State == events.StateErased }

// Accepted is the entry's outcome if it is that Comeet has the candidate, or nil.
func (e Entry) Accepted() *events.Accepted { a, _ := e.Event.Data.(*events.Accepted); return a }

// Failed is the entry's outcome if it is a refusal, or nil.
func (e Entry) Failed() *events.Failed { f, _ := e.Event.Data.(*events.Failed); return f }

// Status is the candidate's last published status, or nil.
func (e Entry) Status() *events.StatusChanged { s, _ := e.Event.Data.(*events.StatusChanged); return s }

// Last reads an operation's state.
func (l *Ledger) Last(ctx context.Context, op Op) (Entry, error) { return l.last(ctx, op.filter()) }

// LastClaim reads the operation's last readable claim, which need not be its state any more.
func (l *Ledger) LastClaim(ctx context.Context, op Op) (Entry, error) {
	e, err := l.lastReadable(ctx, op.subject(events.TypeClaimed))
	if IsUnreadable(err) {
		return Entry{}, nil
	}
	return e, err
}

// HasFailed looks for a refusal of the operation by its CloudEvent id among all that the stream
// still holds, since others may have been written over it. It returns nil if there is none.
func (l *Ledger) HasFailed(ctx context.Context, op Op, id string) (*events.Failed, error) {
	for from := uint64(1); ; {
		m, err := l.bus.Next(ctx, bus.EventsStream, op.subject(events.TypeFailed), from)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		// An entry that cannot be read is no refusal of this id, for all that can be known.
		if e, err := Read(m); err == nil && e.Event.ID() == id {
			return e.Failed(), nil
		}
		from = m.Seq + 1
	}
}

// Put writes the operation's next entry, a claim or an outcome by the event's type, if before is
// still the last. It returns the entry that is the last afterwards, and whether that is the one
// just written; if not, it stood in the way. Errors: *UnreadableError if what stood in the way
// cannot be read; the bus's bus.ErrFull and bus.ErrAssetDeleted; the context's.
func (l *Ledger) Put(ctx context.Context, op Op, before uint64, e events.Event) (Entry, bool, error) {
	return l.put(ctx, op.subject(e.Type()), op.filter(), KeepOutcomes, before, e)
}

// LastStatus reads a candidate's last published status. If that cannot be read, it is the last one
// before that can, and the entry says so in Unreadable. Errors: *UnreadableError if there is none,
// the bus's, the context's.
func (l *Ledger) LastStatus(ctx context.Context, account, uid string) (Entry, error) {
	return l.lastReadable(ctx, events.StatusSubject(account, uid))
}

// Forget erases all that was published of a candidate's status, the oldest first. A write that
// builds on an erased one loses, so nobody follows the candidate from then on.
func (l *Ledger) Forget(ctx context.Context, account, uid string) error {
	return l.bus.EraseAll(ctx, bus.EventsStream, events.StatusSubject(account, uid))
}

// PutOver is Put for what is true whatever an unreadable entry may have said: it is written over
// such a one.
func (l *Ledger) PutOver(ctx context.Context, op Op, before uint64, e events.Event) (Entry, bool, error) {
	entry, won, err := l.Put(ctx, op, before, e)
	if bad, ok := errors.AsType[*UnreadableError](err); ok {
		return l.Put(ctx, op, bad.Seq, e)
	}
	return entry, won, err
}

// PutStatus writes a candidate's next status, like Put.
func (l *Ledger) PutStatus(ctx context.Context, account, uid string, before uint64, e events.Event) (Entry, bool, error) {
	subject := events.StatusSubject(account, uid)
	return l.put(ctx, subject, subject, 0, before, e) // guard: status-is-compare-and-set
}

func (l *Ledger) put(ctx context.Context, subject, filter string, keep time.Duration, before uint64, e events.Event) (Entry, bool, error) {
	header, body, err := e.Encode()
	if err != nil {
		return Entry{}, false, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	seq, err := l.bus.Publish(ctx, bus.Write{
		Subject: subject, Header: header, Data: body, TTL: keep,
		Expect: &bus.Expect{Filter: filter, Seq: before}, // guard: claim-is-compare-and-set
	})
	if err == nil {
		return Entry{Seq: seq, Event: e}, true, nil
	}
	if !errors.Is(err, bus.ErrConflict) {
		return Entry{}, false, err
	}
	stored, err := l.bus.Last(ctx, bus.EventsStream, filter)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		// What we believed to be the last is gone: expired, erased by an operator, or lost with a
		// server's disk.
		return Entry{}, false, nil
	case err != nil:
		return Entry{}, false, err
	case stored.Subject == subject && bytes.Equal(stored.Data, body): // guard: lost-ack-is-recognised
		return Entry{Seq: stored.Seq, Stored: stored.Time, Event: e}, true, nil
	}
	last, err := Read(stored)
	return last, false, err
}

func (l *Ledger) last(ctx context.Context, filter string) (Entry, error) {
	stored, err := l.bus.Last(ctx, bus.EventsStream, filter)
	if errors.Is(err, bus.ErrNotFound) {
		return Entry{}, nil
	}
	if err != nil {
		return Entry{}, err
	}
	return Read(stored)
}

// maxSteppedOver bounds the search for a readable entry before an unreadable one: an account does
// not wait for one candidate.
const maxSteppedOver = 200

// lastReadable is the last entry, or the last readable one before it.
func (l *Ledger) lastReadable(ctx context.Context, filter string) (Entry, error) {
	last, err := l.last(ctx, filter)
	bad, unreadable := errors.AsType[*UnreadableError](err)
	if !unreadable {
		return last, err
	}
	found, from := Entry{Seq: bad.Seq, Unreadable: bad}, uint64(1)
	for range maxSteppedOver {
		m, err := l.bus.Next(ctx, bus.EventsStream, filter, from)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return Entry{}, err
		}
		if err != nil || m.Seq >= bad.Seq {
			break
		}
		if e, err := Read(m); err == nil {
			found.Event = e.Event
		}
		from = m.Seq + 1
	}
	if found.Event.Data == nil {
		return Entry{}, bad
	}
	return found, nil
}

// Read is the entry that a stored message is. Its only error is *UnreadableError.
func Read(m bus.Stored) (Entry, error) {
	e, err := events.Decode(m.Header, m.Data)
	if err != nil {
		return Entry{}, &UnreadableError{Seq: m.Seq, Subject: m.Subject, Err: err}
	}
	return Entry{Seq: m.Seq, Stored: m.Time, Event: e}, nil
}
