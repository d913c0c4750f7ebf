package events

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/comeet-connector/comeet-connector/schemas"
)

const (
	messageType    = "must be one of "
	messageVersion = "must be 1.0"
	messageField   = "must be a value that the CloudEvents SDK takes"
	messageData    = "must be writable as JSON (numbers finite, years from 0 to 9999)"
)

// Encode writes an event, of New or of the SDK, in the structured encoding, with its headers: the
// content type, the trace context, and on claims, outcomes and status events which sourced event
// they are about (HeaderSourcedSource, HeaderSourcedID). Equal events give equal bytes.
//
// The only error is *InvalidError. The event is validated whole, by the rules of Decode, which the
// connector will apply.
func Encode(e event.Event) (Header, []byte, error) {
	w, err := newWriter(e)
	if err != nil {
		return nil, nil, err
	}
	body := w.body()
	read, err := Decode(Header{HeaderContentType: {ContentType}}, body)
	if err != nil {
		return nil, nil, err
	}
	return w.headers(read.Data), body, nil
}

// Encode writes an event of New whose data is at hand, like the function Encode, but checks the
// attributes alone: it is for the connector, which knows what it writes.
func (e Event) Encode() (Header, []byte, error) {
	if e.Data == nil {
		return Encode(e.Event)
	}
	w, err := newWriter(e.Event)
	if err != nil {
		return nil, nil, err
	}
	return w.headers(e.Data), w.body(), nil
}

// writer holds an event's valid attributes, and its data. source is that of the attributes, as
// text.
type writer struct {
	*event.EventContextV1
	source string
	data   []byte
}

// newWriter returns an *InvalidError if it finds a defect in the attributes, or no data.
func newWriter(e event.Event) (*writer, error) {
	attributes, isV1 := e.Context.(*event.EventContextV1)
	if !isV1 {
		attributes = &event.EventContextV1{}
		if e.Context != nil {
			attributes = e.Context.AsV1()
		}
	}
	w := &writer{attributes, attributes.Source.String(), e.Data()}
	found := w.defects()
	if !isV1 {
		found = append(found, Violation{"/specversion", messageVersion})
	}
	for field := range e.FieldErrors { // the SDK's errors quote values
		problem := messageField
		if field == "data" {
			problem = messageData
		}
		found = append(found, Violation{"/" + shown(strings.TrimPrefix(field, "extension:")), problem})
	}
	if len(w.data) == 0 && e.FieldErrors["data"] == nil {
		found = append(found, Violation{"/data", "is required"})
	}
	if len(found) > 0 {
		return nil, &InvalidError{Violations: tidy(found)}
	}
	return w, nil
}

// body writes an event whose attributes are valid.
func (w *writer) body() []byte {
	b := make([]byte, 0, 512+len(w.data)+len(w.source))
	b = append(b, `{"specversion":"1.0"`...)
	b = appendMember(b, "id", w.ID)
	b = appendMember(b, "source", w.source)
	b = appendMember(b, "type", w.Type)
	b = appendMember(b, "subject", w.GetSubject())
	if at := w.GetTime(); !at.IsZero() {
		b = appendMember(b, "time", at.UTC().Format(time.RFC3339Nano))
	}
	b = appendMember(b, "datacontenttype", w.GetDataContentType())
	b = appendMember(b, "dataschema", w.GetDataSchema())
	for _, name := range slices.Sorted(maps.Keys(w.Extensions)) {
		b = appendExtension(b, name, w.Extensions[name])
	}
	b = append(b, `,"data":`...)
	b = append(b, w.data...)
	return append(b, '}')
}

// headers gives the headers beside a structured event.
func (w *writer) headers(data Data) Header {
	h := make(Header, 4)
	values := make([]string, 0, 4) // of all headers, in one allocation
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set(HeaderContentType, ContentType)
	if tp := traceparent(w.Extensions); tp != "" {
		set(HeaderTraceparent, tp)
	}
	if about := data.about(); about != nil {
		set(HeaderSourcedSource, percentEncode(about.Source))
		set(HeaderSourcedID, percentEncode(about.ID))
	}
	return h
}

// defects checks the attributes.
func (w *writer) defects() (found []Violation) {
	check := func(name, problem string) {
		if problem != "" {
			found = append(found, Violation{"/" + shown(name), problem})
		}
	}
	optional := func(name, text string, limit int) {
		if text != "" {
			check(name, textDefect(text, limit))
		}
	}
	if schemas.ID(w.Type) == "" {
		check("type", messageType+strings.Join(schemas.Types(), ", "))
	}
	check("id", textDefect(w.ID, MaxAttributeBytes))
	check("source", textDefect(w.source, MaxAttributeBytes))
	optional("subject", w.GetSubject(), MaxAttributeBytes)
	optional("dataschema", w.GetDataSchema(), MaxExtensionBytes)
	optional("datacontenttype", w.GetDataContentType(), MaxAttributeBytes)
	if ct := w.GetDataContentType(); ct != "" && !isJSON(mediaType(ct)) {
		check("datacontenttype", messageMediaType)
	}
	if year := w.GetTime().UTC().Year(); year < 0 || year > 9999 {
		check("time", messageTime)
	}
	for name, value := range w.Extensions {
		problem := messageExtensionName
		if validExtensionName(name) {
			problem = messageExtensionType
			if text, err := types.Format(value); err == nil {
				problem = boundedDefect(text, MaxExtensionBytes)
			}
		}
		check(name, problem)
	}
	if len(w.Extensions) > MaxExtensions {
		found = append(found, Violation{"", messageExtensions})
	}
	return found
}

// appendMember appends a member of an object after another one, if it has a value. name needs no
// escaping.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b, _ = jsontext.AppendQuote(appendName(b, name), value) // value is valid UTF-8
	return b
}

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// appendExtension keeps the types that JSON has.
func appendExtension(b []byte, name string, value any) []byte {
	b = appendName(b, name)
	value, _ = types.Validate(value) // was checked
	switch v := value.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case int32:
		return strconv.AppendInt(b, int64(v), 10)
	}
	text, _ := types.Format(value)
	b, _ = jsontext.AppendQuote(b, text)
	return b
}
