package events_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/events"
)

// Generators of everything that can be encoded. Texts include what JSON must escape. A generator of rapid isn't safe for
// concurrent use, so the tests that share these don't run in parallel.

var (
	word      = rapid.StringMatching(`[A-Za-zÅ-ö0-9<&"\\/ ]{0,20}`)
	visible   = rapid.StringMatching(`[A-Za-zÅ-ö0-9<&"\\/'-]{1,20}`)
	anyText   = rapid.StringOf(rapid.Rune()) // of Comeet: whatever it likes, NUL included
	attribute = rapid.StringMatching(`[!-~å-ö]{1,40}`)
	account   = rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,20}`)
	candidate = rapid.StringMatching(`[A-Za-z0-9._:-]{1,100}`)
	moment    = rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-60_000_000_000, 250_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	maybeMoment = rapid.OneOf(moment, rapid.Just(time.Time{}))
	plain       = rapid.OneOf(
		rapid.Map(word, func(s string) any { return s }), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Just[any](nil),
		rapid.Map(rapid.Int64(), func(i int64) any { return json.Number(fmt.Sprint(i)) }),
		// No fraction with an exponent: the SDK that TestWhatWeWriteConforms reads with stumbles over 0.1e40.
		rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20}|e[+-]?[1-9][0-9]?)?`), func(s string) any { return json.Number(s) }),
	)
	custom = rapid.OneOf(plain, rapid.Map(rapid.SliceOfN(plain, 0, 4), func(s []any) any { return append([]any{}, s...) }))
)

func pointerTo[T any](g *rapid.Generator[T]) *rapid.Generator[*T] {
	return rapid.OneOf(rapid.Just[*T](nil), rapid.Map(g, func(v T) *T { return &v }))
}

// list gives nil rather than an empty list: JSON leaves both out.
func list[T any](g *rapid.Generator[T], most int) *rapid.Generator[[]T] {
	return rapid.Map(rapid.SliceOfN(g, 0, most), func(s []T) []T {
		if len(s) == 0 {
			return nil
		}
		return s
	})
}

var anyFile = rapid.Custom(func(t *rapid.T) events.File {
	f := events.File{Name: visible.Draw(t, "name")}
	switch rapid.IntRange(0, 2).Draw(t, "place") {
	case 0:
		f.Content = rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "content")
	case 1:
		f.Object = &events.Object{Name: rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "object")}
	default:
		f.URL = rapid.StringMatching(`https://[a-z]{1,10}\.test/[!-~]{0,20}`).Draw(t, "url")
	}
	return f
})

var anyPosition = rapid.Custom(func(t *rapid.T) events.Position {
	switch rapid.IntRange(0, 2).Draw(t, "by") {
	case 0:
		return events.Position{UID: visible.Draw(t, "uid")}
	case 1:
		return events.Position{CustomID: visible.Draw(t, "custom id")}
	default:
		return events.Position{Name: visible.Draw(t, "name"), Department: word.Draw(t, "department"), Location: word.Draw(t, "location")}
	}
})

var anySourced = rapid.Custom(func(t *rapid.T) *events.Sourced {
	c := events.Candidate{
		ID: candidate.Draw(t, "id"), FirstName: visible.Draw(t, "first"), LastName: visible.Draw(t, "last"), MiddleName: word.Draw(t, "middle"),
		Email: word.Draw(t, "email"), Phone: word.Draw(t, "phone"), MobilePhone: word.Draw(t, "mobile"), NationalID: word.Draw(t, "national"),
		LinkedInURL: word.Draw(t, "linkedin"), SalaryExpectations: word.Draw(t, "salary"), ProspectStatus: word.Draw(t, "prospect"),
		Note: word.Draw(t, "note"),
		Address: pointerTo(rapid.Custom(func(t *rapid.T) events.Address {
			return events.Address{Country: word.Draw(t, "country"), City: word.Draw(t, "city"), State: word.Draw(t, "state"), Zip: word.Draw(t, "zip"), Street: word.Draw(t, "street")}
		})).Draw(t, "address"),
		Links:  list(rapid.Map(visible, func(u string) events.Link { return events.Link{URL: u} }), 3).Draw(t, "links"),
		Resume: pointerTo(anyFile).Draw(t, "resume"), Picture: pointerTo(anyFile).Draw(t, "picture"), Files: list(anyFile, 3).Draw(t, "files"),
	}
	if rapid.Bool().Draw(t, "has custom fields") {
		c.CustomFields = rapid.MapOfN(visible, custom, 1, 4).Draw(t, "custom fields")
	}
	return &events.Sourced{
		Candidate: c, Position: anyPosition.Draw(t, "position"),
		SourceContact: pointerTo(rapid.Custom(func(t *rapid.T) events.SourceContact {
			return events.SourceContact{FullName: word.Draw(t, "name"), Email: visible.Draw(t, "email"), Phone: word.Draw(t, "phone")}
		})).Draw(t, "contact"),
		SubmissionID: rapid.OneOf(rapid.Just(""), visible).Draw(t, "submission id"),
	}
})

var anyRef = rapid.Custom(func(t *rapid.T) events.SourcedRef {
	return events.SourcedRef{Source: attribute.Draw(t, "source"), ID: attribute.Draw(t, "id")}
})

var anyState = rapid.Custom(func(t *rapid.T) events.State {
	steps := list(rapid.Custom(func(t *rapid.T) events.Step {
		return events.Step{Name: anyText.Draw(t, "name"), Type: anyText.Draw(t, "type"), PositionStepUID: anyText.Draw(t, "uid"), TimeScheduled: anyText.Draw(t, "scheduled"), TimeCompleted: anyText.Draw(t, "completed")}
	}), 3)
	return events.State{
		Status: anyText.Draw(t, "status"), ProspectStatus: anyText.Draw(t, "prospect"), CurrentSteps: steps.Draw(t, "current"),
		CompletedSteps: steps.Draw(t, "completed"), PositionUID: anyText.Draw(t, "position"), PersonUID: anyText.Draw(t, "person"),
		Source: pointerTo(rapid.Custom(func(t *rapid.T) events.CandidateSource {
			return events.CandidateSource{UID: anyText.Draw(t, "uid"), Type: anyText.Draw(t, "type")}
		})).Draw(t, "source"),
		DispositionReason: anyText.Draw(t, "reason"), Deleted: rapid.Bool().Draw(t, "deleted"), Merged: rapid.Bool().Draw(t, "merged"),
	}
})

// ours generates data of the connector's own types: required fields set, all else free.
var ours = rapid.OneOf(
	rapid.Custom(func(t *rapid.T) events.Data {
		return &events.Claimed{
			Account: account.Draw(t, "account"), Operation: attribute.Draw(t, "operation"), State: events.ClaimState(attribute.Draw(t, "state")),
			Attempt: rapid.IntRange(1, 1<<31-1).Draw(t, "attempt"), Doubts: rapid.IntRange(0, 1<<31-1).Draw(t, "doubts"),
			PositionUID: visible.Draw(t, "position"), MatchedBy: events.MatchedBy(attribute.Draw(t, "matched")), PartnerCandidateID: word.Draw(t, "partner"),
			Owner: word.Draw(t, "owner"), ComeetTime: maybeMoment.Draw(t, "comeet time"), Sourced: anyRef.Draw(t, "sourced"),
			CandidateUID: word.Draw(t, "candidate uid"),
		}
	}),
	rapid.Custom(func(t *rapid.T) events.Data {
		return &events.Claimed{Account: account.Draw(t, "account"), Operation: attribute.Draw(t, "operation"), State: events.StateErased}
	}),
	rapid.Custom(func(t *rapid.T) events.Data {
		return &events.Accepted{
			Account: account.Draw(t, "account"), Operation: attribute.Draw(t, "operation"), CandidateID: candidate.Draw(t, "candidate"),
			CandidateUID: attribute.Draw(t, "uid"), PositionUID: anyText.Draw(t, "position"), MatchedBy: events.MatchedBy(attribute.Draw(t, "matched")),
			Outcome: events.Outcome(attribute.Draw(t, "outcome")), Sourced: anyRef.Draw(t, "sourced"), SubmittedAt: maybeMoment.Draw(t, "at"),
		}
	}),
	rapid.Custom(func(t *rapid.T) events.Data {
		return &events.Failed{
			Account: account.Draw(t, "account"), Operation: attribute.Draw(t, "operation"), CandidateID: rapid.OneOf(rapid.Just(""), candidate).Draw(t, "candidate"),
			Reason: events.Reason(attribute.Draw(t, "reason")), Message: anyText.Draw(t, "message"),
			Violations: list(rapid.Custom(func(t *rapid.T) events.Violation {
				return events.Violation{Pointer: anyText.Draw(t, "pointer"), Message: anyText.Draw(t, "message")}
			}), 3).Draw(t, "violations"),
			Comeet: pointerTo(rapid.Custom(func(t *rapid.T) events.ComeetAnswer {
				return events.ComeetAnswer{Status: rapid.IntRange(0, 999).Draw(t, "status"), Error: anyText.Draw(t, "error")}
			})).Draw(t, "comeet"),
			Sourced: pointerTo(anyRef).Draw(t, "sourced"),
			DeadLetter: pointerTo(rapid.Custom(func(t *rapid.T) events.DeadLetter {
				return events.DeadLetter{Stream: attribute.Draw(t, "stream"), Sequence: rapid.Uint64Range(0, 1<<53-1).Draw(t, "sequence")}
			})).Draw(t, "dead letter"),
		}
	}),
	rapid.Custom(func(t *rapid.T) events.Data {
		return &events.StatusChanged{
			Account: account.Draw(t, "account"), Operation: rapid.OneOf(rapid.Just(""), attribute).Draw(t, "operation"),
			CandidateID: rapid.OneOf(rapid.Just(""), candidate).Draw(t, "candidate"), CandidateUID: attribute.Draw(t, "uid"),
			Changed: rapid.SliceOfN(rapid.Map(attribute, func(s string) events.Change { return events.Change(s) }), 1, 4).Draw(t, "changed"),
			Sourced: pointerTo(anyRef).Draw(t, "sourced"), State: anyState.Draw(t, "state"), Previous: pointerTo(anyState).Draw(t, "previous"),
			TimeLastStatusChanged: anyText.Draw(t, "last"), SeenAt: maybeMoment.Draw(t, "seen"),
		}
	}),
)

// anyEvent puts data into a valid event.
func anyEvent(t *rapid.T, data events.Data) event.Event {
	e := events.New(attribute.Draw(t, "event source"), attribute.Draw(t, "event id"), data)
	if at := maybeMoment.Draw(t, "event time"); !at.IsZero() {
		e.SetTime(at)
	}
	e.SetSubject(rapid.OneOf(rapid.Just(""), attribute).Draw(t, "event subject"))
	if rapid.Bool().Draw(t, "has extensions") {
		e.SetExtension(events.ExtTraceparent, traceparent)
		e.SetExtension("xtext", word.Draw(t, "text"))
		e.SetExtension("xbool", rapid.Bool().Draw(t, "bool"))
		e.SetExtension("xint", rapid.Int32().Draw(t, "int"))
	}
	return e
}
