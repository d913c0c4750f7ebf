package events_test

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/comeet-connector/comeet-connector/events"
)

const (
	traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	source      = "https://sourcing.example/li"
)

var (
	clock      = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	sourcedRef = events.SourcedRef{Source: source, ID: "0190a6c4"}
)

// stamp adds what the connector puts on every event.
func stamp(e event.Event) event.Event {
	e.SetTime(clock)
	e.SetExtension(events.ExtTraceparent, traceparent)
	return e
}

// typicalSourced is about 1.5 KB on the wire.
func typicalSourced() event.Event {
	return stamp(events.New(source, "0190a6c4", typicalPerson()))
}

func typicalPerson() *events.Sourced {
	return &events.Sourced{
		Candidate: events.Candidate{
			ID: "src-10293", FirstName: "Noor", LastName: "Lindqvist", Email: "noor@example.test", Phone: "+46 555 0100",
			LinkedInURL:  "https://www.linkedin.com/in/example-noor",
			Address:      &events.Address{Country: "SE", City: "Malmö"},
			Links:        []events.Link{{URL: "https://noor.example.test"}, {URL: "https://code.example.test/noor"}},
			CustomFields: map[string]any{"Notice period": "3 months", "Years": json.Number("7"), "Languages": []any{"Swedish", "Arabic"}},
			Note:         strings.Repeat("Met at a conference. ", 24),
			Resume:       &events.File{Name: "cv.pdf", Object: &events.Object{Name: strings.Repeat("9f86d081", 8)}},
		},
		Position:      events.Position{UID: "87.405"},
		SourceContact: &events.SourceContact{FullName: "Dana Reyes", Email: "dana@example.test"},
	}
}

func typicalClaimed() event.Event {
	return stamp(events.New("comeet-connector", "c-1", &events.Claimed{
		Account: "default", Operation: "mfrggzdfmztwq2lknnwg23tpoa", State: events.StateClaimed, Attempt: 1,
		PositionUID: "87.405", MatchedBy: events.MatchedByUID, PartnerCandidateID: "k5zhi3rc-src-10293", Owner: "connector-7d9f",
		ComeetTime: clock, Sourced: sourcedRef,
	}))
}

func typicalAccepted() event.Event {
	return stamp(events.New("comeet-connector", "a-1", &events.Accepted{
		Account: "default", Operation: "mfrggzdfmztwq2lknnwg23tpoa", CandidateID: "src-10293", CandidateUID: "3C.7F2A1",
		PositionUID: "87.405", MatchedBy: events.MatchedByUID, Outcome: events.OutcomeCreated, Sourced: sourcedRef, SubmittedAt: clock,
	}))
}

func typicalFailed() event.Event {
	return stamp(events.New("comeet-connector", "f-1", &events.Failed{
		Account: "default", Operation: "mfrggzdfmztwq2lknnwg23tpoa", CandidateID: "src-10293", Reason: events.ReasonRefused,
		Message: "Comeet refused the candidate; correct the event and publish it again",
		Comeet:  &events.ComeetAnswer{Status: 400, Error: "invalid_email"}, Sourced: &sourcedRef,
		DeadLetter: &events.DeadLetter{Stream: "CANDIDATES_DEADLETTER", Sequence: 17},
	}))
}

func typicalStatusChanged() event.Event {
	screen := events.Step{Name: "CV Screen", Type: "Go/No-go", PositionStepUID: "8B.442"}
	done := screen
	done.TimeCompleted = "2031-02-04T10:00:00Z"
	from := &events.CandidateSource{UID: "1F.2D", Type: "Sourcing"}
	return stamp(events.New("comeet-connector", "s-1", &events.StatusChanged{
		Account: "default", Operation: "mfrggzdfmztwq2lknnwg23tpoa", CandidateID: "src-10293", CandidateUID: "3C.7F2A1",
		Changed: []events.Change{events.ChangedSteps}, Sourced: &sourcedRef,
		State: events.State{
			Status: "In progress", PositionUID: "87.405", PersonUID: "9D.11C04", Source: from,
			CurrentSteps:   []events.Step{{Name: "Technical interview", Type: "In person Interview", PositionStepUID: "8B.443"}},
			CompletedSteps: []events.Step{done},
		},
		Previous:              &events.State{Status: "In progress", PositionUID: "87.405", PersonUID: "9D.11C04", Source: from, CurrentSteps: []events.Step{screen}},
		TimeLastStatusChanged: "2031-02-04T10:00:00Z", SeenAt: clock,
	}))
}

// typicalHired is the last status of many candidates: no step is under way.
func typicalHired() event.Event {
	return stamp(events.New("comeet-connector", "s-2", &events.StatusChanged{
		Account: "default", CandidateID: "src-10293", CandidateUID: "3C.7F2A1", Changed: []events.Change{events.ChangedStatus, events.ChangedSteps},
		State: events.State{Status: "Hired"}, Previous: &events.State{Status: "In progress"}, SeenAt: clock,
	}))
}
