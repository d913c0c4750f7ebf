// Package positions decides where a candidate goes: what the connector knows of an account's
// positions at Comeet, and the rule by which an event's reference to one is matched. A dry run asks
// the same rule about what the connector has put on the bus.
//
// A Catalogue reads the positions from Comeet and writes them to the positions bucket; Read reads
// them there. The rule, Find and Fallback, is pure.
package positions

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/comeet-connector/comeet-connector/connector/internal/fold"
	"github.com/comeet-connector/comeet-connector/events"
)

// Position is what the connector keeps of a position, and what sourcing services read of it in the
// positions bucket.
type Position struct {
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

// State is what a position does with new candidates.
type State int

// The states of a position. A status of Comeet's that is none of theirs counts as Open.
const (
	Open State = iota
	OnHold
	Closed
)

// State tells the position's state by Comeet's word for it.
func (p Position) State() State {
	switch strings.ReplaceAll(fold.Text(p.Status), "_", " ") {
	case "closed":
		return Closed
	case "on hold", "onhold":
		return OnHold
	}
	return Open
}

// Match is the position that a candidate goes to, and how it was found.
type Match struct {
	UID string
	By  events.MatchedBy
}

// Refusal is why no position takes a candidate.
type Refusal struct {
	Reason events.Reason
	// Message says it in words for an operator, and quotes no name.
	Message string
}

// Find is the rule: exactly one open position must answer to the reference, else the refusal says
// why not. A status that is neither closed nor on hold counts as open, since the set is Comeet's
// and open.
func Find(list []Position, ref events.Position) (Match, *Refusal) {
	var open, held, closed []Position
	meant := meaning(list, ref)
	for _, p := range list {
		if !meant(p) {
			continue
		}
		switch p.State() {
		case Closed:
			closed = append(closed, p)
		case OnHold:
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
		return Match{open[0].UID, by}, nil
	case len(open) > 1:
		return Match{}, &Refusal{Reason: events.ReasonPositionAmbiguous,
			Message: fmt.Sprintf("%s fits %d open positions (uids %s); name it by uid", named, len(open), uids(open))}
	case len(held) > 0:
		return Match{}, &Refusal{Reason: events.ReasonPositionOnHold,
			Message: fmt.Sprintf("the position is on hold (uid %s); replay when it is open again, or set a fallback position", uids(held))}
	case len(closed) > 0:
		return Match{}, &Refusal{Reason: events.ReasonPositionClosed,
			Message: fmt.Sprintf("the position is closed (uid %s); publish for another one, or set a fallback position", uids(closed))}
	}
	return Match{}, &Refusal{Reason: events.ReasonPositionNotFound,
		Message: "no position that Comeet shares with this integration has this " + string(by) + "; check it in Comeet, then replay"}
}

// Fallback gives a candidate whom Find refused the account's fallback position, by its uid, if that
// is open. A reference that fits several positions is for its sender to mend. It returns the
// refusal if there is no fallback.
func Fallback(list []Position, uid string, why *Refusal) (Match, *Refusal) {
	if uid == "" || why.Reason == events.ReasonPositionAmbiguous {
		return Match{}, why
	}
	fallback, closed := Find(list, events.Position{UID: uid})
	if closed != nil {
		return Match{}, &Refusal{why.Reason, why.Message + "; nor can the account's fallback position take it: " + closed.Message}
	}
	return Match{fallback.UID, events.MatchedByFallback}, nil
}

// reference tells whether a position is the one that is meant.
type reference func(p Position) bool

// meaning is how the positions of a list are compared with a reference. An id that is written
// exactly so goes before one that differs in letter case.
func meaning(list []Position, ref events.Position) reference {
	switch {
	case ref.UID != "":
		return func(p Position) bool { return fold.ID(p.UID) == fold.ID(ref.UID) }
	case ref.CustomID != "":
		exact := func(p Position) bool { return fold.ID(p.CustomID) == fold.ID(ref.CustomID) }
		if slices.ContainsFunc(list, exact) {
			return exact
		}
		return func(p Position) bool { return fold.Text(p.CustomID) == fold.Text(ref.CustomID) }
	}
	name, department, location := plain(ref.Name), plain(ref.Department), plain(ref.Location)
	return func(p Position) bool {
		return plain(p.Name) == name && (ref.Department == "" || plain(p.Department) == department) &&
			(ref.Location == "" || plain(p.Location) == location)
	}
}

// uids lists a few, for a message.
func uids(ps []Position) string {
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

// plain makes names comparable. Comeet's web pages leave HTML entities in some of them.
func plain(s string) string { return fold.Text(html.UnescapeString(s)) }
