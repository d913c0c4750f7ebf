package events_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/comeet-connector/comeet-connector/events"
	"github.com/comeet-connector/comeet-connector/schemas"
)

// compile compiles a schema as a foreign team would, apart from package events.
func compile(t testing.TB, eventType string) *jsonschema.Schema {
	t.Helper()
	text, ok := schemas.Get(eventType)
	if !ok {
		t.Fatalf("no schema of %s", eventType)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(schemas.ID(eventType), doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(schemas.ID(eventType))
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func allData() []events.Data {
	return []events.Data{&events.Sourced{}, &events.Claimed{}, &events.Accepted{}, &events.Failed{}, &events.StatusChanged{}}
}

func TestTypesAgreeWithSchemas(t *testing.T) {
	t.Parallel()
	var got []string
	for _, data := range allData() {
		got = append(got, data.EventType())
	}
	if diff := cmp.Diff(schemas.Types(), got); diff != "" {
		t.Error(diff)
	}
}

// TestFieldsAgreeWithSchemas: the Go types and the schemas have the same fields, and the same ones are required.
func TestFieldsAgreeWithSchemas(t *testing.T) {
	t.Parallel()
	for _, data := range allData() {
		t.Run(data.EventType(), func(t *testing.T) {
			t.Parallel()
			sameFields(t, data.EventType(), reflect.TypeOf(data).Elem(), compile(t, data.EventType()))
		})
	}
}

func sameFields(t *testing.T, at string, goType reflect.Type, s *jsonschema.Schema) {
	t.Helper()
	for s.Ref != nil {
		s = s.Ref
	}
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if k := goType.Kind(); k == reflect.Int || k == reflect.Uint64 {
		if s.Minimum == nil || s.Maximum == nil {
			t.Errorf("%s: an integer without bounds may not fit into the Go type", at)
		}
		return
	}
	if goType.Kind() == reflect.Slice && s.Items2020 != nil {
		sameFields(t, at+"[]", goType.Elem(), s.Items2020)
		return
	}
	if goType.Kind() != reflect.Struct || len(s.Properties) == 0 {
		return
	}
	var names, required []string
	for _, f := range reflect.VisibleFields(goType) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		names = append(names, name)
		if options == "" && at != "candidate.sourced.position" {
			required = append(required, name)
		}
		sub, ok := s.Properties[name]
		if !ok {
			t.Errorf("%s: the schema has no %s", at, name)
			continue
		}
		sameFields(t, at+"."+name, f.Type, sub)
	}
	for name := range s.Properties {
		if !slices.Contains(names, name) {
			t.Errorf("%s: the Go type has no %s", at, name)
		}
	}
	slices.Sort(required)
	want := slices.Sorted(slices.Values(s.Required))
	if diff := cmp.Diff(want, required); diff != "" {
		t.Errorf("%s: required by the schema (-) and always written (+): %s", at, diff)
	}
}

// TestOpenSetsAgreeWithSchemas: the constants are what the schemas name.
func TestOpenSetsAgreeWithSchemas(t *testing.T) {
	t.Parallel()
	matched := []any{events.MatchedByUID, events.MatchedByCustomID, events.MatchedByName, events.MatchedByFallback}
	for _, tt := range []struct {
		eventType, property string
		constants           []any
	}{
		{events.TypeClaimed, "state", []any{events.StateClaimed, events.StateInDoubt, events.StateReleased, events.StateErased}},
		{events.TypeClaimed, "matched_by", matched},
		{events.TypeAccepted, "matched_by", matched},
		{events.TypeAccepted, "outcome", []any{events.OutcomeCreated, events.OutcomeExisting, events.OutcomeRecovered, events.OutcomeDuplicate}},
		{events.TypeFailed, "reason", []any{
			events.ReasonInvalidEvent, events.ReasonPositionNotFound, events.ReasonPositionAmbiguous, events.ReasonPositionClosed,
			events.ReasonPositionOnHold, events.ReasonRefused, events.ReasonFileRefused, events.ReasonFileMissing, events.ReasonInDoubt,
			events.ReasonExpired, events.ReasonErased,
		}},
		{events.TypeStatusChanged, "changed", []any{
			events.ChangedFirstSeen, events.ChangedStatus, events.ChangedSteps, events.ChangedProspectStatus, events.ChangedPosition,
			events.ChangedSource, events.ChangedDispositionReason, events.ChangedPerson, events.ChangedDeleted, events.ChangedMerged,
		}},
	} {
		var s struct {
			Properties map[string]struct {
				Examples []string
				Items    struct{ Examples []string }
			}
		}
		text, _ := schemas.Get(tt.eventType)
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		named := append(s.Properties[tt.property].Examples, s.Properties[tt.property].Items.Examples...)
		var constants []string
		for _, c := range tt.constants {
			constants = append(constants, reflect.ValueOf(c).String())
		}
		if diff := cmp.Diff(named, constants); diff != "" {
			t.Errorf("%s %s: schema (-), constants (+): %s", tt.eventType, tt.property, diff)
		}
	}
}
