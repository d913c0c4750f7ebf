package events_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/comeet-connector/comeet-connector/events"
)

const smallData = `{"candidate":{"id":"c-1","first_name":"Noor","last_name":"Lindqvist"},"position":{"uid":"87.405"}}`

// small is the event that all encodings of smallData stand for.
func small() events.Event {
	data := &events.Sourced{
		Candidate: events.Candidate{ID: "c-1", FirstName: "Noor", LastName: "Lindqvist"}, Position: events.Position{UID: "87.405"},
	}
	e := events.New("urn:söurce", "e 1", data)
	e.Context.(*event.EventContextV1).DataSchema = nil
	e.SetTime(time.Date(2031, 2, 3, 4, 5, 6, 700_000_000, time.UTC))
	e.SetSubject("c-1")
	e.SetExtension("account", "acme")
	e.SetExtension("urgent", true)
	e.SetExtension("rank", -7)
	e.SetExtension("traceparent", traceparent)
	return events.Event{Event: e, Data: data}
}

// asWritten leaves out how an encoding wrote the same event.
var asWritten = cmp.Options{
	cmpopts.IgnoreFields(event.Event{}, "DataEncoded"), cmpopts.IgnoreFields(event.EventContextV1{}, "DataContentType"),
}

const smallAttributes = `"specversion":"1.0","id":"e 1","source":"urn:s\u00f6urce","type":"candidate.sourced","time":"2031-02-03T04:05:06.7Z",` +
	`"subject":"c-1","account":"acme","urgent":true,"rank":-7,"traceparent":"` + traceparent + `"`

func binaryHeader(change events.Header) events.Header {
	h := events.Header{
		"ce-specversion": {"1.0"}, "ce-id": {"e%201"}, "ce-source": {"urn:s%C3%B6urce"}, "ce-type": {"candidate.sourced"},
		"ce-time": {"2031-02-03T04:05:06.7Z"}, "ce-subject": {"c-1"}, "ce-account": {"acme"}, "ce-urgent": {"true"}, "ce-rank": {"-7"},
		"ce-traceparent": {traceparent}, "content-type": {"application/json"},
	}
	for name, values := range change {
		if values == nil {
			delete(h, name)
		} else {
			h[name] = values
		}
	}
	return h
}

func TestDecodeEncodings(t *testing.T) {
	t.Parallel()
	upper := events.Header{}
	for name, values := range binaryHeader(nil) {
		upper[strings.ToUpper(name)] = values
	}
	structured := `{` + smallAttributes + `,"data":` + smallData + `}`
	for _, tt := range []struct {
		name   string
		header events.Header
		body   string
	}{
		{"structured", events.Header{"Content-Type": {"application/cloudevents+json"}}, structured},
		{"structured with parameters", events.Header{"content-type": {"Application/CloudEvents+JSON; charset=UTF-8"}}, structured},
		{"structured, upper-case header", events.Header{"CONTENT-TYPE": {"application/cloudevents+json"}}, structured},
		{"structured without format", events.Header{"Content-Type": {"application/cloudevents"}}, structured},
		{"structured wins over ce- headers", events.Header{"Content-Type": {"application/cloudevents+json"}, "ce-id": {"other"}}, structured},
		{"no headers", nil, structured},
		{"foreign ce- header", events.Header{"ce-hop": {"1"}, "Ce-Hop": {"2"}}, structured},
		{"plain JSON content type", events.Header{"Content-Type": {"application/json"}}, structured},
		{"data first, spaces", nil, " {\n\t\"data\" : " + smallData + " ,\r\n" + smallAttributes + " } \n"},
		{"datacontenttype", nil, `{"datacontenttype":"Application/Vnd.x+JSON;a=b",` + smallAttributes + `,"data":` + smallData + `}`},
		{"null attributes are absent", nil, `{"dataschema":null,"other":null,` + smallAttributes + `,"data":` + smallData + `}`},
		{"data_base64", nil, `{` + smallAttributes + `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(smallData)) + `"}`},
		{"binary", binaryHeader(nil), smallData},
		{"binary, upper-case headers", upper, smallData},
		{"binary without content type", binaryHeader(events.Header{"content-type": nil}), smallData},
		{"binary, datacontenttype of its own", binaryHeader(events.Header{"content-type": nil, "ce-datacontenttype": {"text/json"}}), smallData},
		{"binary, not encoded", binaryHeader(events.Header{"ce-source": {"urn:söurce"}, "ce-id": {" e 1 "}}), smallData},
		{"binary, repeated alike", binaryHeader(events.Header{"Ce-Id": {"e 1", "e%201"}}), smallData},
		{"plain traceparent", binaryHeader(events.Header{"ce-traceparent": nil, "Traceparent": {traceparent}}), smallData},
		{"plain traceparent loses", binaryHeader(events.Header{"traceparent": {"00-00000000000000000000000000000001-0000000000000001-00"}}), smallData},
		{"byte order mark", nil, "\ufeff" + structured},
		{"binary, byte order mark", binaryHeader(nil), "\ufeff" + smallData},
		{"a wrong claim of compression", events.Header{"Content-Encoding": {"gzip"}}, structured},
		{"time in lower case", nil, strings.Replace(structured, "2031-02-03T04:05:06.7Z", "2031-02-03t04:05:06.7z", 1)},
		{"unknown data fields", nil, `{` + smallAttributes + `,"data":` + strings.Replace(smallData, `"first_name"`, `"FIRST_NAME":"Eve","nested":{"a":[1]},"first_name"`, 1) + `}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := events.Decode(tt.header, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			want := small()
			if strings.HasPrefix(tt.name, "binary") || strings.HasPrefix(tt.name, "plain traceparent") {
				// Headers have no types.
				want.SetExtension("urgent", "true")
				want.SetExtension("rank", "-7")
			}
			if diff := cmp.Diff(want, got, asWritten); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// foreignHeader is binaryHeader in another binding.
func foreignHeader(prefix string) events.Header {
	out := events.Header{}
	for name, values := range binaryHeader(nil) {
		if bare, ok := strings.CutPrefix(name, "ce-"); ok {
			name = prefix + bare
		}
		out[name] = values
	}
	return out
}

// A leap second is the first moment of the next day, wherever a time may stand.
func TestLeapSeconds(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"2016-12-31T23:59:60Z": "2017-01-01T00:00:00Z", "2016-12-31t23:59:60.25z": "2017-01-01T00:00:00.25Z",
		"2015-07-01T01:59:60+02:00": "2015-07-01T00:00:00Z", "1990-12-31T15:59:60-08:00": "1991-01-01T00:00:00Z",
	} {
		at, err := time.Parse(time.RFC3339, want)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(nil, []byte(`{`+strings.Replace(smallAttributes, "2031-02-03T04:05:06.7Z", given, 1)+`,"data":`+smallData+`}`))
		if err != nil || !e.Time().Equal(at) {
			t.Errorf("%s is %v, %v", given, e.Time(), err)
		}
		h, body, err := events.Encode(typicalAccepted())
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.ReplaceAll(body, []byte(clock.Format(time.RFC3339Nano)), []byte(given))
		if e, err := events.Decode(h, body); err != nil || !e.Data.(*events.Accepted).SubmittedAt.Equal(at) || !e.Time().Equal(at) {
			t.Errorf("%s in data: %v, %v", given, e.Data, err)
		}
	}
}

// TestContentInLines: MIME writers break base64 into lines.
func TestContentInLines(t *testing.T) {
	t.Parallel()
	data := strings.Replace(smallData, `"id"`, `"resume":{"name":"cv.pdf","content":"eHh4\r\neHh4\n"},"id"`, 1)
	e, err := events.Decode(nil, []byte(`{`+smallAttributes+`,"data":`+data+`}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(e.Data.(*events.Sourced).Candidate.Resume.Content); got != "xxxxxx" {
		t.Errorf("content %q", got)
	}
}

func TestDecodeTraceHeaders(t *testing.T) {
	t.Parallel()
	body := []byte(`{"specversion":"1.0","id":"1","source":"s","type":"candidate.sourced","data":` + smallData + `}`)
	for _, tt := range []struct {
		name   string
		header events.Header
		want   map[string]any
	}{
		{"both", events.Header{"Traceparent": {traceparent}, "tracestate": {"a=b"}}, map[string]any{"traceparent": traceparent, "tracestate": "a=b"}},
		{"state alone", events.Header{"tracestate": {"a=b"}}, nil},
		{"malformed", events.Header{"traceparent": {"00-xyz"}}, nil},
		{"all zero", events.Header{"traceparent": {"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}}, nil},
		{"upper-case", events.Header{"traceparent": {strings.ToUpper(traceparent)}}, nil},
		{"empty", events.Header{"traceparent": {}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := events.Decode(tt.header, body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Extensions()); diff != "" {
				t.Error(diff)
			}
			if want, _ := tt.want["traceparent"].(string); got.Traceparent() != want {
				t.Errorf("Traceparent() = %q", got.Traceparent())
			}
		})
	}
}

// TestNumbersAreKept: custom fields keep their digits.
func TestNumbersAreKept(t *testing.T) {
	t.Parallel()
	data := strings.Replace(smallData, `"id"`, `"custom_fields":{"a":12345678901234567890.10,"b":[1e3,null,true,"x"],"c":null},"id"`, 1)
	e, err := events.Decode(nil, []byte(`{`+smallAttributes+`,"data":`+data+`}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": json.Number("12345678901234567890.10"), "b": []any{json.Number("1e3"), nil, true, "x"}, "c": nil}
	if diff := cmp.Diff(want, e.Data.(*events.Sourced).Candidate.CustomFields); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeDefects(t *testing.T) {
	t.Parallel()
	const id = `/data/candidate/id must match ^[A-Za-z0-9._:-]{1,100}$`
	const noEnvelope = "the event must be a CloudEvent: it has neither specversion, id, source nor type; put it into the member data of one, or send these as headers ce-specversion, ce-id, ce-source and ce-type"
	const leap = "/time must not have a second 60 but the leap second at the end of June or December, in UTC"
	const one = "/data/position must have exactly one of uid, custom_id, name"
	envelope := func(data string) string { return `{` + smallAttributes + `,"data":` + data + `}` }
	candidate := func(fields string) string { return envelope(strings.Replace(smallData, `"id"`, fields+`,"id"`, 1)) }
	position := func(p string) string { return envelope(strings.Replace(smallData, `{"uid":"87.405"}`, p, 1)) }
	attribute := func(old, replacement string) string {
		return strings.Replace(envelope(smallData), old, replacement, 1)
	}
	const types = "/type must be one of candidate.sourced, candidate.submission.claimed, candidate.submission.accepted, candidate.submission.failed, candidate.status.changed"
	for _, tt := range []struct {
		name   string
		header events.Header
		body   string
		want   []string
	}{
		{"empty", nil, "", []string{"the event must not be empty"}},
		{"blank", nil, "\ufeff \n", []string{"the event must not be empty"}},
		{"gzip by its first bytes", nil, "\x1f\x8b\x08\x00secret", []string{"the event must not be compressed (gzip): publish the JSON itself"}},
		{"gzip, binary", binaryHeader(events.Header{"Content-Encoding": {"gzip"}}), "\x1f\x8bsecret", []string{"/data must not be compressed (gzip): publish the JSON itself"}},
		{"brotli by its header", events.Header{"content-encoding": {" BR "}}, "\x0bsecret", []string{"the event must not be compressed (br): publish the JSON itself"}},
		{"foreign encoding", events.Header{"content-encoding": {"secret"}}, "secret", []string{"the event must be JSON: syntax error at byte 0"}},
		{"UTF-16", nil, "\xff\xfe{\x00}\x00", []string{"the event must be UTF-8; it begins with the byte order mark of UTF-16"}},
		{"byte order mark twice", nil, "\ufeff\ufeff" + envelope(smallData), []string{"the event must be JSON: syntax error at byte 0"}},
		{"no envelope", nil, smallData, []string{noEnvelope}},
		{"no envelope, data alone", events.Header{"ce-hop": {"1"}}, `{"data":` + smallData + `}`, []string{noEnvelope}},
		{"Kafka's headers", foreignHeader("ce_"), smallData, []string{"the event must have its attributes in headers that begin with ce-, such as ce-id, not with ce_"}},
		{"AMQP's headers", foreignHeader("CloudEvents:"), smallData, []string{"the event must have its attributes in headers that begin with ce-, such as ce-id, not with cloudevents:"}},
		{"lower case within a time", nil, attribute(`2031-02-03T04:05:06.7Z`, `2031-02-03x04:05:06z`), []string{"/time must be a date and time of RFC 3339"}},
		{"no leap second", nil, attribute(`2031-02-03T04:05:06.7Z`, `2016-12-30T23:59:60Z`), []string{leap}},
		{"leap second of another zone", nil, attribute(`2031-02-03T04:05:06.7Z`, `2016-12-31T23:59:60+01:00`), []string{leap}},
		{"second 61", nil, attribute(`2031-02-03T04:05:06.7Z`, `2016-12-31T23:59:61Z`), []string{"/time must be a date and time of RFC 3339"}},
		{"leap second at the end of time", nil, attribute(`2031-02-03T04:05:06.7Z`, `9999-12-31T23:59:60Z`), []string{leap}},
		{"not JSON", nil, "secret", []string{"the event must be JSON: syntax error at byte 0"}},
		{"trailing", nil, "{} secret", []string{"the event must be JSON: syntax error at byte 3"}},
		{"no object", nil, `"secret"`, []string{"the event must be a JSON object"}},
		{"null", nil, `null`, []string{"the event must be a JSON object"}},
		{"batch by content type", events.Header{"Content-Type": {"application/cloudevents-batch+json"}}, `[]`, []string{"the event must not be a batch: publish one event per message"}},
		{"batch by content", nil, `[{}]`, []string{"the event must not be a batch: publish one event per message"}},
		{"other format", events.Header{"Content-Type": {"application/cloudevents+avro"}}, `x`, []string{"the event must have the content type application/cloudevents+json, or be a binary CloudEvent with JSON data"}},
		{"nothing", nil, `{}`, []string{noEnvelope}},
		{"little", nil, `{"id":null}`, []string{"/data is required", "/id is required", "/source is required", "/specversion is required", "/type is required"}},
		{"binary, nothing", events.Header{"ce-id": {"%00"}}, ``, []string{"/data must not be empty", "/id must not hold control characters", "/source is required", "/specversion is required", "/type is required"}},
		{"binary, not JSON", binaryHeader(events.Header{"content-type": {"text/plain"}}), smallData, []string{"/datacontenttype must be a JSON media type"}},
		{"binary, contradiction", binaryHeader(events.Header{"CE-ID": {"other"}}), smallData, []string{"/id must not appear twice"}},
		{"binary, invalid UTF-8", binaryHeader(events.Header{"ce-subject": {"%ff"}}), smallData, []string{"/subject must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"binary, extension name", binaryHeader(events.Header{"ce-secret_name": {"x"}}), smallData, []string{"/* must have a name of 1 to 64 lower-case letters and digits"}},
		{"specversion", nil, attribute(`"1.0"`, `"0.3"`), []string{"/specversion must be 1.0"}},
		{"attribute types", nil, attribute(`"e 1"`, `17`), []string{"/id must be string"}},
		{"blank", nil, attribute(`"e 1"`, `"\t"`), []string{"/id must not be blank"}},
		{"long", nil, attribute(`"e 1"`, `"`+strings.Repeat("ö", 257)+`"`), []string{"/id must have at most 512 bytes"}},
		{"control characters", nil, attribute(`"e 1"`, `"a\r\nb"`), []string{"/id must not hold control characters"}},
		{"unknown type", nil, attribute(`candidate.sourced`, `candidate.unknown`), []string{types}},
		{"time", nil, attribute(`2031-02-03T04:05:06.7Z`, `2031-02-03 04:05`), []string{"/time must be a date and time of RFC 3339"}},
		{"datacontenttype", nil, attribute(`"account"`, `"datacontenttype":"application/xml","account"`), []string{"/datacontenttype must be a JSON media type"}},
		{"extension value", nil, attribute(`-7`, `1.5`), []string{"/* must be string, boolean or 32-bit integer"}},
		{"extension object", nil, attribute(`"acme"`, `{}`), []string{"/account must be string, boolean or 32-bit integer"}},
		{"extension name", nil, attribute(`"urgent"`, `"secret_name"`), []string{"/* must have a name of 1 to 64 lower-case letters and digits"}},
		{"many extensions", nil, attribute(`"urgent"`, manyExtensions()+`"urgent"`), []string{"the event must have at most 64 extensions"}},
		{"no data", nil, `{` + smallAttributes + `}`, []string{"/data is required"}},
		{"both data", nil, `{"data_base64":"e30=",` + smallAttributes + `,"data":` + smallData + `}`, []string{"/data_base64 must not stand beside data"}},
		{"data_base64 no base64", nil, `{` + smallAttributes + `,"data_base64":"?"}`, []string{"/data_base64 must be base64 (RFC 4648, with padding)"}},
		{"data_base64 no text", nil, `{` + smallAttributes + `,"data_base64":1}`, []string{"/data_base64 must be string"}},
		{"data_base64 no JSON", nil, `{` + smallAttributes + `,"data_base64":"c2VjcmV0"}`, []string{"/data must be JSON: syntax error at byte 0"}},
		{"data null", nil, envelope(`null`), []string{"/data must be object"}},
		{"data empty", nil, envelope(`{}`), []string{"/data/candidate is required", "/data/position is required"}},
		{"all at once", nil, attribute(`"e 1"`, `""`)[:len(attribute(`"e 1"`, `""`))-len(smallData)-1] + `{"candidate":{"id":"a b","first_name":" ","email":1},"position":{}}}`, []string{
			"/data/candidate/email must be string", "/data/candidate/first_name must not be blank", id, "/data/candidate/last_name is required", one, "/id must not be blank",
		}},
		{"null field", nil, candidate(`"email":null`), []string{"/data/candidate/email must be string"}},
		{"too long", nil, candidate(`"middle_name":"` + strings.Repeat("ö", 257) + `"`), []string{"/data/candidate/middle_name must have at most 256 characters"}},
		{"position without", nil, position(`{"department":"D"}`), []string{one, "/data/position/name is required beside department"}},
		{"position twice", nil, position(`{"uid":"1","custom_id":"2"}`), []string{one}},
		{"position uid a number", nil, position(`{"uid":87.405}`), []string{"/data/position/uid must be string"}},
		{"department beside uid", nil, position(`{"uid":"1","department":"D"}`), []string{"/data/position/name is required beside department"}},
		{"file without place", nil, candidate(`"resume":{"name":"cv.pdf"}`), []string{"/data/candidate/resume must have exactly one of content, object, url"}},
		{"file in two places", nil, candidate(`"files":[{"name":"cv.pdf","content":"eHh4","url":"https://x.test"}]`), []string{"/data/candidate/files/0 must have exactly one of content, object, url"}},
		{"file by http", nil, candidate(`"resume":{"name":"cv.pdf","url":"http://x.test"}`), []string{`/data/candidate/resume/url must match ^https://\S+$`}},
		{"file hash", nil, candidate(`"resume":{"name":"cv.pdf","object":{"name":"XYZ"}}`), []string{`/data/candidate/resume/object/name must match ^[0-9a-f]{64}$`}},
		{"file content", nil, candidate(`"resume":{"name":"cv.pdf","content":"????"},"picture":{"name":"p","content":"\n\n\n\n"}`), []string{
			"/data/candidate/picture/content must not be empty", "/data/candidate/resume/content must be base64 (RFC 4648, with padding)",
		}},
		{"custom field object", nil, candidate(`"custom_fields":{"secret/name":{},"0701234567":[[]]}`), []string{
			"/data/candidate/custom_fields/* must be null or boolean or number or string or array",
			"/data/candidate/custom_fields/*/0 must be null or boolean or number or string",
		}},
		{"custom field name", nil, candidate(`"custom_fields":{"":1,"` + strings.Repeat("x", 257) + `":1}`), []string{
			`/data/candidate/custom_fields must have only names that match ^[\s\S]{1,256}$`,
		}},
		{"many custom fields", nil, candidate(`"custom_fields":{` + strings.TrimSuffix(manyExtensions()+strings.ReplaceAll(manyExtensions(), "x", "y")+strings.ReplaceAll(manyExtensions(), "x", "z")+strings.ReplaceAll(manyExtensions(), "x", "w"), ",") + `}`), []string{
			"/data/candidate/custom_fields must have at most 200 properties",
		}},
		{"long extension", nil, attribute(`"acme"`, `"`+strings.Repeat("x", 4097)+`"`), []string{"/account must have at most 4096 bytes"}},
		{"broken escapes", nil, `{"x":"\ud83d\u12"}`, []string{"the event must be JSON: syntax error at byte 12"}},
		{"control character", nil, "{\"x\":\"\\n\n\"}", []string{"the event must be JSON: syntax error at byte 8"}},
		{"many links", nil, candidate(`"links":[` + strings.TrimSuffix(strings.Repeat(`{"url":"u"},`, 51), ",") + `]`), []string{"/data/candidate/links must have at most 50 entries"}},
		{"duplicate name", nil, candidate(`"id":"other","email":1`), []string{"/data/candidate/id must not appear twice"}},
		{"duplicate foreign name", nil, candidate(`"secret":1,"secret":2`), []string{"/data/candidate/* must not appear twice"}},
		{"duplicate names of digits", nil, candidate(`"custom_fields":{"0701234567":1,"0701234567":2}`), []string{"/data/candidate/custom_fields/* must not appear twice"}},
		{"duplicate name in a list", nil, candidate(`"links":[{"url":"u"},{"url":"u","url":"u"}]`), []string{"/data/candidate/links/1/url must not appear twice"}},
		{"duplicate name, no JSON", nil, candidate(`"id":"other",`), []string{"the event must be JSON: syntax error at byte 281"}},
		{"duplicate attribute", nil, attribute(`"account"`, `"id":"e 1","account"`), []string{"/id must not appear twice"}},
		{"NUL", nil, candidate(`"note":"a\u0000b","secret\u0000":1`), []string{"/data/candidate/* must not have a NUL character in its name", "/data/candidate/note must not hold a NUL character"}},
		{"lone high surrogate", nil, candidate(`"note":"\ud83d"`), []string{"/data/candidate/note must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"lone low surrogate", nil, candidate(`"links":[{"url":"\ude00\ud83d"}]`), []string{"/data/candidate/links/0/url must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"high surrogate without low", nil, candidate(`"secret":"\ud83d\u0041"`), []string{"/data/candidate/* must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"lone surrogate in a name", nil, candidate(`"secret\ud83d":1`), []string{"/data/candidate must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"invalid UTF-8", nil, candidate("\"note\":\"\xff\""), []string{"/data/candidate/note must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"invalid UTF-8 and escapes", nil, candidate("\"note\":\"\\n\xff\""), []string{"/data/candidate/note must be valid Unicode (UTF-8, no lone surrogates)"}},
		{"huge numbers", nil, candidate(`"custom_fields":{"a":1e309,"b":-1E-99999999999999999999,"c":` + strings.Repeat("1", 65) + `}`), []string{
			"/data/candidate/custom_fields/* must be a number of at most 64 characters", "/data/candidate/custom_fields/* must be a number with an exponent of at most 308",
		}},
		{"deep", nil, candidate(`"x":` + strings.Repeat("[", 100_000)), []string{"the event must nest at most 32 levels deep"}},
		{"many values", nil, candidate(`"x":[` + strings.Repeat("0,", 10_001) + `0]`), []string{"the event must hold at most 10000 values"}},
		{"our own, out of range", nil, attribute(`candidate.sourced`, events.TypeClaimed), []string{
			"/data/account is required", "/data/attempt is required", "/data/matched_by is required", "/data/operation is required", "/data/position_uid is required", "/data/sourced is required", "/data/state is required",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := events.Decode(tt.header, []byte(tt.body))
			if diff := cmp.Diff(tt.want, violations(t, err)); diff != "" {
				t.Error(diff)
			}
			if e.Data != nil {
				t.Error("an invalid event has data")
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "0701234567") {
				t.Errorf("the error leaks: %v", err)
			}
		})
	}
}

func manyExtensions() string {
	var b strings.Builder
	for i := range 64 {
		fmt.Fprintf(&b, `"x%d":"",`, i)
	}
	return b.String()
}

// TestInvalidEventsAreNamed: what can be read of an invalid event names it.
func TestInvalidEventsAreNamed(t *testing.T) {
	t.Parallel()
	whole := `{` + smallAttributes + `,"data":` + smallData + `}`
	invalid := strings.Replace(whole, `"Noor"`, `1`, 1)
	named := small()
	named.Data = nil
	untimed := events.Event{Event: named.Clone()}
	untimed.Context.(*event.EventContextV1).Time = nil
	binary := events.Event{Event: named.Clone()}
	binary.SetExtension("urgent", "true")
	binary.SetExtension("rank", "-7")
	sourceAlone := events.Event{Event: events.New("s", "", nil)}
	nothing := events.Event{Event: events.New("", "", nil)}
	for _, tt := range []struct {
		name      string
		header    events.Header
		body      string
		want      events.Event
		candidate string
	}{
		{"data invalid", nil, invalid, named, "c-1"},
		{"attribute invalid", nil, strings.Replace(whole, `2031-02`, `2031-13`, 1), untimed, "c-1"},
		{"candidate id invalid", nil, strings.Replace(whole, `"c-1","first`, `"noor@example.test","first`, 1), named, ""},
		{"candidate id no text", nil, strings.Replace(whole, `"c-1","first`, `17,"first`, 1), named, ""},
		{"truncated", nil, whole[:len(whole)-20], named, "c-1"},
		{"duplicate name before the id", nil, `{"data":{"a":1,"a":2,"candidate":{"id":"c-1"}},` + smallAttributes + `}`, named, "c-1"},
		{"bad UTF-8 before the id", nil, `{"data":{"a":"` + "\xff" + `","candidate":{"id":"c-1"}},` + smallAttributes + `}`, named, "c-1"},
		{"truncated in an id", nil, `{"source":"s","id":"e`, sourceAlone, ""},
		{"binary, truncated", binaryHeader(nil), smallData[:len(smallData)-20], binary, "c-1"},
		{"unreadable", nil, `{`, nothing, ""},
		{"without an envelope", nil, smallData, nothing, "c-1"},
		{"without an envelope, data alone", nil, `{"data":` + smallData + `}`, nothing, "c-1"},
		{"Kafka's headers", foreignHeader("ce_"), smallData, binary, "c-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := events.Decode(tt.header, []byte(tt.body))
			violations(t, err)
			if diff := cmp.Diff(tt.want, got, asWritten); diff != "" || got.DataEncoded != nil {
				t.Errorf("data %s %s", got.DataEncoded, diff)
			}
			if invalid, ok := errors.AsType[*events.InvalidError](err); !ok || invalid.CandidateID != tt.candidate {
				t.Errorf("%+v, want CandidateID %q", invalid, tt.candidate)
			}
		})
	}
}

func TestViolationsAreCapped(t *testing.T) {
	t.Parallel()
	links := strings.TrimSuffix(strings.Repeat(`{"url":1},`, 40), ",")
	body := `{` + smallAttributes + `,"data":` + strings.Replace(smallData, `"id"`, `"links":[`+links+`],"id"`, 1) + `}`
	_, err := events.Decode(nil, []byte(body))
	got := violations(t, err)
	if len(got) != events.MaxViolations || got[len(got)-1] != "the event breaks 9 more rules" {
		t.Errorf("%d violations, the last: %s", len(got), got[len(got)-1])
	}
}

// TestOwnIntegers: JSON writes integers in several ways.
func TestOwnIntegers(t *testing.T) {
	t.Parallel()
	const claim = `{"specversion":"1.0","id":"1","source":"s","type":"candidate.submission.claimed","data":{"account":"a","operation":"o","state":"claimed",` +
		`"attempt":%s,"position_uid":"p","matched_by":"uid","sourced":{"source":"s","id":"i"}}}`
	for literal, want := range map[string]string{
		"1": "", "1.0": "", "2e1": "", "2147483647": "",
		"0": "/data/attempt must be at least 1", "2147483648": "/data/attempt must be at most 2147483647",
		"1.5": "/data/attempt must be integer", "1e308": "/data/attempt must be at most 2147483647",
	} {
		_, err := events.Decode(nil, fmt.Appendf(nil, claim, literal))
		if want == "" && err != nil {
			t.Errorf("%s: %v", literal, err)
		}
		if want != "" {
			if diff := cmp.Diff([]string{want}, violations(t, err)); diff != "" {
				t.Errorf("%s: %s", literal, diff)
			}
		}
	}
}

// TestClaimsOfErasedOperations: an erased operation's entry has no more than its state; any other claim needs all it ever needed.
func TestClaimsOfErasedOperations(t *testing.T) {
	t.Parallel()
	const claim = `{"specversion":"1.0","id":"1","source":"s","type":"candidate.submission.claimed","data":{"account":"a","operation":"o"%s}}`
	e, err := events.Decode(nil, fmt.Appendf(nil, claim, `,"state":"erased"`))
	if diff := cmp.Diff(&events.Claimed{Account: "a", Operation: "o", State: events.StateErased}, e.Data); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	_, body, err := events.Encode(e.Event)
	if want := `"data":{"account":"a","operation":"o","state":"erased"}}`; err != nil || !strings.HasSuffix(string(body), want) {
		t.Errorf("%v\n%s", err, body)
	}
	all := []string{"/data/attempt is required", "/data/matched_by is required", "/data/position_uid is required", "/data/sourced is required"}
	for members, want := range map[string][]string{
		`,"state":"claimed"`:  all,
		`,"state":"in_doubt"`: all,
		`,"state":"released"`: all,
		`,"state":"to come"`:  all,
		`,"state":"claimed","attempt":1,"position_uid":"p","sourced":{"source":"s","id":"i"}`: all[1:2],
		``:                                   append(slices.Clone(all), "/data/state is required"),
		`,"state":"erased","sourced":{}`:     {"/data/sourced/id is required", "/data/sourced/source is required"},
		`,"state":"erased","position_uid":1`: {"/data/position_uid must be string"},
	} {
		_, err := events.Decode(nil, fmt.Appendf(nil, claim, members))
		if diff := cmp.Diff(want, violations(t, err)); diff != "" {
			t.Errorf("%s: %s", members, diff)
		}
	}
}

// TestOwnEventsMayHoldNUL: what Comeet sent comes back as it was; only strangers' events must not hold NUL.
func TestOwnEventsMayHoldNUL(t *testing.T) {
	t.Parallel()
	data := &events.StatusChanged{
		Account: "default", CandidateUID: "3C.7F2A1", Changed: []events.Change{events.ChangedDispositionReason},
		State: events.State{DispositionReason: "a\x00b"}, SeenAt: clock,
	}
	header, body, err := events.Encode(events.New(source, "s-1", data))
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Decode(header, body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(data, got.Data); diff != "" {
		t.Error(diff)
	}
}
