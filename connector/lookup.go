package connector

import (
	"context"
	"slices"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// clockMargin is how far before the claim a candidate may have been created by Comeet's clock and
// still be ours.
const clockMargin = 10 * time.Minute

// pageSize is how many candidates are asked for per page; Comeet may give fewer.
const pageSize = 500

// lookUp searches the candidates created since the claim for ours. readable is false if this
// account may not read candidates.
func (s *submission) lookUp(claim *events.Claimed) (found *shown, readable bool, err error) {
	if found, err := s.noted(claim); found != nil || err != nil {
		return found, true, err
	}
	since := claim.ComeetTime
	if since.IsZero() {
		since = s.account.comeetNow().Add(-s.cfg.lease())
	}
	for wait := s.cfg.SettleDelay/4 + 10*time.Millisecond; ; wait = min(2*wait, 6*s.cfg.SettleDelay) {
		found, err := s.search(claim, since)
		switch comeet.KindOf(err) {
		case 0:
			return found, true, err
		case comeet.Unavailable, comeet.Throttled:
			s.log.Debug().Err(err).Str("candidate_id", s.CandidateID).Msg("could not look up a submission of unknown fate; trying again")
			if !bus.Sleep(s.intake, wait) {
				return nil, true, errStopping(s.cfg.SettleDelay)
			}
		case comeet.Canceled:
			return nil, true, errStopping(s.cfg.SettleDelay)
		default:
			// Denied, or refused in another way that asking again does not change.
			s.log.Warn().Err(err).Str("candidate_id", s.CandidateID).Msg("cannot look up a submission of unknown fate; Comeet's answer to its repetition must tell")
			return nil, false, nil
		}
	}
}

// search reads the candidates created since a time, and within the margin before it, for ours. Of
// several that fit, the first created since then is ours, as the others can only be later
// repetitions of it. One within the margin is the second best: it may as well have come by another
// way.
func (s *submission) search(claim *events.Claimed, since time.Time) (best *shown, err error) {
	if s.gate.Denied(comeet.CanPoll) {
		return nil, &comeet.Error{Op: "look up candidate", Kind: comeet.Denied}
	}
	err = s.readCreated(since, func(c *comeet.Candidate, seen time.Time) (enough bool, err error) {
		if ok, _, err := s.mayBeOurs(claim, since, c); err != nil || !ok { // guard: look-before-sending-again
			return false, err
		}
		if best == nil || isBetter(since, c, best.candidate) {
			best = &shown{c, seen, time.Now()}
		}
		return !best.candidate.TimeCreated.Before(since), nil
	})
	return best, err
}

// visit looks at a candidate that Comeet showed at a time, and says whether no later piece needs to
// be read.
type visit func(c *comeet.Candidate, seen time.Time) (enough bool, err error)

func (v visit) all(rows []comeet.Candidate, seen time.Time) (enough bool, err error) {
	for i := range rows {
		one, err := v(&rows[i], seen)
		if err != nil {
			return false, err
		}
		enough = enough || one
	}
	return enough, nil
}

// readCreated visits the candidates created since a time and the margin before it.
//
// That one is not among them decides that it is sent again, so no row may be lost between two
// pages. Where one page does not hold all, the span of time is read in pieces, as when a candidate
// was created never changes: each piece that one page holds is a proof of its own, whatever moves
// meanwhile. A piece that can't be made small enough is read by [comeet.ReadSteady].
func (s *submission) readCreated(since time.Time, look visit) error {
	now := s.comeetNow()
	whole := span{since.Add(-clockMargin), time.Time{}}
	rows, answer, err := s.listCreated(whole, "")
	if err != nil {
		return err
	}
	if answer.NextPage == "" {
		_, err := look.all(rows, answer.Date)
		return err
	}
	// The likeliest piece comes first. What is dated in the future was created before Comeet's
	// clock was set back.
	for _, piece := range []span{{since, now}, {now, time.Time{}}, {whole.after, since}} {
		if enough, err := s.readSpan(piece, look); err != nil || enough {
			return err
		}
	}
	return nil
}

// span is a time of creation, by Comeet's clock; a zero before means that it has no end.
type span struct{ after, before time.Time }

// readSpan visits the candidates created in a span, the earliest piece first, until that is enough.
func (s *submission) readSpan(piece span, look visit) (enough bool, err error) {
	rows, answer, err := s.listCreated(piece, "")
	switch {
	case err != nil:
		return false, err
	case answer.NextPage == "":
		return look.all(rows, answer.Date)
	case !piece.before.IsZero() && piece.before.Sub(piece.after) > 2*time.Second && piece.bounds(rows):
		middle := piece.after.Add(piece.before.Sub(piece.after) / 2).Truncate(time.Second) // guard: look-up-piece-fits-a-page
		if enough, err := s.readSpan(span{piece.after, middle}, look); err != nil || enough {
			return enough, err
		}
		return s.readSpan(span{middle, piece.before}, look)
	}
	key := func(c *comeet.Candidate) string { return c.UID }
	rows, answer, err = comeet.ReadSteady(s.intake, 0, key, func(ctx context.Context, page string) ([]comeet.Candidate, *comeet.Response, error) {
		return s.listCreated(piece, page)
	})
	if err != nil {
		return false, err
	}
	return look.all(rows, answer.Date)
}

// bounds reports whether Comeet heeds the span's end: no row is beyond it.
func (p span) bounds(rows []comeet.Candidate) bool {
	return !slices.ContainsFunc(rows, func(c comeet.Candidate) bool { return c.TimeCreated.After(p.before.Add(2 * time.Second)) })
}

// listCreated asks for a second more at either end: whether Comeet counts the bounds in is not
// documented.
func (s *submission) listCreated(p span, page string) ([]comeet.Candidate, *comeet.Response, error) {
	q := comeet.CandidateQuery{TimeCreatedAfter: p.after.Add(-time.Second), Limit: pageSize, Page: page}
	if !p.before.IsZero() {
		q.TimeCreatedBefore = p.before.Add(time.Second)
	}
	return s.comeet.ListCandidates(s.intake, q, comeet.WithPriority(comeet.Settle))
}

// mayBeOurs reports whether a candidate that Comeet lists can be the one that was sent under the
// claim, and whether the operation follows it already.
func (s *submission) mayBeOurs(claim *events.Claimed, since time.Time, c *comeet.Candidate) (ok, followed bool, err error) {
	// A page may have dropped the filter.
	tooOld := !c.TimeCreated.IsZero() && c.TimeCreated.Before(since.Add(-clockMargin-time.Second)) // guard: nothing-older-than-the-claim
	if c.PositionUID != claim.PositionUID || c.Deleted || tooOld || !s.isSamePerson(c) {           // guard: adopt-the-same-person-only
		return false, false, nil
	}
	known, err := s.ledger.LastStatus(s.work, s.account.name, c.UID)
	if ledger.IsUnreadable(err) {
		// It may be another operation's. If it is this one's, Comeet's conflict answer to the
		// repetition says so.
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	st := known.Status()
	return st == nil || st.Operation == s.Op.ID, st != nil, nil // guard: adopt-from-no-other-operation
}

// isBetter reports whether a candidate is likelier ours than the best so far.
func isBetter(since time.Time, c, best *comeet.Candidate) bool {
	if late, bestLate := !c.TimeCreated.Before(since), !best.TimeCreated.Before(since); late != bestLate {
		return late
	}
	return c.TimeCreated.Before(best.TimeCreated)
}
