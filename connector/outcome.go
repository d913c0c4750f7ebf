package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// accept writes the outcome of an act that has succeeded, then the candidate's first status, then acknowledges. last is the entry
// that was the last when the act began, c the claim that fixed it.
func (s *submission) accept(last ledger.Entry, c *events.Claimed, how events.Outcome, candidate *comeet.Candidate, seen time.Time) (ledger.Entry, bool, error) {
	e := s.outcome(s.op, &events.Accepted{
		Account: s.op.Account, Operation: s.op.ID, CandidateID: s.candidateID, CandidateUID: candidate.UID,
		PositionUID: c.PositionUID, MatchedBy: c.MatchedBy, Outcome: how, Sourced: *s.ref(), SubmittedAt: s.now(),
	})
	entry, won, err := s.putKnown(last, e)
	for err == nil && !won && entry.Claimed() != nil && !entry.Erased() {
		// Another worker has taken our claim over. What Comeet has must be known before it sends, so that it need not.
		entry, won, err = s.ledger.Put(s.work, s.op, entry.Seq, e)
	}
	if err != nil {
		return last, false, fmt.Errorf("write the outcome of operation %s, candidate_uid %s: %w", s.op.ID, candidate.UID, err)
	}
	if a := entry.Accepted(); !won && a != nil && a.CandidateUID == candidate.UID {
		// A second delivery of this event, or a twin of it, found the same candidate first.
		return entry, false, nil
	}
	if !won {
		return entry, false, s.overtaken(entry, candidate, seen)
	}
	s.tell(entry)
	return entry, true, s.finish(entry, c, candidate, seen)
}

// putKnown writes that Comeet has a candidate, which must not be sent again. So it is also written where the entry has vanished meanwhile,
// such as with a server's disk, and over another event's failure.
func (s *submission) putKnown(last ledger.Entry, e events.Event) (ledger.Entry, bool, error) {
	entry, won, err := s.ledger.Put(s.work, s.op, last.Seq, e)
	for err == nil && !won && (entry.Seq == 0 || entry.Failed() != nil && !s.isMine(entry)) {
		entry, won, err = s.ledger.Put(s.work, s.op, entry.Seq, e)
	}
	return entry, won, err
}

// tell counts and logs an accepted outcome that this worker has written.
func (s *submission) tell(e ledger.Entry) {
	a := e.Accepted()
	s.metrics.accepted(a.Outcome).Inc()
	s.log.Info().Str("candidate_id", a.CandidateID).Str("candidate_uid", a.CandidateUID).Str("position_uid", a.PositionUID).
		Str("matched_by", string(a.MatchedBy)).Str("outcome", string(a.Outcome)).Str("operation", a.Operation).Msg("candidate accepted")
}

// adopt takes a candidate that was found while settling. Its status entry comes before the outcome and names our operation: that is
// what keeps two operations that look for the same person from adopting the same candidate. From then on recruiters' doings with it
// are followed, and if we die here it may be merged away before anybody looks again. So the claim notes it first.
func (s *submission) adopt(last ledger.Entry, claim *events.Claimed, f *found) (ledger.Entry, bool, error) {
	noted := *claim
	if claim.CandidateUID != f.candidate.UID {
		noted.State, noted.CandidateUID, noted.Owner, noted.Sourced = events.StateInDoubt, f.candidate.UID, s.cfg.Replica, *s.ref()
		entry, won, err := s.putKnown(last, s.newEvent(&noted))
		if err != nil {
			return last, false, fmt.Errorf("note that operation %s has candidate_uid %s: %w", s.op.ID, f.candidate.UID, err)
		}
		if !won {
			return entry, false, nil
		}
		last = entry
	}
	entry, won, err := s.putFirstStatus(f.candidate.UID, &f.candidate, f.seen)
	if err != nil {
		return last, false, err
	}
	if st := entry.Status(); !won && (st == nil || st.Operation != s.op.ID) {
		return last, false, nil
	}
	return s.accept(last, &noted, events.OutcomeRecovered, &f.candidate, f.seen)
}

// noted is the candidate that an earlier look-up found, whose worker died before the outcome; nil if there is none, or if another
// operation has it.
func (s *submission) noted(claim *events.Claimed) (*found, error) {
	uid := claim.CandidateUID
	if uid == "" {
		return nil, nil
	}
	known, err := s.ledger.LastStatus(s.work, s.op.Account, uid)
	if err != nil {
		return nil, err
	}
	if st := known.Status(); st != nil && st.Operation != s.op.ID {
		return nil, nil
	}
	var candidate *comeet.Candidate
	var seen time.Time
	if context.Cause(s.intake) != errExpired {
		if candidate, seen, err = s.read(uid); err != nil {
			return nil, err
		}
	}
	if candidate == nil {
		candidate = &comeet.Candidate{UID: uid} // merged away, deleted or hidden meanwhile, or there is no time left to look
	}
	return &found{*candidate, seen}, nil
}

// adoptExisting takes the candidate that Comeet's conflict answer names: it has this partner id in progress on this position.
func (s *submission) adoptExisting(claim ledger.Entry, conflict error) (ledger.Entry, bool, error) {
	e, _ := errors.AsType[*comeet.Error](conflict)
	candidate, seen, err := s.read(e.CandidateUID)
	if err != nil {
		return claim, false, err
	}
	if candidate == nil {
		candidate = &comeet.Candidate{UID: e.CandidateUID}
	}
	how := events.OutcomeExisting
	if s.repeats {
		how = events.OutcomeRecovered
	}
	return s.accept(claim, claim.Claimed(), how, candidate, seen)
}

// readTries is how often a candidate that Comeet has is asked for before its event goes on without it. The gate holds each try back
// while Comeet is down, so only a candidate that cannot be shown uses them up.
const readTries = 6

// read retrieves a candidate that is known to be Comeet's. A uid of digits only is Comeet's other kind of id. It returns nil if Comeet does
// not show the candidate: the outcome does not hang on that, and polls will tell its state.
func (s *submission) read(uid string) (*comeet.Candidate, time.Time, error) {
	opts := []comeet.CallOption{comeet.WithPriority(comeet.Settle)}
	if comeet.IsRealID(uid) {
		opts = append(opts, comeet.ByRealID())
	}
	wait := s.cfg.SettleDelay/4 + 10*time.Millisecond
	for try := 1; !s.gate.Denied(comeet.CanPoll); try++ {
		c, answer, err := s.comeet.RetrieveCandidate(s.intake, uid, opts...)
		if err == nil {
			return c, answer.Date, nil
		}
		kind := comeet.KindOf(err)
		if passing := kind == comeet.Unavailable || kind == comeet.Throttled || kind == comeet.Gone; passing && try < readTries && rest(s.intake, wait) {
			wait *= 2
			continue
		}
		if s.intake.Err() != nil {
			return nil, time.Time{}, errLater{s.cfg.SettleDelay, "the connector is stopping"}
		}
		s.log.Warn().Err(err).Str("candidate_uid", uid).Msg("Comeet has the candidate but does not show it; going on without its status")
		break
	}
	return nil, time.Time{}, nil
}

// finishAccepted ends an event whose operation is accepted already: by itself in an earlier delivery, or by another event,
// of which this one is then a duplicate with an outcome of its own.
func (s *submission) finishAccepted(last ledger.Entry) error {
	if s.isMine(last) {
		return s.finish(last, nil, nil, time.Time{})
	}
	if failed, err := s.hasFailed(); err != nil || failed {
		return err
	}
	first := last.Accepted()
	dup := *first
	dup.Outcome, dup.Sourced, dup.SubmittedAt = events.OutcomeDuplicate, *s.ref(), first.SubmittedAt
	entry, won, err := s.ledger.Put(s.work, s.own, 0, s.outcome(s.own, &dup))
	if err != nil {
		return fmt.Errorf("write the duplicate outcome of operation %s: %w", s.op.ID, err)
	}
	if won {
		s.tell(entry)
	}
	return s.msg.Ack()
}

// finish makes sure that the candidate's status entry exists, since it is the memory of which uid is whose, and acknowledges.
// claim is the one that was accepted and candidate what Comeet showed then; both are nil if that was another delivery.
//
// A poll passes over a candidate that has no entry yet. It sees the same change again only while POLL_OVERLAP reaches back to
// it, so an entry that came late is followed by one more look.
func (s *submission) finish(accepted ledger.Entry, claim *events.Claimed, candidate *comeet.Candidate, seen time.Time) error {
	uid := accepted.Accepted().CandidateUID
	late, again := false, candidate == nil
	if again {
		have, err := s.ledger.LastStatus(s.work, s.account.name, uid)
		if err != nil {
			return err
		}
		if have.Seq != 0 {
			s.shown, late = time.Time{}, have.Stored.Sub(accepted.Stored) > s.cfg.PollOverlap/2
		} else if candidate, seen, err = s.read(uid); err != nil {
			return err
		} else {
			s.shown = time.Now()
		}
	}
	if !s.shown.IsZero() {
		if _, _, err := s.putFirstStatus(uid, candidate, seen); err != nil {
			return err
		}
		late = time.Since(s.shown) > s.cfg.PollOverlap/2
		// Erase waits for the first status. If this one was not the first delivery's, or that one was frozen, everything may have been
		// erased in between.
		if s.followed == uid && (again || time.Since(s.shown) > s.cfg.RequestTimeout) {
			if last, err := s.ledger.Last(s.work, s.op); err != nil {
				return err
			} else if last.Erased() {
				return s.finishErased()
			}
		}
	}
	if late {
		now, seen, err := s.read(uid)
		if err != nil {
			return err
		}
		if now != nil {
			if err := s.observe(s.work, sighting{uid: uid, candidate: now, seen: s.seenAt(seen)}); err != nil {
				return err
			}
		}
	}
	return s.confirm(accepted, claim)
}

// putFirstStatus publishes the first state that was seen of a candidate, unless there is one already. A nil candidate is one
// that Comeet did not show: then only the fact that it is ours is known.
func (s *submission) putFirstStatus(uid string, candidate *comeet.Candidate, seen time.Time) (ledger.Entry, bool, error) {
	st := events.StatusChanged{
		Account: s.op.Account, Operation: s.op.ID, CandidateID: s.candidateID, CandidateUID: uid, Sourced: s.ref(),
		Changed: []events.Change{events.ChangedFirstSeen}, SeenAt: s.seenAt(seen),
	}
	if candidate != nil {
		st.State = stateOver(events.State{ProspectStatus: s.data.Candidate.ProspectStatus}, candidate)
		st.TimeLastStatusChanged = timeText(candidate.TimeLastStatusChanged)
	}
	entry, won, err := s.ledger.PutStatus(s.work, s.op.Account, uid, 0, s.statusEvent(st, 0, s.event.Extensions))
	if err != nil {
		return entry, false, fmt.Errorf("write the first status of candidate_uid %s: %w", uid, err)
	}
	if won {
		s.followed = uid
	}
	return entry, won, nil
}

// outcome is the event of an outcome of this event.
func (s *submission) outcome(op ledger.Op, data events.Data) events.Event {
	e := s.newEvent(data)
	e.ID = ledger.OutcomeID(op, s.identity, e.Type)
	return e
}

// newEvent is an event of ours about the sourced one, with its trace.
func (s *submission) newEvent(data events.Data) events.Event {
	e := s.eventOf(data)
	e.Subject = s.candidateID
	carryTrace(&e, s.event.Extensions)
	return e
}
