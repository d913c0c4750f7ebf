package track

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/comeet-connector/comeet-connector/events"
)

// Bounds of what is taken over from Comeet into a status event. An event has the state twice, and
// must stay below what the bus takes and what events.Decode reads, whatever Comeet writes.
const (
	maxSteps       = 64       // of each list, the last ones
	maxStepsBytes  = 32 << 10 // of each list, as JSON
	maxTextBytes   = 512
	maxReasonBytes = 4 << 10
	maxUIDBytes    = 256 // a longer one is none
)

// bounded is a state within the bounds. A state within them stays as it is.
func bounded(s events.State) events.State {
	s.Status = boundedText(s.Status, maxTextBytes)
	s.ProspectStatus = boundedText(s.ProspectStatus, maxTextBytes)
	s.DispositionReason = boundedText(s.DispositionReason, maxReasonBytes)
	s.PositionUID = boundedUID(s.PositionUID)
	s.PersonUID = boundedUID(s.PersonUID)
	s.CurrentSteps = boundedSteps(s.CurrentSteps)
	s.CompletedSteps = boundedSteps(s.CompletedSteps)
	if s.Source != nil {
		s.Source = &events.CandidateSource{UID: boundedUID(s.Source.UID), Type: boundedText(s.Source.Type, maxTextBytes)}
	}
	return s
}

// boundedSteps keeps the last steps that fit.
func boundedSteps(steps []events.Step) []events.Step {
	if len(steps) == 0 {
		return steps
	}
	first, size := len(steps), 0
	out := make([]events.Step, len(steps))
	for first > 0 && len(steps)-first < maxSteps {
		s := steps[first-1]
		s.Name, s.Type = boundedText(s.Name, maxTextBytes), boundedText(s.Type, maxTextBytes)
		s.PositionStepUID = boundedUID(s.PositionStepUID)
		s.TimeScheduled, s.TimeCompleted = boundedText(s.TimeScheduled, maxTextBytes), boundedText(s.TimeCompleted, maxTextBytes)
		encoded, err := json.Marshal(s)
		if size += len(encoded); err != nil || size > maxStepsBytes {
			break
		}
		first--
		out[first] = s
	}
	return out[first:]
}

// boundedText cuts a text where a character ends.
func boundedText(s string, limit int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func boundedUID(s string) string {
	if len(s) > maxUIDBytes || !utf8.ValidString(s) {
		return ""
	}
	return s
}
