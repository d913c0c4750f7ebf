package events_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/events"
)

func roundTrip(t *rapid.T, e events.Event) {
	header, body, err := events.Encode(e)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	got, err := events.Decode(header, body)
	if err != nil {
		t.Fatalf("Decode: %v\n%s", err, body)
	}
	if diff := cmp.Diff(e, got); diff != "" {
		t.Fatalf("-encoded +decoded: %s", diff)
	}
	again, body2, err := events.Encode(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(body), string(body2)); diff != "" {
		t.Fatalf("not the same bytes: %s", diff)
	}
	if diff := cmp.Diff(header, again); diff != "" {
		t.Fatalf("not the same headers: %s", diff)
	}
}

func TestSourcedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, anyEvent(t, anySourced.Draw(t, "data"))) })
}

func TestOwnTypesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, anyEvent(t, ours.Draw(t, "data"))) })
}

// TestWhatWeWriteConforms: foreign readers can validate everything that Encode writes.
func TestWhatWeWriteConforms(t *testing.T) {
	compiled := map[string]*jsonschema.Schema{}
	for _, data := range allData() {
		compiled[data.EventType()] = compile(t, data.EventType())
	}
	all := rapid.OneOf(ours, rapid.Map(anySourced, func(s *events.Sourced) events.Data { return s }))
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t, all.Draw(t, "data"))
		e.Source = "urn:" + account.Draw(t, "own source") // the SDK demands a URI reference
		_, body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var sdk cloudevents.Event
		if err := json.Unmarshal(body, &sdk); err != nil {
			t.Fatalf("the SDK can't read it: %v\n%s", err, body)
		}
		if sdk.ID() != e.ID || sdk.Type() != e.Type || sdk.Subject() != e.Subject || !sdk.Time().Equal(e.Time) || sdk.DataSchema() != e.DataSchema {
			t.Fatalf("the SDK reads %v", sdk)
		}
		data, err := jsonschema.UnmarshalJSON(strings.NewReader(string(sdk.Data())))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled[e.Type].Validate(data); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
	})
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	outcome := typicalAccepted()
	outcome.Data.(*events.Accepted).Sourced = events.SourcedRef{Source: "urn:söurce 1", ID: `50% "off"`}
	unreadable := events.New("comeet-connector", "f-2", &events.Failed{Account: "default", Operation: "op", Reason: events.ReasonInvalidEvent, Message: "m"})
	malformed := unreadable
	malformed.Extensions = map[string]string{events.ExtTraceparent: "00-not-a-trace"}
	ceJSON := []string{"application/cloudevents+json"}
	for _, tt := range []struct {
		name  string
		event events.Event
		want  events.Header
	}{
		{"sourced", typicalSourced(), events.Header{"Content-Type": ceJSON, "traceparent": {traceparent}}},
		{"claimed", typicalClaimed(), events.Header{"Content-Type": ceJSON, "traceparent": {traceparent}, "sourced-source": {source}, "sourced-id": {"0190a6c4"}}},
		{"failed", typicalFailed(), events.Header{"Content-Type": ceJSON, "traceparent": {traceparent}, "sourced-source": {source}, "sourced-id": {"0190a6c4"}}},
		{"status", typicalStatusChanged(), events.Header{"Content-Type": ceJSON, "traceparent": {traceparent}, "sourced-source": {source}, "sourced-id": {"0190a6c4"}}},
		{"percent-encoded", outcome, events.Header{"Content-Type": ceJSON, "traceparent": {traceparent}, "sourced-source": {"urn:s%C3%B6urce%201"}, "sourced-id": {"50%25%20%22off%22"}}},
		{"erased", events.New("comeet-connector", "c-2", &events.Claimed{Account: "default", Operation: "op", State: events.StateErased}), events.Header{"Content-Type": ceJSON}},
		{"sourced event unreadable", unreadable, events.Header{"Content-Type": ceJSON}},
		{"malformed trace", malformed, events.Header{"Content-Type": ceJSON}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := events.Encode(tt.event)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	with := func(change func(*events.Event, *events.Sourced)) events.Event {
		e := typicalSourced()
		change(&e, e.Data.(*events.Sourced))
		return e
	}
	var none *events.Claimed
	for _, tt := range []struct {
		name  string
		event events.Event
		want  []string
	}{
		{"nothing", events.Event{}, []string{"/data is required", "/id must not be blank", "/source must not be blank"}},
		{"nil pointer", events.New("s", "i", none), []string{"/data is required"}},
		{"wrong type", with(func(e *events.Event, _ *events.Sourced) { e.Type = events.TypeFailed }), []string{"/type must be that of the data, candidate.sourced"}},
		{"attributes", with(func(e *events.Event, _ *events.Sourced) {
			e.ID, e.Source, e.Subject = strings.Repeat("x", 513), "a\nb", " "
			e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			e.Extensions = map[string]string{"Not Valid": "x", "traceparent": "a\x00b", "data": "x"}
		}), []string{
			"/* must have a name of 1 to 64 lower-case letters and digits", "/data must have a name of 1 to 64 lower-case letters and digits",
			"/id must have at most 512 bytes", "/source must not hold control characters", "/subject must not be blank",
			"/time must be a date and time of RFC 3339", "/traceparent must not hold control characters",
		}},
		{"data", with(func(_ *events.Event, s *events.Sourced) {
			s.Candidate.ID, s.Candidate.LastName, s.Position.Name = "no spaces", " ", "Engineer"
		}), []string{
			`/data/candidate/id must match ^[A-Za-z0-9._:-]{1,100}$`, "/data/candidate/last_name must not be blank",
			"/data/position must have exactly one of uid, custom_id, name",
		}},
		{"not JSON", with(func(_ *events.Event, s *events.Sourced) { s.Candidate.CustomFields["x"] = math.NaN() }), []string{
			"/data must be writable as JSON (numbers finite, years from 0 to 9999)",
		}},
		{"large content", with(func(_ *events.Event, s *events.Sourced) {
			s.Candidate.Resume = &events.File{Name: "cv.pdf", Content: make([]byte, events.MaxContentBytes+1)}
		}), []string{"/data/candidate/resume/content must be at most 524288 bytes when decoded"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header, body, err := events.Encode(tt.event)
			if header != nil || body != nil {
				t.Errorf("gave %d headers, %d bytes", len(header), len(body))
			}
			if diff := cmp.Diff(tt.want, violations(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLargestContent(t *testing.T) {
	t.Parallel()
	e := typicalSourced()
	e.Data.(*events.Sourced).Candidate.Resume = &events.File{Name: "cv.pdf", Content: make([]byte, events.MaxContentBytes)}
	header, body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Decode(header, body)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Data.(*events.Sourced).Candidate.Resume.Content); n != events.MaxContentBytes {
		t.Errorf("%d bytes", n)
	}
}

// violations returns the texts of an InvalidError, and fails the test for any other error.
func violations(t testing.TB, err error) (texts []string) {
	t.Helper()
	invalid, ok := errors.AsType[*events.InvalidError](err)
	if !ok {
		t.Fatalf("error = %v", err)
	}
	for _, v := range invalid.Violations {
		texts = append(texts, v.String())
	}
	return texts
}
