package ops

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// ExplainOptions say how much to tell. The zero value tells what the bus knows without any person's
// data.
type ExplainOptions struct {
	// Kind is what the id is. Empty tries all kinds until one fits.
	Kind IDKind
	// Comeet yields an account's client, with which Explain also reads each candidate as it is now:
	// one request each, which is not part of the budget that running replicas share. A nil client
	// means that there are no credentials for the account. A nil function asks Comeet nothing.
	Comeet func(account string) (*comeet.Client, error)
	// Unmask adds the sourced events whole, and what Comeet shows of the candidate: a person's
	// data.
	Unmask bool
	// Progress is told now and then how many messages of a stream have been read. nil means nobody.
	Progress func(stream string, read int)
}

// History is all that happened to a candidate or an event, oldest first.
type History struct {
	// Kind is what the id was taken for.
	Kind IDKind `json:"kind"`
	// Operations are the business acts concerned, in the order of their first entries.
	Operations []OperationState `json:"operations"`
	Entries    []HistoryEntry   `json:"moments"`
}

// OperationState is where an operation stands.
type OperationState struct {
	Account   string `json:"account"`
	Operation string `json:"operation"`
	// State is accepted, failed, claimed, in_doubt, released, erased, or waiting if there is no
	// entry yet.
	State        string        `json:"state"`
	Reason       events.Reason `json:"reason,omitempty"`
	CandidateID  string        `json:"candidate_id,omitempty"`
	CandidateUID string        `json:"candidate_uid,omitempty"`
}

// HistoryEntry is one thing that happened.
type HistoryEntry struct {
	// Time is when it was stored, by the bus's clock; of an answer of Comeet's, by Comeet's.
	Time time.Time `json:"time"`
	// Stream and Seq are where it is stored; empty of an answer of Comeet's.
	Stream string `json:"stream,omitempty"`
	Seq    uint64 `json:"seq,omitempty"`
	// Who did it: a sourcing service, a replica, an operator, Comeet.
	Who string `json:"who"`
	// What says it in words.
	What      string `json:"what"`
	Operation string `json:"operation,omitempty"`
	// Content is the whole event, with a person's data; nil unless ExplainOptions.Unmask.
	Content json.RawMessage `json:"content,omitempty"`
}

// Explain finds a candidate's or an event's history by any of its ids. An edited replay belongs to
// the history of its letter. Errors: ErrUnknownID, the bus's, the context's.
func (c *Client) Explain(ctx context.Context, id string, o ExplainOptions) (*History, error) {
	x, err := c.collect(ctx, id, o)
	if err != nil {
		return nil, fmt.Errorf("explain %s: %w", id, err)
	}
	return x.history(), nil
}

// askComeet reads a candidate as it is now.
func (x *collector) askComeet(ctx context.Context, account, uid string) error {
	m := HistoryEntry{Time: x.bus.Now(), Who: "Comeet"}
	client, err := x.o.Comeet(account)
	if err != nil {
		return err
	}
	if client == nil {
		m.What = fmt.Sprintf("candidate %s was not asked for: there are no credentials here for account %s", uid, account)
		x.entries = append(x.entries, m)
		return nil
	}
	var call []comeet.CallOption
	if comeet.IsRealID(uid) {
		call = append(call, comeet.ByRealID())
	}
	c, answer, err := client.RetrieveCandidate(ctx, uid, call...)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		// It says what happened and holds nothing of the person.
		m.What = fmt.Sprintf("now: candidate %s: %v", uid, err)
	default:
		m.What = "now: candidate " + uid + ": " + describeCandidate(c)
		if !answer.Date.IsZero() {
			m.Time = answer.Date
		}
		if x.o.Unmask {
			if m.Content, err = json.Marshal(c); err != nil {
				return err
			}
		}
	}
	x.entries = append(x.entries, m)
	return nil
}

// history puts everything into its order.
func (x *collector) history() *History {
	stream := map[string]int{bus.SourcedStream: 0, bus.DeadLettersStream: 1, bus.EventsStream: 2, "": 3}
	slices.SortStableFunc(x.entries, func(a, b HistoryEntry) int {
		if a.Stream == "" || b.Stream == "" {
			return cmp.Compare(stream[a.Stream], stream[b.Stream]) // the present comes last, whatever Comeet's clock says
		}
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(stream[a.Stream], stream[b.Stream]), cmp.Compare(a.Seq, b.Seq))
	})
	out := &History{Kind: x.kind, Entries: x.entries}
	first := map[string]int{}
	for op, state := range x.ops {
		out.Operations = append(out.Operations, *state)
		first[op.ID] = slices.IndexFunc(x.entries, func(m HistoryEntry) bool { return m.Operation == op.ID })
	}
	slices.SortFunc(out.Operations, func(a, b OperationState) int {
		return cmp.Or(cmp.Compare(first[a.Operation], first[b.Operation]), cmp.Compare(a.Operation, b.Operation))
	})
	return out
}
