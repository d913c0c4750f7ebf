package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// wellKnown are methods whose comment could only repeat the interface that they implement.
var wellKnown = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "String": true, "GoString": true, "MarshalJSON": true, "UnmarshalJSON": true,
	"MarshalText": true, "UnmarshalText": true, "Len": true, "Less": true, "Swap": true,
}

// TestEveryExportedNameIsDocumented covers package clauses, types, functions, methods, constants and variables.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	packages := map[string]int{}
	walk(t, func(folder, file string) {
		f, err := parser.ParseFile(set, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		packages[folder] += 0
		if f.Doc != nil {
			packages[folder]++
		}
		for _, bare := range undocumented(f) {
			t.Errorf("%s: %s has no doc comment", set.Position(bare.Pos()), bare.Name)
		}
	})
	for folder, comments := range packages {
		if comments != 1 {
			t.Errorf("%s has %d package comments, not 1", folder, comments)
		}
	}
}

func TestUndocumentedFindsEachForm(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
type T struct{}
func F() {}
func (T) M() {}
func (t *T) Error() string { return "" }
func (hidden) N() {}
const C, D = 1, 2
var (
	V int
	W int // W is said.
)
// G is said.
const (
	E = 1
)
`, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for _, n := range undocumented(f) {
		got += n.Name
	}
	if want := "TFMCDV"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func undocumented(f *ast.File) []*ast.Ident {
	var out []*ast.Ident
	add := func(n *ast.Ident, docs ...*ast.CommentGroup) {
		for _, d := range docs {
			if d != nil {
				return
			}
		}
		if n.IsExported() {
			out = append(out, n)
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || exported(d.Recv.List[0].Type) && !wellKnown[d.Name.Name] {
				add(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name, d.Doc, s.Doc, s.Comment)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						add(n, d.Doc, s.Doc, s.Comment)
					}
				}
			}
		}
	}
	return out
}

func exported(receiver ast.Expr) bool {
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.IsExported()
		default:
			return false
		}
	}
}
