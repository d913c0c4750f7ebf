package connector

import (
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/track"
	"github.com/comeet-connector/comeet-connector/events"
)

// accept writes the outcome of an act that has succeeded, then the candidate's first status, then
// acknowledges. at.last is the entry that was the last when the act began, claim the one that fixed
// it.
func (s *submission) accept(at state, claim *events.Claimed, how events.Outcome, c shown) (state, bool, error) {
	uid := c.candidate.UID
	e := s.outcome(s.Op, &events.Accepted{
		Account: s.Op.Account, Operation: s.Op.ID, CandidateID: s.CandidateID, CandidateUID: uid,
		PositionUID: claim.PositionUID, MatchedBy: claim.MatchedBy, Outcome: how, Sourced: *s.ref(), SubmittedAt: s.now(),
	})
	entry, won, err := s.putKnown(at.last, e) // guard: outcome-before-ack
	for err == nil && !won && entry.Claimed() != nil && !entry.Erased() {
		// Another worker has taken the claim over. It must know what Comeet has before it sends, so
		// that it need not.
		entry, won, err = s.ledger.Put(s.work, s.Op, entry.Seq, e)
	}
	if err != nil {
		return at, false, fmt.Errorf("write the outcome of operation %s, candidate_uid %s: %w", s.Op.ID, uid, err)
	}
	at = at.after(entry)
	if won {
		s.logAccepted(entry.Accepted())
		return at, true, s.finish(at, claim, c)
	}
	if a := entry.Accepted(); a != nil && a.CandidateUID == uid {
		return at, false, nil // a second delivery of this event, or a twin of it, found the same candidate first
	}
	return at, false, s.overtaken(entry, c)
}

// putKnown writes that Comeet has a candidate, which must not be sent again. So it is also written
// where the entry has vanished meanwhile, such as with a server's disk, over another event's
// failure, and over what cannot be read.
func (s *submission) putKnown(last ledger.Entry, e events.Event) (ledger.Entry, bool, error) {
	entry, won, err := s.ledger.PutOver(s.work, s.Op, last.Seq, e)
	for err == nil && !won && (entry.Seq == 0 || entry.Failed() != nil && !s.isOutcome(entry)) { // guard: accepted-without-its-claim
		entry, won, err = s.ledger.Put(s.work, s.Op, entry.Seq, e)
	}
	return entry, won, err
}

// logAccepted counts and logs an accepted outcome that this worker has written.
func (s *submission) logAccepted(a *events.Accepted) {
	s.metrics.accepted(a.Outcome).Inc()
	s.log.Info().Str("candidate_id", a.CandidateID).Str("candidate_uid", a.CandidateUID).Str("position_uid", a.PositionUID).
		Str("matched_by", string(a.MatchedBy)).Str("outcome", string(a.Outcome)).Str("operation", a.Operation).Msg("candidate accepted")
}

// finish ends the event whose outcome this worker has just written, with what Comeet showed.
func (s *submission) finish(at state, claim *events.Claimed, c shown) error {
	accepted := at.last.Accepted()
	uid := accepted.CandidateUID
	_, won, err := s.putFirstStatus(uid, accepted.PositionUID, c)
	if err != nil {
		return err
	}
	wrote := won || at.firstStatusUID == uid
	if wrote && time.Since(c.at) > s.cfg.RequestTimeout {
		// The worker was frozen: an erasure, which waits for the first status, may have begun
		// without it.
		if erased, err := s.finishIfErased(uid); erased || err != nil {
			return err
		}
	}
	return s.finishFollowed(at.last, claim, time.Since(c.at))
}

// finishAgain ends an event whose outcome an earlier delivery wrote. That one may have died before
// the first status.
func (s *submission) finishAgain(accepted ledger.Entry) error {
	uid := accepted.Accepted().CandidateUID
	have, err := s.ledger.LastStatus(s.work, s.account.name, uid)
	if err != nil && !ledger.IsUnreadable(err) {
		return err
	}
	if have.Seq != 0 { // guard: redelivery-makes-first-status
		return s.finishFollowed(accepted, nil, have.Stored.Sub(accepted.Stored))
	}
	c, err := s.fetch(uid)
	if err != nil {
		return err
	}
	_, won, err := s.putFirstStatus(uid, accepted.Accepted().PositionUID, c)
	if err != nil {
		return err
	}
	if won {
		if erased, err := s.finishIfErased(uid); erased || err != nil {
			return err
		}
	}
	return s.finishFollowed(accepted, nil, time.Since(c.at))
}

// finishFollowed ends an event whose candidate has a first status, which came so late after Comeet
// showed it. A poll passes over a candidate without one, and sees the same change again only while
// POLL_OVERLAP reaches back to it. So a status that came late is followed by one more look.
func (s *submission) finishFollowed(accepted ledger.Entry, claim *events.Claimed, late time.Duration) error {
	if uid := accepted.Accepted().CandidateUID; late > s.cfg.PollOverlap/2 {
		c, err := s.fetch(uid)
		if err != nil {
			return err
		}
		if c.candidate != nil {
			if err := s.track.Observe(s.work, uid, c.candidate, c.date); err != nil {
				return err
			}
		}
	}
	return s.confirm(accepted, claim)
}

// finishIfErased ends the event if its operation was erased while this worker wrote the first
// status.
func (s *submission) finishIfErased(firstStatusUID string) (erased bool, err error) {
	last, err := s.ledger.Last(s.work, s.Op)
	if err != nil || !last.Erased() {
		return false, err
	}
	return true, s.finishErased(firstStatusUID)
}

// finishDuplicate ends an event whose operation was accepted for another event. It gets an outcome
// of its own, which points to the first.
func (s *submission) finishDuplicate(first *events.Accepted) error {
	if failed, err := s.hasFailed(); err != nil || failed {
		return err
	}
	dup := *first
	dup.Outcome, dup.Sourced = events.OutcomeDuplicate, *s.ref()
	entry, won, err := s.ledger.PutOver(s.work, s.EventOp, 0, s.outcome(s.EventOp, &dup))
	if err != nil {
		return fmt.Errorf("write the duplicate outcome of operation %s: %w", s.Op.ID, err)
	}
	if won {
		s.logAccepted(entry.Accepted())
	}
	return s.msg.Ack()
}

// putFirstStatus publishes the first state that was seen of a candidate, unless there is one
// already. It is the memory of which uid is whose. position is where the candidate was submitted
// to: a candidate that Comeet does not show, or not yet, is there for all that is known.
func (s *submission) putFirstStatus(uid, position string, c shown) (ledger.Entry, bool, error) {
	return s.track.First(s.work, track.First{
		Operation: s.Op.ID, CandidateID: s.CandidateID, CandidateUID: uid, Sourced: s.ref(),
		Known: events.State{ProspectStatus: s.Data.Candidate.ProspectStatus, PositionUID: position}, Candidate: c.candidate, Date: c.date, Trace: s.Event.Extensions(),
	})
}
