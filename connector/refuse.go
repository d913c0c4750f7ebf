package connector

import (
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
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

// refusalOf turns Comeet's own refusal into ours. Comeet's message text is never passed on: it may
// quote the person.
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

// refuseUnreadable ends an event that names no operation: its outcome is kept under the event's
// own. If that was erased, no dead letter is stored again.
func (s *submission) refuseUnreadable(invalid *events.InvalidError) error {
	last, err := s.ledger.Last(s.work, s.Op)
	before := state{}
	if bad, ok := errors.AsType[*ledger.UnreadableError](err); ok {
		before.last.Seq, err = bad.Seq, nil // its own outcome, and nothing else's
	}
	at := state{last: last}
	if err == nil && !last.Erased() {
		at, _, err = s.fail(before, &refusal{
			reason: events.ReasonInvalidEvent, message: "the event does not follow the contract; see violations", violations: invalid.Violations,
		})
	}
	if err != nil || !at.last.Erased() {
		return err
	}
	return s.finishErased("")
}

// refuse ends an event for good, unless the ledger knows of an earlier attempt, whose fate comes
// first: at.last may be a mere belief that there is no entry.
func (s *submission) refuse(at state, why *refusal) (state, bool, error) {
	if at.last.Seq == 0 {
		known, err := s.ledger.Last(s.work, s.Op)
		if err != nil || known.Seq != 0 {
			return at.after(known), false, err
		}
	}
	return s.fail(at, why)
}

// erasedMessage is the outcome's, which holds nothing of the candidate.
const erasedMessage = "the operation was erased on request, and nothing is submitted under it again; if the candidate is to be submitted after all, publish the event with a submission_id"

// finishErased ends an event whose operation was erased. The outcome is kept under the event's own,
// and says no more than which event it was. There is no dead letter: the person's data must not be
// stored again. What this delivery, or one that died, stored before it knew is erased.
func (s *submission) finishErased(firstStatusUID string) error {
	letter, err := s.bus.Last(s.work, bus.DeadLettersStream, ledger.LetterSubject(s.EventOp))
	if err == nil {
		err = s.bus.Erase(s.work, bus.DeadLettersStream, letter.Seq)
	}
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	if firstStatusUID != "" {
		if err := s.ledger.Forget(s.work, s.Op.Account, firstStatusUID); err != nil {
			return err
		}
	}
	// Of an event that names no operation the two would be the same.
	own := s.Op.Of(s.Identity)
	e := s.outcome(own, &events.Failed{
		Account: s.Op.Account, Operation: s.Op.ID, Reason: events.ReasonErased, Message: erasedMessage, Sourced: s.ref(),
	})
	e.SetSubject("")
	entry, won, err := s.ledger.PutOver(s.work, own, 0, e)
	if err != nil {
		return fmt.Errorf("write the outcome of an event of the erased operation %s: %w", s.Op.ID, err)
	}
	if !won && entry.Seq == 0 {
		return retryLaterError{time.Second, "its outcome is being erased"}
	}
	if won {
		s.metrics.failed(events.ReasonErased).Inc()
		s.log.Warn().Str("operation", s.Op.ID).Msg("an event of an erased operation was not submitted")
	}
	return s.msg.Term(string(events.ReasonErased))
}

// hasFailed ends an event that comes again although it has failed, because its end was lost and
// other events of its operation have claimed over its outcome since.
func (s *submission) hasFailed() (bool, error) {
	failed, err := s.ledger.HasFailed(s.work, s.Op, ledger.OutcomeID(s.Op, s.Identity, events.TypeFailed))
	if err != nil || failed == nil { // guard: failed-event-stays-failed
		return false, err
	}
	return true, s.msg.Term(string(failed.Reason))
}

// fail stores the original in the dead-letter stream first, the outcome that points to it second,
// and ends the delivery third. A crash in between leaves an event that comes again and finds what
// is done already.
func (s *submission) fail(at state, why *refusal) (state, bool, error) {
	letter, err := s.buryOriginal() // guard: dead-letter-before-outcome
	if err != nil {
		return at, false, err
	}
	entry, won, err := s.ledger.Put(s.work, s.Op, at.last.Seq, s.outcome(s.Op, &events.Failed{
		Account: s.Op.Account, Operation: s.Op.ID, CandidateID: s.CandidateID, Reason: why.reason, Message: why.message,
		Violations: why.violations, Comeet: why.comeet, Sourced: s.ref(), DeadLetter: letter,
	}))
	if err != nil {
		return at, false, fmt.Errorf("write the refusal of operation %s: %w", s.Op.ID, err)
	}
	at = at.after(entry)
	if !won && !(entry.Failed() != nil && s.isOutcome(entry)) {
		return at, false, nil
	}
	if won {
		s.metrics.failed(why.reason).Inc()
		s.log.Warn().Str("candidate_id", s.CandidateID).Str("reason", string(why.reason)).Str("why", why.message).
			Uint64("dead_letter", letter.Sequence).Str("operation", s.Op.ID).Msg("candidate refused")
	}
	return at, true, s.msg.Term(string(why.reason))
}
