package connector

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	// maxDoubts is how many POSTs of one event may end in doubt while Comeet answers others, before a person must look.
	maxDoubts = 3
	// maxLoneDoubts is the same where no other POST tells whether it is the event or Comeet: with the rests in between, about a
	// quarter of an hour by default, so that a shorter outage of POSTs alone ends no event of a quiet account.
	maxLoneDoubts = 6
	// maxBlindDoubts is the same for an account that may not read candidates: the first POST and one repetition.
	maxBlindDoubts = 2
)

// settle finds out what became of a claim that has no outcome. It waits until no request under the claim can be running any
// more, then looks for the candidate at Comeet. Found, it is adopted; not found, the same act is tried again, so that
// Comeet's own conflict answer is the second net.
func (s *submission) settle(last ledger.Entry, claim *events.Claimed) (ledger.Entry, bool, error) {
	if last.Stored.IsZero() {
		last.Stored = s.bus.Now() // we have just written it
	}
	if wait := s.untilRipe(last, claim); wait > 0 {
		// Our own doubt rests in our hand: with the event, what was seen of Comeet since would be given away.
		if wait > s.cfg.settleDelay()+time.Second && !s.sent.known {
			// It will likely have its outcome long before its lease is over: look again when the claim is twice as old.
			soon := max(s.bus.Now().Sub(last.Stored), s.cfg.SettleDelay/5)
			return last, false, errLater{min(wait, soon), "another worker's claim is young"}
		}
		if !rest(s.intake, wait) {
			return last, false, errLater{wait, "the connector is stopping"}
		}
	}
	found, readable, err := s.lookUp(claim)
	if err != nil {
		return last, false, err
	}
	if found != nil {
		s.shown = time.Now()
		return s.adopt(last, claim, found)
	}
	if !readable && s.untilRipe(last, claim) > 0 {
		return last, false, nil
	}
	again := *claim
	limit := maxDoubts
	switch {
	case !readable:
		limit = maxBlindDoubts
	case s.posts.silent(s.sent):
		limit = maxLoneDoubts
	}
	blamed := claim.State == events.StateInDoubt && s.posts.blames(s.sent)
	if blamed {
		again.Doubts++
	}
	s.sent, s.blind = tally{}, !readable
	if blamed && again.Doubts >= limit {
		return s.refuse(last, &refusal{
			reason:  events.ReasonInDoubt,
			message: fmt.Sprintf("%d submissions got no usable answer from Comeet and none can be found there; check position %s by hand, then replay", again.Doubts, claim.PositionUID),
		})
	}
	return s.attempt(last, &again)
}

// reopen goes on with an operation that an earlier event left in doubt, for a person to look at. Another event of it asks for the same
// act once more, so the same look comes first: what was sent then may have landed since.
func (s *submission) reopen(last ledger.Entry) (ledger.Entry, bool, error) {
	entry, err := s.ledger.LastClaim(s.work, s.op)
	claim := entry.Claimed()
	if err != nil {
		return last, false, err
	}
	if claim == nil {
		return s.attempt(last, nil)
	}
	found, readable, err := s.lookUp(claim)
	if err != nil {
		return last, false, err
	}
	again := *claim
	again.Doubts = 0
	if found != nil {
		s.shown = time.Now()
		return s.adopt(last, &again, found)
	}
	s.blind = !readable
	return s.attempt(last, &again)
}

// hasMade reports whether a claim was made for this very event.
func (s *submission) hasMade(claim *events.Claimed) bool {
	return claim.Sourced.Source == s.identity.Source && claim.Sourced.ID == s.identity.ID
}

// untilRipe is how long the claim must still be left alone. Ages are by the bus's clock, which stamped the claim.
func (s *submission) untilRipe(last ledger.Entry, claim *events.Claimed) time.Duration {
	rest := s.cfg.lease()
	if claim.State == events.StateInDoubt {
		doubts := claim.Doubts
		if s.gate.Denied(comeet.CanPoll) {
			doubts++ // there is no look-up to tell, so only time can
		}
		rest = s.cfg.SettleDelay*time.Duration(max(1<<(2*min(doubts, 3)), min(claim.Attempt, 6))) + max(s.cfg.ProxyHold, 0)
	}
	if !s.hasMade(claim) {
		// That event will be back and settle with its own data, which is what Comeet was sent. Ours is the second best.
		rest += 2 * s.cfg.lease()
	}
	return rest - s.bus.Now().Sub(last.Stored)
}

// isSamePerson compares what the event says of the person with a candidate at Comeet: by e-mail, phone or LinkedIn, or,
// where the two have none of these in common, by full name.
func (s *submission) isSamePerson(c *comeet.Candidate) bool {
	p := &s.data.Candidate
	comparable := false
	agree := func(norm func(string) string, ours []string, theirs ...string) bool {
		for _, o := range ours {
			for _, t := range theirs {
				a, b := norm(o), norm(t)
				if a == "" || b == "" {
					continue
				}
				comparable = true
				if a == b {
					return true
				}
			}
		}
		return false
	}
	if agree(fold, []string{p.Email}, c.Email) ||
		agree(phoneTail, []string{p.Phone, p.MobilePhone}, c.Phone, c.MobilePhone) ||
		agree(profile, []string{p.LinkedInURL}, c.LinkedInURL) {
		return true
	}
	if comparable {
		return false
	}
	return fold(p.FirstName) == fold(c.FirstName) && fold(p.LastName) == fold(c.LastName)
}

func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// phoneTail is the last nine digits, by which Comeet itself compares.
func phoneTail(s string) string {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
	if len(digits) < 7 {
		return ""
	}
	return digits[max(0, len(digits)-9):]
}

// profile is the path of a LinkedIn address.
func profile(s string) string {
	s = fold(s)
	if i := strings.Index(s, "/in/"); i >= 0 {
		s = s[i+4:]
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	return strings.Trim(s, "/")
}

// posts counts what an account's POSTs have come to, to tell an event that Comeet chokes on from a Comeet that is sick.
type posts struct{ verdicts, doubts atomic.Int64 }

type tally struct {
	known            bool
	verdicts, doubts int64
}

func (p *posts) verdict() { p.verdicts.Add(1) }
func (p *posts) doubt()   { p.doubts.Add(1) }
func (p *posts) now() tally {
	return tally{true, p.verdicts.Load(), p.doubts.Load()}
}

// silent reports whether no other POST came to an end of any kind since ours was sent.
func (p *posts) silent(sent tally) bool {
	return p.verdicts.Load() == sent.verdicts && p.doubts.Load() <= sent.doubts+1
}

// blames reports whether a doubt counts against its event: since its POST was sent, at least as many of the account's other
// POSTs had a verdict as ended in doubt (the look-up has just succeeded, so Comeet is there).
func (p *posts) blames(sent tally) bool {
	others := p.doubts.Load() - sent.doubts - 1
	return sent.known && p.verdicts.Load()-sent.verdicts >= others
}
