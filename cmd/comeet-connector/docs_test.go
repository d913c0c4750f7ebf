package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/comeet-connector/comeet-connector/schemas"
)

// documents are those that people read, and how many lines each may have; 0 is any number.
var documents = map[string]int{
	"README.md": 220, "DESIGN.md": 350, "deploy/OPERATING.md": 0, "connector/CAMPAIGN.md": 0, "connector/BENCHMARKS.md": 0,
}

// A table cannot be wrapped; everything else can.
func TestDocumentsStayShort(t *testing.T) {
	t.Parallel()
	for name, most := range documents {
		lines := strings.Split(strings.TrimSuffix(readDocument(t, name), "\n"), "\n")
		if most > 0 && len(lines) > most {
			t.Errorf("%s has %d lines, at most %d", name, len(lines), most)
		}
		for i, l := range lines {
			if n := utf8.RuneCountInString(l); n > 100 && !strings.HasPrefix(l, "|") {
				t.Errorf("%s:%d has %d characters: wrap it at 100", name, i+1, n)
			}
		}
	}
}

func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	var flags []string
	for _, m := range regexp.MustCompile(`(?m)^ .*--([a-z-]+)`).FindAllStringSubmatch(succeed(t, nil, "run", "--help"), -1) {
		if m[1] != "help" && m[1] != "version" {
			flags = append(flags, variable(m[1]))
		}
	}
	compare(t, "README.md", firstColumn(t, "README.md", "| setting |"), "the help of run", flags)
}

func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties struct {
			Reason struct{ Examples []string }
		}
	}
	raw, ok := schemas.Get("candidate.submission.failed")
	if err := json.Unmarshal(raw, &schema); !ok || err != nil {
		t.Fatal(ok, err)
	}
	compare(t, "README.md", firstColumn(t, "README.md", "| `reason` "), "the schema", schema.Properties.Reason.Examples)
}

func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	const prefix = "comeet_connector_"
	var names []string
	inspect(t, func(_ token.Position, n ast.Node) {
		switch n := n.(type) {
		case *ast.BasicLit:
			if name, ok := strings.CutPrefix(literal(n), prefix); ok && name != "" {
				names = append(names, name)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "counter" || f.Name == "gauge") && literal(n.Args[0]) != "" {
				names = append(names, literal(n.Args[0]))
			}
		}
	})
	compare(t, "OPERATING.md", firstColumn(t, "deploy/OPERATING.md", "| name |"), "the code", names)
}

// TestTroublesAreDocumented compares the beginnings of messages, up to a colon or semicolon.
func TestTroublesAreDocumented(t *testing.T) {
	t.Parallel()
	var heads []string
	begun, ended := map[*ast.CallExpr]token.Position{}, map[*ast.CallExpr]bool{}
	inspect(t, func(at token.Position, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		if isTrouble(call) {
			begun[call] = at
		}
		if method(call) != "Msg" {
			return
		}
		for link := call; link != nil; link = receiver(link) {
			if !isTrouble(link) {
				continue
			}
			ended[link] = true
			head := literal(call.Args[0])
			if head == "" {
				t.Errorf("%s: the message must be a plain text, so that it can be found", at)
				continue
			}
			if end := strings.IndexAny(head, ":;"); end >= 0 {
				head = head[:end]
			}
			heads = append(heads, head)
		}
	})
	for call, at := range begun {
		if !ended[call] {
			t.Errorf("%s: log in one expression, so that the message can be found", at)
		}
	}
	compare(t, "OPERATING.md", firstColumn(t, "deploy/OPERATING.md", "| message |"), "the code", heads)
}

func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	var files []string
	var tests strings.Builder
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && strings.HasPrefix(d.Name(), ".") && d.Name() != ".github":
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		files = append(files, "/"+filepath.ToSlash(strings.TrimPrefix(file, root+string(filepath.Separator))))
		if strings.HasSuffix(file, "_test.go") {
			raw, err := os.ReadFile(file)
			tests.Write(raw)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range documents {
		said := readDocument(t, name)
		for _, file := range regexp.MustCompile(`[\w./-]+\.(go|md|conf|yml)\b`).FindAllString(said, -1) {
			if !slices.ContainsFunc(files, func(have string) bool { return strings.HasSuffix(have, "/"+file) }) {
				t.Errorf("%s names %s, which does not exist", name, file)
			}
		}
		for _, test := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(said, -1) {
			if !strings.Contains(tests.String(), "\nfunc "+test+"(") {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
	}
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// firstColumn is what stands in backquotes in the first column of the table whose head begins so.
func firstColumn(t *testing.T, name, head string) []string {
	t.Helper()
	_, table, found := strings.Cut(readDocument(t, name), "\n"+head)
	table, _, ends := strings.Cut(table, "\n\n")
	if !found || !ends {
		t.Fatalf("%s has no table that begins with %q", name, head)
	}
	var out []string
	for _, row := range strings.Split(table, "\n")[2:] {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(strings.Split(row, " | ")[0], -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// compare reports what stands in one of two places alone.
func compare(t *testing.T, one string, ones []string, other string, others []string) {
	t.Helper()
	if len(others) == 0 {
		t.Fatalf("found nothing in %s: the search is broken", other)
	}
	for _, name := range ones {
		if !slices.Contains(others, name) {
			t.Errorf("%s has %q, %s has not", one, name, other)
		}
	}
	for _, name := range others {
		if !slices.Contains(ones, name) {
			t.Errorf("%s has %q, %s has not", other, name, one)
		}
	}
}

// inspect visits every node of package connector and of the packages below it, but for their tests.
func inspect(t *testing.T, visit func(token.Position, ast.Node)) {
	t.Helper()
	set := token.NewFileSet()
	walk(t, func(folder, file string) {
		if folder != "connector" && !strings.HasPrefix(folder, "connector/") {
			return
		}
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if n != nil {
				visit(set.Position(n.Pos()), n)
			}
			return true
		})
	})
}

// literal is the value of a literal string; empty for everything else.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// isTrouble reports whether a call begins a line of the log of level warn or error.
func isTrouble(call *ast.CallExpr) bool {
	if m := method(call); m != "Warn" && m != "Error" || len(call.Args) > 0 {
		return false
	}
	switch of := call.Fun.(*ast.SelectorExpr).X.(type) {
	case *ast.Ident:
		return strings.EqualFold(of.Name, "log")
	case *ast.SelectorExpr:
		return strings.EqualFold(of.Sel.Name, "log")
	}
	return false
}

// method is the name of the method that is called; empty for a function.
func method(call *ast.CallExpr) string {
	if f, ok := call.Fun.(*ast.SelectorExpr); ok {
		return f.Sel.Name
	}
	return ""
}

// receiver is the call on whose result a method is called; nil for anything else.
func receiver(call *ast.CallExpr) *ast.CallExpr {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	of, ok := f.X.(*ast.CallExpr)
	if !ok {
		return nil
	}
	return of
}
