package ledger

import (
	"errors"
	"fmt"
	"strings"

	"github.com/comeet-connector/comeet-connector/events"
)

// ReplayHeader marks a replayed dead letter: its value, new for each replay, makes the same
// CloudEvent a new event.
const ReplayHeader = "Comeet-Replay"

// ReplayOf is the value of ReplayHeader among a message's headers, for Identity.Replay. It is empty
// for an original.
func ReplayOf(h map[string][]string) string {
	if v := h[ReplayHeader]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Sourced is a message that asks for an operation: an event of the sourced stream, or a dead
// letter, which holds such an event.
type Sourced struct {
	// Identity tells the event from every other.
	Identity Identity
	// Event is as much of the CloudEvent as can be read. Data is its data, nil if that can't be
	// read.
	Event events.Event
	Data  *events.Sourced
	// Op is the operation. EventOp is where the outcomes of this event alone are kept. They are the
	// same for an event that names no operation.
	Op, EventOp Op
	// CandidateID is the sourcing service's id of the candidate; empty if it can't be read.
	CandidateID string
}

const mustBeSourced = "must be " + events.TypeSourced

// ReadSourced reads a message of an account's. id tells what the message itself does not: its place
// and its replay mark. An event that breaks the contract comes with the reason and with everything
// that could be read; it asks for no operation but its own.
func ReadSourced(account string, h map[string][]string, body []byte, id Identity) (*Sourced, *events.InvalidError) {
	e, err := events.Decode(h, body)
	id.Source, id.ID = e.Source(), e.ID()
	own := Op{Account: account}.Of(id)
	s := &Sourced{Identity: id, Event: e, Op: own, EventOp: own}
	if invalid, ok := errors.AsType[*events.InvalidError](err); ok {
		s.CandidateID = invalid.CandidateID
		invalid.Violations = typeFirst(e.Type(), invalid.Violations)
		return s, invalid
	}
	data, ok := e.Data.(*events.Sourced)
	if !ok {
		return s, &events.InvalidError{Violations: []events.Violation{{Pointer: "/type", Message: mustBeSourced}}}
	}
	s.Data, s.CandidateID = data, data.Candidate.ID
	if named, ok := e.Extensions()[events.ExtAccount]; ok && fmt.Sprint(named) != account {
		return s, &events.InvalidError{CandidateID: s.CandidateID, Violations: []events.Violation{{
			Pointer: "/account", Message: "must be the account of the subject that the event was published on, or absent",
		}}}
	}
	s.Op = OpOf(account, id.Source, data)
	s.EventOp = s.Op.Of(id)
	return s, nil
}

// typeFirst puts a wrong type before all else that is wrong with an event: of the contract's types
// only one has its place here. What is wrong with data by the rules of another type is no matter
// then.
func typeFirst(given string, all []events.Violation) []events.Violation {
	wrong := given != "" && given != events.TypeSourced
	var rest []events.Violation
	for _, v := range all {
		switch {
		case v.Pointer == "/type":
			wrong = true
		case wrong && strings.HasPrefix(v.Pointer, "/data/"):
		default:
			rest = append(rest, v)
		}
	}
	if !wrong {
		return rest
	}
	return append([]events.Violation{{Pointer: "/type", Message: mustBeSourced}}, rest...)
}
