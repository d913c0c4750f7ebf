package events

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// filler copies a tree that passed its schema into the Go types, by exact names. It finds what schemas can't say.
type filler struct {
	path  []step
	found []Violation
}

// field is a field of a struct with its JSON name.
type field struct {
	name  string
	index []int
}

// fieldsOf returns the fields of a struct type by their JSON names, those of embedded structs inlined.
var fieldsOf = func() func(reflect.Type) []field {
	var cache sync.Map
	return func(t reflect.Type) []field {
		if known, ok := cache.Load(t); ok {
			return known.([]field)
		}
		var fields []field
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" {
				fields = append(fields, field{name, f.Index})
			}
		}
		cache.Store(t, fields)
		return fields
	}
}()

var (
	typeTime  = reflect.TypeFor[time.Time]()
	typeBytes = reflect.TypeFor[[]byte]()
)

func (f *filler) defect(message string) {
	f.found = append(f.found, Violation{pointer(f.path), message})
}

// fill sets v from a tree value. The schema has seen to it that their types agree; what doesn't agree is left alone.
func (f *filler) fill(v reflect.Value, tree any) {
	switch tree := tree.(type) {
	case string:
		f.text(v, tree)
	case json.Number:
		f.number(v, tree)
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(tree)
		}
	case []any:
		if v.Kind() != reflect.Slice || len(tree) == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(tree), len(tree)))
		f.path = append(f.path, step{})
		for i, entry := range tree {
			f.path[len(f.path)-1] = step{index: i}
			f.fill(v.Index(i), entry)
		}
		f.path = f.path[:len(f.path)-1]
	case map[string]any:
		f.object(v, tree)
	}
}

func (f *filler) object(v reflect.Value, tree map[string]any) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.object(v.Elem(), tree)
	case reflect.Map:
		if len(tree) > 0 {
			v.Set(reflect.ValueOf(tree)) // custom fields: the tree is ours alone
		}
	case reflect.Struct:
		f.path = append(f.path, step{})
		for _, field := range fieldsOf(v.Type()) {
			if value, ok := tree[field.name]; ok {
				f.path[len(f.path)-1] = step{name: field.name, index: -1}
				f.fill(v.FieldByIndex(field.index), value)
			}
		}
		f.path = f.path[:len(f.path)-1]
	}
}

func (f *filler) text(v reflect.Value, s string) {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Type() == typeTime:
		t, ok := parseTime(s)
		if !ok {
			f.defect(messageTime)
			return
		}
		v.Set(reflect.ValueOf(t))
	case v.Type() == typeBytes:
		content, err := base64.StdEncoding.DecodeString(s)
		switch {
		case err != nil:
			f.defect("must be base64 (RFC 4648, with padding)")
		case len(content) > MaxContentBytes:
			f.defect(fmt.Sprintf("must be at most %d bytes when decoded", MaxContentBytes))
		case len(content) == 0:
			f.defect("must not be empty")
		default:
			v.SetBytes(content)
		}
	}
}

// number sets an integer. JSON also writes integers as 1.0 or 1e2, and schemas let that pass; they bound all of them to
// what the Go types hold.
func (f *filler) number(v reflect.Value, n json.Number) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		x, _ := n.Float64()
		i = int64(x)
	}
	if v.CanInt() {
		v.SetInt(i)
	} else if v.CanUint() {
		v.SetUint(uint64(i))
	}
}

const messageTime = "must be a date and time of RFC 3339"

// parseTime is stricter than time.Parse, which takes what RFC 3339 forbids.
func parseTime(s string) (t time.Time, ok bool) {
	return t, t.UnmarshalText([]byte(s)) == nil
}
