package comeet_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func packageDoc(t *testing.T) *doc.Package {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "comeet")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var source = regexp.MustCompile(`(?m)^Comeet API: (GET|POST) /[a-z-]+(/\{uid\})?, https://developers\.comeet\.com/reference/[a-z0-9-]+$`)

// A method that calls the API takes a context, or makes pages that do.
func TestEveryAPIMethodCitesItsSource(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, typ := range packageDoc(t).Types {
		if typ.Name != "Client" {
			continue
		}
		for _, m := range typ.Methods {
			params := m.Decl.Type.Params.List
			calls := strings.HasSuffix(m.Name, "Pages")
			if len(params) > 0 {
				if sel, ok := params[0].Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
					calls = true
				}
			}
			if !calls {
				continue
			}
			checked++
			if !source.MatchString(m.Doc) {
				t.Errorf("%s has no line that matches %s", m.Name, source)
			}
		}
	}
	if checked != 9 {
		t.Errorf("found %d API methods", checked)
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	t.Parallel()
	p := packageDoc(t)
	if p.Doc == "" {
		t.Error("the package has no comment")
	}
	for _, f := range p.Funcs {
		if f.Doc == "" {
			t.Errorf("func %s", f.Name)
		}
	}
	for _, typ := range p.Types {
		if typ.Doc == "" {
			t.Errorf("type %s", typ.Name)
		}
		for _, f := range append(typ.Funcs, typ.Methods...) {
			if f.Doc == "" {
				t.Errorf("%s.%s", typ.Name, f.Name)
			}
		}
	}
}
