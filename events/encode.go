package events

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
	"unicode/utf8"
)

// Encode writes an event in the structured encoding, with its headers: the content type, the trace context, and on
// claims, outcomes and status events which sourced event they are about (HeaderSourcedSource, HeaderSourcedID).
// Equal events give equal bytes.
//
// The only error is *InvalidError. A sourced event is validated whole, by the rules that the connector will apply. Of
// the connector's own types only the attributes are checked; their data is valid if the required fields are set.
func Encode(e Event) (Header, []byte, error) {
	found := attributeDefects(e)
	if len(found) > 0 {
		return nil, nil, &InvalidError{Violations: tidy(found)}
	}
	data, err := json.Marshal(e.Data)
	if err != nil {
		// err quotes the value.
		return nil, nil, &InvalidError{Violations: []Violation{{"/data", "must be writable as JSON (numbers finite, years from 0 to 9999)"}}}
	}
	body := make([]byte, 0, 512+len(data)+len(e.Source)+len(e.Subject)+len(e.DataSchema))
	body = append(body, `{"specversion":"1.0"`...)
	body = appendMember(body, "id", e.ID)
	body = appendMember(body, "source", e.Source)
	body = appendMember(body, "type", e.Data.EventType())
	if e.Subject != "" {
		body = appendMember(body, "subject", e.Subject)
	}
	if !e.Time.IsZero() {
		body = append(body, `,"time":"`...)
		body = e.Time.UTC().AppendFormat(body, time.RFC3339Nano)
		body = append(body, '"')
	}
	body = append(body, `,"datacontenttype":"application/json"`...)
	if e.DataSchema != "" {
		body = appendMember(body, "dataschema", e.DataSchema)
	}
	if len(e.Extensions) > 0 {
		for _, name := range slices.Sorted(maps.Keys(e.Extensions)) {
			body = appendMember(body, name, e.Extensions[name])
		}
	}
	body = append(body, `,"data":`...)
	body = append(body, data...)
	body = append(body, '}')

	if e.Data.EventType() == TypeSourced {
		if _, err := Decode(Header{HeaderContentType: {ContentType}}, body); err != nil {
			return nil, nil, err
		}
	}
	return headersOf(e), body, nil
}

// headersOf gives the headers beside a structured event.
func headersOf(e Event) Header {
	h := make(Header, 4)
	values := make([]string, 0, 4) // of all headers, in one allocation
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set(HeaderContentType, ContentType)
	if tp := e.Traceparent(); tp != "" {
		set(HeaderTraceparent, tp)
	}
	if ref := e.Data.about(); ref != nil {
		set(HeaderSourcedSource, percentEncode(ref.Source))
		set(HeaderSourcedID, percentEncode(ref.ID))
	}
	return h
}

// attributeDefects checks all but the data.
func attributeDefects(e Event) (found []Violation) {
	check := func(name, problem string) {
		if problem != "" {
			found = append(found, Violation{"/" + name, problem})
		}
	}
	check("id", textDefect(e.ID, MaxAttributeBytes))
	check("source", textDefect(e.Source, MaxAttributeBytes))
	if e.Subject != "" {
		check("subject", textDefect(e.Subject, MaxAttributeBytes))
	}
	if e.DataSchema != "" {
		check("dataschema", textDefect(e.DataSchema, MaxExtensionBytes))
	}
	if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
		check("time", messageTime)
	}
	switch {
	case isNil(e.Data):
		check("data", "is required")
	case e.Type != "" && e.Type != e.Data.EventType():
		check("type", "must be that of the data, "+e.Data.EventType())
	}
	for name, text := range e.Extensions {
		problem := messageExtensionName
		if validExtensionName(name) {
			problem = boundedDefect(text, MaxExtensionBytes)
		}
		if problem != "" {
			found = append(found, Violation{"/" + shown(name), problem})
		}
	}
	if len(e.Extensions) > MaxExtensions {
		found = append(found, Violation{"", messageExtensions})
	}
	return found
}

// isNil also sees a nil pointer inside the interface.
func isNil(d Data) bool {
	switch d := d.(type) {
	case *Sourced:
		return d == nil
	case *Claimed:
		return d == nil
	case *Accepted:
		return d == nil
	case *Failed:
		return d == nil
	case *StatusChanged:
		return d == nil
	}
	return true
}

// appendMember appends a member of an object after another one. name needs no escaping.
func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			escaped, _ := json.Marshal(value) // can't fail on a string
			return append(b, escaped...)
		}
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}
