package events

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// rules is a schema boiled down to answer fast that a value surely conforms, as nearly all do. The general validator
// takes 20 µs for a typical event, half of the time of Decode, and this 3. "Not sure" falls back to it, so that
// violations always come from the validator and unusual values cost time only; a property test holds the two together.
type rules struct {
	never                            bool // the schema has a keyword that isn't known here
	text, object, array, truth, null bool // types
	number, integer                  bool
	minLength, maxLength             int
	blank                            bool // not blank is demanded
	pattern                          jsonschema.Regexp
	moment                           bool // format date-time
	minimum, maximum                 int64
	required                         []string
	unless                           *exemption
	properties                       map[string]*rules
	name                             jsonschema.Regexp // that all names must match, if named is set
	named                            *rules            // of all values
	maxProperties                    int
	dependent                        map[string][]string
	oneOf                            [][]string // lists of required names
	items                            *rules
	minItems, maxItems               int
}

// exemption demands names, unless a property has one certain value.
type exemption struct {
	property, value string
	required        []string
}

// exempt reads the only form of if and else that is known here. ok is false for any other.
func exempt(s *jsonschema.Schema) (e *exemption, ok bool) {
	if s.If == nil {
		return nil, s.Then == nil && s.Else == nil
	}
	plain := func(s *jsonschema.Schema) bool {
		return s != nil && s.Types == nil && s.Ref == nil && s.OneOf == nil && s.DependentRequired == nil && !unknownKeywords(s)
	}
	if s.Then != nil || !plain(s.If) || !plain(s.Else) || len(s.If.Properties) != 1 || s.Else.Properties != nil {
		return nil, false
	}
	for name, sub := range s.If.Properties {
		if sub.Const == nil || !slices.Equal(s.If.Required, []string{name}) {
			return nil, false
		}
		value, isText := (*sub.Const).(string)
		e, ok = &exemption{name, value, s.Else.Required}, isText
	}
	return e, ok
}

// boil turns a compiled schema into rules.
func boil(s *jsonschema.Schema) *rules {
	if s.Ref != nil {
		// Beside a reference our schemas have annotations only, never rules.
		if s.Types != nil || s.Properties != nil || s.Required != nil || s.OneOf != nil {
			return &rules{never: true}
		}
		return boil(s.Ref)
	}
	r := &rules{
		minLength: limit(s.MinLength, 0), maxLength: limit(s.MaxLength, math.MaxInt),
		minItems: limit(s.MinItems, 0), maxItems: limit(s.MaxItems, math.MaxInt),
		maxProperties: limit(s.MaxProperties, math.MaxInt),
		required:      s.Required, dependent: s.DependentRequired,
		pattern: s.Pattern, minimum: math.MinInt64, maximum: math.MaxInt64,
		never: s.Types == nil || unknownKeywords(s),
	}
	var known bool
	if r.unless, known = exempt(s); r.never || !known {
		r.never = true
		return r
	}
	for _, t := range s.Types.ToStrings() {
		switch t {
		case "string":
			r.text = true
		case "object":
			r.object = true
		case "array":
			r.array = true
		case "boolean":
			r.truth = true
		case "null":
			r.null = true
		case "number":
			r.number = true
		case "integer":
			r.integer = true
		}
	}
	if s.Pattern != nil && s.Pattern.String() == `\S` {
		r.blank, r.pattern = true, nil
	}
	if s.Format != nil {
		r.moment = s.Format.Name == "date-time"
		r.never = !r.moment
	}
	if s.Minimum != nil {
		r.minimum = s.Minimum.Num().Int64()
		r.never = r.never || !s.Minimum.IsInt() || !s.Minimum.Num().IsInt64()
	}
	if s.Maximum != nil {
		r.maximum = s.Maximum.Num().Int64()
		r.never = r.never || !s.Maximum.IsInt() || !s.Maximum.Num().IsInt64()
	}
	if len(s.Properties) > 0 {
		r.properties = map[string]*rules{}
		for name, sub := range s.Properties {
			r.properties[name] = boil(sub)
		}
	}
	for name, sub := range s.PatternProperties {
		// Known is one pattern that all names must match.
		r.never = r.never || len(s.PatternProperties) > 1 || len(s.Properties) > 0 || s.AdditionalProperties != false
		r.name, r.named = name, boil(sub)
	}
	r.never = r.never || s.AdditionalProperties != nil && r.named == nil
	for _, branch := range s.OneOf {
		r.oneOf = append(r.oneOf, branch.Required)
		r.never = r.never || len(branch.Required) == 0 || branch.Types != nil || branch.Properties != nil || unknownKeywords(branch)
	}
	if s.Items2020 != nil {
		r.items = boil(s.Items2020)
	}
	return r
}

// unknownKeywords tells whether the schema has rules that boil doesn't know.
func unknownKeywords(s *jsonschema.Schema) bool {
	return s.Bool != nil || s.Const != nil || s.Enum != nil || s.Not != nil || len(s.AllOf) > 0 || len(s.AnyOf) > 0 ||
		s.DynamicRef != nil || s.RecursiveRef != nil || s.MinProperties != nil || s.PropertyNames != nil ||
		len(s.DependentSchemas) > 0 || len(s.Dependencies) > 0 || s.UnevaluatedProperties != nil || s.UnevaluatedItems != nil ||
		s.UniqueItems || s.Contains != nil || len(s.PrefixItems) > 0 || s.Items != nil || s.ContentSchema != nil ||
		s.MultipleOf != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil || len(s.Extensions) > 0
}

func limit(n *int, without int) int {
	if n == nil {
		return without
	}
	return *n
}

// surely tells whether v conforms; false means not sure.
func (r *rules) surely(v any) bool {
	if r.never {
		return false
	}
	switch v := v.(type) {
	case string:
		return r.text && r.surelyText(v)
	case map[string]any:
		return r.object && r.surelyObject(v)
	case []any:
		if !r.array || len(v) < r.minItems || len(v) > r.maxItems {
			return false
		}
		if r.items != nil {
			for _, entry := range v {
				if !r.items.surely(entry) {
					return false
				}
			}
		}
		return true
	case json.Number:
		if r.number && r.minimum == math.MinInt64 && r.maximum == math.MaxInt64 {
			return true
		}
		i, err := strconv.ParseInt(string(v), 10, 64)
		return err == nil && (r.number || r.integer) && i >= r.minimum && i <= r.maximum
	case bool:
		return r.truth
	case nil:
		return r.null
	}
	return false
}

func (r *rules) surelyText(s string) bool {
	if r.minLength > 0 || len(s) > r.maxLength { // as many characters as bytes at most
		if n := utf8.RuneCountInString(s); n < r.minLength || n > r.maxLength {
			return false
		}
	}
	if r.blank && !startsVisible(s) {
		return false
	}
	if r.moment {
		if _, ok := parseTime(s); !ok {
			return false
		}
	}
	return r.pattern == nil || r.pattern.MatchString(s)
}

// startsVisible tells whether the first byte is no ASCII space: enough to be sure that s isn't blank.
func startsVisible(s string) bool { return s != "" && s[0] > ' ' }

func (r *rules) surelyObject(m map[string]any) bool {
	if len(m) > r.maxProperties {
		return false
	}
	if !hasAll(m, r.required) {
		return false
	}
	if r.unless != nil && m[r.unless.property] != r.unless.value && !hasAll(m, r.unless.required) {
		return false
	}
	for name, others := range r.dependent {
		if _, ok := m[name]; ok && !hasAll(m, others) {
			return false
		}
	}
	if len(r.oneOf) > 0 {
		matches := 0
		for _, names := range r.oneOf {
			if hasAll(m, names) {
				matches++
			}
		}
		if matches != 1 {
			return false
		}
	}
	for name, value := range m {
		if r.named != nil && !(r.name.MatchString(name) && r.named.surely(value)) {
			return false
		}
		if property, ok := r.properties[name]; ok && !property.surely(value) {
			return false
		}
	}
	return true
}

func hasAll(m map[string]any, names []string) bool {
	for _, name := range names {
		if _, ok := m[name]; !ok {
			return false
		}
	}
	return true
}
