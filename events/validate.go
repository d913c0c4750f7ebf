package events

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/comeet-connector/comeet-connector/schemas"
)

// contract is the compiled form of package schemas.
type contract struct {
	byType map[string]*shortcut
	// at finds a subschema by its absolute location: violations of oneOf name their alternatives
	// out of it.
	at map[string]*jsonschema.Schema
	// names are the property names that the contract itself defines. Only these appear in pointers:
	// any other name was chosen by the publisher and may be a person's data.
	names map[string]bool
}

// compiled panics on a broken schema file: those are part of the program, and compiled by its
// tests.
var compiled = sync.OnceValue(func() *contract {
	c := &contract{byType: map[string]*shortcut{}, at: map[string]*jsonschema.Schema{}, names: map[string]bool{}}
	for _, name := range attributes {
		c.names[name] = true
	}
	compiler := jsonschema.NewCompiler()
	// Everything that the Go types can't hold is refused beside the violations of the schema.
	compiler.AssertFormat()
	compiler.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: checkTime})
	compiler.AssertContent()
	compiler.RegisterContentEncoding(&jsonschema.Decoder{Name: "base64", Decode: decodeContent})
	for _, t := range schemas.Types() {
		text, _ := schemas.Get(t)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = compiler.AddResource(schemas.ID(t), doc)
		}
		var s *jsonschema.Schema
		if err == nil {
			s, err = compiler.Compile(schemas.ID(t))
		}
		if err != nil {
			panic(fmt.Sprintf("events: schema of %s: %v", t, err))
		}
		c.byType[t] = newShortcut(s)
		c.index(s)
	}
	return c
})

// index visits the subschemas by the keywords that our schemas use.
func (c *contract) index(s *jsonschema.Schema) {
	if s == nil || c.at[s.Location] != nil {
		return
	}
	c.at[s.Location] = s
	for name, sub := range s.Properties {
		c.names[name] = true
		c.index(sub)
	}
	c.index(s.Ref)
	c.index(s.Items2020)
	for _, sub := range s.PatternProperties {
		c.index(sub)
	}
}

// validate returns the violations of data against its schema.
func (c *contract) validate(eventType string, data any) []Violation {
	s := c.byType[eventType]
	if s.conforms(data) {
		return nil
	}
	err := s.schema.Validate(data)
	if err == nil {
		return nil
	}
	invalid, _ := errors.AsType[*jsonschema.ValidationError](err) // the only type it returns
	return c.collect(nil, data, invalid)
}

// collect renders an error tree. No message of the validator is used: they quote values and names.
func (c *contract) collect(vs []Violation, data any, e *jsonschema.ValidationError) []Violation {
	add := func(message string, below ...string) {
		vs = append(vs, Violation{dataPointer(data, append(slices.Clone(e.InstanceLocation), below...)), message})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add("is required", name)
		}
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			add("is required beside "+k.Prop, name)
		}
	case *kind.OneOf:
		add("must have exactly one of " + alternatives(c.at[e.SchemaURL]))
	case *kind.AdditionalProperties:
		for name := range c.at[e.SchemaURL].PatternProperties {
			add("must have only names that match " + name.String())
		}
	default:
		if len(e.Causes) == 0 {
			add(rule(e.ErrorKind))
		}
		for _, cause := range e.Causes {
			vs = c.collect(vs, data, cause)
		}
	}
	return vs
}

// alternatives lists the names that the branches of a oneOf require.
func alternatives(s *jsonschema.Schema) string {
	var names []string
	if s != nil {
		for _, branch := range s.OneOf {
			names = append(names, branch.Required...)
		}
	}
	return strings.Join(names, ", ")
}

// rule tells a broken keyword in words, from the keyword and its limit alone.
func rule(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ")
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.Pattern:
		if k.Want == `\S` {
			return "must not be blank"
		}
		return "must match " + k.Want
	case *kind.Format:
		return k.Err.Error()
	case *kind.ContentEncoding:
		return k.Err.Error()
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d entries", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d entries", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d properties", k.Want)
	default:
		return "must obey " + strings.Join(k.KeywordPath(), " ")
	}
}

// dataPointer renders the validator's location of a value in data.
func dataPointer(data any, location []string) string {
	var b strings.Builder
	b.WriteString("/data")
	for _, token := range location {
		b.WriteByte('/')
		switch v := data.(type) {
		case []any:
			i, _ := strconv.Atoi(token) // the validator wrote it
			b.WriteString(token)
			data = v[i]
		case map[string]any:
			b.WriteString(shown(token))
			data = v[token]
		}
	}
	return b.String()
}

// shown is how a name appears in a pointer: as * if the contract doesn't define it.
func shown(name string) string {
	if compiled().names[name] {
		return name
	}
	return "*"
}

// tidy sorts the violations, drops repetitions and bounds their number. The order makes outcomes
// deterministic: maps are read in random order.
func tidy(vs []Violation) []Violation {
	slices.SortFunc(vs, func(a, b Violation) int {
		if c := strings.Compare(a.Pointer, b.Pointer); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	vs = slices.Compact(vs)
	if more := len(vs) - (MaxViolations - 1); len(vs) > MaxViolations {
		vs = append(vs[:MaxViolations-1:MaxViolations-1], Violation{"", fmt.Sprintf("breaks %d more rules", more)})
	}
	return vs
}
