package events

import (
	stdjson "encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/comeet-connector/comeet-connector/schemas"
)

// The event types: the CloudEvents attribute type, and the head of the subject.
const (
	TypeSourced       = "candidate.sourced"             // written by sourcing services; data is Sourced
	TypeClaimed       = "candidate.submission.claimed"  // data is Claimed
	TypeAccepted      = "candidate.submission.accepted" // data is Accepted
	TypeFailed        = "candidate.submission.failed"   // data is Failed
	TypeStatusChanged = "candidate.status.changed"      // data is StatusChanged
)

// Names of plain message headers, exactly as Encode writes them (all but HeaderTracestate);
// nats.Header looks names up by exact case.
const (
	// HeaderContentType tells the encoding. Decode takes any case, as of every header.
	HeaderContentType = "Content-Type"
	// HeaderTraceparent is the W3C trace context of the event, for tools that don't look into it.
	// Decode uses it when the event has no traceparent of its own.
	HeaderTraceparent = "traceparent"
	// HeaderTracestate is read together with HeaderTraceparent, never written.
	HeaderTracestate = "tracestate"
	// HeaderSourcedSource is, on claims, outcomes and status events, the source of the sourced
	// event, percent-encoded like the headers of a binary CloudEvent, so that a sourcing service
	// can pick its own without parsing the others.
	HeaderSourcedSource = "sourced-source"
	// HeaderSourcedID is the id of the sourced event, like HeaderSourcedSource.
	HeaderSourcedID = "sourced-id"
)

// ContentType is the content type that Encode writes.
const ContentType = "application/cloudevents+json"

// Extension attributes that this contract gives a meaning.
const (
	ExtAccount     = "account"     // account of a sourced event; must agree with its subject, which alone routes
	ExtTraceparent = "traceparent" // W3C trace context, from the sourced event through to every event about it
	ExtTracestate  = "tracestate"  // goes with traceparent
)

// Bounds of an event.
const (
	MaxAttributeBytes = 512    // of id, source and subject each
	MaxExtensionBytes = 4096   // of the value of an extension, and of dataschema
	MaxExtensions     = 64     // per event
	MaxValues         = 10_000 // JSON values in an event, unknown fields included
	MaxDepth          = 32     // levels of nesting
	MaxViolations     = 32     // listed in an InvalidError
)

// Header holds the headers of a message. nats.Header and http.Header convert to it.
type Header = map[string][]string

// Data is what an event says: *Sourced, *Claimed, *Accepted, *Failed or *StatusChanged.
type Data interface {
	// EventType returns the event type that has this data. It works on a nil pointer.
	EventType() string
	// about returns the sourced event that the event tells about, nil if it is one itself or
	// doesn't know.
	about() *SourcedRef
}

// Event is a CloudEvent of this contract: the SDK's event, and its data in the Go type that belongs
// to it. Code that knows the SDK alone takes the embedded event. Its attributes are bounded: id,
// source and subject by MaxAttributeBytes, without control characters. Source is compared, never
// resolved, so its text stays as it was published.
type Event struct {
	event.Event
	// Data is what the bytes of Event.Data() say. It is nil only beside an error.
	Data Data
}

// New returns an event with that data, its type, and the schema's id. The caller sets time, subject
// and extensions as needed. Encode reports data that JSON can't hold.
func New(source, id string, data Data) event.Event {
	attributes := &event.EventContextV1{ID: id, Source: types.URIRef{URL: reference(source)}}
	e := event.Event{Context: attributes}
	if data == nil {
		return e
	}
	contentType := event.ApplicationJSON
	attributes.Type, attributes.DataContentType = data.EventType(), &contentType
	attributes.DataSchema = &types.URI{URL: opaque(schemas.ID(attributes.Type))}
	encoded, err := stdjson.Marshal(data)
	switch {
	case err != nil:
		e.FieldErrors = map[string]error{"data": err} // as the SDK's setters do
	case string(encoded) != "null":
		e.DataEncoded = encoded
	}
	return e
}

// reference makes a URI that gives back exactly the text that it was made of, which url.Parse may
// refuse or write in another way. Then the event would be another one.
func reference(text string) url.URL {
	if u, err := url.Parse(text); err == nil && u.String() == text {
		return *u
	}
	return opaque(text)
}

// opaque makes a URI that gives back its text, without looking into it.
func opaque(text string) url.URL {
	if scheme, rest, ok := strings.Cut(text, ":"); ok && scheme != "" {
		return url.URL{Scheme: scheme, Opaque: rest}
	}
	return url.URL{Opaque: text}
}

// DataOf validates the data of an event that came by another way than Decode, such as the SDK's
// receiver, and reads it into the Go type of the event's type. The only error is *InvalidError.
func DataOf(e event.Event) (Data, error) {
	var d decoder
	if problem := d.attribute("type", e.Type()); problem != "" {
		d.defect("/type", problem)
	}
	d.dataBody(e.Data())
	if err := d.invalid(); err != nil {
		return nil, err
	}
	return d.data, nil
}

// Traceparent returns the W3C trace context of the event, "" if it has none or a malformed one.
func (e Event) Traceparent() string { return traceparent(e.Extensions()) }

func traceparent(extensions map[string]any) string {
	if tp, ok := extensions[ExtTraceparent].(string); ok && wellFormedTraceparent(tp) {
		return tp
	}
	return ""
}

// Violation is one broken rule of an event.
type Violation struct {
	// Pointer is the JSON pointer (RFC 6901) into the event as it is, or would be, in the
	// structured format: "/id", "/data/candidate/id"; "" means the event as a whole. Names chosen
	// by the publisher are shown as "*".
	Pointer string `json:"pointer"`
	// Message tells the rule, never the value: "must have at most 256 characters".
	Message string `json:"message"`
}

// String returns both as one text.
func (v Violation) String() string {
	if v.Pointer == "" {
		return "the event " + v.Message
	}
	return v.Pointer + " " + v.Message
}

// InvalidError tells everything that is wrong with an event. It holds no value out of the event but
// CandidateID, which Error leaves out.
type InvalidError struct {
	// Violations are sorted by pointer, at most MaxViolations; if there are more, the last entry
	// says how many.
	Violations []Violation
	// CandidateID is candidate.id of a sourced event if it could be read and has the documented
	// form, else "".
	CandidateID string
}

// Error lists the violations. It is safe to log and to publish.
func (e *InvalidError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "invalid event (%d):", len(e.Violations))
	for i, v := range e.Violations {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteByte(' ')
		b.WriteString(v.String())
	}
	return b.String()
}

// wellFormedTraceparent accepts version-traceid-parentid-flags of W3C Trace Context. Versions after
// 00 may append fields. Package comeet has the same rule, since it is usable without this one; its
// TestTraceparentIsCheckedBeforeItIsSent holds them together.
func wellFormedTraceparent(tp string) bool {
	if len(tp) < 55 || len(tp) > 512 || tp[2] != '-' || tp[35] != '-' || tp[52] != '-' {
		return false
	}
	for i, c := range []byte(tp[:55]) {
		if i != 2 && i != 35 && i != 52 && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	version, trace, parent, more := tp[:2], tp[3:35], tp[36:52], tp[55:]
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	if more != "" && (version == "00" || more[0] != '-' || strings.ContainsFunc(more, unprintable)) {
		return false
	}
	return version != "ff" && strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}
