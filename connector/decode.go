package connector

import (
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// sourced is one delivered event, read.
type sourced struct {
	msg *bus.Msg
	// stored is when the event was published, by the bus's clock.
	stored   time.Time
	identity ledger.Identity
	event    events.Event
	data     *events.Sourced
	// op is the operation; own is where outcomes of this event alone are kept. They are the same for an event that names none.
	op, own ledger.Op
	// candidateID is the sourcing service's id of the candidate, if readable.
	candidateID string
	// partnerID is what Comeet is to know the candidate by.
	partnerID string
}

const mustBeSourced = "must be " + events.TypeSourced

// ReplayHeader marks a replayed dead letter: its value, new for each replay, makes the same CloudEvent a new event.
const ReplayHeader = "Comeet-Replay"

// decode reads a delivered message. A *events.InvalidError still comes with everything that could be read.
func (a *account) decode(m *bus.Msg) (*sourced, error) {
	seq, stored, err := m.Place()
	if err != nil {
		return nil, err
	}
	s, invalid := readSourced(a.name, m.Header(), m.Data(), ledger.Identity{
		Stream: a.cfg.Names.Sourced, Created: a.streamCreated, Seq: seq, Replay: header(m.Header(), ReplayHeader),
	})
	s.msg, s.stored = m, stored
	if invalid != nil {
		return s, invalid
	}
	return s, nil
}

// readSourced reads a message of an account's. id tells what the message itself does not. What breaks the contract still comes with
// everything that could be read, and is kept under the event alone.
func readSourced(account string, h map[string][]string, body []byte, id ledger.Identity) (*sourced, *events.InvalidError) {
	e, err := events.Decode(h, body)
	id.Source, id.ID = e.Source, e.ID
	s := &sourced{event: e, identity: id}
	s.own = ledger.Op{Account: account}.Of(id)
	s.op = s.own
	if invalid, ok := errors.AsType[*events.InvalidError](err); ok {
		s.candidateID = invalid.CandidateID
		for i := range invalid.Violations {
			if v := &invalid.Violations[i]; v.Pointer == "/type" {
				v.Message = mustBeSourced // of the contract's types, only one has its place here
			}
		}
		return s, invalid
	}
	data, ok := e.Data.(*events.Sourced)
	if !ok {
		return s, &events.InvalidError{Violations: []events.Violation{{Pointer: "/type", Message: mustBeSourced}}}
	}
	s.data, s.candidateID = data, data.Candidate.ID
	if named, ok := e.Extensions["account"]; ok && named != account {
		return s, &events.InvalidError{CandidateID: s.candidateID, Violations: []events.Violation{{
			Pointer: "/account", Message: "must be the account of the subject that the event was published on, or absent",
		}}}
	}
	s.op = ledger.OpOf(account, e.Source, data)
	s.own = s.op.Of(id)
	s.partnerID = ledger.PartnerCandidateID(e.Source, data.Candidate.ID)
	return s, nil
}

// ref is how our events point to the sourced one; nil if it could not be read.
func (s *sourced) ref() *events.SourcedRef {
	if s.identity.Source == "" || s.identity.ID == "" {
		return nil
	}
	return &events.SourcedRef{Source: s.identity.Source, ID: s.identity.ID}
}

func header(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
