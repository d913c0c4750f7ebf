package connector_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const markPrefix = "// guard: "

var (
	// likeMark is what somebody may have meant as a mark.
	likeMark = regexp.MustCompile(`//\s*[gG]uards?\s*:`)
	markName = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
)

// mark is one guard's place in the code.
type mark struct {
	path, name string
	line       int
	text       string // the whole file's
	// node is the statement, the case, or the element of a literal that begins first on the line.
	node ast.Node
}

func (m mark) place() string { return fmt.Sprintf("%s:%d", m.path, m.line) }

// readMarks reads the marks of the whole module, tests aside, by name.
func readMarks(t *testing.T) map[string]mark {
	t.Helper()
	marks := map[string]mark{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil || !likeMark.Match(raw) {
			return err
		}
		found, err := marksIn(path, string(raw))
		if err != nil {
			t.Error(err)
		}
		for _, m := range found {
			if first, ok := marks[m.name]; ok {
				t.Errorf("%s and %s have the same mark %s", first.place(), m.place(), m.name)
			}
			marks[m.name] = m
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return marks
}

// marksIn reads the marks of one file. The error joins those of all that are none.
func marksIn(path, text string) ([]mark, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var (
		found []mark
		bad   []error
	)
	for _, group := range file.Comments {
		for _, c := range group.List {
			if !likeMark.MatchString(c.Text) {
				continue
			}
			name, ok := strings.CutPrefix(c.Text, markPrefix)
			m := mark{path: path, name: name, line: fset.Position(c.Pos()).Line, text: text}
			if !ok || !markName.MatchString(name) {
				bad = append(bad, fmt.Errorf("%s: %q is no mark; write %sname-of-the-guard", m.place(), c.Text, markPrefix))
				continue
			}
			if m.node, err = markable(fset, file, m.line); err != nil {
				bad = append(bad, fmt.Errorf("%s: the mark %s: %w", m.place(), name, err))
				continue
			}
			found = append(found, m)
		}
	}
	return found, errors.Join(bad...)
}

// markable is what a mark on a line stands on.
func markable(fset *token.FileSet, file *ast.File, line int) (node ast.Node, err error) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case nil, *ast.BlockStmt:
			return true
		case ast.Stmt, *ast.KeyValueExpr, *ast.CompositeLit:
			if fset.Position(n.Pos()).Line != line {
				return true
			}
			if node == nil {
				node = n
			} else if n.Pos() >= node.End() {
				err = errors.New("several things begin on its line, and it cannot tell which is meant")
			}
		}
		return true
	})
	if node == nil {
		err = errors.New("no statement, case or element begins on its line")
	}
	return node, err
}

// breakage is how the marked code is changed so that it has no guard.
type breakage func(m mark) (edit, error)

// edit puts a text in the place of the code from one position to another.
type edit struct {
	from, to token.Pos
	text     string
}

// broken is the mark's file without the guard. It is known to be Go, not to build.
func (m mark) broken(how breakage) (string, error) {
	e, err := how(m)
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", m.place(), m.name, err)
	}
	text := m.between(1, e.from) + e.text + m.between(e.to, token.Pos(len(m.text)+1))
	if _, err := parser.ParseFile(token.NewFileSet(), m.path, text, parser.SkipObjectResolution); err != nil {
		return "", fmt.Errorf("%s: without the guard %s it is no Go: %w", m.place(), m.name, err)
	}
	return text, nil
}

// between is the code between two positions. The file is alone in its set, so that they are offsets from 1.
func (m mark) between(from, to token.Pos) string { return m.text[from-1 : to-1] }

// result is what the marked code comes to: a condition, what is returned or assigned, a value.
func (m mark) result() (from, to token.Pos, err error) {
	var list []ast.Expr
	switch n := m.node.(type) {
	case *ast.IfStmt:
		list = []ast.Expr{n.Cond}
	case *ast.ForStmt:
		list = []ast.Expr{n.Cond}
	case *ast.CaseClause:
		list = n.List
	case *ast.ReturnStmt:
		list = n.Results
	case *ast.AssignStmt:
		list = n.Rhs
	case *ast.KeyValueExpr:
		list = []ast.Expr{n.Value}
	}
	if len(list) == 0 || list[0] == nil {
		return 0, 0, fmt.Errorf("the marked %T has no result to change", m.node)
	}
	return list[0].Pos(), list[len(list)-1].End(), nil
}

// instead gives the marked code another result.
func instead(expr string) breakage {
	return func(m mark) (edit, error) {
		from, to, err := m.result()
		return edit{from, to, expr}, err
	}
}

// always makes the marked condition, or another boolean result, true. Everything in it stays used.
func always(m mark) (edit, error) {
	from, to, err := m.result()
	if err != nil {
		return edit{}, err
	}
	return edit{from, to, "(" + m.between(from, to) + ") || true"}, nil
}

// never makes the marked condition, or another boolean result, false.
func never(m mark) (edit, error) {
	from, to, err := m.result()
	if err != nil {
		return edit{}, err
	}
	return edit{from, to, "(" + m.between(from, to) + ") && false"}, nil
}

// drop takes the marked code away. A statement stays where it is, but is never reached, so that what it uses stays used.
func drop(m mark) (edit, error) {
	from, to := m.node.Pos(), m.node.End()
	switch n := m.node.(type) {
	case *ast.KeyValueExpr, *ast.CompositeLit:
		if comma := strings.TrimLeft(m.text[to-1:], " \t\n"); strings.HasPrefix(comma, ",") {
			to = token.Pos(len(m.text) - len(comma) + 2)
		}
		return edit{from, to, ""}, nil
	case *ast.CaseClause:
		return edit{from, to, ""}, nil
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			return edit{}, errors.New("what the marked statement declares is needed")
		}
	}
	return edit{from, to, "if false {\n" + m.between(from, to) + "\n}"}, nil
}

// before puts statements before the marked one.
func before(stmts string) breakage {
	return func(m mark) (edit, error) {
		return edit{m.node.Pos(), m.node.Pos(), stmts + "\n"}, nil
	}
}

// after puts statements after the marked one.
func after(stmts string) breakage {
	return func(m mark) (edit, error) {
		return edit{m.node.End(), m.node.End(), "\n" + stmts}, nil
	}
}

// set gives one key within the marked code, such as a row of a table, another value.
func set(key, expr string) breakage {
	return func(m mark) (edit, error) {
		var found []*ast.KeyValueExpr
		ast.Inspect(m.node, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if id, ok := kv.Key.(*ast.Ident); ok && id.Name == key {
					found = append(found, kv)
				}
			}
			return true
		})
		if len(found) != 1 {
			return edit{}, fmt.Errorf("the marked code sets %s %d times, want once", key, len(found))
		}
		return edit{found[0].Value.Pos(), found[0].Value.End(), expr}, nil
	}
}

// Each way to break a guard changes what it says and nothing else. What cannot be broken so is an error.
func TestBreakages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		code, want string // @ is the mark; no want is an error
		how        breakage
	}{
		{"if", "if x := f(); x > 0 || y {@\n}", "if x := f(); (x > 0 || y) && false {@\n}", never},
		{"else if", "if a {\n} else if b || c {@\n}", "if a {\n} else if (b || c) || true {@\n}", always},
		{"for", "for a {@\n}", "for (a) && false {@\n}", never},
		{"return", "return a, f(b,@\n\tc)", "return 0, nil", instead("0, nil")},
		{"assignment", "a, b := f()@", "a, b := 1, 2@", instead("1, 2")},
		{"condition of a case", "switch {\ncase a:@\n\tf()\n}", "switch {\ncase (a) && false:@\n\tf()\n}", never},
		{"whole case", "switch x {\ncase a:@\n\tf()\ncase b:\n}", "switch x {\n\ncase b:\n}", drop},
		{"statement", "f(a)@", "if false {\nf(a)\n}@", drop},
		{"field", "x = T{\n\tA: 1,@\n\tB: 2,\n}", "x = T{\n\t@\n\tB: 2,\n}", drop},
		{"field's value", "x = T{\n\tA: 1,@\n}", "x = T{\n\tA: 2,@\n}", instead("2")},
		{"row of a table", "x = []T{\n\t{A: 1, B: U{C: 2}},@\n}", "x = []T{\n\t{A: 1, B: U{C: 3}},@\n}", set("C", "3")},
		{"before", "f()@", "g()\nf()@", before("g()")},
		{"after", "f()@", "f()\ng()@", after("g()")},
		{"declaration cannot vanish", "a := f()@", "", drop},
		{"no such key", "x = T{A: 1}@", "", set("C", "3")},
		{"no result", "f()@", "", never},
		{"no Go", "f()@", "", before("}")},
		{"two statements", "f(); g()@", "", drop},
		{"two fields", "x = T{\n\tA: 1, B: 2,@\n}", "", drop},
		{"no statement", "f()\n@", "", drop},
		{"no name", "f() // guard: An Example", "", drop},
		{"no mark", "f() //guard: it", "", drop},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := func(body string) string {
				return "package p\n\nfunc _() {\n" + strings.ReplaceAll(body, "@", " "+markPrefix+"it") + "\n}\n"
			}
			got := ""
			marks, err := marksIn("p.go", file(c.code))
			if err == nil {
				got, err = marks[0].broken(c.how)
			}
			if c.want == "" && err == nil {
				t.Fatalf("no error, but\n%s", got)
			}
			if c.want != "" && (err != nil || got != file(c.want)) {
				t.Errorf("%v\n%s\nwant\n%s", err, got, file(c.want))
			}
		})
	}
}
