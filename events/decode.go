package events

import (
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json"

	"github.com/comeet-connector/comeet-connector/schemas"
)

// attributes are the members of a structured CloudEvent that have a meaning here.
var attributes = []string{
	"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64",
	ExtAccount, ExtTraceparent, ExtTracestate,
}

// Decode reads one event out of a message's headers and body, in the structured, the binary, or the
// header-less structured encoding, and validates it whole. Data is then a pointer to the struct of
// the event's type; callers that expect one type check which it is. Unknown fields of the data are
// ignored; unknown attributes are extensions.
//
// The only error is *InvalidError, which lists everything that is wrong. The returned event then
// carries those of its attributes that could be read and are valid in themselves, without Data:
// enough to tell a publisher which of its events it was.
func Decode(h Header, body []byte) (Event, error) {
	var d decoder
	contentType := mediaType(header(h, HeaderContentType))
	switch {
	case contentType == ContentType || contentType == "application/cloudevents":
		d.structured(body)
	case strings.HasPrefix(contentType, "application/cloudevents-batch"):
		d.defect("", "must not be a batch: publish one event per message")
	case strings.HasPrefix(contentType, "application/cloudevents"):
		d.defect("", "must have the content type "+ContentType+", or be a binary CloudEvent with JSON data")
	default:
		if binary, attrs := d.headers(h, "ce-"); binary {
			d.binary(attrs, contentType, body)
		} else {
			d.structured(body)
		}
	}
	d.explain(h)
	if text, _ := d.context.Extensions[ExtTraceparent].(string); text == "" {
		if tp := header(h, HeaderTraceparent); wellFormedTraceparent(tp) {
			d.extension(ExtTraceparent, tp)
			if ts := header(h, HeaderTracestate); ts != "" && textDefect(ts, MaxExtensionBytes) == "" {
				d.extension(ExtTracestate, ts)
			}
		}
	}
	attributes := d.context // apart from what else the decoder holds
	e := Event{Event: event.Event{Context: &attributes}}
	if err := d.invalid(); err != nil {
		return e, err
	}
	e.DataEncoded, e.Data = d.text, d.data
	return e, nil
}

// foreignPrefixes are those of attributes in headers by other bindings of CloudEvents: Kafka's,
// AMQP's.
var foreignPrefixes = [...]string{"ce_", "cloudevents:", "cloudevents_", "cloudevents-"}

// explain names the habit of another binding that is behind a defect, in place of what follows from
// it.
func (d *decoder) explain(h Header) {
	packed := ""
	switch coding := strings.ToLower(strings.TrimSpace(header(h, "Content-Encoding"))); coding {
	case "gzip", "x-gzip", "deflate", "compress", "br", "zstd":
		packed = coding
	}
	for i := range d.found {
		v := &d.found[i]
		switch {
		case packed != "" && strings.HasPrefix(v.Message, messageSyntax):
			v.Message = messagePacked(packed)
		case v.Message == messageNoEnvelope:
			for _, prefix := range foreignPrefixes {
				other := decoder{}
				if binary, attrs := other.headers(h, prefix); binary {
					v.Message = "must have its attributes in headers that begin with ce-, such as ce-id, not with " + prefix
					other.attributes(attrs)
					d.context = other.context // names the event for its publisher
					break
				}
			}
		}
	}
}

type decoder struct {
	context event.EventContextV1
	// text and data are the event's data if it is valid.
	text        []byte
	data        Data
	candidateID string
	found       []Violation
	nul         []Violation
}

// invalid is an *InvalidError of all that was found, or nil.
func (d *decoder) invalid() error {
	if len(d.found) == 0 {
		return nil
	}
	return &InvalidError{Violations: tidy(d.found), CandidateID: d.candidateID}
}

func (d *decoder) defect(pointer, message string) {
	d.found = append(d.found, Violation{pointer, message})
}

func (d *decoder) structured(body []byte) {
	body = withoutMark(body)
	doc := readJSON(body, "")
	d.found = append(d.found, doc.found...)
	d.nul = doc.nul
	members, isObject := doc.tree.(map[string]any)
	if !isObject {
		switch _, isArray := doc.tree.([]any); {
		case isArray:
			d.defect("", "must not be a batch: publish one event per message")
		case !doc.broken:
			d.defect("", "must be a JSON object")
		}
		return
	}
	if doc.broken {
		// What could be read names the event; that the rest is missing is no further defect.
		partial := decoder{}
		partial.attributes(members)
		partial.note(members["data"])
		d.context, d.candidateID = partial.context, partial.candidateID
		return
	}
	if !slices.ContainsFunc(required[:], func(name string) bool { _, has := members[name]; return has }) {
		d.note(members)
		if d.candidateID == "" {
			d.note(members["data"])
		}
		d.defect("", messageNoEnvelope)
		return
	}
	d.attributes(members)
	data, plain := members["data"]
	encoded, base := members["data_base64"]
	switch {
	case plain && base:
		d.defect("/data_base64", "must not stand beside data")
		d.read(data, doc.data)
	case plain:
		d.read(data, doc.data)
	case base:
		text, isString := encoded.(string)
		if !isString {
			d.defect("/data_base64", "must be string")
			return
		}
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			d.defect("/data_base64", "must be base64 (RFC 4648, with padding)")
			return
		}
		d.dataBody(decoded)
	default:
		d.defect("/data", "is required")
	}
}

// binary reads the binary encoding. The content type is the datacontenttype; newer drafts of the
// binding also allow a header of its own for it.
func (d *decoder) binary(attrs map[string]any, contentType string, body []byte) {
	if _, own := attrs["datacontenttype"]; !own && contentType != "" {
		attrs["datacontenttype"] = contentType
	}
	d.attributes(attrs)
	d.dataBody(body)
}

// headers collects the attributes out of headers with that prefix, ce- in the NATS binding. binary
// tells whether any of those that every event has is there: others may have been added on the way
// to a structured one.
func (d *decoder) headers(h Header, prefix string) (binary bool, attrs map[string]any) {
	for key, values := range h {
		if len(key) <= len(prefix) || !strings.EqualFold(key[:len(prefix)], prefix) {
			continue
		}
		name := strings.ToLower(key[len(prefix):])
		switch name {
		case "specversion", "id", "source", "type":
			binary = true
		}
		for _, value := range values {
			value = percentDecode(strings.TrimSpace(value))
			if attrs == nil {
				attrs = map[string]any{}
			}
			if known, twice := attrs[name]; twice && known != value {
				d.defect("/"+shown(name), messageTwice)
				continue
			}
			attrs[name] = value
		}
	}
	if !binary {
		d.found = nil
	}
	return binary, attrs
}

// attributes reads all members but the data. null means absent (CloudEvents JSON format).
func (d *decoder) attributes(members map[string]any) {
	for _, name := range required {
		if members[name] == nil {
			d.defect("/"+name, "is required")
		}
	}
	for name, value := range members {
		if value == nil || name == "data" || name == "data_base64" {
			continue
		}
		if !specified(name) {
			d.foreign(name, value)
			continue
		}
		text, isString := value.(string)
		limit := MaxAttributeBytes
		if name == "dataschema" {
			limit = MaxExtensionBytes
		}
		problem := "must be string"
		if isString {
			problem = textDefect(text, limit)
		}
		if problem == "" {
			problem = d.attribute(name, text)
		}
		if problem != "" {
			d.defect("/"+name, problem)
		}
	}
}

// specified tells whether CloudEvents itself defines the attribute.
func specified(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema":
		return true
	}
	return false
}

// attribute sets a specified attribute; it returns what is wrong with the value.
func (d *decoder) attribute(name, text string) (problem string) {
	switch name {
	case "specversion":
		if text != "1.0" {
			return messageVersion
		}
	case "id":
		d.context.ID = text
	case "source":
		d.context.Source = types.URIRef{URL: reference(text)}
	case "type":
		if schemas.ID(text) == "" {
			return messageType + strings.Join(schemas.Types(), ", ")
		}
		d.context.Type = text
	case "subject":
		d.context.Subject = &text
	case "time":
		t, problem := parseTime(text)
		if problem != "" {
			return problem
		}
		d.context.Time = &types.Timestamp{Time: t}
	case "datacontenttype":
		if !isJSON(mediaType(text)) {
			return messageMediaType
		}
		d.context.DataContentType = &text
	case "dataschema":
		d.context.DataSchema = &types.URI{URL: opaque(text)}
	}
	return ""
}

// foreign reads an extension attribute. It keeps the type that it has in the structured format, as
// the SDK does: string, bool or int32.
func (d *decoder) foreign(name string, value any) {
	problem := ""
	switch v := value.(type) {
	case string:
		problem = boundedDefect(v, MaxExtensionBytes)
	case bool:
	case stdjson.Number:
		i, err := strconv.ParseInt(string(v), 10, 32)
		if err != nil {
			problem = messageExtensionType
		}
		value = int32(i)
	default:
		problem = messageExtensionType
	}
	if !validExtensionName(name) {
		problem = messageExtensionName
	}
	if problem != "" {
		d.defect("/"+shown(name), problem)
		return
	}
	if len(d.context.Extensions) == MaxExtensions {
		d.defect("", messageExtensions)
		return
	}
	d.extension(name, value)
}

func (d *decoder) extension(name string, value any) {
	if d.context.Extensions == nil {
		d.context.Extensions = map[string]any{}
	}
	d.context.Extensions[name] = value
}

// dataBody reads data that is a JSON document of its own.
func (d *decoder) dataBody(body []byte) {
	body = withoutMark(body)
	doc := readJSON(body, "/data")
	d.found = append(d.found, doc.found...)
	d.nul = append(d.nul, doc.nul...)
	if doc.broken {
		d.note(doc.tree)
		return
	}
	d.read(doc.tree, body)
}

// read validates the data by its tree and reads its text into its Go type.
func (d *decoder) read(tree any, text []byte) {
	var target Data
	switch d.context.Type {
	case TypeSourced:
		target = new(Sourced)
	case TypeClaimed:
		target = new(Claimed)
	case TypeAccepted:
		target = new(Accepted)
	case TypeFailed:
		target = new(Failed)
	case TypeStatusChanged:
		target = new(StatusChanged)
	default:
		d.note(tree)
		return // the type's own violation was found already
	}
	if d.context.Type == TypeSourced {
		d.note(tree)
		// Our own events may hold what Comeet sent; sourced ones go to Comeet and into headers of
		// others.
		d.found = append(d.found, d.nul...)
	}
	if vs := compiled().validate(d.context.Type, tree); len(vs) > 0 {
		d.found = append(d.found, vs...)
		return
	}
	if err := json.Unmarshal(text, target, typed); err != nil {
		d.defect("/data", "must fit the Go types of this contract") // err quotes the value
		return
	}
	d.text, d.data = text, target
}

// note remembers the candidate's id if it has the documented form.
func (d *decoder) note(data any) {
	members, _ := data.(map[string]any)
	candidate, _ := members["candidate"].(map[string]any)
	if id, _ := candidate["id"].(string); validCandidateID(id) {
		d.candidateID = id
	}
}

// validCandidateID is the pattern of candidate.id in the schema; a test holds them together.
func validCandidateID(id string) bool { return candidateID.MatchString(id) }

var candidateID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,100}$`)

// textDefect tells what is wrong with the value of a specified attribute.
func textDefect(s string, limit int) string {
	if strings.TrimSpace(s) == "" {
		return "must not be blank"
	}
	return boundedDefect(s, limit)
}

// boundedDefect tells what is wrong with the value of an attribute that may be empty.
func boundedDefect(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("must have at most %d bytes", limit)
	case printable(s):
		return ""
	case !utf8.ValidString(s):
		return messageUnicode
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not hold control characters"
	}
	return ""
}

var messageExtensions = fmt.Sprintf("must have at most %d extensions", MaxExtensions)

// printable tells whether s is of printable ASCII alone, as nearly all attributes are.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// required are the attributes that every event has.
var required = [...]string{"specversion", "id", "source", "type"}

const messageNoEnvelope = "must be a CloudEvent: it has neither specversion, id, source nor type; put it into the member data of one, " +
	"or send these as headers ce-specversion, ce-id, ce-source and ce-type"

const messageMediaType = "must be a JSON media type"

const messageExtensionType = "must be string, boolean or 32-bit integer"

const messageExtensionName = "must have a name of 1 to 64 lower-case letters and digits"

func validExtensionName(name string) bool {
	return name != "data" && !specified(name) && extensionName.MatchString(name)
}

var extensionName = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// header returns the first value of a header, whatever the case of its name; of several spellings,
// the exact one.
func header(h Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	value, found := "", ""
	for key, values := range h {
		if len(values) > 0 && strings.EqualFold(key, name) && (found == "" || key < found) {
			value, found = values[0], key
		}
	}
	return value
}

// mediaType returns the media type without parameters, in lower case.
func mediaType(contentType string) string {
	contentType, _, _ = strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(contentType))
}

func isJSON(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json")
}
