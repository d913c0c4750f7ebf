package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/schemas"
)

func command(t *testing.T, vars map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	code = run(t.Context(), args, env(vars), &out, &errs)
	return code, out.String(), errs.String()
}

func succeed(t *testing.T, vars map[string]string, args ...string) string {
	t.Helper()
	code, out, errs := command(t, vars, args...)
	if code != 0 || errs != "" {
		t.Fatalf("%v: exit code %d:\n%s", args, code, errs)
	}
	return out
}

func TestHelp(t *testing.T) {
	t.Parallel()
	got := succeed(t, nil, "--help")
	for _, want := range []string{"--poll-interval", "(NATS_URL)", "--config", "setup", "answers"} {
		if !strings.Contains(got, want) {
			t.Errorf("the help does not name %s:\n%s", want, got)
		}
	}
}

// What an operator can set is seen at one look; the rest is for tests of the running program.
func TestHelpFitsAScreen(t *testing.T) {
	t.Parallel()
	got := succeed(t, nil, "run", "--help")
	if n := strings.Count(got, "\n"); n > 40 {
		t.Errorf("%d lines:\n%s", n, got)
	}
	for _, hidden := range []string{"overlap", "settle", "denied", "member", "positions-interval", "event-source"} {
		if strings.Contains(got, hidden) {
			t.Errorf("the help names %s:\n%s", hidden, got)
		}
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	types := strings.Fields(succeed(t, nil, "schema"))
	if len(types) != len(schemas.Types()) {
		t.Fatalf("got %v, want %v", types, schemas.Types())
	}
	for _, eventType := range types {
		var schema struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal([]byte(succeed(t, nil, "schema", eventType)), &schema); err != nil || schema.ID != schemas.ID(eventType) {
			t.Errorf("%s: $id %q, %v", eventType, schema.ID, err)
		}
	}
	if code, _, errs := command(t, nil, "schema", "candidate.lost"); code != 1 || !strings.Contains(errs, "candidate.sourced") {
		t.Errorf("an unknown type: exit code %d, %q", code, errs)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(succeed(t, nil, "answers")), "\n")
	if want := len(comeet.Answers()) + 1; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
}

func TestSetupPrints(t *testing.T) {
	t.Parallel()
	var plan []jetstream.StreamConfig
	if err := json.Unmarshal([]byte(succeed(t, map[string]string{"EVENTS_MAX_BYTES": "7MiB", "NATS_REPLICAS": "3"}, "setup")), &plan); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range plan {
		found = found || s.Name == "CANDIDATE_EVENTS" && s.MaxBytes == 7<<20 && s.Replicas == 3
	}
	if !found {
		t.Errorf("the events stream is not in it as set:\n%+v", plan)
	}
}

func TestSetupApplies(t *testing.T) {
	t.Parallel()
	url, js := startBus(t)
	vars := map[string]string{"NATS_URL": url, "LOG_LEVEL": "error"}
	for range 2 {
		succeed(t, vars, "setup", "--apply")
	}
	for name := range map[string]bool{"CANDIDATES_SOURCED": true, "CANDIDATE_EVENTS": true, "CANDIDATES_DEADLETTER": true, "KV_COMEET_POSITIONS": true, "OBJ_CANDIDATE_FILES": true} {
		if _, err := js.Stream(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContradictionIsNamed(t *testing.T) {
	t.Parallel()
	url, js := startBus(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "CANDIDATE_EVENTS", Subjects: []string{"candidate.submission.*.*.*", "candidate.status.changed.*.*"}, MaxBytes: 1 << 20,
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 64, AllowMsgTTL: true, MaxAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"NATS_URL": url, "LOG_LEVEL": "error", "ADMIN_ADDR": "off", apiKey: marker, apiSecret: marker}
	for _, args := range [][]string{{"setup", "--apply"}, {"run"}} {
		code, _, errs := command(t, vars, args...)
		if code != 1 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "stream CANDIDATE_EVENTS: max_age must be 0: the ledger's entries") {
			t.Errorf("%v: exit code %d:\n%s", args, code, errs)
		}
	}
}

// TestRunServes runs the whole sidecar: it becomes ready, answers on its admin address and ends when told to, saying no secret.
func TestRunServes(t *testing.T) {
	t.Parallel()
	url, _ := startBus(t)
	fake := comeettest.New(comeettest.WithSecret(marker), comeettest.WithAccount(comeettest.Account{Name: "default", APIKey: marker}))
	t.Cleanup(fake.Close)
	ctx, stop := context.WithCancel(t.Context())
	logs := make(logLines, 10_000)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"run"}, env(map[string]string{
			"NATS_URL": url, "COMEET_BASE_URL": fake.URL(), "ADMIN_ADDR": "127.0.0.1:0", "LOG_LEVEL": "debug", "LOG_FORMAT": "json",
			apiKey: marker, apiSecret: marker,
		}), io.Discard, logs)
	}()
	defer func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
		for range len(logs) {
			if line := <-logs; strings.Contains(line, marker) {
				t.Errorf("a secret is logged: %s", line)
			}
		}
	}()
	for {
		var entry struct{ Message, Admin string }
		select {
		case code := <-ended:
			ended <- code
			t.Fatal("it ended before it was ready")
		case line := <-logs:
			if strings.Contains(line, marker) {
				t.Errorf("a secret is logged: %s", line)
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Errorf("no JSON: %s", line)
			}
		}
		if entry.Message != "ready" {
			continue
		}
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			res, err := http.Get("http://" + entry.Admin + path)
			if err != nil {
				t.Error(err)
				continue
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK || strings.Contains(string(body), marker) {
				t.Errorf("%s: %s, %v\n%s", path, res.Status, err, body)
			}
		}
		http.DefaultClient.CloseIdleConnections()
		return
	}
}

// output is a buffer that a connection's last words may still reach while it is read.
type output struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// logLines receives each line that a logger writes.
type logLines chan string

func (l logLines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func startBus(t *testing.T) (url string, js jetstream.JetStream) {
	t.Helper()
	server, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(bustest.Stretch(5*time.Second))); err != nil {
		t.Fatal(err)
	}
	return server.ClientURL(), js
}
