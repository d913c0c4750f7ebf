package connector

import (
	"fmt"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/events"
)

// match is the position that an event's candidate goes to, and how it was found.
type match struct {
	uid string
	by  events.MatchedBy
}

// staleAfter is how many PositionsIntervals a catalogue may be old for a name or a custom id to be matched by it: these may
// belong to another position by then. A uid never does.
const staleAfter = 3

// match finds the position that an event names. A refusal is only given by a catalogue that was read after knownBy: until
// then the position may be newer than what we know, or open again. contradicted means that Comeet itself did not know the
// position that was found: then no older catalogue counts at all.
//
// Whoever waits for a catalogue gives the permit back first: it may be the only one that there is, and reading positions takes one too.
func (s *submission) match(ref events.Position, knownBy time.Time, contradicted bool) (match, *refusal, error) {
	positions, err := s.catalogue.now(), error(nil)
	if !positions.usable {
		s.permit.Release()
		positions, err = s.catalogue.current(s.intake)
	}
	var found match
	var why *refusal
	var fresh bool
	for err == nil {
		var readBy time.Time
		found, why = find(positions.list, ref)
		switch {
		case why != nil || contradicted:
			readBy = knownBy
		case ref.UID == "":
			readBy = s.bus.Now().Add(-staleAfter * s.cfg.PositionsInterval)
		}
		if fresh = !positions.read.Before(readBy); fresh || positions.denied {
			break
		}
		s.permit.Release()
		positions, err = s.catalogue.readAfter(s.intake, readBy)
	}
	switch {
	case err != nil:
		return match{}, nil, err
	case why == nil && fresh:
		return found, nil, nil
	case positions.denied && ref.UID != "":
		// What is known may be old. Comeet itself decides about a uid; for anything else somebody must grant the permission first.
		return match{ref.UID, events.MatchedByUID}, nil, nil
	case positions.denied:
		return match{}, nil, errLater{s.cfg.DeniedRetry, "this account may not read positions"}
	}
	if s.cfg.FallbackPosition != "" && why.reason != events.ReasonPositionAmbiguous {
		fallback, closed := find(positions.list, events.Position{UID: s.cfg.FallbackPosition})
		if closed == nil {
			return match{fallback.uid, events.MatchedByFallback}, nil, nil
		}
		why.message += "; nor can the account's fallback position take it: " + closed.message
	}
	return match{}, why, nil
}

// find is the pure rule: exactly one open position must answer to the reference, else the refusal says why not. A status
// that is neither closed nor on hold counts as open, since the set is Comeet's and open.
func find(positions []position, ref events.Position) (match, *refusal) {
	var open, held, closed []position
	for _, p := range positions {
		if !p.answersTo(ref) {
			continue
		}
		switch p.state() {
		case stateClosed:
			closed = append(closed, p)
		case stateOnHold:
			held = append(held, p)
		default:
			open = append(open, p)
		}
	}
	by := events.MatchedByName
	switch {
	case ref.UID != "":
		by = events.MatchedByUID
	case ref.CustomID != "":
		by = events.MatchedByCustomID
	}
	named := "the position's " + string(by)
	switch {
	case len(open) == 1:
		return match{open[0].UID, by}, nil
	case len(open) > 1:
		return match{}, &refusal{reason: events.ReasonPositionAmbiguous,
			message: fmt.Sprintf("%s fits %d open positions (uids %s); name it by uid", named, len(open), uids(open))}
	case len(held) > 0:
		return match{}, &refusal{reason: events.ReasonPositionOnHold,
			message: fmt.Sprintf("the position is on hold (uid %s); replay when it is open again, or set a fallback position", uids(held))}
	case len(closed) > 0:
		return match{}, &refusal{reason: events.ReasonPositionClosed,
			message: fmt.Sprintf("the position is closed (uid %s); publish for another one, or set a fallback position", uids(closed))}
	}
	return match{}, &refusal{reason: events.ReasonPositionNotFound,
		message: "no position that Comeet shares with this integration has this " + string(by) + "; check it in Comeet, then replay"}
}

// uids lists a few, for a message.
func uids(ps []position) string {
	const most = 5
	var out []string
	for i, p := range ps {
		if i == most {
			out = append(out, "…")
			break
		}
		out = append(out, p.UID)
	}
	return strings.Join(out, ", ")
}

// position is what the catalogue keeps of a position, and what sourcing services read of it in the positions bucket.
type position struct {
	UID        string `json:"uid"`
	Name       string `json:"name"`
	CustomID   string `json:"custom_id,omitempty"`
	Department string `json:"department,omitempty"`
	Location   string `json:"location,omitempty"`
	// Status is Comeet's word: open, on hold, closed; others may come.
	Status string `json:"status"`
	// Published and TalentPool are Comeet's is_published and is_talent_pool.
	Published  bool `json:"published,omitempty"`
	TalentPool bool `json:"talent_pool,omitempty"`
}

func (p position) answersTo(ref events.Position) bool {
	switch {
	case ref.UID != "":
		return p.UID == ref.UID
	case ref.CustomID != "":
		return p.CustomID == ref.CustomID
	}
	return fold(p.Name) == fold(ref.Name) &&
		(ref.Department == "" || fold(p.Department) == fold(ref.Department)) &&
		(ref.Location == "" || fold(p.Location) == fold(ref.Location))
}

type positionState int

const (
	stateOpen positionState = iota
	stateOnHold
	stateClosed
)

func (p position) state() positionState {
	switch strings.ReplaceAll(fold(p.Status), "_", " ") {
	case "closed":
		return stateClosed
	case "on hold", "onhold":
		return stateOnHold
	}
	return stateOpen
}
