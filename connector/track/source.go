package track

import (
	"slices"
	"sync"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/events"
)

// integrationSource is what this integration is to Comeet as a candidate's source. Only candidates
// tell it: the first source that Comeet shows of a new one is taken for it, and is kept with the
// poll cursor.
type integrationSource struct {
	mu    sync.Mutex // guards known
	known *events.CandidateSource
}

// get is the source, nil while it is not known.
func (s *integrationSource) get() *events.CandidateSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// learn takes what was told for the source, unless that is nil or the source is known already.
func (s *integrationSource) learn(told *events.CandidateSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = told
	}
}

// firstTold is the source that a reading shows of a candidate that is known by Comeet's answer to
// the POST alone, at the first poll after it; else nil. Somebody may have changed the source of an
// older candidate. To take that for this integration's would make a change of source of every other
// candidate. The age is by the clock that dated both readings, which is this host's where Comeet
// does not tell its own.
func (t *Tracker) firstTold(known *events.StatusChanged, r reading) *events.CandidateSource {
	if r.candidate == nil || known.Source != nil || !slices.Contains(known.Changed, events.ChangedFirstSeen) ||
		r.seen.Sub(known.SeenAt) > t.cfg.PollInterval+t.cfg.PollOverlap {
		return nil
	}
	return sourceOf(r.candidate)
}

// MayBeOurs reports whether a candidate came to Comeet by this integration, for all that is known.
func (t *Tracker) MayBeOurs(c *comeet.Candidate) bool {
	return sameSource(t.source.get(), sourceOf(c))
}
