package connector

import (
	"context"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// attempt is one try to make Comeet take the candidate: match, read the files, claim, POST. Each
// try makes its own.
type attempt struct {
	*submission
	state
	// permit is the right to send one request.
	permit *comeet.Permit
	// resend is the claim whose act is repeated, since it was settled as not landed. It has fixed
	// the act: nothing is matched again. nil means a new act.
	resend *events.Claimed
	// lookupDenied means that resend could not be looked up, so it may have landed after all.
	lookupDenied bool
	// files are read before the claim, since reading takes long and may fail.
	files *files
}

// attempt makes one try. at.last is the entry that the claim is written over.
func (s *submission) attempt(at state, permit *comeet.Permit, resend *events.Claimed, lookupDenied bool) (state, bool, error) {
	a := &attempt{submission: s, state: at, permit: permit, resend: resend, lookupDenied: lookupDenied}
	defer a.giveBack()
	to, why, err := a.position()
	if err == nil && why == nil {
		why, err = a.prepare()
	}
	if err != nil {
		return at, false, err
	}
	if why != nil {
		return a.refuse(at, why)
	}
	begun := time.Now()
	claim, won, err := a.claim(to)
	if err != nil || !won { // guard: claim-loser-sends-nothing
		return at.after(claim), false, err
	}
	return a.send(claim, begun) // guard: no-post-long-after-its-claim
}

// giveBack returns what the attempt holds.
func (a *attempt) giveBack() {
	a.permit.Release()
	a.dropFiles()
}

// position is where the candidate goes, or why it can't go anywhere.
func (a *attempt) position() (positions.Match, *refusal, error) {
	if a.resend != nil {
		return positions.Match{UID: a.resend.PositionUID, By: a.resend.MatchedBy}, nil, nil
	}
	return a.match(a.Data.Position)
}

// prepare gets the right to send and the files. It holds no memory while it waits for the gate:
// that may take long, and the memory is other accounts' too.
func (a *attempt) prepare() (*refusal, error) {
	for a.files == nil || !a.permit.Valid() {
		a.dropFiles()
		if !a.permit.Valid() {
			a.permit.Release()
			// Requests that finish an event in hand go before new ones.
			p, err := a.gate.Acquire(a.intake, comeet.Settle, comeet.CanSubmit)
			if err != nil {
				return nil, errStopping(0)
			}
			a.permit = p
		}
		read, why, err := a.readFiles()
		if why != nil && a.resend != nil {
			why.reason, why.message = events.ReasonInDoubt,
				"what became of a submission is unknown, and it cannot be repeated: "+why.message+". Look at Comeet first"
		}
		if why != nil || err != nil {
			return why, err
		}
		a.files = read
	}
	return nil, nil
}

// claim writes down the act before it is done. Look-ups reach back to the first attempt that is
// still unsettled, so its time stays.
func (a *attempt) claim(to positions.Match) (ledger.Entry, bool, error) {
	c := &events.Claimed{
		Account: a.Op.Account, Operation: a.Op.ID, State: events.StateClaimed, Attempt: 1,
		PositionUID: to.UID, MatchedBy: to.By, Owner: a.cfg.Replica, ComeetTime: a.comeetNow(), Sourced: *a.ref(),
		PartnerCandidateID: a.partnerID, // guard: repetition-has-the-same-partner-id
	}
	if before := a.last.Claimed(); before != nil {
		c.Attempt = before.Attempt + 1
	}
	if a.resend != nil {
		c.Doubts, c.Unsettled = a.resend.Doubts, a.resend.Unsettled+1
		if !a.resend.ComeetTime.IsZero() {
			c.ComeetTime = a.resend.ComeetTime
		}
	}
	entry, won, err := a.ledger.Put(a.work, a.Op, a.last.Seq, a.newEvent(c))
	if err != nil {
		return a.last, false, fmt.Errorf("claim operation %s: %w", a.Op.ID, err)
	}
	return entry, won, nil
}

// send makes the POST under a claim. begun is when the claim was asked for: others take the claim
// for abandoned from begun + lease on. So the request begins within RequestTimeout after that, and
// is over, by the same clocks, within another one, wherever the worker may be frozen in between.
func (a *attempt) send(claim ledger.Entry, begun time.Time) (state, bool, error) {
	// The wall clock is asked too: the other one stands still while a virtual machine is suspended.
	if max(time.Since(begun), time.Now().Round(0).Sub(begun.Round(0))) > a.cfg.RequestTimeout {
		return a.notSent(claim)
	}
	ctx, cancel := context.WithDeadline(a.work, begun.Add(2*a.cfg.RequestTimeout))
	defer cancel()
	c := claim.Claimed()
	at := a.after(claim)
	sent := a.posts.now()
	candidate, answer, err := a.comeet.CreateCandidate(ctx, a.request(c),
		comeet.WithPermit(a.permit), comeet.WithTraceparent(a.Event.Traceparent()))
	a.giveBack()
	fetchedAt := time.Now()
	if err == nil {
		a.posts.verdict()
		return a.accept(at, c, events.OutcomeCreated, shown{candidate, answer.Date, fetchedAt})
	}
	switch comeet.KindOf(err) {
	case comeet.Existing: // guard: conflict-means-accepted
		a.posts.verdict()
		how := events.OutcomeExisting
		if a.resend != nil {
			how = events.OutcomeRecovered
		}
		return a.adoptExisting(at, how, err)
	case comeet.InDoubt:
		a.posts.doubt()
		a.log.Warn().Err(err).Str("candidate_id", a.CandidateID).Str("operation", a.Op.ID).Int("attempt", c.Attempt).
			Msg("the fate of a submission is unknown; it will be looked up before anything is sent again")
		at.sent = sent
		return a.endClaim(at, events.StateInDoubt)
	case comeet.Invalid:
		a.posts.verdict()
		return a.refuse(at, refusalOf(err))
	case comeet.NoPosition:
		a.posts.verdict()
		if !at.contradictedAt.IsZero() || a.resend != nil { // guard: no-position-is-asked-twice
			return a.refuse(at, refusalOf(err))
		}
		// Once more, with positions that are read from now on.
		at.contradictedAt = a.bus.Now()
		return a.endClaim(at, events.StateReleased)
	default:
		// Denied, Throttled, Unavailable, Canceled: nothing has happened. The gate holds the next
		// one back.
		return a.notSent(claim)
	}
}

// notSent gives a claim back under which nothing was done. If the attempt before it is still
// unsettled, that is looked up again when its turn comes; it must not be matched to another
// position.
func (a *attempt) notSent(claim ledger.Entry) (state, bool, error) {
	at := a.after(claim)
	at.sent = tally{}
	if a.resend != nil { // guard: unsent-repetition-stays-in-doubt
		return a.endClaim(at, events.StateInDoubt)
	}
	return a.endClaim(at, events.StateReleased)
}

// endClaim writes over the attempt's own claim what became of it: released, as nothing was sent, or
// in doubt. A doubt is also written where the claim has vanished meanwhile: without it the next
// step would send again without a look.
func (a *attempt) endClaim(at state, how events.ClaimState) (state, bool, error) {
	c := *at.last.Claimed()
	c.State = how
	e := a.newEvent(&c)
	entry, won, err := a.ledger.Put(a.work, a.Op, at.last.Seq, e)
	for err == nil && !won && entry.Seq == 0 && how == events.StateInDoubt { // guard: doubt-without-its-claim
		entry, won, err = a.ledger.Put(a.work, a.Op, 0, e)
	}
	if err != nil {
		return at, false, fmt.Errorf("mark the claim of operation %s as %s: %w", a.Op.ID, how, err)
	}
	return at.after(entry), false, nil
}

// refuse ends the event for good. at.last is the entry that the outcome is written over.
func (a *attempt) refuse(at state, why *refusal) (state, bool, error) {
	if a.resend != nil && a.lookupDenied && why.reason != events.ReasonInDoubt { // guard: refusal-hides-no-doubt
		// That the repetition is refused says nothing of the attempt before it, which could not be
		// looked up.
		why.reason, why.message = events.ReasonInDoubt,
			"an earlier submission got no usable answer and may have landed; check by hand. Its repetition: "+why.message
	}
	return a.submission.refuse(at, why)
}
