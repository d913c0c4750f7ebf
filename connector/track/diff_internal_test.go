package track

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/events"
)

// What a reading makes of what was known, and what of that is a change.
func TestStatusOver(t *testing.T) {
	t.Parallel()
	own := &events.CandidateSource{UID: "A.1", Type: "App"}
	known := events.State{
		Status: "In progress", PositionUID: "87.405", DispositionReason: "not a fit",
		CurrentSteps: []events.Step{{Name: "CV review", Type: "Review"}},
	}
	tests := []struct {
		name    string
		known   func(*events.State)
		reading *comeet.Candidate // nil is a merge
		want    []events.Change   // none means no event
		state   func(*events.State)
	}{
		{name: "a row with nothing but the uid", reading: &comeet.Candidate{}},
		{name: "the status in other letters", reading: &comeet.Candidate{Status: new("IN PROGRESS")}},
		{
			name: "a blank status", reading: &comeet.Candidate{Status: new("")},
			want: []events.Change{events.ChangedStatus}, state: func(s *events.State) { s.Status = "" },
		},
		{name: "a step's uid for the first time", reading: &comeet.Candidate{CurrentSteps: []comeet.Step{{Name: "CV review", Type: "Review", PositionStepUID: "S.1"}}}},
		{
			name: "another step", reading: &comeet.Candidate{CurrentSteps: []comeet.Step{{Name: "Offer call"}}},
			want: []events.Change{events.ChangedSteps}, state: func(s *events.State) { s.CurrentSteps = []events.Step{{Name: "Offer call"}} },
		},
		{name: "the integration's own source for the first time", reading: &comeet.Candidate{Source: &comeet.Source{UID: "A.1", Type: "app"}}},
		{
			name: "another source", reading: &comeet.Candidate{Source: &comeet.Source{UID: "2A.1", Type: "Agency"}},
			want: []events.Change{events.ChangedSource}, state: func(s *events.State) { s.Source = &events.CandidateSource{UID: "2A.1", Type: "Agency"} },
		},
		{
			name: "a whole answer without a reason", known: func(s *events.State) { s.PersonUID = "P.1" }, reading: &comeet.Candidate{PersonUID: "P.1"},
			want: []events.Change{events.ChangedDispositionReason}, state: func(s *events.State) { s.DispositionReason = "" },
		},
		{
			name: "deleted, which shows nothing else", reading: &comeet.Candidate{Deleted: true, Status: new("Hired")},
			want: []events.Change{events.ChangedDeleted}, state: func(s *events.State) { s.Deleted = true },
		},
		{name: "merged", want: []events.Change{events.ChangedMerged}, state: func(s *events.State) { s.Merged = true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := known
			if tt.known != nil {
				tt.known(&before)
			}
			last := &events.StatusChanged{Account: "acme", Operation: "op", CandidateID: "c1", CandidateUID: "CA.1", State: before, TimeLastStatusChanged: "earlier"}
			seen := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			got := statusOver(last, reading{uid: "CA.1", candidate: tt.reading, seen: seen}, own)
			if len(tt.want) == 0 {
				if got != nil {
					t.Errorf("it changed %v", got.Changed)
				}
				return
			}
			after := before
			tt.state(&after)
			want := *last
			want.Changed, want.State, want.Previous, want.SeenAt = slices.Clone(tt.want), after, &before, seen
			if d := cmp.Diff(&want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
