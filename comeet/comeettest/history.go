package comeettest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Candidate is everything that the fake knows of a candidate, also what the API does not show.
// Times are UTC and whole seconds of Comeet's clock.
type Candidate struct {
	UID                string
	RealID             int64
	PersonUID          string
	PositionUID        string
	PartnerCandidateID string

	FirstName, MiddleName, LastName    string
	Email, Phone, MobilePhone          string
	NationalID, LinkedInURL            string
	SalaryExpectations, Note           string
	Resume                             string // file name
	Files                              []string
	Links                              []string
	CustomFields                       map[string]any
	Address                            *Address
	SourceContact                      *SourceContact
	Source                             Source
	Status, ProspectStatus             string
	DispositionReason                  string
	CurrentSteps, CompletedSteps       []StepState
	Deleted, Hidden, Pseudonymized     bool
	MergedInto                         string // uid of the survivor
	TimeCreated, TimeLastStatusChanged time.Time
	// TimeHiringProcessUpdated is in no answer; lists can be filtered on it.
	TimeHiringProcessUpdated time.Time
}

// State is what a candidate was from a moment on.
type State struct {
	// At is the local time of the change.
	At time.Time
	Candidate
}

// VisibleEqual says whether a full answer of the API for two states is the same in status, steps,
// prospect status, position, source, disposition reason, deletion, merge and visibility.
func (s State) VisibleEqual(o State) bool {
	step := func(x, y StepState) bool {
		return x.Name == y.Name && x.Type == y.Type && x.PositionStepUID == y.PositionStepUID &&
			x.TimeScheduled.Equal(y.TimeScheduled) && x.TimeCompleted.Equal(y.TimeCompleted)
	}
	return s.Status == o.Status && s.ProspectStatus == o.ProspectStatus && s.PositionUID == o.PositionUID && s.Source == o.Source &&
		s.DispositionReason == o.DispositionReason && s.Deleted == o.Deleted && s.MergedInto == o.MergedInto && s.Hidden == o.Hidden &&
		slices.EqualFunc(s.CurrentSteps, o.CurrentSteps, step) && slices.EqualFunc(s.CompletedSteps, o.CompletedSteps, step)
}

func (v *version) snapshot() Candidate {
	out := v.Candidate
	out.Files, out.Links, out.CustomFields = slices.Clone(v.Files), slices.Clone(v.Links), maps.Clone(v.CustomFields)
	out.CurrentSteps, out.CompletedSteps = slices.Clone(v.CurrentSteps), slices.Clone(v.CompletedSteps)
	return out
}

// Candidates of an account as they are now, oldest first, with deleted, hidden and merged-away
// ones.
func (s *Server) Candidates(account string) []Candidate {
	a := s.account(account)
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]Candidate, len(a.all))
	for i, c := range a.all {
		out[i] = c.cur.snapshot()
	}
	return out
}

// Candidate of an account by uid.
func (s *Server) Candidate(account, uid string) (Candidate, bool) {
	a := s.account(account)
	a.mu.RLock()
	defer a.mu.RUnlock()
	if c := a.candidates[uid]; c != nil {
		return c.cur.snapshot(), true
	}
	return Candidate{}, false
}

// History is every state of a candidate, oldest first; nil for an unknown uid.
func (s *Server) History(account, uid string) []State {
	a := s.account(account)
	a.mu.RLock()
	defer a.mu.RUnlock()
	c := a.candidates[uid]
	if c == nil {
		return nil
	}
	var out []State
	for v := c.cur; v != nil; v = v.prev {
		out = append(out, State{At: v.at, Candidate: v.snapshot()})
	}
	slices.Reverse(out)
	return out
}

// Duplicates are the groups of two or more candidates that were created on one position for the
// same partner_candidate_id or the same e-mail, in order of their oldest; nobody is in two groups.
// Deleted and merged-away ones count: that they were created is the fault. WithoutHistory their
// present position and e-mail count.
func (s *Server) Duplicates(account string) [][]Candidate {
	a := s.account(account)
	a.mu.RLock()
	defer a.mu.RUnlock()
	type key struct{ kind, id, position string }
	oldest := map[key]*candidate{}
	group := map[*candidate]*candidate{} // to an older one of the same group
	root := func(c *candidate) *candidate {
		for group[c] != nil {
			c = group[c]
		}
		return c
	}
	for _, c := range a.all {
		first := c.cur
		for first.prev != nil {
			first = first.prev
		}
		for _, k := range []key{{"partner", first.PartnerCandidateID, first.PositionUID}, {"email", strings.ToLower(first.Email), first.PositionUID}} {
			if k.id == "" {
				continue
			}
			if oldest[k] == nil {
				oldest[k] = c
				continue
			}
			older, newer := root(oldest[k]), root(c)
			if older.ordinal > newer.ordinal {
				older, newer = newer, older
			}
			if older != newer {
				group[newer] = older
			}
		}
	}
	members := map[*candidate][]Candidate{}
	var roots []*candidate
	for _, c := range a.all {
		r := root(c)
		if members[r] = append(members[r], c.cur.snapshot()); len(members[r]) == 2 {
			roots = append(roots, r)
		}
	}
	slices.SortFunc(roots, func(x, y *candidate) int { return x.ordinal - y.ordinal })
	out := make([][]Candidate, len(roots))
	for i, r := range roots {
		out[i] = members[r]
	}
	return out
}
