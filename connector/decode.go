package connector

import (
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// sourced is one delivered event, read.
type sourced struct {
	msg *bus.Msg
	// stored is when the event was published, by the bus's clock.
	stored time.Time
	// identity, event, data, op, own and candidateID are what ledger.ReadSourced read; own is the EventOp.
	identity    ledger.Identity
	event       events.Event
	data        *events.Sourced
	op, own     ledger.Op
	candidateID string
	// partnerID is what Comeet is to know the candidate by; empty if the event breaks the contract.
	partnerID string
}

// decode reads a delivered message. A *events.InvalidError still comes with everything that could be read.
func (a *account) decode(m *bus.Msg) (*sourced, error) {
	seq, stored, err := m.Place()
	if err != nil {
		return nil, err
	}
	read, invalid := ledger.ReadSourced(a.name, m.Header(), m.Data(), ledger.Identity{
		Stream: a.cfg.Names.Sourced, Created: a.streamCreated, Seq: seq, Replay: ledger.ReplayOf(m.Header()),
	})
	s := &sourced{
		msg: m, stored: stored, identity: read.Identity, event: read.Event, data: read.Data, op: read.Op, own: read.EventOp, candidateID: read.CandidateID,
	}
	if invalid != nil {
		return s, invalid
	}
	s.partnerID = ledger.PartnerCandidateID(s.identity.Source, s.candidateID)
	return s, nil
}

// ref is how our events point to the sourced one; nil if it could not be read.
func (s *sourced) ref() *events.SourcedRef { return s.identity.Ref() }
