package connector

import (
	"context"
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/track"
	"github.com/comeet-connector/comeet-connector/events"
)

// Whether an attempt that got no answer has landed is decided by a look-up when nothing of it can
// be on its way any more. What breaks that rule is beyond the connector: a virtual machine that was
// suspended with bytes in its kernel, a proxy that holds a request for longer than ProxyHold. So
// the candidate that comes of it is looked for once more, reported and followed.

// overtaken reports a candidate that Comeet has although the operation ended without it, and
// follows it. last is the entry that the operation ended with.
func (s *submission) overtaken(last ledger.Entry, second shown) error {
	first := ""
	if a := last.Accepted(); a != nil {
		first = a.CandidateUID
	}
	if !last.Erased() {
		if _, _, err := s.putFirstStatus(second.candidate.UID, second.candidate.PositionUID, second); err != nil {
			return err
		}
	}
	s.track.ReportSecond(first, track.First{
		Operation: s.Op.ID, CandidateID: s.CandidateID, CandidateUID: second.candidate.UID, Candidate: second.candidate,
	})
	return nil
}

// confirm acknowledges an event whose operation was accepted. If an attempt of that operation got
// no answer, the event comes back when the lease of a claim has passed once more, and Comeet is
// asked whether it has a second candidate by then. claim is the one that was accepted; nil if it is
// not at hand.
func (s *submission) confirm(accepted ledger.Entry, claim *events.Claimed) error {
	if claim == nil {
		entry, err := s.ledger.LastClaim(s.work, s.Op)
		if err != nil {
			return err
		}
		claim = entry.Claimed()
	}
	if claim == nil || claim.Unsettled == 0 && claim.CandidateUID == "" || errors.Is(context.Cause(s.intake), errExpired) { // guard: doubtful-outcome-is-confirmed
		return s.msg.Ack()
	}
	age := time.Duration(0)
	if !accepted.Stored.IsZero() {
		age = s.bus.Now().Sub(accepted.Stored)
	}
	if wait := s.cfg.lease() - age; wait > 0 {
		return retryLaterError{wait, "Comeet is asked once more whether a lost attempt has landed after all"}
	}
	second, err := s.secondOf(accepted.Accepted(), claim)
	switch comeet.KindOf(err) {
	case comeet.Unavailable, comeet.Throttled, comeet.Canceled:
		return retryLaterError{s.cfg.lease() / 4, "Comeet cannot be asked now whether a lost attempt has landed after all"}
	case 0:
	default:
		return s.msg.Ack() // this account may not read candidates
	}
	if err == nil && second != nil {
		err = s.overtaken(accepted, *second)
	}
	if err != nil {
		return err
	}
	return s.msg.Ack()
}

// secondOf looks for a candidate of the same person on the same position, created since the claim,
// that came by this integration and that no operation follows; nil if there is none.
func (s *submission) secondOf(first *events.Accepted, claim *events.Claimed) (second *shown, err error) {
	uid := first.CandidateUID
	if comeet.IsRealID(uid) {
		c, err := s.fetch(uid)
		if err != nil || c.candidate == nil {
			return nil, err // lists don't show the number by which it is known
		}
		uid = c.candidate.UID
	}
	if s.gate.Denied(comeet.CanPoll) || claim.ComeetTime.IsZero() {
		return nil, nil
	}
	since := claim.ComeetTime
	err = s.readCreated(since, func(c *comeet.Candidate, seen time.Time) (bool, error) {
		if c.UID == uid || c.TimeCreated.Before(since) || !s.track.MayBeOurs(c) {
			return false, nil
		}
		ok, followed, err := s.mayBeOurs(claim, since, c)
		if ok && !followed {
			second = &shown{c, seen, time.Now()}
		}
		return second != nil, err
	})
	return second, err
}
