package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// Action is what an operator did with a dead letter.
type Action string

// The actions that archive a letter.
const (
	ActionReplayed  Action = "replayed"
	ActionDiscarded Action = "discarded"
)

// Note is what stays of a letter that was archived. It holds no person's data, unless the
// operator's reason does.
type Note struct {
	Action Action `json:"action"`
	// Seq is the letter's sequence, Refused the reason why it was one; empty if not known.
	Seq     uint64        `json:"seq"`
	Refused events.Reason `json:"refused,omitempty"`
	// Reason is the operator's, of a discard.
	Reason string `json:"reason,omitempty"`
	// Replay is the mark of the replayed event, ReplaySeq its sequence in the sourced stream, and
	// ReplayOperation what it asks for: after an edit that may be another operation than the
	// letter's. Edited is whether the operator changed it.
	Replay          string `json:"replay,omitempty"`
	ReplaySeq       uint64 `json:"replay_seq,omitempty"`
	ReplayOperation string `json:"replay_operation,omitempty"`
	Edited          bool   `json:"edited,omitempty"`
	// Account, Operation, CandidateID and Sourced are the letter's.
	Account     string             `json:"account"`
	Operation   string             `json:"operation,omitempty"`
	CandidateID string             `json:"candidate_id,omitempty"`
	Sourced     *events.SourcedRef `json:"sourced,omitempty"`

	// Stored is when, by the bus's clock.
	Stored time.Time `json:"-"`
}

// String tells what was done and when.
func (n *Note) String() string {
	at := n.Stored.UTC().Format(time.RFC3339)
	if n.Action == ActionDiscarded {
		return fmt.Sprintf("discarded at %s: %s", at, n.Reason)
	}
	edited := ""
	if n.Edited {
		edited = " after an edit"
	}
	as := ""
	if n.ReplaySeq > 0 {
		as = fmt.Sprintf(" as message %d of the sourced stream", n.ReplaySeq)
	}
	return fmt.Sprintf("replayed%s at %s%s, mark %s", edited, at, as, n.Replay)
}

// archive notes what was done with a letter, then erases it. A crash in between leaves a letter
// that may be archived again.
func (c *Client) archive(ctx context.Context, o *opened, n Note) error {
	n.Seq, n.Account, n.Refused = o.Seq, o.Account, o.Reason
	n.Operation, n.CandidateID, n.Sourced = o.Operation, o.CandidateID, o.Sourced
	raw, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note what was done with dead letter %d: %w", o.Seq, err)
	}
	_, err = c.bus.Publish(ctx, bus.Write{Subject: ledger.NoteSubject(o.eventOp, string(n.Action), o.Seq), Data: raw})
	if err != nil && !errors.Is(err, bus.ErrConflict) {
		return fmt.Errorf("note what was done with dead letter %d: %w", o.Seq, err)
	}
	return c.bus.Erase(ctx, bus.DeadLettersStream, o.Seq)
}

// note reads the last note about a letter; the event's tokens and action may be "*". nil if there
// is none.
func (c *Client) note(ctx context.Context, event ledger.Op, action string, seq uint64) (*Note, error) {
	m, err := c.bus.Last(ctx, bus.DeadLettersStream, ledger.NoteSubject(event, action, seq))
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return noteOf(m)
}

func noteOf(m bus.Stored) (*Note, error) {
	n := new(Note)
	if err := json.Unmarshal(m.Data, n); err != nil {
		return nil, fmt.Errorf("the note on %s is not readable; somebody else wrote it: %w", m.Subject, err)
	}
	n.Stored = m.Time
	return n, nil
}
