package schemas_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/comeet-connector/comeet-connector/schemas"
)

func load(t *testing.T, eventType string) (map[string]any, *jsonschema.Schema) {
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
	compiler.AssertContent()
	if err := compiler.AddResource(schemas.ID(eventType), doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(schemas.ID(eventType)) // also validates against the meta-schema
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any), compiled
}

func TestTypes(t *testing.T) {
	t.Parallel()
	want := []string{
		"candidate.sourced", "candidate.submission.claimed", "candidate.submission.accepted", "candidate.submission.failed",
		"candidate.status.changed",
	}
	if diff := cmp.Diff(want, schemas.Types()); diff != "" {
		t.Error(diff)
	}
	schemas.Types()[0] = "overwritten"
	if diff := cmp.Diff(want, schemas.Types()); diff != "" {
		t.Errorf("a caller could change it: %s", diff)
	}
}

func TestGetReturnsCopies(t *testing.T) {
	t.Parallel()
	first, _ := schemas.Get("candidate.sourced")
	first[0] = 'X'
	if second, _ := schemas.Get("candidate.sourced"); second[0] != '{' {
		t.Error("a caller could change it")
	}
}

func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "candidate", "candidate.sourced.json", "../schemas", "Candidate.Sourced"} {
		if text, ok := schemas.Get(name); ok || text != nil {
			t.Errorf("Get(%q) = %d bytes, %v", name, len(text), ok)
		}
		if id := schemas.ID(name); id != "" {
			t.Errorf("ID(%q) = %q", name, id)
		}
	}
}

// TestSchemasAreReadable checks what a foreign team relies on: draft, identity, words on everything, valid examples.
func TestSchemasAreReadable(t *testing.T) {
	t.Parallel()
	for _, eventType := range schemas.Types() {
		t.Run(eventType, func(t *testing.T) {
			t.Parallel()
			doc, compiled := load(t, eventType)
			if got := doc["$schema"]; got != "https://json-schema.org/draft/2020-12/schema" {
				t.Errorf("$schema = %v", got)
			}
			if got := doc["$id"]; got != schemas.ID(eventType) {
				t.Errorf("$id = %v, want %s", got, schemas.ID(eventType))
			}
			if title, _ := doc["title"].(string); !strings.HasPrefix(title, eventType) {
				t.Errorf("title = %q", title)
			}
			defs, _ := doc["$defs"].(map[string]any)
			described(t, eventType, doc, defs)
			for name, def := range defs {
				described(t, name, def.(map[string]any), defs)
			}
			examples, _ := doc["examples"].([]any)
			if len(examples) == 0 {
				t.Error("no example")
			}
			for _, example := range examples {
				if err := compiled.Validate(example); err != nil {
					t.Errorf("its own example breaks it: %v", err)
				}
			}
		})
	}
}

// described fails for a schema, or a property of it, without a description, a type, or open to no new fields.
func described(t *testing.T, at string, s, defs map[string]any) {
	t.Helper()
	target := s
	if ref, ok := s["$ref"].(string); ok {
		target, ok = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			t.Errorf("%s: nothing at %s", at, ref)
			return
		}
	}
	if s["description"] == nil && target["description"] == nil {
		t.Errorf("%s has no description", at)
	}
	if target["type"] == nil {
		t.Errorf("%s has no type", at)
	}
	if s["additionalProperties"] == false && s["patternProperties"] == nil {
		t.Errorf("%s refuses unknown fields; version 1 ignores them", at)
	}
	properties, _ := s["properties"].(map[string]any)
	for name, property := range properties {
		described(t, at+"."+name, property.(map[string]any), defs)
	}
	if items, ok := s["items"].(map[string]any); ok {
		described(t, at+"[]", items, defs)
	}
}

// TestSourcedIsBounded holds every text and list that strangers send to a limit.
func TestSourcedIsBounded(t *testing.T) {
	t.Parallel()
	text, _ := schemas.Get("candidate.sourced")
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var visit func(at string, v any)
	visit = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			pattern, _ := v["pattern"].(string)
			if v["type"] == "string" && v["maxLength"] == nil && !strings.Contains(pattern, "}$") {
				t.Errorf("%s: text without limit", at)
			}
			if v["type"] == "array" && v["maxItems"] == nil {
				t.Errorf("%s: list without limit", at)
			}
			for name, sub := range v {
				if name != "examples" {
					visit(at+"/"+name, sub)
				}
			}
		case []any:
			for _, sub := range v {
				visit(at+"[]", sub)
			}
		}
	}
	visit("", doc)
}
