package ops

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever a stranger sends, and wherever the person stands in it: masked, only its shape is left.
func TestMaskHidesValuesAndKeepsTheShape(t *testing.T) {
	t.Parallel()
	const mark = "Persónmárk"
	names := []string{"data", "candidate", "position", "id", "first_name", "email", "resume", "object", "name", "files", "custom_fields", "firstname", mark + " x"}
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		return rapid.Custom(func(t *rapid.T) any {
			kinds := 4
			if depth > 0 {
				kinds = 6
			}
			switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
			case 0:
				return mark + rapid.StringN(0, 5, -1).Draw(t, "text")
			case 1:
				return json.Number("5550199")
			case 2:
				return nil
			case 3:
				return ""
			case 4:
				return rapid.SliceOfN(value(depth-1), 0, 3).Draw(t, "list")
			}
			return rapid.MapOfN(rapid.SampledFrom(names), value(depth-1), 0, 4).Draw(t, "object")
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		// The position is the job's, not the person's; and the event's own attributes are published in its outcome.
		doc := map[string]any{"data": map[string]any{"candidate": value(4).Draw(t, "candidate"), "note": value(2).Draw(t, "note")}}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		masked := maskJSON(raw, false, false)
		if bytes.Contains(masked, []byte(mark)) || bytes.Contains(masked, []byte("5550199")) {
			t.Fatalf("%s\nmasked: %s", raw, masked)
		}
		if diff := cmp.Diff(shape(t, raw), shape(t, masked)); diff != "" {
			t.Fatalf("%s\nmasked: %s\n%s", raw, masked, diff)
		}
		if open := maskJSON(raw, false, true); !json.Valid(open) || len(open) < len(raw) {
			t.Fatalf("unmasked: %s", open)
		}
	})
}

// shape writes a document with every value but null and "" as one letter, and names that are no program's as another.
func shape(t *rapid.T, raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var b strings.Builder
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			b.WriteByte('{')
			for _, name := range []string{"data", "candidate", "note", "position", "id", "first_name", "email", "resume", "object", "name", "files", "custom_fields", "firstname"} {
				if below, ok := v[name]; ok {
					b.WriteString(name)
					walk(below)
				}
			}
			for name, below := range v {
				if !machineName.MatchString(name) {
					b.WriteByte('?')
					walk(below)
				}
			}
			b.WriteByte('}')
		case []any:
			b.WriteByte('[')
			for _, below := range v {
				walk(below)
			}
			b.WriteByte(']')
		case nil:
			b.WriteByte('0')
		default:
			if v == "" {
				b.WriteByte('-')
			} else {
				b.WriteByte('v')
			}
		}
	}
	var doc any
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, raw)
	}
	walk(doc)
	return b.String()
}

func TestMaskShowsWhatIsNoPersons(t *testing.T) {
	t.Parallel()
	const in = `{"specversion":"1.0","id":"e1","source":"/s","type":"candidate.sourced","subject":"Noor","data":{"candidate":{"id":"src-1","first_name":"Noor","resume":{"name":"noor.pdf","object":{"name":"ab12"}},"files":[{"url":"https://x","object":{"name":"cd34"}}],"custom_fields":{"notice":3}},"position":{"uid":"87.405"}}}`
	const want = `{"specversion":"1.0","id":"e1","source":"/s","type":"candidate.sourced","subject":"•••","data":{"candidate":{"id":"src-1","first_name":"•••","resume":{"name":"•••","object":{"name":"ab12"}},"files":[{"url":"•••","object":{"name":"cd34"}}],"custom_fields":{"notice":"•••"}},"position":{"uid":"87.405"}}}`
	var got bytes.Buffer
	if err := json.Compact(&got, maskJSON([]byte(in), false, false)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}
