package connector

import (
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// staleAfter is how many PositionsIntervals a catalogue may be old for a name or a custom id to be matched by it: these may
// belong to another position by then. A uid never does.
const staleAfter = 3

// match finds the position that an event names, or why it can't have one. contradicted means that Comeet itself did not know the
// position that was found.
func (s *submission) match(ref events.Position, knownBy time.Time, contradicted bool) (positions.Match, *refusal, error) {
	found, err := s.locate(ref, knownBy, contradicted)
	switch {
	case err != nil:
		return positions.Match{}, nil, err
	case found.refused == nil && found.fresh:
		return found.Match, nil, nil
	case found.Denied && ref.UID != "":
		// What is known may be old. Comeet itself decides about a uid; for anything else somebody must grant the permission first.
		return positions.Match{UID: ref.UID, By: events.MatchedByUID}, nil, nil
	case found.Denied:
		return positions.Match{}, nil, errLater{s.cfg.DeniedRetry, "this account may not read positions"}
	}
	to, why := positions.Fallback(found.List, s.cfg.FallbackPosition, found.refused)
	if why != nil {
		return to, &refusal{reason: why.Reason, message: why.Message}, nil
	}
	return to, nil, nil
}

// located is what a reading of the positions says of a reference: Match, or why it is refused.
type located struct {
	positions.Reading
	positions.Match
	refused *positions.Refusal
	// fresh is whether the reading is new enough to be believed. Only one of an account that may not read positions is not.
	fresh bool
}

// locate waits for positions that are fresh enough for what they say of a reference.
//
// Whoever waits for a reading gives the permit back first: it may be the only one that there is, and reading positions takes one too.
func (s *submission) locate(ref events.Position, knownBy time.Time, contradicted bool) (located, error) {
	known, err := s.catalogue.Latest(), error(nil)
	if !known.Usable {
		s.permit.Release()
		known, err = s.catalogue.First(s.intake)
	}
	for err == nil {
		at := located{Reading: known}
		at.Match, at.refused = positions.Find(known.List, ref)
		readBy := s.readBy(at.refused, ref, knownBy, contradicted)
		if at.fresh = !known.Began.Before(readBy); at.fresh || known.Denied {
			return at, nil
		}
		s.permit.Release()
		known, err = s.catalogue.ReadAfter(s.intake, readBy)
	}
	if errors.Is(err, positions.ErrUnavailable) {
		return located{}, errLater{s.cfg.RequestTimeout, err.Error()}
	}
	return located{}, errLater{s.cfg.SettleDelay, "the positions are not known yet"}
}

// readBy is when the reading must have begun that gives an answer. A refusal is only believed after knownBy: until then the position may
// be newer than what we know, or open again. If Comeet has contradicted, no older reading counts at all.
func (s *submission) readBy(refused *positions.Refusal, ref events.Position, knownBy time.Time, contradicted bool) time.Time {
	switch {
	case refused != nil || contradicted:
		return knownBy
	case ref.UID == "":
		return s.bus.Now().Add(-staleAfter * s.cfg.PositionsInterval)
	}
	return time.Time{}
}
