package comeet

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// tolerant makes a decoder accept what Comeet writes, not only what it documents. Each function
// below decodes one Go type, and treats a JSON value of another type as absent. So decoding fails
// only on what is not JSON.
var tolerant = jsonv2.JoinOptions(
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
	jsonv2.MatchCaseInsensitiveNames(true),
	jsonv2.WithUnmarshalers(jsonv2.JoinUnmarshalers(
		jsonv2.UnmarshalFromFunc(decodeText),
		jsonv2.UnmarshalFromFunc(decodeFlag),
		jsonv2.UnmarshalFromFunc(decodeTime),
		jsonv2.UnmarshalFromFunc(decodeCountry),
		jsonv2.UnmarshalFromFunc(decodeReference),
		jsonv2.UnmarshalFromFunc(decodeNextPage),
		jsonv2.UnmarshalFromFunc(decodeSteps),
		jsonv2.UnmarshalFromFunc(decodeStep),
		jsonv2.UnmarshalFromFunc(decodeCandidate),
		jsonv2.UnmarshalFromFunc(decodePosition),
		jsonv2.UnmarshalFromFunc(decodeLocation),
		jsonv2.UnmarshalFromFunc(decodeOptionalText),
		optional[Source](),
		optional[SourceContact](),
		optional[DispositionReason](),
		optional[Opening](),
		optional[Location](),
	)),
)

// optional decodes an object that tells absent (nil) from null (zero value).
func optional[T any]() *jsonv2.Unmarshalers {
	return jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, p **T) error {
		if kind := dec.PeekKind(); kind == 'n' || kind == '{' {
			*p = new(T)
		}
		return decodeObject(dec, *p)
	})
}

// maxTextBytes is far above every text that Comeet is known to write. It keeps one field from
// filling the memory.
const maxTextBytes = 64 << 10

// textOf reads a JSON string, or a number as it is written: uids such as 41.264 look like numbers,
// and must not become numbers. It skips anything else, and a text of more than maxTextBytes.
func textOf(dec *jsontext.Decoder) (text string, ok bool, err error) {
	if kind := dec.PeekKind(); kind != '"' && kind != '0' {
		return "", false, dec.SkipValue()
	}
	token, err := dec.ReadToken()
	if err != nil {
		return "", false, err
	}
	if text = token.String(); len(text) > maxTextBytes {
		return "", false, nil
	}
	return text, true, nil
}

func decodeText(dec *jsontext.Decoder, s *string) (err error) {
	*s, _, err = textOf(dec)
	return err
}

// decodeOptionalText tells absent (nil) from null and "" (both "").
func decodeOptionalText(dec *jsontext.Decoder, p **string) error {
	null := dec.PeekKind() == 'n'
	s, ok, err := textOf(dec)
	if ok || null {
		*p = &s
	}
	return err
}

// decodeFlag takes true, "true", "yes" or 1 in any case; anything else is false.
func decodeFlag(dec *jsontext.Decoder, b *bool) error {
	yes := dec.PeekKind() == 't'
	s, _, err := textOf(dec)
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "1":
		yes = true
	}
	*b = yes
	return err
}

// decodeTime takes a time as the API writes it, also with a fraction, an offset, a blank, or
// without a zone (then it is UTC). Anything else is the zero time. Times are UTC, so that equal
// times compare equal.
func decodeTime(dec *jsontext.Decoder, t *time.Time) error {
	s, _, err := textOf(dec)
	*t = parseTime(s)
	return err
}

// These layouts take Z, +02:00 and +0200 after the seconds. Go accepts a fraction there by itself.
var timeLayouts = [...]string{
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", time.DateTime, time.DateOnly,
}

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

// decodeObject decodes an object into v; a value of another type counts as absent.
func decodeObject(dec *jsontext.Decoder, v any) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	return jsonv2.UnmarshalDecode(dec, v)
}

// maxRows is far above what a page or a candidate's process has. It bounds what a list may take:
// in memory a row is many times as large as the shortest one in an answer, which may be compressed.
const maxRows = 10_000

var errTooManyRows = errors.New("a list has too many rows")

// decodeRows decodes a list row by row and keeps the rows that keep accepts. The result is nil if
// there is no list, and empty if the list is null or empty. It fails on more than maxRows.
func decodeRows[T any](dec *jsontext.Decoder, keep func(*T) bool) ([]T, error) {
	switch dec.PeekKind() {
	case 'n':
		return []T{}, dec.SkipValue()
	case '[':
	default:
		return nil, dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	rows := []T{}
	for n := 1; dec.PeekKind() != ']'; n++ {
		if n > maxRows {
			return nil, errTooManyRows
		}
		var row T
		if err := jsonv2.UnmarshalDecode(dec, &row); err != nil {
			return nil, err
		}
		if keep(&row) {
			rows = append(rows, row)
		}
	}
	_, err := dec.ReadToken()
	return rows, err
}

// parseError reads the API's error form: an object with a machine code in `error`. Gateways write
// prose there ("Not Found"), or a code elsewhere; neither comes from the API.
func parseError(body []byte) (code, candidate string, ok bool) {
	var e struct {
		Error     jsontext.Value `json:"error"`
		Candidate string         `json:"candidate_uid"`
	}
	if jsonv2.Unmarshal(body, &e, tolerant) != nil || e.Error.Kind() != '"' {
		return "", "", false
	}
	unquoted, err := jsontext.AppendUnquote(nil, e.Error)
	if code = string(unquoted); err != nil || !machineCode.MatchString(code) {
		return "", "", false
	}
	if !usableUID(e.Candidate) {
		return code, "", true
	}
	return code, e.Candidate, true
}

var machineCode = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// maxUIDBytes is far above every uid seen (under 12 bytes). It keeps a page of junk from becoming a
// uid.
const maxUIDBytes = 256

// usableUID reports whether uid can be a uid: visible characters, and not too many. So it can be
// the subject of an event.
func usableUID(uid string) bool {
	if uid == "" || len(uid) > maxUIDBytes || !utf8.ValidString(uid) {
		return false
	}
	return !strings.ContainsFunc(uid, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}
