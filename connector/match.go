package connector

import (
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/internal/fold"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// staleAfter is how many PositionsIntervals a catalogue may be old for a name or a custom id to be
// matched by it: these may belong to another position by then. A uid never does.
const staleAfter = 3

// match finds the position that an event names, or why it can't have one.
func (a *attempt) match(ref events.Position) (positions.Match, *refusal, error) {
	found, err := a.locate(ref)
	switch {
	case err != nil:
		return positions.Match{}, nil, err
	case found.refused == nil && found.fresh:
		return found.Match, nil, nil
	case found.Denied && ref.UID != "":
		// What is known may be old. Comeet itself decides about a uid; for anything else somebody
		// must grant the permission first.
		return positions.Match{UID: fold.ID(ref.UID), By: events.MatchedByUID}, nil, nil
	case found.Denied:
		return positions.Match{}, nil, retryLaterError{a.cfg.DeniedRetry, "this account may not read positions"}
	}
	to, why := positions.Fallback(found.List, a.cfg.FallbackPosition, found.refused)
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
	// fresh is whether the reading is new enough to be believed. Only one of an account that may
	// not read positions is not.
	fresh bool
}

// locate waits for positions that are fresh enough for what they say of a reference.
//
// Whoever waits for a reading gives the permit back first: it may be the only one that there is,
// and reading positions takes one too.
func (a *attempt) locate(ref events.Position) (located, error) {
	known, err := a.catalogue.Latest(), error(nil)
	if !known.Usable {
		a.permit.Release()
		known, err = a.catalogue.First(a.intake)
	}
	for err == nil {
		at := located{Reading: known}
		at.Match, at.refused = positions.Find(known.List, ref)
		readBy := a.readBy(at.refused, ref)
		if at.fresh = !known.Began.Before(readBy); at.fresh || known.Denied {
			return at, nil
		}
		a.permit.Release()
		known, err = a.catalogue.ReadAfter(a.intake, readBy)
	}
	if errors.Is(err, positions.ErrUnavailable) {
		if a.catalogue.Latest().Doubted {
			return located{}, retryLaterError{a.cfg.RequestTimeout, "Comeet's answer leaves out most of the known positions, which is not confirmed yet"}
		}
		return located{}, retryLaterError{a.cfg.RequestTimeout, err.Error()}
	}
	return located{}, retryLaterError{a.cfg.SettleDelay, "the positions are not known yet"}
}

// readBy is when the reading must have begun that gives an answer. A refusal is only believed of
// one that began after the event was published: until then the position may be newer than the
// reading, or open again. If Comeet did not know the position that was matched, no reading from
// before that counts at all.
func (a *attempt) readBy(refused *positions.Refusal, ref events.Position) time.Time {
	switch {
	case !a.contradictedAt.IsZero():
		return a.contradictedAt
	case refused != nil:
		return a.stored // guard: refusal-needs-fresh-positions
	case ref.UID == "":
		return a.bus.Now().Add(-staleAfter * a.cfg.PositionsInterval) // guard: name-needs-young-positions
	}
	return time.Time{}
}

// sawPositions takes note of a reading of the positions. A fallback position that takes nobody is
// logged when that is seen, not when the first candidate needs it.
func (a *account) sawPositions(list []positions.Position) {
	a.metrics.positions(list)
	uid := a.cfg.FallbackPosition
	if uid == "" || len(list) == 0 {
		return
	}
	problem := ""
	if _, why := positions.Find(list, events.Position{UID: uid}); why != nil {
		problem = why.Message
	}
	if problem != "" && problem != a.fallbackTold {
		a.log.Warn().Str("position_uid", uid).Str("why", problem).Msg("the fallback position takes nobody; correct FALLBACK_POSITION, or open the position")
	}
	a.fallbackTold = problem
}
