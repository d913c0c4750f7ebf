//go:build guards

package connector_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

var guardsToBreak = flag.String("guard", ".", "which guards TestBreakGuards breaks, by a regular expression over their names")

// TestBreakGuards proves that the loss of each guard is noticed. It builds the tests of a connector
// without the guard, and runs what is known to notice: a test, or a seed of the campaign. If that seed
// does not notice again, others from -seed on may, as many as -seeds says, or 96. All guards take about
// an hour:
//
//	go test -tags guards ./connector -run 'TestBreakGuards$' -timeout 3h -v
//	go test -tags guards ./connector -run 'TestBreakGuards$' -guard '^outcome-before-ack$' -v     # one
func TestBreakGuards(t *testing.T) {
	chosen, err := regexp.Compile(*guardsToBreak)
	if err != nil {
		t.Fatal(err)
	}
	marks := readMarks(t)
	n := 0
	for _, g := range guards {
		if !chosen.MatchString(g.name) {
			continue
		}
		n++
		t.Run(g.name, func(t *testing.T) {
			b := build(t, g, marks[g.name])
			if g.test != "" {
				b.mustFail(t, g.test)
			} else {
				b.mustFailASeed(t, g.seed)
			}
		})
	}
	if n == 0 {
		t.Errorf("no guard has a name like %q", chosen)
	}
}

// brokenTests is the test program of a folder, built without a guard.
type brokenTests struct{ program, folder string }

func build(t *testing.T, g guard, m mark) brokenTests {
	t.Helper()
	text, err := m.broken(g.without)
	if err != nil {
		t.Fatal(err)
	}
	original, err := filepath.Abs(m.path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken, overlay, program := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "broken.test")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: broken}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{broken: text, overlay: string(replace)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", program, g.folder()).CombinedOutput()
	if err != nil {
		t.Fatalf("without the guard it does not build: %v\n%s", err, out)
	}
	return brokenTests{program, g.folder()}
}

var (
	failed     = regexp.MustCompile(`--- FAIL: \S+`)
	failedSeed = regexp.MustCompile(`--- FAIL: TestCampaign/seed=(\d+)`)
	// complaint is what a test says of why it fails.
	complaint = regexp.MustCompile(`\S+_test\.go:\d+: .{0,300}`)
)

func (b brokenTests) mustFail(t *testing.T, test string) {
	t.Helper()
	out, err := b.run(t, test)
	if err == nil {
		t.Fatalf("%s did not notice", test)
	}
	t.Logf("noticed by %s: %s", cmp.Or(string(failed.Find(out)), err.Error()), complaint.Find(out))
}

// mustFailASeed tries the seed that is known to notice first, and others in batches.
func (b brokenTests) mustFailASeed(t *testing.T, known uint64) {
	t.Helper()
	if b.failsASeed(t, known, 1) {
		return
	}
	t.Logf("seed %d did not notice this time", known)
	const batch = 24
	end := *fromSeed + cmp.Or(*seeds, 96)
	for from := *fromSeed; from < end; from += batch {
		if b.failsASeed(t, from, min(batch, end-from)) {
			return
		}
	}
	t.Errorf("nor did those from %d to %d", *fromSeed, end-1)
}

func (b brokenTests) failsASeed(t *testing.T, from, n uint64) bool {
	t.Helper()
	out, err := b.run(t, "TestCampaign", "-seeds", fmt.Sprint(n), "-seed", fmt.Sprint(from), "-test.parallel", fmt.Sprint(12*runtime.NumCPU()))
	if err == nil {
		return false
	}
	m := failedSeed.FindSubmatchIndex(out)
	if m == nil {
		t.Fatalf("the campaign without the guard ended by itself: %v\n%s", err, out[max(0, len(out)-4000):])
	}
	t.Logf("noticed by seed %s: %s", out[m[2]:m[3]], complaint.Find(out[m[1]:]))
	return true
}

func (b brokenTests) run(t *testing.T, test string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.program, append([]string{"-test.run", "^" + test + "$", "-test.timeout", "10m"}, args...)...)
	cmd.Dir = b.folder
	return cmd.CombinedOutput()
}
