package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// submission is one delivered event. Nothing of it changes while a worker carries it to its
// outcome.
type submission struct {
	*account
	*ledger.Sourced
	msg *bus.Msg
	// stored is when the event was published, by the bus's clock.
	stored time.Time
	// partnerID is the partner_candidate_id that Comeet gets.
	partnerID string
	// intake ends when the connector is told to stop, or when the event nears its age limit.
	// Nothing new is begun and no wait goes on after it.
	intake context.Context
	// work ends when the connector gives up waiting for what its workers do.
	work context.Context
}

// state is what a worker knows between two steps. A step gets one and returns the next.
type state struct {
	// last is the operation's last entry. The zero entry is a belief that there is none: the first
	// write corrects it, at no cost where it is true.
	last ledger.Entry
	// sent is what the account's POSTs had come to when this worker sent the one that is in doubt.
	sent tally
	// contradictedAt is when Comeet said that it does not know the matched position; zero means
	// never.
	contradictedAt time.Time
	// firstStatusUID is the candidate whose first status this worker wrote; empty means none.
	firstStatusUID string
}

// after is the state after another entry became the last.
func (st state) after(last ledger.Entry) state {
	st.last = last
	return st
}

// retryLaterError means that the event goes back to the bus and comes again: another worker has the
// claim, something that it needs is away, or the connector is stopping.
type retryLaterError struct {
	delay time.Duration
	why   string
}

func (e retryLaterError) Error() string { return e.why }

// errStopping is what a wait ends with when the connector is told to stop.
func errStopping(delay time.Duration) error {
	return retryLaterError{delay, "the connector is stopping"}
}

// handle carries one event to its outcome and acknowledges it. Whatever goes wrong on the way, the
// event stays in its stream and comes again: the ledger knows how far it has come. The permit is
// the right to send one request; nil means that the worker asks for one.
func (a *account) handle(intake context.Context, m *bus.Msg, permit *comeet.Permit) {
	defer permit.Release()
	a.progress.note()
	candidateID := ""
	seq, stored, err := m.Metadata()
	if err == nil {
		if !a.heartbeats.add(seq, m) {
			return
		}
		defer a.heartbeats.remove(seq)
		s, invalid := a.decode(m, seq)
		s.stored, s.intake, s.work = stored, intake, a.work
		candidateID = s.CandidateID
		if invalid != nil {
			err = s.refuseUnreadable(invalid)
		} else {
			err = s.run(permit)
		}
	}
	if err == nil {
		return
	}
	later, waits := errors.AsType[retryLaterError](err)
	if waits {
		a.log.Debug().Str("candidate_id", candidateID).Str("why", later.why).Dur("again_in", later.delay).
			Msg("event comes again")
	} else {
		later.delay = a.cfg.lease() / 4
		a.metrics.unfinished.Inc()
		a.log.Error().Err(err).Str("candidate_id", candidateID).Dur("again_in", later.delay).
			Msg("event has no outcome yet; it stays in its stream and comes again")
	}
	_ = m.NakWithDelay(max(later.delay, 100*time.Millisecond))
}

// decode reads a delivered message. An event that breaks the contract comes with the reason, and
// with everything that could be read.
func (a *account) decode(m *bus.Msg, seq uint64) (*submission, *events.InvalidError) {
	read, invalid := ledger.ReadSourced(a.name, m.Header(), m.Data(), ledger.Identity{
		Stream: bus.SourcedStream, Created: a.streamCreated, Seq: seq, Replay: ledger.ReplayOf(m.Header()),
	})
	s := &submission{account: a, Sourced: read, msg: m}
	if invalid == nil {
		s.partnerID = ledger.PartnerCandidateID(read.Identity.Source, read.CandidateID)
	}
	return s, invalid
}

// run follows the operation's last entry until this event has its outcome.
func (s *submission) run(permit *comeet.Permit) error {
	intake, cancel := context.WithTimeoutCause(s.intake, s.expires(s.stored).Sub(s.bus.Now()), errExpired)
	defer cancel()
	s.intake = intake
	for at := (state{}); ; {
		wasExpired := s.expired()
		next, done, err := s.step(at, permit)
		if bad, ok := errors.AsType[*ledger.UnreadableError](err); ok && s.Op.Has(bad.Subject) {
			next, done, err = s.endUnreadable(bad)
		}
		if _, waited := errors.AsType[retryLaterError](err); waited && s.expired() && !wasExpired {
			continue // the wait ended because the event nears its age limit
		}
		if err != nil || done {
			return err
		}
		at = next
	}
}

// endUnreadable ends an event whose operation's last entry cannot be read: somebody else wrote it,
// or it is damaged. It may have said that the candidate was sent, so a person must look.
func (s *submission) endUnreadable(bad *ledger.UnreadableError) (state, bool, error) {
	s.metrics.EntryUnreadable()
	s.log.Error().Err(bad).Uint64("seq", bad.Seq).Str("candidate_id", s.CandidateID).Str("operation", s.Op.ID).
		Msg("an entry of an operation cannot be read; its event ends as in doubt")
	return s.fail(state{last: ledger.Entry{Seq: bad.Seq}}, &refusal{
		reason: events.ReasonInDoubt,
		message: fmt.Sprintf("entry %d of the events stream, about this operation, cannot be read, so it is unknown whether the candidate was submitted; "+
			"check by hand, then replay", bad.Seq),
	})
}

// step does what the operation's last entry asks for. done means that the event was acknowledged.
// See DESIGN.md, "An operation".
func (s *submission) step(at state, permit *comeet.Permit) (next state, done bool, err error) {
	last, claim := at.last, at.last.Claimed()
	switch {
	case last.Erased():
		return at, true, s.finishErased(at.firstStatusUID) // guard: erased-is-not-submitted
	case last.Accepted() != nil && s.isOutcome(last):
		permit.Release() // what is left to do are look-ups, which take permits of their own
		return at, true, s.finishAgain(last)
	case last.Accepted() != nil:
		return at, true, s.finishDuplicate(last.Accepted())
	case last.Failed() != nil && s.isOutcome(last):
		return at, true, s.msg.Term(string(last.Failed().Reason))
	case s.expired():
		return s.expire(at)
	case last.Failed() != nil:
		return s.stepOverFailure(at, permit)
	case claim == nil, claim.State == events.StateReleased:
		return s.attempt(at, permit, nil, false)
	default:
		return s.settle(at, claim, permit)
	}
}

// stepOverFailure goes on with an operation that failed for another event. This event may correct
// it.
func (s *submission) stepOverFailure(at state, permit *comeet.Permit) (state, bool, error) {
	if failed, err := s.hasFailed(); err != nil || failed {
		return at, failed, err
	}
	if at.last.Failed().Reason == events.ReasonInDoubt { // guard: failed-doubt-is-looked-up
		return s.reopen(at, permit)
	}
	return s.attempt(at, permit, nil, false)
}

// isOutcome reports whether an outcome is this very event's.
func (s *submission) isOutcome(last ledger.Entry) bool {
	return last.Event.ID() == ledger.OutcomeID(s.Op, s.Identity, last.Event.Type())
}

// ref is how the connector's events point to the sourced one; nil if that could not be read.
func (s *submission) ref() *events.SourcedRef { return s.Identity.Ref() }

// outcome is the event of an outcome of this event.
func (s *submission) outcome(op ledger.Op, data events.Data) events.Event {
	e := s.newEvent(data)
	e.SetID(ledger.OutcomeID(op, s.Identity, e.Type()))
	return e
}

// newEvent is an event of the connector's about the sourced one, with its trace.
func (s *submission) newEvent(data events.Data) events.Event {
	e := ledger.NewEvent(s.cfg.EventSource, s.bus.Now(), data, s.Event.Extensions())
	e.SetSubject(s.CandidateID)
	return e
}
