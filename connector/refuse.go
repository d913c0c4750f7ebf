package connector

import (
	"errors"
	"fmt"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// refusal is why an event fails for good.
type refusal struct {
	reason     events.Reason
	message    string
	violations []events.Violation
	comeet     *events.ComeetAnswer
}

// refusalOf turns Comeet's own refusal into ours. Comeet's message text is never passed on: it may quote the person.
func refusalOf(err error) *refusal {
	e, _ := errors.AsType[*comeet.Error](err)
	r := &refusal{reason: events.ReasonRefused, comeet: &events.ComeetAnswer{Status: e.Status, Error: e.Code}}
	switch {
	case e.Kind == comeet.NoPosition:
		r.reason, r.message = events.ReasonPositionNotFound, "Comeet does not know the position, or does not share it with this integration"
	case e.Code == "file_size_limit" || e.Code == "malicious_file":
		r.reason, r.message = events.ReasonFileRefused, "Comeet refused a file ("+e.Code+"); replace or remove it and publish again"
	default:
		r.message = fmt.Sprintf("Comeet refused the candidate (%d %s); correct the event and publish it again", e.Status, e.Code)
	}
	return r
}

// refuseUnreadable ends an event that names no operation: its outcome is kept under the event's own.
func (s *submission) refuseUnreadable(invalid *events.InvalidError) error {
	_, _, err := s.fail(ledger.Entry{}, &refusal{
		reason: events.ReasonInvalidEvent, message: "the event does not follow the contract; see violations", violations: invalid.Violations,
	})
	return err
}

// refuse ends an event for good, unless the ledger knows of an earlier attempt, whose fate comes first: last may be a mere
// belief that there is no entry.
func (s *submission) refuse(last ledger.Entry, why *refusal) (ledger.Entry, bool, error) {
	if last.Seq == 0 {
		known, err := s.ledger.Last(s.work, s.op)
		if err != nil {
			return last, false, err
		}
		if known.Seq != 0 {
			return known, false, nil
		}
	}
	if s.repeats && s.blind {
		// That the repetition is refused says nothing of the attempt before it, which nobody could look up.
		why.reason, why.message = events.ReasonInDoubt, "an earlier submission got no usable answer and may have landed; check by hand. Its repetition: "+why.message
	}
	return s.fail(last, why)
}

// hasFailed ends an event that comes again although it has failed, because its end was lost and other events of its operation
// have claimed over its outcome since.
func (s *submission) hasFailed() (bool, error) {
	failed, err := s.ledger.HasFailed(s.work, s.op, ledger.OutcomeID(s.op, s.identity, events.TypeFailed))
	if err != nil || failed == nil {
		return false, err
	}
	return true, s.msg.Term(string(failed.Reason))
}

// fail stores the original in the dead-letter stream first, the outcome that points to it second, and ends the delivery third.
// A crash in between leaves an event that comes again and finds what is done already.
func (s *submission) fail(last ledger.Entry, why *refusal) (ledger.Entry, bool, error) {
	letter, err := s.buryOriginal()
	if err != nil {
		return last, false, err
	}
	entry, won, err := s.ledger.Put(s.work, s.op, last.Seq, s.outcome(s.op, &events.Failed{
		Account: s.op.Account, Operation: s.op.ID, CandidateID: s.candidateID, Reason: why.reason, Message: why.message,
		Violations: why.violations, Comeet: why.comeet, Sourced: s.ref(), DeadLetter: letter,
	}))
	if err != nil {
		return last, false, fmt.Errorf("write the refusal of operation %s: %w", s.op.ID, err)
	}
	if !won && !(entry.Failed() != nil && s.isMine(entry)) {
		return entry, false, nil
	}
	if won {
		s.metrics.failed(why.reason).Inc()
		s.log.Warn().Str("candidate_id", s.candidateID).Str("reason", string(why.reason)).Str("why", why.message).
			Uint64("dead_letter", letter.Sequence).Str("operation", s.op.ID).Msg("candidate refused")
	}
	return entry, true, s.msg.Term(string(why.reason))
}
