package events_test

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/events"
	"github.com/comeet-connector/comeet-connector/schemas"
)

// vocabulary matches every text that an InvalidError may hold: the closed set of messages, and pointers made of names
// out of the contract. Where all texts match, none can hold a value or a name of the publisher's.
var vocabulary = func() *regexp.Regexp {
	var names, patterns, keys []string
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			properties, _ := v["properties"].(map[string]any)
			for name := range properties {
				names = append(names, name)
			}
			if pattern, ok := v["pattern"].(string); ok {
				patterns = append(patterns, regexp.QuoteMeta(pattern))
			}
			named, _ := v["patternProperties"].(map[string]any)
			for pattern := range named {
				keys = append(keys, regexp.QuoteMeta(pattern))
			}
			for name, sub := range v {
				if name != "examples" {
					visit(sub)
				}
			}
		case []any:
			for _, sub := range v {
				visit(sub)
			}
		}
	}
	for _, eventType := range schemas.Types() {
		text, _ := schemas.Get(eventType)
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			panic(err)
		}
		visit(doc)
	}
	names = append(names, "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64", "account", "traceparent", "tracestate")
	const jsonType = `(null|boolean|number|integer|string|array|object)`
	messages := []string{
		`is required( beside (department|location))?`, `must be ` + jsonType + `( or ` + jsonType + `)*`, `must not be blank`, `must not appear twice`,
		`must have (at least|at most) \d+ (characters|bytes|entries|properties|extensions)`, `must be (at least|at most) \d+`,
		`must match (` + strings.Join(patterns, "|") + `)`, `must have only names that match (` + strings.Join(keys, "|") + `)`,
		`must have exactly one of (uid, custom_id, name|content, object, url)`, `must be a date and time of RFC 3339`,
		`must be one of ` + regexp.QuoteMeta(strings.Join(schemas.Types(), ", ")), `must be 1\.0`, `must be a JSON media type`,
		`must be base64 \(RFC 4648, with padding\)`, `must be at most \d+ bytes when decoded`, `must not be empty`, `must not stand beside data`,
		`must be string, boolean or 32-bit integer`, `must have a name of 1 to 64 lower-case letters and digits`, `must not hold control characters`,
		`must be valid Unicode \(UTF-8, no lone surrogates\)`, `must not hold a NUL character`, `must not have a NUL character in its name`,
		`must be a number (of at most 64 characters|with an exponent of at most 308)`, `must nest at most 32 levels deep`, `must hold at most 10000 values`,
		`must be JSON: syntax error at byte \d+`, `must be a JSON object`, `must not be a batch: publish one event per message`,
		`must have the content type application/cloudevents\+json, or be a binary CloudEvent with JSON data`, `breaks \d+ more rules`,
	}
	slices.Sort(names)
	pointer := `(/(` + strings.Join(slices.Compact(names), "|") + `|\d{1,5}|\*))+`
	return regexp.MustCompile(`^(` + pointer + `|the event) (` + strings.Join(messages, "|") + `)$`)
}()

// clean fails unless err is an InvalidError of clean, sorted, bounded texts.
func clean(t errorReporter, err error) {
	t.Helper()
	invalid, ok := errors.AsType[*events.InvalidError](err)
	if !ok {
		t.Errorf("error = %v", err)
		return
	}
	if n := len(invalid.Violations); n == 0 || n > events.MaxViolations {
		t.Errorf("%d violations", n)
	}
	for _, v := range invalid.Violations {
		if !vocabulary.MatchString(v.String()) {
			t.Errorf("not of the vocabulary: %s", v)
		}
	}
	sorted := invalid.Violations
	if last := len(sorted) - 1; strings.HasPrefix(sorted[last].Message, "breaks ") {
		sorted = sorted[:last]
	}
	if !slices.IsSortedFunc(sorted, func(a, b events.Violation) int {
		return strings.Compare(a.Pointer+"\x00"+a.Message, b.Pointer+"\x00"+b.Message)
	}) {
		t.Errorf("not sorted: %v", sorted)
	}
	if invalid.CandidateID != "" && !regexp.MustCompile(`^[A-Za-z0-9._:-]{1,100}$`).MatchString(invalid.CandidateID) {
		t.Errorf("CandidateID = %q", invalid.CandidateID)
	}
	if invalid.CandidateID != "" && len(invalid.CandidateID) > 20 && strings.Contains(err.Error(), invalid.CandidateID) {
		t.Error("the text holds the candidate's id")
	}
}

type errorReporter interface {
	Helper()
	Errorf(format string, args ...any)
	Error(args ...any)
}

// checkDecode holds whatever Decode makes of a message to the package's promises.
func checkDecode(t testing.TB, header events.Header, body []byte) {
	e, err := events.Decode(header, body)
	again, err2 := events.Decode(header, body)
	if diff := cmp.Diff(e, again); diff != "" || (err == nil) != (err2 == nil) {
		t.Fatalf("read twice, read differently: %s", diff)
	}
	if err != nil {
		clean(t, err)
		if err.Error() != err2.Error() {
			t.Errorf("two errors of one message: %v; %v", err, err2)
		}
		if e.Data != nil {
			t.Error("an invalid event has data")
		}
		return
	}
	h, encoded, err := events.Encode(e.Event)
	if err != nil {
		t.Fatalf("accepted but can't be encoded: %v", err)
	}
	got, err := events.Decode(h, encoded)
	if err != nil {
		t.Fatalf("accepted, encoded and refused: %v\n%s", err, encoded)
	}
	// Empty lists and texts of optional objects are left out when written again; times go to UTC.
	if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("-first +second: %s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []event.Event{typicalSourced(), typicalClaimed(), typicalAccepted(), typicalFailed(), typicalStatusChanged(), small().Event} {
		_, body, err := events.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, "application/cloudevents+json", "", "")
	}
	f.Add([]byte(smallData), "application/json", "e%201", events.TypeSourced)
	f.Add([]byte(`[]`), "application/cloudevents-batch+json", "", "")
	f.Add([]byte(`{"id":"\ud83d","data_base64":"e30=","time":"2031-02-03T04:05:06+23:59","x":{"y":[1e5,{}]}}`), "", "", "")
	f.Fuzz(func(t *testing.T, body []byte, contentType, id, eventType string) {
		header := events.Header{"Content-Type": {contentType}}
		if id != "" || eventType != "" {
			header["ce-specversion"], header["ce-id"], header["ce-type"], header["ce-source"] = []string{"1.0"}, []string{id}, []string{eventType}, []string{id}
		}
		checkDecode(t, header, body)
	})
}

// FuzzJSON holds the reader of JSON to that of the standard library, on values of a custom field.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`"a"`, `[1,-0.5e+7,true,false,null,"\u00e9\n\/\ud83d\ude00"]`, `01`, `-`, `1.`, `.5`, `1e`, `tru`, `"`, `"\x"`, `[1,]`, `[`, `1 2`, "\"\t\"", `"\u12g4"`, "1\u00a0", "é", "\ufeff1", `1],"x":[2`, `1],"x":[2,]`, `"\ud83d"`, `"\ud83d\u12"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		body := `{` + smallAttributes + `,"data":` + strings.Replace(smallData, `"id"`, `"custom_fields":{"x":[`+value+`]},"id"`, 1) + `}`
		e, err := events.Decode(nil, []byte(body))
		syntax := err != nil && strings.Contains(err.Error(), "syntax error")
		if valid := json.Valid([]byte(body)); valid == syntax {
			t.Fatalf("valid JSON: %v; Decode: %v", valid, err)
		}
		if err != nil {
			clean(t, err)
			return
		}
		var want struct {
			Data struct {
				Candidate struct {
					CustomFields map[string]any `json:"custom_fields"`
				}
			}
		}
		decoder := json.NewDecoder(strings.NewReader(body))
		decoder.UseNumber()
		if err := decoder.Decode(&want); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		// A value that closes the list and the object could put fields elsewhere; the library then reads the last of
		// duplicates, which Decode refuses.
		if diff := cmp.Diff(want.Data.Candidate.CustomFields, e.Data.(*events.Sourced).Candidate.CustomFields); diff != "" {
			t.Fatal(diff)
		}
	})
}

// anyJSON generates values that strangers might send in the place of valid ones.
var anyJSON = rapid.Map(rapid.OneOf(
	rapid.SampledFrom([]string{
		`null`, `true`, `0`, `-3`, `300`, `1.5`, `2.0`, `1e400`, `{}`, `[]`, `""`, `" "`, `"\u00a0"`, `"https://x.test"`, `"2031-02-03T04:05:06Z"`,
		`["a",1,{"zzyzx_key":1}]`, `{"uid":"1","zzyzx_key":"zzyzx"}`,
	}),
	rapid.Map(rapid.IntRange(0, 600), func(n int) string { return `"` + strings.Repeat("é", n) + `"` }),
), func(text string) any {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	return v
})

// mutate changes one value, at any depth, of a tree.
func mutate(t *rapid.T, v any) any {
	if rapid.IntRange(0, 5).Draw(t, "here") == 0 {
		return anyJSON.Draw(t, "value")
	}
	switch v := v.(type) {
	case map[string]any:
		keys := []string{"zzyzx_key"}
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		key := rapid.SampledFrom(keys).Draw(t, "key")
		if rapid.IntRange(0, 5).Draw(t, "drop") == 0 {
			delete(v, key)
		} else {
			v[key] = mutate(t, v[key])
		}
		return v
	case []any:
		if len(v) > 0 {
			i := rapid.IntRange(0, len(v)-1).Draw(t, "index")
			v[i] = mutate(t, v[i])
		}
		return v
	}
	return anyJSON.Draw(t, "value")
}

// TestVerdictsAgreeWithTheSchemas: what a schema refuses, Decode refuses; what Decode refuses beyond that is one of the
// few rules that schemas can't express. So a foreign team that validates with the schema sees the same verdict.
func TestVerdictsAgreeWithTheSchemas(t *testing.T) {
	compiled := map[string]*jsonschema.Schema{}
	for _, data := range allData() {
		compiled[data.EventType()] = compile(t, data.EventType())
	}
	beyond := regexp.MustCompile(`base64|when decoded|must not be empty|must be a number|date and time`)
	all := rapid.OneOf(ours, rapid.Map(anySourced, func(s *events.Sourced) events.Data { return s }))
	rapid.Check(t, func(t *rapid.T) {
		data := all.Draw(t, "data")
		text, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "mutations") {
			tree = mutate(t, tree)
		}
		text, err = json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		tree, err = jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		schemaErr := compiled[data.EventType()].Validate(tree)
		_, err = events.Decode(nil, []byte(`{"specversion":"1.0","id":"1","source":"s","type":"`+data.EventType()+`","data":`+string(text)+`}`))
		switch {
		case err == nil && schemaErr != nil:
			t.Fatalf("Decode accepts what the schema refuses: %v\n%s", schemaErr, text)
		case err != nil && schemaErr == nil && !beyond.MatchString(err.Error()):
			t.Fatalf("Decode refuses what the schema accepts: %v\n%s", err, text)
		case err != nil:
			clean(t, err)
			if strings.Contains(err.Error(), "zzyzx") {
				t.Fatalf("the error leaks: %v", err)
			}
		}
	})
}
