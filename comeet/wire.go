package comeet

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// decodeLoose decodes JSON of which single fields may have another type than documented: encoding/json skips those and
// fills in the rest. It reports whether body is JSON at all.
func decodeLoose(body []byte, into any) bool {
	err := json.Unmarshal(body, into)
	if err == nil {
		return true
	}
	_, skipped := errors.AsType[*json.UnmarshalTypeError](err)
	return skipped
}

// firstByte is the first byte of a JSON value: what type it has.
func firstByte(raw []byte) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

func isNumber(first byte) bool { return first == '-' || (first >= '0' && first <= '9') }

// text takes a JSON string, or a number as it is written: uids such as 41.264 look like numbers, and must not become one.
// Anything else is "".
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	s, _ := textOf(raw)
	*t = text(s)
	return nil
}

func textOf(raw []byte) (string, bool) {
	switch first := firstByte(raw); {
	case first == '"':
		if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
			return string(inner), true
		}
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	case isNumber(first):
		return string(raw), true
	}
	return "", false
}

// present is a text that tells absent (nil) from null and "" (both ""). Another type counts as absent.
type present struct{ value *string }

func (p *present) UnmarshalJSON(raw []byte) error {
	s, ok := textOf(raw)
	if ok || firstByte(raw) == 'n' {
		p.value = &s
	}
	return nil
}

// flag takes true, "true", "yes" or 1 in any case; anything else is false.
type flag bool

func (f *flag) UnmarshalJSON(raw []byte) error {
	s, ok := textOf(raw)
	if !ok {
		s = string(bytes.TrimSpace(raw))
	}
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "1":
		*f = true
	default:
		*f = false
	}
	return nil
}

// stamp takes a time as the API writes it, also with a fraction, an offset, a blank, or without a zone (then UTC). Anything
// else is the zero time. Times are UTC, so that equal ones compare equal.
type stamp time.Time

func (s *stamp) UnmarshalJSON(raw []byte) error {
	*s = stamp{}
	if value, ok := textOf(raw); ok {
		*s = stamp(parseTime(value))
	}
	return nil
}

// Z, +02:00 and +0200 after the seconds; Go takes a fraction there by itself.
var timeLayouts = [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", time.DateOnly}

func parseTime(value string) time.Time {
	value = strings.TrimSpace(value)
	if value == "" {
		return time.Time{}
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, value); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// wireTime is how the API writes times: whole seconds, UTC.
const wireTime = "2006-01-02T15:04:05Z"

// block is an object that tells absent (nil) from null (zero value). Another type counts as absent.
type block[T any] struct{ value *T }

func (b *block[T]) UnmarshalJSON(raw []byte) error {
	switch firstByte(raw) {
	case 'n':
		b.value = new(T)
	case '{':
		v := new(T)
		if decodeLoose(raw, v) {
			b.value = v
		}
	}
	return nil
}

// rows is a list that tells absent (nil) from null and [] (both empty, not nil). Another type counts as absent; so does, in
// a list, every element of another type: it decodes to a zero row, which the caller drops.
type rows[T any] []T

func (r *rows[T]) UnmarshalJSON(raw []byte) error {
	switch firstByte(raw) {
	case 'n':
		*r = rows[T]{}
	case '[':
		v := []T{}
		if decodeLoose(raw, &v) {
			*r = v
		}
	}
	return nil
}

// listed returns the rows of a listing that was decoded into a pointer to a nil slice: null made the pointer nil, a list made
// the slice non-nil, and without one (ok is false) both are as they were. A type that decodes itself, like rows, would make
// encoding/json scan the whole page twice more.
func listed[T any](list *[]T) (rows []T, ok bool) {
	if list == nil {
		return nil, true
	}
	return *list, *list != nil
}

// nextPage takes what ends or continues a list. Other says that it is neither, so the list can't be called complete.
type nextPage struct {
	ref   string
	other bool
}

func (n *nextPage) UnmarshalJSON(raw []byte) error {
	switch first := firstByte(raw); first {
	case 'n', 'f':
		*n = nextPage{}
	default:
		s, ok := textOf(raw)
		*n = nextPage{ref: strings.TrimSpace(s), other: !ok}
	}
	return nil
}

// parseError reads the API's error form: an object with a machine code in `error`. Gateways write prose there ("Not Found"),
// or a code somewhere else; neither is the API's word.
func parseError(body []byte) (code, candidate string, ok bool) {
	if firstByte(body) != '{' {
		return "", "", false
	}
	var e struct {
		Error     json.RawMessage `json:"error"`
		Candidate text            `json:"candidate_uid"`
	}
	if !decodeLoose(body, &e) || firstByte(e.Error) != '"' {
		return "", "", false
	}
	code, _ = textOf(e.Error)
	if !machineCode(code) {
		return "", "", false
	}
	candidate = string(e.Candidate)
	if !usableUID(candidate) {
		candidate = ""
	}
	return code, candidate, true
}

func machineCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// maxUIDBytes is far above every uid seen (under 12), and keeps a page of junk from becoming one.
const maxUIDBytes = 256

// usableUID accepts every opaque uid: something visible, of bounded size.
func usableUID(uid string) bool {
	if uid == "" || len(uid) > maxUIDBytes || !utf8.ValidString(uid) {
		return false
	}
	return !strings.ContainsFunc(uid, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // cannot happen to a string; quoting is the next best
		return strconv.AppendQuote(b, s)
	}
	return append(b, quoted...)
}
