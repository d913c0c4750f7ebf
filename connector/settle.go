package connector

import (
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	// maxDoubts is how many POSTs of one event may end in doubt while Comeet answers others, before
	// a person must look.
	maxDoubts = 3
	// maxLoneDoubts is the same where no other POST tells whether it is the event or Comeet. With
	// the rests in between that is about a quarter of an hour by default, so that a shorter outage
	// of POSTs alone ends no event of a quiet account.
	maxLoneDoubts = 6
	// maxBlindDoubts is the same for an account that may not read candidates: the first POST and
	// one repetition.
	maxBlindDoubts = 2
)

// settle finds out what became of a claim that has no outcome. It waits until nothing that was sent
// under the claim can be on its way any more, then searches Comeet for the candidate. What it finds
// it adopts. If there is nothing, it sends the same act again, so that Comeet's own conflict answer
// is the second net.
func (s *submission) settle(at state, claim *events.Claimed, permit *comeet.Permit) (state, bool, error) {
	permit.Release() // it may be the only one that there is, and a look-up takes one too
	if at.last.Stored.IsZero() {
		at.last.Stored = s.bus.Now() // this worker has just written it
	}
	if err := s.awaitSettling(at, claim); err != nil {
		return at, false, err
	}
	found, readable, err := s.lookUp(claim)
	if err != nil {
		return at, false, err
	}
	if found != nil {
		return s.adopt(at, claim, *found)
	}
	if !readable && s.settlingWait(at.last, claim) > 0 {
		return at, false, nil // without a look-up only time can tell
	}
	again := *claim
	counts := claim.State == events.StateInDoubt && s.posts.countsAgainst(at.sent)
	if counts {
		again.Doubts++
	}
	limit := maxDoubts
	switch {
	case !readable:
		limit = maxBlindDoubts
	case s.posts.noneSince(at.sent):
		limit = maxLoneDoubts
	}
	if counts && again.Doubts >= limit {
		return s.refuse(at, &refusal{
			reason: events.ReasonInDoubt,
			message: fmt.Sprintf("%d submissions got no usable answer from Comeet and none can be found there; "+
				"check position %s by hand, then replay", again.Doubts, claim.PositionUID),
		})
	}
	at.sent = tally{}
	return s.attempt(at, nil, &again, !readable)
}

// reopen goes on with an operation that an earlier event left in doubt, for a person to look at.
// Another event of it asks for the same act once more, so the same look-up comes first: what was
// sent then may have landed since.
func (s *submission) reopen(at state, permit *comeet.Permit) (state, bool, error) {
	entry, err := s.ledger.LastClaim(s.work, s.Op)
	claim := entry.Claimed()
	if err != nil {
		return at, false, err
	}
	if claim == nil {
		return s.attempt(at, permit, nil, false)
	}
	permit.Release()
	found, readable, err := s.lookUp(claim)
	if err != nil {
		return at, false, err
	}
	again := *claim
	again.Doubts = 0
	if found != nil {
		return s.adopt(at, &again, *found)
	}
	return s.attempt(at, nil, &again, !readable)
}

// awaitSettling waits until the claim may be settled. A worker that waits for its own doubt keeps
// the event: a redelivery would lose the tally, which tells a bad event from an outage.
func (s *submission) awaitSettling(at state, claim *events.Claimed) error {
	wait := s.settlingWait(at.last, claim)
	if wait <= 0 {
		return nil
	}
	if wait > s.cfg.settleDelay()+time.Second && !at.sent.known {
		// It will likely have its outcome long before its lease is over: look again when the claim
		// is twice as old.
		soon := max(s.bus.Now().Sub(at.last.Stored), s.cfg.SettleDelay/5)
		return retryLaterError{min(wait, soon), "another worker's claim is young"}
	}
	if !bus.Sleep(s.intake, wait) {
		return errStopping(wait)
	}
	return nil
}

// settlingWait is how long the claim must still be left alone. Ages are by the bus's clock, which
// stamped the claim.
func (s *submission) settlingWait(last ledger.Entry, claim *events.Claimed) time.Duration {
	wait := s.cfg.lease()
	if claim.State == events.StateInDoubt {
		doubts := claim.Doubts
		if s.gate.Denied(comeet.CanPoll) {
			doubts++ // there is no look-up to tell, so only time can
		}
		rests := max(1<<(2*min(doubts, 3)), min(claim.Attempt, 6))
		wait = s.cfg.SettleDelay*time.Duration(rests) + max(s.cfg.ProxyHold, 0)
	}
	if !s.isClaimant(claim) {
		// That event will be back and settle with its own data, which is what Comeet was sent. This
		// one's is the second best.
		wait += 2 * s.cfg.lease()
	}
	return wait - s.bus.Now().Sub(last.Stored) // guard: claim-rests-before-its-look-up
}

// isClaimant reports whether a claim was made for this very event.
func (s *submission) isClaimant(claim *events.Claimed) bool {
	return claim.Sourced.Source == s.Identity.Source && claim.Sourced.ID == s.Identity.ID
}
