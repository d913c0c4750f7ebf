package ops

import (
	"fmt"
	"strings"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// What happened, in words for an operator. Nothing here tells who a person is.

// apply takes an entry as the operation's last one.
func (o *OperationState) apply(e events.Event) {
	switch d := e.Data.(type) {
	case *events.Claimed:
		o.State, o.Reason = string(d.State), ""
		if _, id, ok := strings.Cut(d.PartnerCandidateID, "-"); ok {
			o.CandidateID = id
		}
	case *events.Accepted:
		o.State, o.Reason, o.CandidateID, o.CandidateUID = "accepted", "", d.CandidateID, d.CandidateUID
	case *events.Failed:
		o.State, o.Reason = "failed", d.Reason
		if d.CandidateID != "" {
			o.CandidateID = d.CandidateID
		}
	}
}

func isErased(e events.Event) bool {
	c, ok := e.Data.(*events.Claimed)
	return ok && c.State == events.StateErased
}

// actor is whose doing an entry is.
func actor(e events.Event) string {
	switch d := e.Data.(type) {
	case *events.Claimed:
		if isErased(e) {
			return "operator"
		}
		if d.Owner != "" {
			return d.Owner
		}
	case *events.Failed:
		if d.Comeet != nil {
			return "Comeet"
		}
	case *events.Accepted:
		if d.Outcome != events.OutcomeDuplicate {
			return "Comeet"
		}
	}
	return "connector"
}

func describe(e events.Event) string {
	switch d := e.Data.(type) {
	case *events.Claimed:
		switch d.State {
		case events.StateClaimed:
			return fmt.Sprintf("claimed: attempt %d, position %s, matched by %s", d.Attempt, d.PositionUID, d.MatchedBy)
		case events.StateInDoubt:
			out := fmt.Sprintf("in doubt: the answer to attempt %d was lost", d.Attempt)
			if d.CandidateUID != "" {
				out += "; candidate " + d.CandidateUID + " was found"
			}
			return out
		case events.StateReleased:
			return fmt.Sprintf("released: nothing came of attempt %d", d.Attempt)
		case events.StateErased:
			return "erased: all that the bus knew of this operation"
		}
		return fmt.Sprintf("%s: attempt %d", d.State, d.Attempt)
	case *events.Accepted:
		return fmt.Sprintf("accepted: candidate %s (%s) at position %s, for event %s", d.CandidateUID, d.Outcome, d.PositionUID, d.Sourced.ID)
	case *events.Failed:
		var out strings.Builder
		fmt.Fprintf(&out, "failed: %s: %s", d.Reason, d.Message)
		if d.Sourced != nil {
			out.WriteString("; event " + d.Sourced.ID)
		}
		for _, v := range d.Violations {
			out.WriteString("; " + v.String())
		}
		return out.String()
	case *events.StatusChanged:
		var what []string
		for _, c := range d.Changed {
			what = append(what, string(c))
		}
		return fmt.Sprintf("status of candidate %s (%s): %s", d.CandidateUID, strings.Join(what, ", "), describeState(d.State))
	}
	return e.Type()
}

// describeCandidate says what Comeet shows of a candidate.
func describeCandidate(c *comeet.Candidate) string {
	if c.Deleted {
		return describeState(events.State{Deleted: true})
	}
	s := events.State{PositionUID: c.PositionUID}
	if c.Status != nil {
		s.Status = *c.Status
	}
	if c.ProspectStatus != nil {
		s.ProspectStatus = *c.ProspectStatus
	}
	for _, step := range c.CurrentSteps {
		s.CurrentSteps = append(s.CurrentSteps, events.Step{Name: step.Name})
	}
	if c.DispositionReason != nil {
		s.DispositionReason = c.DispositionReason.Reason
	}
	return describeState(s)
}

func describeState(s events.State) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+value)
		}
	}
	add("", s.Status)
	for _, step := range s.CurrentSteps {
		add("at ", step.Name)
	}
	add("prospect ", s.ProspectStatus)
	add("position ", s.PositionUID)
	add("because ", s.DispositionReason)
	if s.Deleted {
		parts = append(parts, "deleted")
	}
	if s.Merged {
		parts = append(parts, "merged into another candidate")
	}
	if len(parts) == 0 {
		return "nothing shown"
	}
	return strings.Join(parts, ", ")
}

func describeSourced(s *ledger.Sourced, invalid *events.InvalidError) string {
	what := "published"
	if s.Identity.Replay != "" {
		what = "replayed with mark " + s.Identity.Replay
	}
	if s.Identity.ID != "" {
		what += ": event " + s.Identity.ID
	}
	if s.CandidateID != "" {
		what += ", candidate " + s.CandidateID
	}
	if invalid != nil {
		return what + ", breaking the contract"
	}
	switch p := s.Data.Position; {
	case p.UID != "":
		what += ", position " + p.UID
	case p.CustomID != "":
		what += ", position with custom_id " + p.CustomID
	default:
		what += fmt.Sprintf(", position named %q", p.Name)
	}
	return what
}
