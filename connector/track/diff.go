package track

import (
	"slices"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/events"
)

// statusOver is the status event that a reading asks for over the last one; nil if it shows no
// change. own is what this integration is to Comeet as a source, nil if that is not known yet.
func statusOver(known *events.StatusChanged, r reading, own *events.CandidateSource) *events.StatusChanged {
	previous := bounded(known.State)
	state := previous
	if r.candidate != nil {
		state = stateOver(previous, r.candidate)
	} else {
		state.Merged = true
	}
	changed := changes(previous, state, own)
	if len(changed) == 0 { // guard: status-compares-content
		return nil
	}
	st := &events.StatusChanged{
		Account: known.Account, Operation: known.Operation, CandidateID: known.CandidateID, CandidateUID: r.uid, Sourced: known.Sourced,
		Changed: changed, State: state, Previous: &previous, TimeLastStatusChanged: known.TimeLastStatusChanged, SeenAt: r.seen,
	}
	if r.candidate != nil && !r.candidate.TimeLastStatusChanged.IsZero() {
		st.TimeLastStatusChanged = timeText(r.candidate.TimeLastStatusChanged)
	}
	return st
}

// stateOver is what a candidate's state is by a look at it, over what was known. What Comeet does
// not tell stays as it was known: an absent block means "no permission" or a reduced answer as
// often as "no value", and a deleted candidate shows nothing but its uid. The feed gets what is
// named here and nothing else: no person. It is bounded.
func stateOver(known events.State, c *comeet.Candidate) events.State {
	known.Deleted, known.Merged = c.Deleted, false
	if c.Deleted {
		return bounded(known)
	}
	if c.Status != nil { // guard: untold-status-stays
		known.Status = *c.Status
	}
	if c.ProspectStatus != nil {
		known.ProspectStatus = *c.ProspectStatus
	}
	if c.CurrentSteps != nil {
		known.CurrentSteps = stepsOf(c.CurrentSteps)
	}
	if c.CompletedSteps != nil {
		known.CompletedSteps = stepsOf(c.CompletedSteps)
	}
	if uid := boundedUID(c.PositionUID); uid != "" {
		known.PositionUID = uid
	}
	if uid := boundedUID(c.PersonUID); uid != "" {
		known.PersonUID = uid
	}
	if told := sourceOf(c); told != nil {
		known.Source = told
	}
	switch {
	case c.DispositionReason != nil:
		known.DispositionReason = c.DispositionReason.Reason
	case c.PersonUID != "":
		// A whole answer. No permission guards the reason, so there is none: the candidate was
		// reopened.
		known.DispositionReason = ""
	}
	return bounded(known)
}

// sourceOf is the source that Comeet tells; nil if it tells none, by leaving it out or by null.
func sourceOf(c *comeet.Candidate) *events.CandidateSource {
	if c == nil || c.Source == nil || c.Source.UID == "" && c.Source.Type == "" {
		return nil
	}
	return &events.CandidateSource{UID: c.Source.UID, Type: c.Source.Type}
}

func stepsOf(steps []comeet.Step) []events.Step {
	out := make([]events.Step, 0, len(steps))
	for _, s := range steps {
		out = append(out, events.Step{
			Name: s.Name, Type: s.Type, PositionStepUID: s.PositionStepUID,
			TimeScheduled: timeText(s.TimeScheduled), TimeCompleted: timeText(s.TimeCompleted),
		})
	}
	return out
}

// timeText writes a time as Comeet does.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// changes names what differs between two states. Times of Comeet's are no content: they move
// without a visible change. Nor is it a change when something is told for the first time: Comeet's
// answer to a POST leaves out the person, the uids of steps, and the source, which is own, the
// source that this integration is to Comeet, until somebody changes it. A nil own is not known yet.
func changes(before, after events.State, own *events.CandidateSource) []events.Change {
	var out []events.Change
	note := func(c events.Change, differs bool) {
		if differs {
			out = append(out, c)
		}
	}
	note(events.ChangedStatus, !strings.EqualFold(before.Status, after.Status))
	note(events.ChangedSteps, !sameSteps(before.CurrentSteps, after.CurrentSteps) || !sameSteps(before.CompletedSteps, after.CompletedSteps))
	note(events.ChangedProspectStatus, !strings.EqualFold(before.ProspectStatus, after.ProspectStatus))
	note(events.ChangedPosition, before.PositionUID != after.PositionUID)
	if before.Source == nil {
		before.Source = own
	}
	note(events.ChangedSource, !sameSource(before.Source, after.Source))
	note(events.ChangedDispositionReason, before.DispositionReason != after.DispositionReason)
	note(events.ChangedPerson, before.PersonUID != after.PersonUID && before.PersonUID != "")
	note(events.ChangedDeleted, before.Deleted != after.Deleted)
	note(events.ChangedMerged, before.Merged != after.Merged)
	return out
}

func sameSteps(a, b []events.Step) bool {
	return slices.EqualFunc(a, b, func(x, y events.Step) bool {
		if x.PositionStepUID == "" || y.PositionStepUID == "" {
			x.PositionStepUID, y.PositionStepUID = "", ""
		}
		return x == y
	})
}

// sameSource compares two sources; one that is not known differs from none.
func sameSource(a, b *events.CandidateSource) bool {
	return a == nil || b == nil || a.UID == b.UID && strings.EqualFold(a.Type, b.Type)
}
