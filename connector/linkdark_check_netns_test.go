//go:build netns

package connector_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/comeet-connector/comeet-connector/events"
)

// check proves the promises from the outside.
func (s *scenario) check(all *tallies) {
	s.Helper()
	posts := s.front.received()
	late := s.late(posts)
	for _, why := range late {
		s.Errorf("a late POST: %s", why)
	}
	doubled := s.fake.Duplicates("default")
	for _, same := range doubled {
		s.Errorf("candidate %s is at Comeet %d times", same[0].PartnerCandidateID, len(same))
	}
	outcomes := s.read().outcomes()
	for _, p := range s.published {
		if n := len(outcomes[p.identity]); n != 1 {
			s.Errorf("event %s has %d outcomes", p.identity, n)
		}
	}
	for _, p := range posts {
		if cut := p.arrived.Sub(s.cutAt); p.from == s.victim.host && cut > time.Second && cut < s.back {
			s.Errorf("the POST of %s came through the dark, %v after the cut", p.partner, cut)
		}
	}
	for _, v := range s.fake.Violations() {
		s.Errorf("breach of the API: %v", v)
	}
	if n := s.fake.Throttled("default"); n != 0 {
		s.Errorf("%d requests refused as too many", n)
	}
	for _, a := range s.replicas {
		s.checkLeaks(a.logs.String())
	}
	all.posts.Add(int64(len(posts)))
	all.late.Add(int64(len(late)))
	all.doubled.Add(int64(len(doubled)))
	s.Logf("%d POSTs of %d events, %d late, %d candidates doubled", len(posts), len(s.published), len(late), len(doubled))
}

// moment is an entry of the ledger, or a POST that came to Comeet.
type moment struct {
	at time.Time
	events.Data
	*post
}

// late finds POSTs that came when the claim under which they were sent had been settled: each claim
// is good for one POST, by its owner, until an outcome, the mark that nothing was sent, or the next
// claim takes its place. Bus and Comeet share one clock here.
func (s *scenario) late(posts []post) []string {
	s.Helper()
	lives := map[string][]moment{}
	partners := map[string]string{} // by operation
	for _, e := range s.read() {
		operation := ""
		switch d := e.Data.(type) {
		case *events.Claimed:
			operation = d.Operation
			partners[operation] = d.PartnerCandidateID
		case *events.Accepted:
			operation = d.Operation
		case *events.Failed:
			operation = d.Operation
		default:
			continue
		}
		partner := partners[operation]
		lives[partner] = append(lives[partner], moment{at: e.stored, Data: e.Data})
	}
	for _, p := range posts {
		lives[p.partner] = append(lives[p.partner], moment{at: p.arrived, post: &p})
	}
	var late []string
	for partner, life := range lives {
		slices.SortStableFunc(life, func(a, b moment) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
		late = append(late, s.lateIn(partner, life)...)
	}
	slices.Sort(late)
	return late
}

func (s *scenario) lateIn(partner string, life []moment) (late []string) {
	since := func(t time.Time) string { return fmt.Sprintf("%.1f s", t.Sub(s.cutAt).Seconds()) }
	var claim *events.Claimed // unsettled
	state, used := "before any claim", false
	for _, m := range life {
		switch d := m.Data.(type) {
		case *events.Claimed:
			switch d.State {
			case events.StateClaimed:
				claim, used, state = d, false, fmt.Sprintf("under attempt %d, claimed by %s at %s", d.Attempt, d.Owner, since(m.at))
			case events.StateReleased:
				claim, state = nil, "after the claim was released at "+since(m.at)
			}
		case *events.Accepted:
			claim, state = nil, fmt.Sprintf("after %s at %s", d.Outcome, since(m.at))
		case *events.Failed:
			claim, state = nil, fmt.Sprintf("after %s at %s", d.Reason, since(m.at))
		}
		if m.post == nil {
			continue
		}
		from := m.from
		for _, a := range s.replicas {
			if a.host == from {
				from = a.name
			}
		}
		switch why := state; {
		case claim != nil && claim.Owner == from && !used:
			used = true
		default:
			if used {
				why += ", which had its POST"
			}
			late = append(late, fmt.Sprintf("%s's of %s came %s after the cut, %s; it was answered %d", from, partner, since(m.at), why, m.status))
		}
	}
	return late
}
