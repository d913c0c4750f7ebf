package events

import (
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// shortcut tells fast whether a value conforms to a schema, as nearly all do: the validator alone
// makes three allocations for each value, and costs the whole flow 4 %. It knows plain texts,
// objects and lists, and asks the validator about all else, and for what is wrong. A property test
// holds the two together.
type shortcut struct {
	schema     *jsonschema.Schema
	plain      string // the type of value that is known here: string, object or array
	properties map[string]*shortcut
	items      *shortcut
}

var (
	annotations = []string{"DraftVersion", "Location", "ID", "Title", "Description", "Comment", "Default", "Examples"}
	known       = []string{"Types", "MinLength", "MaxLength", "Pattern", "Required", "OneOf", "DependentRequired", "Properties", "Items2020", "MinItems", "MaxItems"}
)

// onlyHas tells whether a schema has no other keywords than these.
func onlyHas(s *jsonschema.Schema, keywords ...string) bool {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && !slices.Contains(annotations, f.Name) && !slices.Contains(keywords, f.Name) && !v.Field(i).IsZero() {
			return false
		}
	}
	return true
}

func newShortcut(schema *jsonschema.Schema) *shortcut {
	for schema.Ref != nil && onlyHas(schema, "Ref") {
		schema = schema.Ref
	}
	s := &shortcut{schema: schema}
	otherBranch := func(branch *jsonschema.Schema) bool { return !onlyHas(branch, "Required") }
	if schema.Types == nil || !onlyHas(schema, known...) || slices.ContainsFunc(schema.OneOf, otherBranch) {
		return s
	}
	if types := schema.Types.ToStrings(); len(types) == 1 {
		s.plain = types[0]
	}
	s.properties = make(map[string]*shortcut, len(schema.Properties))
	for name, property := range schema.Properties {
		s.properties[name] = newShortcut(property)
	}
	if schema.Items2020 != nil {
		s.items = newShortcut(schema.Items2020)
	}
	return s
}

func (s *shortcut) conforms(v any) bool {
	switch v := v.(type) {
	case string:
		if s.plain == "string" {
			return isWithin(utf8.RuneCountInString(v), s.schema.MinLength, s.schema.MaxLength) &&
				(s.schema.Pattern == nil || s.schema.Pattern.MatchString(v))
		}
	case []any:
		if s.plain == "array" {
			fails := func(entry any) bool { return s.items != nil && !s.items.conforms(entry) }
			return isWithin(len(v), s.schema.MinItems, s.schema.MaxItems) && !slices.ContainsFunc(v, fails)
		}
	case map[string]any:
		if s.plain == "object" {
			if !hasAll(v, s.schema.Required) || !s.hasOneOf(v) {
				return false
			}
			for name, others := range s.schema.DependentRequired {
				if _, has := v[name]; has && !hasAll(v, others) {
					return false
				}
			}
			for name, value := range v {
				if property := s.properties[name]; property != nil && !property.conforms(value) {
					return false
				}
			}
			return true
		}
	}
	return s.schema.Validate(v) == nil
}

// isWithin takes nil for no bound.
func isWithin(n int, least, most *int) bool {
	return (least == nil || n >= *least) && (most == nil || n <= *most)
}

func hasAll(v map[string]any, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { _, has := v[name]; return !has })
}

func (s *shortcut) hasOneOf(v map[string]any) bool {
	matching := 0
	for _, branch := range s.schema.OneOf {
		if hasAll(v, branch.Required) {
			matching++
		}
	}
	return matching == 1 || len(s.schema.OneOf) == 0
}
