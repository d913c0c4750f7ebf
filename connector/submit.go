package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// submission is one event on its way from delivery to outcome. It belongs to one goroutine.
type submission struct {
	*account
	*sourced
	// intake ends when the connector is told to stop: nothing new is begun and no wait goes on after it.
	intake context.Context
	// work ends when the connector gives up waiting for what is in hand.
	work context.Context
	// permit is the right to send one request; nil once it is used.
	permit *comeet.Permit
	// files are read before the claim, since reading takes long and may fail; nil but while an attempt is made.
	files *files
	// shown is when Comeet showed the candidate to this worker; zero if it has not.
	shown time.Time
	// sent is what the account's POSTs had come to when ours was sent, to tell a poisoned event from a sick Comeet.
	sent tally
	// repeats means that the attempt under way follows one whose fate was never found out: its act is fixed, and that nothing
	// came of it this time says nothing of the earlier one.
	repeats bool
	// blind means that the attempt before could not be looked up.
	blind bool
	// knownBy is the time by which the event's position must be in a catalogue, if it is to be found: when the event was
	// published, or when Comeet itself said that it does not know the position; refreshed is whether it has said so.
	knownBy   time.Time
	refreshed bool
	// followed is the candidate of which this worker has written the first status; "" means none.
	followed string
}

// errLater means that the event goes back to the bus and comes again: its claim is somebody else's, or we are stopping.
type errLater struct {
	delay time.Duration
	why   string
}

func (e errLater) Error() string { return e.why }

// handle carries one event to its outcome and acknowledges it. Whatever goes wrong on the way, the event stays in its
// stream and comes again: the ledger knows how far it has come.
func (a *account) handle(intake context.Context, m *bus.Msg, permit *comeet.Permit) {
	s := &submission{account: a, intake: intake, work: a.work, permit: permit}
	defer func() { s.permit.Release() }()
	a.progress.note()
	seq, _, err := m.Place()
	if err == nil {
		if !a.inHand.add(seq, m) {
			return
		}
		defer a.inHand.remove(seq)
		err = s.run(m)
	}
	later, ok := errors.AsType[errLater](err)
	switch {
	case err == nil:
		return
	case !ok:
		later.delay = a.cfg.lease() / 4
		a.metrics.unfinished.Inc()
		a.log.Error().Err(err).Str("candidate_id", s.name()).Dur("again_in", later.delay).Msg("event has no outcome yet; it stays in its stream and comes again")
	default:
		a.log.Debug().Str("candidate_id", s.name()).Str("why", later.why).Dur("again_in", later.delay).Msg("event comes again")
	}
	_ = m.Later(max(later.delay, 100*time.Millisecond))
}

func (s *submission) name() string {
	if s.sourced == nil {
		return ""
	}
	return s.candidateID
}

// run follows the operation's last entry until this event has its outcome. It starts from the belief that there is no
// entry; the compare-and-set of the first write corrects it at no cost where it is true.
func (s *submission) run(m *bus.Msg) error {
	var err error
	s.sourced, err = s.decode(m)
	if invalid, ok := errors.AsType[*events.InvalidError](err); ok {
		return s.refuseUnreadable(invalid)
	}
	if err != nil {
		return err
	}
	s.knownBy = s.stored
	var cancel context.CancelFunc
	s.intake, cancel = context.WithTimeoutCause(s.intake, s.expires(s.stored).Sub(s.bus.Now()), errExpired)
	defer cancel()
	for last := (ledger.Entry{}); ; {
		if context.Cause(s.intake) == errExpired {
			return s.expire(last)
		}
		next, done, err := s.step(last)
		if _, waited := errors.AsType[errLater](err); waited && context.Cause(s.intake) == errExpired {
			continue
		}
		if err != nil || done {
			return err
		}
		last = next
	}
}

// step does what the operation's last entry asks for, and returns the entry after it. See DESIGN.md, "An operation".
func (s *submission) step(last ledger.Entry) (next ledger.Entry, done bool, err error) {
	claim := last.Claimed()
	switch {
	case last.Erased():
		return last, true, s.finishErased()
	case last.Accepted() != nil:
		return last, true, s.finishAccepted(last)
	case last.Failed() != nil && s.isMine(last):
		return last, true, s.msg.Term(string(last.Failed().Reason))
	case last.Seq == 0:
		return s.attempt(last, nil)
	case last.Failed() != nil:
		if failed, err := s.hasFailed(); err != nil || failed {
			return last, failed, err
		}
		if last.Failed().Reason == events.ReasonInDoubt {
			return s.reopen(last)
		}
		return s.attempt(last, nil)
	case claim.State == events.StateReleased:
		return s.attempt(last, nil)
	default:
		return s.settle(last, claim)
	}
}

// isMine reports whether an outcome is this very event's.
func (s *submission) isMine(last ledger.Entry) bool {
	return last.Event.ID == ledger.OutcomeID(s.op, s.identity, last.Event.Type)
}

// attempt matches, claims and sends. settled is the claim of the attempt before, if that was settled as not landed: it has
// fixed the act, and nothing is matched again.
func (s *submission) attempt(last ledger.Entry, settled *events.Claimed) (ledger.Entry, bool, error) {
	to := positions.Match{}
	if s.repeats = settled != nil; s.repeats {
		to = positions.Match{UID: settled.PositionUID, By: settled.MatchedBy}
	} else {
		var no *refusal
		var err error
		to, no, err = s.match(s.data.Position, s.knownBy, s.refreshed)
		if err != nil {
			return last, false, err
		}
		if no != nil {
			return s.refuse(last, no)
		}
	}
	defer s.dropFiles()
	for s.files == nil || !s.permit.Valid() {
		// No memory is held while waiting for the gate: that may take long, and the memory is other accounts' too.
		s.dropFiles()
		if err := s.ensurePermit(); err != nil {
			return last, false, err
		}
		no, err := s.readFiles()
		if err != nil {
			return last, false, err
		}
		if no != nil {
			return s.refuse(last, no)
		}
	}
	begun := time.Now()
	entry, won, err := s.claim(last, to, settled)
	if err != nil || !won {
		return entry, false, err
	}
	return s.send(entry, begun)
}

// ensurePermit gets the right to send, where the one that the event came with is used up. Requests that finish an event
// in hand go before new ones.
func (s *submission) ensurePermit() error {
	if s.permit.Valid() {
		return nil
	}
	s.permit.Release()
	p, err := s.gate.Acquire(s.intake, comeet.Settle, comeet.CanSubmit)
	if err != nil {
		return errLater{why: "the connector is stopping"}
	}
	s.permit = p
	return nil
}

// claim writes down the act before it is done. Look-ups reach back to the first attempt that is still unsettled, so its time
// stays.
func (s *submission) claim(last ledger.Entry, to positions.Match, settled *events.Claimed) (ledger.Entry, bool, error) {
	attempt, doubts, unsettled, since := 1, 0, 0, s.comeetNow()
	if c := last.Claimed(); c != nil {
		attempt = c.Attempt + 1
	}
	if settled != nil {
		doubts, unsettled = settled.Doubts, settled.Unsettled+1
		if !settled.ComeetTime.IsZero() {
			since = settled.ComeetTime
		}
	}
	e := s.newEvent(&events.Claimed{
		Account: s.op.Account, Operation: s.op.ID, State: events.StateClaimed, Attempt: attempt,
		PositionUID: to.UID, MatchedBy: to.By, PartnerCandidateID: s.partnerID, Owner: s.cfg.Replica,
		ComeetTime: since, Doubts: doubts, Unsettled: unsettled, Sourced: *s.ref(),
	})
	entry, won, err := s.ledger.Put(s.work, s.op, last.Seq, e)
	if err != nil {
		return last, false, fmt.Errorf("claim operation %s: %w", s.op.ID, err)
	}
	return entry, won, nil
}

// mark overwrites our own claim with what became of it: released, nothing was sent, or in doubt. A doubt is written down also where
// the claim has vanished meanwhile: without it the next step would send again without a look.
func (s *submission) mark(last ledger.Entry, state events.ClaimState) (ledger.Entry, error) {
	c := *last.Claimed()
	c.State = state
	e := s.newEvent(&c)
	entry, won, err := s.ledger.Put(s.work, s.op, last.Seq, e)
	for err == nil && !won && entry.Seq == 0 && state == events.StateInDoubt {
		entry, won, err = s.ledger.Put(s.work, s.op, 0, e)
	}
	if err != nil {
		return last, fmt.Errorf("mark the claim of operation %s as %s: %w", s.op.ID, state, err)
	}
	return entry, nil
}

// send makes the POST under a claim. begun is when the claim was asked for: others take the claim for abandoned from begun + lease
// on. So the request begins within RequestTimeout after that, and is over, by the same clocks, within another one, wherever the
// worker may be frozen in between.
func (s *submission) send(claim ledger.Entry, begun time.Time) (ledger.Entry, bool, error) {
	// The wall clock is asked too: the other one stands still while a virtual machine is suspended.
	if max(time.Since(begun), time.Now().Round(0).Sub(begun.Round(0))) > s.cfg.RequestTimeout {
		return s.notSent(claim)
	}
	ctx, cancel := context.WithDeadline(s.work, begun.Add(2*s.cfg.RequestTimeout))
	defer cancel()
	c := claim.Claimed()
	permit := s.permit
	s.permit = nil
	s.sent = s.posts.now()
	candidate, answer, err := s.comeet.CreateCandidate(ctx, s.request(c),
		comeet.WithPermit(permit), comeet.WithTraceparent(s.event.Traceparent()))
	permit.Release()
	s.dropFiles()
	s.shown = time.Now()
	if err == nil {
		s.posts.verdict()
		return s.accept(claim, c, events.OutcomeCreated, candidate, answer.Date)
	}
	switch comeet.KindOf(err) {
	case comeet.Existing:
		s.posts.verdict()
		return s.adoptExisting(claim, err)
	case comeet.InDoubt:
		s.posts.doubt()
		s.log.Warn().Err(err).Str("candidate_id", s.candidateID).Str("operation", s.op.ID).Int("attempt", c.Attempt).
			Msg("the fate of a submission is unknown; it will be looked up before anything is sent again")
		next, err := s.mark(claim, events.StateInDoubt)
		return next, false, err
	case comeet.Invalid:
		s.posts.verdict()
		return s.refuse(claim, refusalOf(err))
	case comeet.NoPosition:
		s.posts.verdict()
		if s.refreshed || s.repeats {
			return s.refuse(claim, refusalOf(err))
		}
		// Once more, with a catalogue that is read from now on.
		s.refreshed, s.knownBy = true, s.bus.Now()
		next, err := s.mark(claim, events.StateReleased)
		return next, false, err
	default:
		// Denied, Throttled, Unavailable, Canceled: nothing has happened. The gate has been told and holds us back.
		return s.notSent(claim)
	}
}

// notSent gives a claim back under which nothing was done. If an attempt before it is still unsettled, that is looked up
// anew when its turn comes; it must not be matched to another position.
func (s *submission) notSent(claim ledger.Entry) (ledger.Entry, bool, error) {
	state := events.StateReleased
	if s.repeats {
		state, s.sent = events.StateInDoubt, tally{}
	}
	next, err := s.mark(claim, state)
	return next, false, err
}
