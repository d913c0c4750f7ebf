package events

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxNumberBytes = 64
	maxExponent    = 308 // of a float64; also keeps the validator's rational numbers small
)

const (
	messageNUL      = "must not hold a NUL character"
	messageNULName  = "must not have a NUL character in its name"
	messageNumber   = "must be a number of at most 64 characters"
	messageExponent = "must be a number with an exponent of at most 308"
	messageTime     = "must be a date and time of RFC 3339"
	messageLeap     = "must not have a second 60 but the leap second at the end of June or December, in UTC"
	messageSyntax   = "must be JSON: syntax error at byte "
	messageTwice    = "must not appear twice"
	messageUnicode  = "must be valid Unicode (UTF-8, no lone surrogates)"
)

// document is a JSON text, read. jsontext refuses duplicate names, lone surrogates and bad UTF-8,
// which encoding/json lets pass; the first of these ends the reading.
type document struct {
	// tree is what the validator takes: map[string]any, []any, string, json.Number, bool, nil.
	// If the text is broken, it holds what could be read, so that the event can be named.
	tree any
	// data is the text of the member data, if there is one.
	data []byte
	// found are the defects. broken tells that one of them ended the reading.
	found  []Violation
	broken bool
	// nul are the texts that hold U+0000: a defect only in what sourcing services send.
	nul []Violation
}

// readJSON reads a whole text. at is the pointer to its place in the event.
func readJSON(text []byte, at string) document {
	r := &reader{text: text, whole: string(text), at: at}
	err := json.Unmarshal(text, r)
	doc := document{r.tree, r.data, r.found, err != nil, r.nul}
	if err == nil {
		return doc
	}
	// The publisher looks for its event by source and id, which may come after the defect.
	lenient := &reader{text: text, whole: r.whole, at: at}
	lenientErr := json.Unmarshal(text, lenient, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	doc.tree = lenient.tree
	doc.found = append(doc.found, r.violation(err, lenientErr))
	return doc
}

// reader builds the tree of a text.
type reader struct {
	text  []byte
	whole string // the same
	at    string
	dec   *jsontext.Decoder

	tree   any
	data   []byte
	values int
	found  []Violation
	nul    []Violation
	place  string // of the defect that ended the reading
}

// UnmarshalJSONFrom reads the whole text.
func (r *reader) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	r.dec = dec
	r.tree, err = r.value()
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		r.place = r.pointer(syntactic.JSONPointer)
	}
	return err
}

// boundError tells that a text is beyond one of the package's bounds.
type boundError string

func (e boundError) Error() string { return string(e) }

var (
	errDepth  = boundError(fmt.Sprintf("must nest at most %d levels deep", MaxDepth))
	errValues = boundError(fmt.Sprintf("must hold at most %d values", MaxValues))
)

// value reads the next value. Beside an error it returns what was read of an object or array.
func (r *reader) value() (any, error) {
	if r.values++; r.values > MaxValues {
		return nil, errValues
	}
	switch r.dec.PeekKind() {
	case '{':
		return r.object()
	case '[':
		return r.array()
	}
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	switch v.Kind() {
	case '"':
		return r.string(v, messageNUL), nil
	case '0':
		return r.number(string(v)), nil
	case 't', 'f':
		return v.Kind() == 't', nil
	}
	return nil, nil
}

// string returns the text of the string that was just read, a part of the whole if possible: one
// copy instead of one for each string. nul is the defect that it would be to hold U+0000.
func (r *reader) string(v jsontext.Value, nul string) string {
	if bytes.IndexByte(v, '\\') < 0 {
		if end := int(r.dec.InputOffset()); end <= len(r.whole) {
			return r.whole[end-len(v)+1 : end-1]
		}
		return string(v[1 : len(v)-1])
	}
	s, _ := jsontext.AppendUnquote([]byte(nil), v) // bad Unicode that was let pass is replaced
	if bytes.IndexByte(s, 0) >= 0 {
		r.nul = append(r.nul, Violation{r.pointer(r.dec.StackPointer()), nul})
	}
	return string(s)
}

// enter reads an opening bracket.
func (r *reader) enter() error {
	if _, err := r.dec.ReadToken(); err != nil {
		return err
	}
	if r.dec.StackDepth()+strings.Count(r.at, "/") > MaxDepth {
		return errDepth
	}
	return nil
}

func (r *reader) object() (any, error) {
	m := make(map[string]any, 8)
	if err := r.enter(); err != nil {
		return m, err
	}
	for r.dec.PeekKind() != '}' {
		v, err := r.dec.ReadValue()
		if err != nil {
			return m, err
		}
		name := r.string(v, messageNULName)
		start := r.dec.InputOffset()
		member, err := r.value()
		if _, twice := m[name]; !twice && (err == nil || member != nil) {
			m[name] = member
		}
		if err != nil {
			return m, err
		}
		if name == "data" && r.dec.StackDepth() == 1 {
			r.data = bytes.TrimLeft(r.text[start:r.dec.InputOffset()], ": \t\r\n")
		}
	}
	_, err := r.dec.ReadToken()
	return m, err
}

func (r *reader) array() (any, error) {
	a := []any{}
	if err := r.enter(); err != nil {
		return a, err
	}
	for r.dec.PeekKind() != ']' {
		v, err := r.value()
		if err != nil {
			return a, err
		}
		a = append(a, v)
	}
	_, err := r.dec.ReadToken()
	return a, err
}

// number keeps the digits as they were written.
func (r *reader) number(n string) stdjson.Number {
	problem := ""
	if i := strings.IndexAny(n, "eE"); i >= 0 {
		if e, err := strconv.Atoi(n[i+1:]); err != nil || e > maxExponent || e < -maxExponent {
			problem = messageExponent
		}
	}
	if problem == "" && len(n) > maxNumberBytes {
		problem = messageNumber
	}
	if problem != "" {
		r.found = append(r.found, Violation{r.pointer(r.dec.StackPointer()), problem})
		n = "0"
	}
	return stdjson.Number(n)
}

// pointer renders the place of a value that the decoder stands at, with * for every name that the
// contract doesn't define. Names that look like an index are told apart by the decoder's stack.
func (r *reader) pointer(p jsontext.Pointer) string {
	rendered, level := r.at, 0
	for token := range p.Tokens() {
		level++
		if level <= r.dec.StackDepth() {
			if kind, _ := r.dec.StackIndex(level); kind == '[' {
				rendered += "/" + token
				continue
			}
		}
		rendered += "/" + shown(token)
	}
	return rendered
}

// violation tells what is wrong with a text. err ended the strict reading, which knows the place;
// lenient is what came of the other: nil if the text is JSON, but for repeated names and bad
// Unicode.
func (r *reader) violation(err, lenient error) Violation {
	if bound, ok := errors.AsType[boundError](lenient); ok {
		return Violation{r.at, string(bound)}
	}
	if problem := foreign(r.text); lenient != nil && problem != "" {
		return Violation{r.at, problem}
	}
	if lenient != nil {
		at := int64(len(r.text)) // where an error is that tells no place
		if syntactic, ok := errors.AsType[*jsontext.SyntacticError](lenient); ok {
			at = syntactic.ByteOffset
		}
		return Violation{r.at, fmt.Sprintf(messageSyntax+"%d", at)}
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return Violation{r.place, messageTwice}
	}
	return Violation{r.place, messageUnicode}
}

var (
	bomUTF8  = []byte("\xef\xbb\xbf")
	bomUTF16 = [...][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}
	// packings are formats that a body may come in, by their first bytes.
	packings = map[string]string{"\x1f\x8b": "gzip", "\x28\xb5\x2f\xfd": "zstd", "\x78\x9c": "zlib", "\x78\x01": "zlib", "\x78\xda": "zlib", "PK\x03\x04": "zip"}
)

// withoutMark leaves out a UTF-8 byte order mark, which some writers put in front of JSON (RFC 8259
// lets readers ignore it).
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, bomUTF8) }

// foreign names what a text is that is no JSON, as far as its first bytes tell; empty if they
// don't.
func foreign(text []byte) string {
	if len(bytes.TrimSpace(text)) == 0 {
		return "must not be empty"
	}
	for _, mark := range bomUTF16 {
		if bytes.HasPrefix(text, mark) {
			return "must be UTF-8; it begins with the byte order mark of UTF-16"
		}
	}
	for magic, name := range packings {
		if bytes.HasPrefix(text, []byte(magic)) {
			return messagePacked(name)
		}
	}
	return ""
}

func messagePacked(how string) string {
	return "must not be compressed (" + how + "): publish the JSON itself"
}

// typed are the options for the second reading, which fills the Go types from a text that was
// checked and has passed its schema.
var typed = json.JoinOptions(
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(wholeNumber[int]), json.UnmarshalFromFunc(wholeNumber[uint64]),
		json.UnmarshalFromFunc(customFields), json.UnmarshalFromFunc(content), json.UnmarshalFromFunc(timestamp),
	)),
	jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true), // were refused before
)

// wholeNumber reads an integer as JSON Schema knows it: 1.0 and 2e1 are some too.
func wholeNumber[T int | uint64](d *jsontext.Decoder, to *T) error {
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	x, err := strconv.ParseFloat(string(v), 64)
	*to = T(x)
	return err
}

// customFields keeps the digits of numbers; an empty object is the same as none.
func customFields(d *jsontext.Decoder, to *map[string]any) error {
	r := reader{dec: d}
	tree, err := r.value()
	if m, _ := tree.(map[string]any); len(m) > 0 {
		*to = m
	}
	return err
}

// content also takes base64 in lines, as the validator does.
func content(d *jsontext.Decoder, to *[]byte) error {
	t, err := d.ReadToken()
	if err == nil {
		*to, err = decodeContent(t.String())
	}
	return err
}

// parseTime reads RFC 3339 in full, and tells what is wrong. It is stricter than time.Parse, which
// takes what RFC 3339 forbids, and takes what UnmarshalText does not: lower-case t and z, and leap
// seconds, which are the first moment of the next day.
func parseTime(s string) (t time.Time, problem string) {
	text := []byte(s)
	if n := len(text); n > 19 {
		for _, i := range [...]int{10, n - 1} {
			if text[i] == 't' || text[i] == 'z' {
				text[i] -= 'a' - 'A'
			}
		}
	}
	leap := len(text) > 19 && string(text[16:19]) == ":60"
	if leap {
		copy(text[17:19], "59")
	}
	if t.UnmarshalText(text) != nil {
		return time.Time{}, messageTime
	}
	if leap {
		next := t.Add(time.Second)
		u := next.UTC()
		if u.Day() != 1 || u.Month() != time.January && u.Month() != time.July || u.Hour() != 0 || u.Minute() != 0 || next.Year() > 9999 {
			return time.Time{}, messageLeap
		}
		t = next
	}
	return t, ""
}

// timestamp reads a time that passed checkTime.
func timestamp(d *jsontext.Decoder, to *time.Time) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	parsed, problem := parseTime(t.String())
	if problem != "" {
		return errors.New(problem)
	}
	*to = parsed
	return nil
}

// checkTime is the format date-time of the schemas, of which a value that is no text is none.
func checkTime(v any) error {
	if s, isText := v.(string); isText {
		if _, problem := parseTime(s); problem != "" {
			return errors.New(problem)
		}
	}
	return nil
}

// decodeContent checks a file's content beside decoding it.
func decodeContent(s string) ([]byte, error) {
	content, err := base64.StdEncoding.DecodeString(s)
	switch {
	case err != nil:
		return nil, errors.New("must be base64 (RFC 4648, with padding)")
	case len(content) > MaxContentBytes:
		return nil, fmt.Errorf("must be at most %d bytes when decoded", MaxContentBytes)
	case len(content) == 0:
		return nil, errors.New("must not be empty")
	}
	return content, nil
}
