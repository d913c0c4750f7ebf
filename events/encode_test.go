package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/events"
)

func roundTrip(t *rapid.T, data events.Data) {
	e := anyEvent(t, data)
	header, body, err := events.Encode(e)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	got, err := events.Decode(header, body)
	if err != nil {
		t.Fatalf("Decode: %v\n%s", err, body)
	}
	if diff := cmp.Diff(events.Event{Event: e, Data: data}, got); diff != "" {
		t.Fatalf("-encoded +decoded: %s", diff)
	}
	again, body2, err := events.Encode(got.Event)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(body), string(body2)); diff != "" {
		t.Fatalf("not the same bytes: %s", diff)
	}
	if diff := cmp.Diff(header, again); diff != "" {
		t.Fatalf("not the same headers: %s", diff)
	}
	alone, err := events.DataOf(e)
	if diff := cmp.Diff(data, alone); err != nil || diff != "" {
		t.Fatalf("DataOf: %v %s", err, diff)
	}
}

func TestSourcedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, anySourced.Draw(t, "data")) })
}

func TestOwnTypesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, ours.Draw(t, "data")) })
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
		e.SetSource("urn:" + account.Draw(t, "own source")) // the SDK demands a URI reference
		_, body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var sdk event.Event
		if err := json.Unmarshal(body, &sdk); err != nil {
			t.Fatalf("the SDK can't read it: %v\n%s", err, body)
		}
		if diff := cmp.Diff(e, sdk); diff != "" {
			t.Fatalf("-encoded +read by the SDK: %s", diff)
		}
		data, err := jsonschema.UnmarshalJSON(strings.NewReader(string(sdk.Data())))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled[e.Type()].Validate(data); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
	})
}

// TestSourceIsKept: the operation of an event hangs on the very text of its source, also where that
// is no URI, or one that net/url would write in another way.
func TestSourceIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(attribute, rapid.SampledFrom([]string{
			"urn:söurce", "https://x.test/ä?q=ö ö#f", "a b", "%zz", "e:%", "//host", "?", "#", ":", "http://[::1", "https://x.test/%7e/%C3%a4?#",
		})).Draw(t, "source")
		if got := events.New(text, "1", nil).Source(); got != text {
			t.Fatalf("New: %q became %q", text, got)
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(nil, []byte(`{"specversion":"1.0","id":"1","source":`+string(quoted)+`,"type":"candidate.sourced","data":`+smallData+`}`))
		if err != nil || e.Source() != text {
			t.Fatalf("Decode: %q became %q, %v", text, e.Source(), err)
		}
	})
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	outcome := stamp(events.New("comeet-connector", "a-1", &events.Accepted{
		Account: "default", Operation: "op", CandidateID: "c-1", CandidateUID: "3C.7F2A1", PositionUID: "87.405", MatchedBy: events.MatchedByUID,
		Outcome: events.OutcomeCreated, SubmittedAt: clock, Sourced: events.SourcedRef{Source: "urn:söurce 1", ID: `50% "off"`},
	}))
	unreadable := events.New("comeet-connector", "f-2", &events.Failed{Account: "default", Operation: "op", Reason: events.ReasonInvalidEvent, Message: "m"})
	malformed := unreadable.Clone()
	malformed.SetExtension(events.ExtTraceparent, "00-not-a-trace")
	ceJSON := []string{"application/cloudevents+json"}
	for _, tt := range []struct {
		name  string
		event event.Event
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
			got, body, err := events.Encode(tt.event)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			data, err := events.DataOf(tt.event)
			if err != nil {
				t.Fatal(err)
			}
			// The method of the connector, which checks less, writes the same.
			header, again, err := events.Event{Event: tt.event, Data: data}.Encode()
			if err != nil || !bytes.Equal(again, body) || !cmp.Equal(header, got) {
				t.Errorf("%v, %s\n%v, %s, %v", got, body, header, again, err)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	attributes := func(change func(*event.Event)) event.Event {
		e := typicalSourced()
		change(&e)
		return e
	}
	data := func(change func(*events.Sourced)) event.Event {
		s := typicalPerson()
		change(s)
		return events.New("s", "i", s)
	}
	const types = "/type must be one of candidate.sourced, candidate.submission.claimed, candidate.submission.accepted, candidate.submission.failed, candidate.status.changed"
	var none *events.Claimed
	for _, tt := range []struct {
		name  string
		event event.Event
		want  []string
	}{
		{"nothing", event.Event{}, []string{"/data is required", "/id must not be blank", "/source must not be blank", "/specversion must be 1.0", types}},
		{"no data", events.New("s", "i", nil), []string{"/data is required", types}},
		{"nil pointer", events.New("s", "i", none), []string{"/data is required"}},
		{"foreign type", attributes(func(e *event.Event) { e.SetType("secret") }), []string{types}},
		{"old version", attributes(func(e *event.Event) { e.SetSpecVersion("0.3") }), []string{"/specversion must be 1.0"}},
		{"what the SDK refuses", attributes(func(e *event.Event) {
			e.SetSource("%secret")
			e.SetDataSchema("%secret")
			e.SetExtension("secret_name", "x")
			e.SetExtension("account", []int{1})
		}), []string{
			"/* must be a value that the CloudEvents SDK takes", "/account must be a value that the CloudEvents SDK takes",
			"/dataschema must be a value that the CloudEvents SDK takes", "/source must be a value that the CloudEvents SDK takes",
		}},
		{"attributes", attributes(func(e *event.Event) {
			e.SetID(strings.Repeat("x", 513))
			e.SetTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
			e.SetDataContentType("application/xml")
			c := e.Context.(*event.EventContextV1)
			c.Subject = new(string)
			*c.Subject = "\x00"
			c.Extensions = map[string]any{"Not Valid": "x", "traceparent": "a\x00b", "data": "x", "account": struct{}{}}
		}), []string{
			"/* must have a name of 1 to 64 lower-case letters and digits", "/account must be string, boolean or 32-bit integer",
			"/data must have a name of 1 to 64 lower-case letters and digits", "/datacontenttype must be a JSON media type",
			"/id must have at most 512 bytes", "/subject must not hold control characters",
			"/time must be a date and time of RFC 3339", "/traceparent must not hold control characters",
		}},
		{"source", events.New("a\nb", "i", typicalPerson()), []string{"/source must not hold control characters"}},
		{"data", data(func(s *events.Sourced) {
			s.Candidate.ID, s.Candidate.LastName, s.Position.Name = "no spaces", " ", "Engineer"
		}), []string{
			`/data/candidate/id must match ^[A-Za-z0-9._:-]{1,100}$`, "/data/candidate/last_name must not be blank",
			"/data/position must have exactly one of uid, custom_id, name",
		}},
		{"not JSON", data(func(s *events.Sourced) { s.Candidate.CustomFields["x"] = math.NaN() }), []string{
			"/data must be writable as JSON (numbers finite, years from 0 to 9999)",
		}},
		{"large content", data(func(s *events.Sourced) {
			s.Candidate.Resume = &events.File{Name: "cv.pdf", Content: make([]byte, events.MaxContentBytes+1)}
		}), []string{"/data/candidate/resume/content must be at most 524288 bytes when decoded"}},
		{"own type, no JSON", attributes(func(e *event.Event) {
			e.SetType(events.TypeAccepted)
			e.DataEncoded = []byte(`{"secret"`)
		}), []string{"the event must be JSON: syntax error at byte 326"}},
		{"data that is more than data", attributes(func(e *event.Event) {
			e.DataEncoded = append(e.DataEncoded, `,"id":"secret"`...)
		}), []string{"/id must not appear twice"}},
		{"own type, no object", attributes(func(e *event.Event) {
			e.SetType(events.TypeAccepted)
			e.DataEncoded = []byte(`null`)
		}), []string{"/data must be object"}},
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
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error leaks: %v", err)
			}
		})
	}
}

func TestLargestContent(t *testing.T) {
	t.Parallel()
	person := typicalPerson()
	person.Candidate.Resume = &events.File{Name: "cv.pdf", Content: make([]byte, events.MaxContentBytes)}
	header, body, err := events.Encode(events.New(source, "e1", person))
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
