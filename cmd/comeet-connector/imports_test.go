package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/comeet-connector/comeet-connector"
	root   = "../.."
)

// imports is who may import which of our packages, by folder. "*" is everything. Tests may import anything.
var imports = map[string]struct {
	may []string
	why string
}{
	"cmd/comeet-connector":      {[]string{"connector", "connector/ops", "comeet", "events"}, "it parses, reads and prints; the flow and the bus are the connector's"},
	"cmd/comeet-sandbox":        {[]string{"*"}, "it is the whole product in one process"},
	"connector":                 {[]string{"connector/bus", "connector/internal/fold", "connector/internal/latest", "connector/ledger", "connector/owner", "connector/positions", "connector/track", "events", "comeet"}, "it must work against the real Comeet and bus only"},
	"connector/bus":             {nil, "it knows NATS and nothing of candidates"},
	"connector/bus/bustest":     {nil, "it is a server, not a client"},
	"connector/ledger":          {[]string{"connector/bus", "events"}, "its sequences must not depend on what Comeet answered"},
	"connector/positions":       {[]string{"connector/bus", "connector/internal/fold", "connector/internal/latest", "events", "comeet"}, "one rule decides where a candidate goes, live and in a dry run, whatever became of others"},
	"connector/owner":           {[]string{"connector/bus", "connector/internal/latest", "comeet"}, "who serves is not who submits"},
	"connector/track":           {[]string{"connector/bus", "connector/ledger", "events", "comeet"}, "the way back knows no event of a sourcing service"},
	"connector/ops":             {[]string{"connector/bus", "connector/ledger", "connector/owner", "connector/positions", "events", "comeet"}, "operators need the bus alone; comeet is for who asks explain to ask Comeet"},
	"connector/internal/fold":   {nil, "it compares texts, whoever wrote them"},
	"connector/internal/latest": {nil, "it holds any value and knows none"},
	"events":                    {[]string{"schemas"}, "other services use the contract without our flow"},
	"comeet":                    {nil, "the client is usable alone"},
	"comeet/comeettest":         {[]string{"comeet"}, "the fake serves anybody's tests of a Comeet client"},
	"schemas":                   {nil, "they are files for every language"},
}

// reserved are packages that only some folders may import, ours or not; "/..." covers what lies below.
var reserved = []struct {
	pkg string
	by  []string
	why string
}{
	{"github.com/nats-io/nats.go/...", []string{"connector/bus", "cmd/comeet-sandbox"}, "one package knows NATS, so its habits hold everywhere; the sandbox plays other people's services"},
	{"github.com/nats-io/nats-server/v2/...", []string{"connector/bus/bustest"}, "the sidecar joins a bus, it is none"},
	{module + "/connector/bus/bustest", []string{"cmd/comeet-sandbox"}, "the sidecar joins a bus, it is none"},
	{module + "/comeet/comeettest", []string{"cmd/comeet-sandbox"}, "no candidate may reach a fake in production"},
	{"github.com/alecthomas/kong", []string{"cmd/comeet-connector", "cmd/comeet-sandbox"}, "packages take a Config, commands have flags"},
	{"github.com/sony/gobreaker/v2", []string{"comeet"}, "its traps are dealt with in one place"},
	{"github.com/prometheus/...", []string{"connector"}, "libraries of ours are usable without metrics"},
	{"testing", nil, "test code does not ship"},
}

// withheld are names that a folder must not use of packages that it may import.
var withheld = map[string]struct {
	names []string
	why   string
}{
	"connector/track": {[]string{"events.Sourced", "events.Candidate", "events.TypeSourced", "events.SourcedSubject", "ledger.ReadSourced", "ledger.OpOf"}, "the way back knows no event of a sourcing service"},
}

func TestWithheldNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	walk(t, func(folder, file string) {
		rule, ok := withheld[folder]
		if !ok {
			return
		}
		seen[folder] = true
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := s.X.(*ast.Ident); ok && slices.Contains(rule.names, pkg.Name+"."+s.Sel.Name) {
					t.Errorf("%s: %s must not use %s.%s: %s", set.Position(s.Pos()), folder, pkg.Name, s.Sel.Name, rule.why)
				}
			}
			return true
		})
	})
	for folder := range withheld {
		if !seen[folder] {
			t.Errorf("%s has no files", folder)
		}
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	for folder, list := range sources(t) {
		rule, known := imports[folder]
		if !known {
			t.Errorf("%s has no row in the table of imports: add it with its reason, or merge it into a package that has one", folder)
			continue
		}
		for _, imported := range list {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(rule.may, "*") && !slices.Contains(rule.may, ours) {
				t.Errorf("%s must not import %s: %s", folder, ours, rule.why)
			}
			for _, r := range reserved {
				if covers(r.pkg, imported) && !slices.Contains(r.by, folder) {
					t.Errorf("%s must not import %s: %s", folder, imported, r.why)
				}
			}
		}
	}
}

// TestSidecarLinks sees what no list of imports shows: what comes in through other modules.
func TestSidecarLinks(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, module+"/connector") {
		t.Fatalf("go list -deps does not even show package connector:\n%s", out)
	}
	for _, ban := range []struct{ pkg, why string }{
		{"github.com/nats-io/nats-server/v2/...", "the sidecar joins a bus, it is none"},
		{module + "/connector/bus/bustest", "the sidecar joins a bus, it is none"},
		{module + "/comeet/comeettest", "no candidate may reach a fake in production"},
		{"testing", "test code does not ship"},
		{"net/http/pprof", "it registers itself on the default mux"},
	} {
		for _, pkg := range linked {
			if covers(ban.pkg, pkg) {
				t.Errorf("the sidecar links %s: %s", pkg, ban.why)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	allowed := strings.Fields("go.mod go.sum cmd connector events comeet schemas deploy docker-compose.yml README.md DESIGN.md CHANGELOG.md LICENSE")
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		skip := strings.HasPrefix(e.Name(), ".")
		for pattern := range strings.FieldsSeq(string(ignored)) {
			match, err := path.Match(strings.Trim(pattern, "/"), e.Name())
			skip = skip || match && err == nil
		}
		if !skip {
			found = append(found, e.Name())
		}
	}
	for _, name := range found {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s does not belong to the top level: a newcomer must see the whole product there at a glance", name)
		}
	}
	for _, name := range allowed {
		if !slices.Contains(found, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

func covers(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == below || strings.HasPrefix(pkg, below+"/")
	}
	return pkg == pattern
}

// sources are the imports of each folder's Go files that are not tests.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	walk(t, func(folder, file string) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			out[folder] = append(out[folder], name)
		}
	})
	if len(out["connector"]) == 0 {
		t.Fatal("found no imports of package connector: the walk is broken")
	}
	return out
}

// walk visits every Go file of the module that is not a test.
func walk(t *testing.T, visit func(folder, file string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(file))
		if err == nil {
			visit(filepath.ToSlash(folder), file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
