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

// shown is a candidate as Comeet showed it to this worker.
type shown struct {
	// candidate is nil if Comeet has it and does not show it.
	candidate *comeet.Candidate
	// date is when, by Comeet's clock; zero if Comeet did not say.
	date time.Time
	// at is when, by the local clock.
	at time.Time
}

// adopt takes a candidate that was found while settling. Its first status comes before the outcome
// and names the operation: that keeps two operations that search for the same person from adopting
// the same candidate. From then on recruiters' moves of it are followed, and it may be merged away
// before another worker looks again, if this one dies. So the claim notes it first.
func (s *submission) adopt(at state, claim *events.Claimed, c shown) (state, bool, error) {
	noted := *claim
	if claim.CandidateUID != c.candidate.UID { // guard: found-is-noted-first
		noted.State, noted.CandidateUID, noted.Owner, noted.Sourced = events.StateInDoubt, c.candidate.UID, s.cfg.Replica, *s.ref()
		entry, won, err := s.putKnown(at.last, s.newEvent(&noted))
		if err != nil {
			return at, false, fmt.Errorf("note that operation %s has candidate_uid %s: %w", s.Op.ID, c.candidate.UID, err)
		}
		if at = at.after(entry); !won {
			return at, false, nil
		}
	}
	entry, won, err := s.putFirstStatus(c.candidate.UID, claim.PositionUID, c)
	if err != nil {
		return at, false, err
	}
	if won {
		at.firstStatusUID = c.candidate.UID
	} else if st := entry.Status(); st == nil || st.Operation != s.Op.ID {
		return at, false, nil // another operation was faster
	}
	return s.accept(at, &noted, events.OutcomeRecovered, c)
}

// adoptExisting takes the candidate that Comeet's conflict answer names: Comeet has this partner id
// in progress on this position. at.last is the claim that the conflict answered.
func (s *submission) adoptExisting(at state, how events.Outcome, conflict error) (state, bool, error) {
	e, _ := errors.AsType[*comeet.Error](conflict)
	c, err := s.fetch(e.CandidateUID)
	if err != nil {
		return at, false, err
	}
	if c.candidate == nil {
		c.candidate = &comeet.Candidate{UID: e.CandidateUID}
	}
	return s.accept(at, at.last.Claimed(), how, c)
}

// noted is the candidate that an earlier look-up found, whose worker died before the outcome. It is
// nil if there is none, or if another operation has it.
func (s *submission) noted(claim *events.Claimed) (*shown, error) {
	uid := claim.CandidateUID
	if uid == "" {
		return nil, nil
	}
	known, err := s.ledger.LastStatus(s.work, s.Op.Account, uid)
	if err != nil && !ledger.IsUnreadable(err) {
		return nil, err
	}
	if st := known.Status(); st != nil && st.Operation != s.Op.ID {
		return nil, nil
	}
	c := shown{at: time.Now()}
	if !s.expired() {
		if c, err = s.fetch(uid); err != nil {
			return nil, err
		}
	}
	if c.candidate == nil {
		c.candidate = &comeet.Candidate{UID: uid} // merged away, deleted or hidden meanwhile, or there is no time left to look
	}
	return &c, nil
}

// fetchTries is how often a candidate that Comeet has is asked for before its event goes on without
// it. The gate holds each try back while Comeet is down, so only a candidate that cannot be shown
// uses them up.
const fetchTries = 6

// fetch retrieves a candidate that Comeet has. A uid of digits only is Comeet's other kind of id. A
// candidate that Comeet does not show comes as nil: the outcome does not depend on it, and polls
// publish its state when they can.
func (s *submission) fetch(uid string) (shown, error) {
	opts := []comeet.CallOption{comeet.WithPriority(comeet.Settle)}
	if comeet.IsRealID(uid) {
		opts = append(opts, comeet.ByRealID())
	}
	wait := s.cfg.SettleDelay/4 + 10*time.Millisecond
	for try := 1; !s.gate.Denied(comeet.CanPoll); try++ {
		c, answer, err := s.comeet.RetrieveCandidate(s.intake, uid, opts...)
		if err == nil {
			return shown{c, answer.Date, time.Now()}, nil
		}
		kind := comeet.KindOf(err)
		if passing := kind == comeet.Unavailable || kind == comeet.Throttled || kind == comeet.Gone; passing && try < fetchTries && bus.Sleep(s.intake, wait) {
			wait *= 2
			continue
		}
		if s.intake.Err() != nil {
			return shown{}, errStopping(s.cfg.SettleDelay)
		}
		s.log.Warn().Err(err).Str("candidate_uid", uid).Msg("Comeet has the candidate but does not show it; going on without its status")
		break
	}
	return shown{at: time.Now()}, nil
}

// expired reports whether the event nears its age limit.
func (s *submission) expired() bool { return errors.Is(context.Cause(s.intake), errExpired) }
