package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen is what a run prints.
type screen struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
	// until is looked for in what is printed; found is called once when it is there.
	until string
	found func()
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Write(p)
	if s.found != nil && bytes.Contains(p, []byte(s.until)) {
		s.found()
		s.found = nil
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// sandbox runs on free ports and returns what was printed; it must end well.
func sandbox(t *testing.T, args ...string) string {
	t.Helper()
	out := new(screen)
	return sandboxOn(t, t.Context(), out, args...)
}

func sandboxOn(t *testing.T, stop context.Context, out *screen, args ...string) string {
	t.Helper()
	args = append([]string{"--nats-port=0", "--admin-port=0", "--comeet-port=0"}, args...)
	if code := run(stop, t.Context(), args, out, out); code != 0 {
		t.Errorf("exit code %d", code)
	}
	text := out.String()
	if t.Failed() {
		t.Log(text)
	}
	return text
}

var (
	equation = regexp.MustCompile(`ok  every event has at most one outcome: (\d+) sourced = (\d+) accepted \+ (\d+) failed \+ (\d+) waiting`)
	dataLine = regexp.MustCompile(`(?m)^  data +(\S+)`)
)

// sourced reads the summary's equation.
func sourced(t *testing.T, text string) int {
	t.Helper()
	m := equation.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no sum in the summary:\n%s", text)
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1])
	}
	if n[0] == 0 || n[0] != n[1]+n[2]+n[3] || n[3] != 0 {
		t.Errorf("the summary does not add up: %s", m[0])
	}
	return n[0]
}

func TestRunShowsEverythingAndKeepsThePromises(t *testing.T) {
	t.Parallel()
	text := sandbox(t, "--for=6s", "--rate=20")
	sourced(t, text)
	for _, line := range []string{
		"nats -s nats://127.0.0.1:", "OUTAGE", "RECOVERED", "traffic ends", "answer lost", "in doubt", "sourced", "accepted", "failed",
		"ok  the last status on the feed is the last at Comeet",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is not shown", line)
		}
	}
	_, feed, _ := strings.Cut(text, "seconds  who")
	for _, person := range append(append([]string{"example.test", "Invento"}, firstNames...), lastNames...) {
		if strings.Contains(feed, person) {
			t.Errorf("%q of a person is shown", person)
		}
	}
	if dir := dataLine.FindStringSubmatch(text); dir == nil {
		t.Error("the data directory is not shown")
	} else if _, err := os.Stat(dir[1]); !os.IsNotExist(err) {
		t.Errorf("temporary directory %s is not removed: %v", dir[1], err)
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestSecondRunGoesOnOverKeptData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := sandbox(t, "--for=3s", "--rate=20", "--quiet", "--data="+dir)
	second := sandbox(t, "--for=3s", "--rate=20", "--quiet", "--data="+dir)
	if a, b := sourced(t, first), sourced(t, second); b <= a {
		t.Errorf("%d sourced after the second run, %d after the first", b, a)
	}
	if !strings.Contains(second, "Comeet starts empty") {
		t.Errorf("the second run does not tell what it goes on over:\n%s", second)
	}
	if strings.Contains(first, "  accepted  ") {
		t.Errorf("--quiet shows candidates:\n%s", first)
	}
}

func TestStopSettlesEverything(t *testing.T) {
	t.Parallel()
	stop, stopped := context.WithCancel(t.Context())
	defer stopped()
	out := &screen{until: "  accepted  ", found: stopped}
	sourced(t, sandboxOn(t, stop, out, "--rate=20"))
}

func TestMistakesAreTold(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	stop, stopped := context.WithCancel(t.Context())
	stopped() // what is not refused ends at once
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct{ name, args, want string }{
		{"port of the bus is taken", "--nats-port=" + port, "--nats-port"},
		{"port of Comeet is taken", "--nats-port=0 --comeet-port=" + port, "--comeet-port"},
		{"admin port is taken", "--nats-port=0 --comeet-port=0 --admin-port=" + port, "--admin-port"},
		{"too short", "--for=1s", "--for"},
		{"no rate", "--rate=0", "--rate"},
		{"unknown flag", "--nonsense", "nonsense"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := new(screen)
			if code := run(stop, t.Context(), strings.Fields(c.args), out, out); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%q is not told:\n%s", c.want, out)
			}
		})
	}
}

func TestDefaultPortGivesWay(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if port, err := pick("nats-port", nil, taken.Addr().(*net.TCPAddr).Port); port != 0 || err != nil {
		t.Errorf("port %d, error %v; want any port", port, err)
	}
}

// Each promise, broken alone, makes the summary fail and say which.
func TestSummaryTellsEachBrokenPromise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(*tally, *atComeet)
		want  string
	}{
		{"nothing", func(*tally, *atComeet) {}, ""},
		{"two outcomes", func(t *tally, _ *atComeet) { t.sourced["/s 1"].failed++ }, "at most one outcome"},
		{"two outcomes beside one that waits", func(t *tally, _ *atComeet) {
			t.sourced["/s 1"].failed++
			t.sourced["/s 2"] = &event{replays: map[string]bool{"": true}}
		}, "at most one outcome"},
		{"no outcome", func(t *tally, _ *atComeet) { t.sourced["/s 1"].accepted = 0 }, "waits"},
		{"feed is behind", func(_ *tally, c *atComeet) { c.agreeing-- }, "last status"},
		{"duplicates", func(_ *tally, c *atComeet) { c.duplicates++ }, "created twice"},
		{"throttled", func(_ *tally, c *atComeet) { c.throttled++ }, "budget"},
		{"over budget", func(_ *tally, c *atComeet) { c.busiest = c.budget + 1 }, "budget"},
		{"violation", func(_ *tally, c *atComeet) { c.violations = append(c.violations, comeettest.Violation{Rule: "path"}) }, "documents"},
		{"foreign message", func(t *tally, _ *atComeet) { t.unreadable++ }, "contract"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tally := newTally(before{})
			tally.sourced["/s 1"] = &event{replays: map[string]bool{"": true}, accepted: 1}
			comeet := atComeet{candidates: 1, agreeing: 1, requests: 3, busiest: 3, budget: 200, window: 10 * time.Second}
			c.spoil(tally, &comeet)
			err := summarize(newView(new(screen), false), tally, comeet)
			if c.want == "" {
				if err != nil {
					t.Errorf("unexpected: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// A candidate agrees only if the feed's last event shows what Comeet does.
func TestAgreement(t *testing.T) {
	t.Parallel()
	at := comeettest.Candidate{
		UID: "1.1", Status: comeettest.InProgress, PositionUID: "87.405",
		CurrentSteps: []comeettest.StepState{{Name: "Offer"}}, CompletedSteps: []comeettest.StepState{{Name: "CV Screen"}},
	}
	seen := func(change func(*events.StatusChanged)) *events.StatusChanged {
		s := &events.StatusChanged{CandidateUID: "1.1", State: events.State{
			Status: comeettest.InProgress, PositionUID: "87.405",
			CurrentSteps: []events.Step{{Name: "Offer"}}, CompletedSteps: []events.Step{{Name: "CV Screen"}},
		}}
		change(s)
		return s
	}
	deleted, merged := at, at
	deleted.Deleted, merged.MergedInto = true, "2.2"
	for _, c := range []struct {
		name string
		last *events.StatusChanged
		at   comeettest.Candidate
		want bool
	}{
		{"the same", seen(func(*events.StatusChanged) {}), at, true},
		{"not on the feed", nil, at, false},
		{"another status", seen(func(s *events.StatusChanged) { s.Status = comeettest.Hired }), at, false},
		{"another step", seen(func(s *events.StatusChanged) { s.CurrentSteps[0].Name = "CV Screen" }), at, false},
		{"a step not completed", seen(func(s *events.StatusChanged) { s.CompletedSteps = nil }), at, false},
		{"another position", seen(func(s *events.StatusChanged) { s.PositionUID = "48.16A" }), at, false},
		{"deleted", seen(func(s *events.StatusChanged) { s.Deleted = true }), deleted, true},
		{"deletion not on the feed", seen(func(*events.StatusChanged) {}), deleted, false},
		{"not deleted after all", seen(func(s *events.StatusChanged) { s.Deleted = true }), at, false},
		{"merged", seen(func(s *events.StatusChanged) { s.Merged = true }), merged, true},
		{"merge not on the feed", seen(func(*events.StatusChanged) {}), merged, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := agrees(c.last, &c.at); got != c.want {
				t.Errorf("agrees: %v, want %v", got, c.want)
			}
		})
	}
}

func TestBusiestWindow(t *testing.T) {
	t.Parallel()
	began := time.Now()
	at := func(seconds ...int) (out []comeettest.Request) {
		for _, s := range seconds {
			out = append(out, comeettest.Request{Arrived: began.Add(time.Duration(s) * time.Second)})
		}
		return out
	}
	for _, c := range []struct {
		requests []comeettest.Request
		want     int
	}{{nil, 0}, {at(0), 1}, {at(0, 9, 10), 2}, {at(0, 1, 2, 12, 13, 14, 15), 4}} {
		if got := busiest(c.requests, 10*time.Second); got != c.want {
			t.Errorf("busiest of %d requests: %d, want %d", len(c.requests), got, c.want)
		}
	}
}

// Uids of earlier runs are on the bus for good, so Comeet must not give them to others.
func TestComeetGivesNoUIDTwice(t *testing.T) {
	t.Parallel()
	enter := func(used uint64) string {
		fake := newComeet(comeet.Limit{Requests: 100, Window: time.Minute}, used)
		defer fake.Close()
		uid, err := fake.Recruiter(comeettest.DefaultAccount).AddCandidate(comeettest.Candidate{PositionUID: backend.UID})
		if err != nil {
			t.Fatal(err)
		}
		return uid
	}
	if first, second := enter(0), enter(3); first == second {
		t.Errorf("uid %s twice", first)
	}
}
