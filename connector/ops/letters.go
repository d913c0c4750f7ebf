package ops

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// DeadLetter is a dead letter and why it is one, without any person's data.
type DeadLetter struct {
	// Seq is the letter's sequence in the dead-letter stream, by which it is named everywhere.
	Seq     uint64 `json:"seq"`
	Account string `json:"account"`
	// Stored is when the event was refused, by the bus's clock.
	Stored time.Time `json:"stored"`
	// Reason, Message, Violations and Comeet are those of the event's outcome. An empty Reason
	// means that there is no outcome any more, or not yet: the event then comes again by itself.
	Reason     events.Reason        `json:"reason,omitempty"`
	Message    string               `json:"message,omitempty"`
	Violations []events.Violation   `json:"violations,omitempty"`
	Comeet     *events.ComeetAnswer `json:"comeet,omitempty"`
	// Operation is the one that the event asked for.
	Operation string `json:"operation,omitempty"`
	// Outcome is the sequence of the outcome in the events stream; 0 means none.
	Outcome uint64 `json:"outcome,omitempty"`
	// CandidateID and Sourced name the event, where they could be read.
	CandidateID string             `json:"candidate_id,omitempty"`
	Sourced     *events.SourcedRef `json:"sourced,omitempty"`
	// Replay is the mark that the event came with, if it was a replay itself.
	Replay string `json:"replay,omitempty"`

	// eventOp is where the outcomes of this event alone are kept, as the letter's subject says.
	eventOp ledger.Op
}

// LetterFilter picks letters. Zero fields pick all.
type LetterFilter struct {
	Account string
	Reason  events.Reason
	// Source is the CloudEvents source of the refused event, CandidateID the sourcing service's id
	// of the candidate.
	Source, CandidateID string
	// Since leaves out what was refused earlier.
	Since time.Time
}

func (f LetterFilter) matches(l *DeadLetter) bool {
	return (f.Reason == "" || l.Reason == f.Reason) && (f.CandidateID == "" || l.CandidateID == f.CandidateID) &&
		(f.Source == "" || l.Sourced != nil && l.Sourced.Source == f.Source)
}

// streamsDisagree is more than the clocks of two streams' leaders may differ.
const streamsDisagree = time.Hour

// List returns the letters that a filter picks, newest first. No letter's body is read.
func (c *Client) List(ctx context.Context, f LetterFilter) ([]DeadLetter, error) {
	account := "*"
	if f.Account != "" {
		if err := events.CheckAccount(f.Account); err != nil {
			return nil, err
		}
		account = f.Account
	}
	known := map[uint64]*DeadLetter{}
	var oldest time.Time
	err := c.bus.Scan(ctx, bus.ScanSpec{
		Stream: bus.DeadLettersStream, Filters: []string{ledger.LetterSubject(ledger.Op{Account: account, ID: "*"})}, Since: f.Since, HeadersOnly: true,
	}, func(m bus.Stored) error {
		if l, ok := letterOf(m); ok {
			known[l.Seq] = l
			if oldest.IsZero() {
				oldest = l.Stored
			}
		}
		return nil
	})
	if err != nil || len(known) == 0 {
		return nil, err
	}
	err = c.bus.Scan(ctx, bus.ScanSpec{
		Stream: bus.EventsStream, Filters: []string{events.SubmissionSubject(events.TypeFailed, account, "*")}, Since: oldest.Add(-streamsDisagree),
	}, func(m bus.Stored) error {
		e, err := events.Decode(m.Header, m.Data)
		if failed, ok := e.Data.(*events.Failed); err == nil && ok && failed.DeadLetter != nil {
			if l := known[failed.DeadLetter.Sequence]; l != nil {
				l.setOutcome(failed, m.Seq)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []DeadLetter
	for _, l := range known {
		if f.matches(l) {
			out = append(out, *l)
		}
	}
	slices.SortFunc(out, func(a, b DeadLetter) int { return cmp.Compare(b.Seq, a.Seq) })
	return out, nil
}

// LetterGroup counts the letters of one account and reason.
type LetterGroup struct {
	Account string        `json:"account"`
	Reason  events.Reason `json:"reason"`
	Count   int           `json:"count"`
	// Oldest and Newest are when the first and the last of them were refused.
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
}

// GroupLetters counts letters by account and reason, the most frequent first.
func GroupLetters(letters []DeadLetter) []LetterGroup {
	type key struct {
		account string
		reason  events.Reason
	}
	groups := map[key]*LetterGroup{}
	for _, l := range letters {
		k := key{l.Account, l.Reason}
		g := groups[k]
		if g == nil {
			g = &LetterGroup{Account: l.Account, Reason: l.Reason, Oldest: l.Stored, Newest: l.Stored}
			groups[k] = g
		}
		g.Count++
		if l.Stored.Before(g.Oldest) {
			g.Oldest = l.Stored
		}
		if l.Stored.After(g.Newest) {
			g.Newest = l.Stored
		}
	}
	var out []LetterGroup
	for _, g := range groups {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b LetterGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// letterOf reads what a letter's place and headers tell. ok is false for anything else in the
// stream, such as a note.
func letterOf(m bus.Stored) (*DeadLetter, bool) {
	event, ok := ledger.EventOfLetter(m.Subject)
	if !ok {
		return nil, false
	}
	return &DeadLetter{Seq: m.Seq, Account: event.Account, Stored: m.Time, Replay: ledger.ReplayOf(m.Header), eventOp: event}, true
}

// setOutcome takes over an outcome, if it is this letter's: a sequence alone proves nothing once
// the stream was made anew.
func (l *DeadLetter) setOutcome(f *events.Failed, seq uint64) {
	mine := f.Operation == l.eventOp.ID
	if f.Sourced != nil {
		own := ledger.Op{Account: l.Account, ID: f.Operation}.Of(ledger.Identity{Source: f.Sourced.Source, ID: f.Sourced.ID, Replay: l.Replay})
		mine = mine || own == l.eventOp
	}
	if mine {
		l.Reason, l.Message, l.Violations, l.Comeet = f.Reason, f.Message, f.Violations, f.Comeet
		l.Operation, l.Outcome, l.CandidateID, l.Sourced = f.Operation, seq, f.CandidateID, f.Sourced
	}
}

// LetterNotFoundError says that there is no dead letter with that sequence.
type LetterNotFoundError struct {
	Seq uint64
	// Note tells what an operator did with it; nil if nobody did anything: it has aged out, or
	// never was.
	Note *Note
}

func (e *LetterNotFoundError) Error() string {
	if e.Note == nil {
		return fmt.Sprintf("there is no dead letter %d", e.Seq)
	}
	return fmt.Sprintf("there is no dead letter %d any more: it was %s", e.Seq, e.Note)
}

// opened is a letter with what is in it.
type opened struct {
	*DeadLetter
	header map[string][]string
	body   []byte
	// event is what the connector reads out of it; invalid is why it can't, or nil.
	event   *ledger.Sourced
	invalid *events.InvalidError
}

// open reads a letter. A *LetterNotFoundError if there is none.
func (c *Client) open(ctx context.Context, seq uint64) (*opened, error) {
	m, err := c.bus.Message(ctx, bus.DeadLettersStream, seq)
	var l *DeadLetter
	ok := false
	if err == nil {
		l, ok = letterOf(m)
	}
	switch {
	case errors.Is(err, bus.ErrNotFound), err == nil && !ok:
		note, err := c.note(ctx, ledger.Op{Account: "*", ID: "*"}, "*", seq)
		if err != nil {
			return nil, err
		}
		return nil, &LetterNotFoundError{seq, note}
	case err != nil:
		return nil, err
	}
	o := &opened{DeadLetter: l, header: m.Header, body: m.Data}
	o.event, o.invalid = ledger.ReadSourced(l.Account, m.Header, m.Data, ledger.Identity{Replay: l.Replay})
	op := l.eventOp
	if o.invalid == nil {
		op = o.event.Op
	}
	l.Operation, l.CandidateID, l.Sourced = op.ID, o.event.CandidateID, o.event.Identity.Ref()
	history, err := c.records(ctx, events.SubmissionSubject(events.TypeFailed, op.Account, op.ID))
	if err != nil {
		return nil, err
	}
	for _, r := range history {
		if f, ok := r.event.Data.(*events.Failed); ok && f.DeadLetter != nil && f.DeadLetter.Sequence == seq {
			l.setOutcome(f, r.seq)
		}
	}
	return o, nil
}

// record is one entry of the events stream.
type record struct {
	seq     uint64
	stored  time.Time
	subject string
	event   events.Event
}

// records reads all entries over a subject, oldest first. There are at most bus.MaxHistory per
// subject without wildcards.
func (c *Client) records(ctx context.Context, subject string) ([]record, error) {
	var out []record
	for from := uint64(1); ; {
		m, err := c.bus.Next(ctx, bus.EventsStream, subject, from)
		if errors.Is(err, bus.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		from = m.Seq + 1
		// What somebody else wrote there and nobody can read tells nothing.
		if e, err := events.Decode(m.Header, m.Data); err == nil {
			out = append(out, record{m.Seq, m.Time, m.Subject, e})
		}
	}
}

// ShownLetter is a letter with its content.
type ShownLetter struct {
	DeadLetter
	// Header and Content are the original's. Masked, values of personal fields are Mask; structure
	// and names stay.
	Header http.Header `json:"header,omitempty"`
	// Content is the body if it is JSON, else nil.
	Content json.RawMessage `json:"content,omitempty"`
	// Bytes is the size of the body.
	Bytes int `json:"bytes"`
}

// Show opens one letter. Personal data is masked unless unmask is set: then whoever reads the
// result sees a person's data. A *LetterNotFoundError if the letter is not there.
func (c *Client) Show(ctx context.Context, seq uint64, unmask bool) (ShownLetter, error) {
	o, err := c.open(ctx, seq)
	if err != nil {
		return ShownLetter{}, err
	}
	shown := ShownLetter{DeadLetter: *o.DeadLetter, Header: o.header, Bytes: len(o.body)}
	if !unmask {
		shown.Header = maskHeader(o.header)
	}
	shown.Content = maskJSON(o.body, isBinary(o.header), unmask)
	return shown, nil
}

// Raw is the letter's event to edit and to give to Replay: the original's bytes, or, of an event in
// the binary encoding, whose attributes are headers, the same event as one JSON document. It holds
// a person's data. A *LetterNotFoundError if the letter is not there.
func (c *Client) Raw(ctx context.Context, seq uint64) ([]byte, error) {
	o, err := c.open(ctx, seq)
	if err != nil {
		return nil, err
	}
	if isBinary(o.header) {
		return structured(o.header, o.body)
	}
	return o.body, nil
}

// Discard archives letters: a note with the reason is stored, then the letter is erased. The event
// keeps its outcome. The reason is kept in clear, so it must not hold a person's data. It goes on
// after a letter that is not there and returns all such *LetterNotFoundError joined.
func (c *Client) Discard(ctx context.Context, reason string, seqs ...uint64) error {
	if strings.TrimSpace(reason) == "" {
		return errors.New("say why: a discard needs a reason")
	}
	var gone []error
	for _, seq := range seqs {
		o, err := c.open(ctx, seq)
		if _, ok := errors.AsType[*LetterNotFoundError](err); ok {
			gone = append(gone, err)
			continue
		}
		if err == nil {
			err = c.archive(ctx, o, Note{Action: ActionDiscarded, Reason: reason})
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(gone...)
}
