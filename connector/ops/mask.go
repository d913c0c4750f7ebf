package ops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// Mask stands for a value that is, or may be, a person's data.
const Mask = "•••"

// plainFields are the members of a sourced event whose values are no person's data; all others are
// masked. Array indexes are "*".
var plainFields = func() map[string]bool {
	out := map[string]bool{}
	for _, name := range []string{
		"/specversion", "/id", "/source", "/type", "/time", "/datacontenttype", "/dataschema", "/account", "/traceparent",
		"/data/candidate/id", "/data/candidate/prospect_status", "/data/submission_id",
		"/data/candidate/resume/object/name", "/data/candidate/picture/object/name", "/data/candidate/files/*/object/name",
		"/data/position/uid", "/data/position/custom_id", "/data/position/name", "/data/position/department", "/data/position/location",
	} {
		out[name] = true
	}
	return out
}()

var (
	// machineName is a name or a value that somebody's program made up, rather than a person's name
	// or address. A misspelled field is seen; whatever else is in the place of a name is not.
	machineName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)
	// machineID is what candidate.id must be: it has no room for an address.
	machineID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,100}$`)
)

// maskJSON indents a document, with names in the order in which they came, and masks its values.
// data means that the document is the event's data alone. It is nil if the body is no JSON.
func maskJSON(body []byte, data, unmask bool) []byte {
	if !json.Valid(body) {
		return nil
	}
	var out bytes.Buffer
	if unmask {
		_ = json.Indent(&out, body, "", "  ") // it is valid
		return out.Bytes()
	}
	path := ""
	if data {
		path = "/data"
	}
	var masked bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	maskValue(&masked, d, path)
	_ = json.Indent(&out, masked.Bytes(), "", "  ")
	return out.Bytes()
}

// maskValue copies the next value of a valid document.
func maskValue(out *bytes.Buffer, d *json.Decoder, path string) {
	token, _ := d.Token()
	switch t := token.(type) {
	case json.Delim:
		out.WriteRune(rune(t))
		for n := 0; d.More(); n++ {
			if n > 0 {
				out.WriteByte(',')
			}
			below := path + "/*"
			if t == '{' {
				name, _ := d.Token()
				key, _ := name.(string)
				below = path + "/" + key
				if !machineName.MatchString(key) {
					key = Mask
				}
				writeJSON(out, key)
				out.WriteByte(':')
			}
			maskValue(out, d, below)
		}
		end, _ := d.Token()
		if delim, ok := end.(json.Delim); ok {
			out.WriteRune(rune(delim))
		}
	case nil:
		out.WriteString("null")
	case string:
		writeJSON(out, maskText(path, t))
	default:
		writeJSON(out, Mask)
	}
}

func writeJSON(out *bytes.Buffer, s string) {
	raw, _ := json.Marshal(s) // can't fail on a string
	out.Write(raw)
}

func maskText(path, value string) string {
	switch {
	case value == "":
		return ""
	case !plainFields[path], strings.HasPrefix(path, "/data/candidate/") && !machineID.MatchString(value):
		return Mask
	}
	return value
}

// maskHeader keeps the names of headers, and the values of those that the contract or the bus
// defines.
func maskHeader(h map[string][]string) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		lower := strings.ToLower(name)
		attribute, ce := strings.CutPrefix(lower, "ce-")
		plain := ce && plainFields["/"+attribute] || lower == "traceparent" || lower == "content-type" || name == ledger.ReplayHeader
		if !machineName.MatchString(name) {
			name = Mask
		}
		for _, v := range values {
			if !plain {
				v = Mask
			}
			out[name] = append(out[name], v)
		}
	}
	return out
}

// isBinary tells an event in the binary encoding, whose attributes are headers, by the same rule as
// events.Decode.
func isBinary(h map[string][]string) bool {
	binary := false
	for name, values := range h {
		switch lower := strings.ToLower(name); lower {
		case "content-type":
			if len(values) > 0 && strings.HasPrefix(strings.ToLower(strings.TrimSpace(values[0])), "application/cloudevents") {
				return false
			}
		case "ce-specversion", "ce-id", "ce-source", "ce-type":
			binary = binary || len(values) > 0
		}
	}
	return binary
}

// structured writes a binary event as one JSON document, to be edited as a whole. Data that is no
// JSON becomes a string.
func structured(h map[string][]string, body []byte) ([]byte, error) {
	e := map[string]any{"data": string(body)}
	if json.Valid(body) {
		e["data"] = json.RawMessage(body)
	}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok || len(values) == 0 {
			continue
		}
		e[attribute] = values[0]
		if plain, err := url.PathUnescape(values[0]); err == nil {
			e[attribute] = plain
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("write the event as one document: %w", err)
	}
	return out.Bytes(), nil
}

// structuredHeader is the header of the edited event in the place of the original's.
func structuredHeader(h map[string][]string) map[string][]string {
	out := make(map[string][]string, len(h)+1)
	for name, values := range h {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "ce-") && lower != "content-type" {
			out[name] = values
		}
	}
	out[events.HeaderContentType] = []string{events.ContentType}
	return out
}
