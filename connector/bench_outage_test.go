package connector_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// BenchmarkOutage queues b.N events and lets Comeet answer 503 for ten seconds. It tells what that cost a connector with its default
// settings (but a shorter REQUEST_TIMEOUT, since a doubtful outcome is confirmed a lease later), in a process of its own: requests and processor time during the outage, how long the first success took after it, and how often each
// event was delivered in all.
func BenchmarkOutage(b *testing.B) {
	w := newWorld(b, func(s *setup) {
		s.RequestTimeout, s.SettleDelay, s.PollInterval, s.MemberTTL = 10*time.Second, 5*time.Second, 5*time.Minute, 10*time.Second
	})
	long := 10 * time.Second
	if b.N < 100 {
		long = time.Second
	}
	p := startChild(b, w.child)
	w.publish("before", person(0))
	w.outcome("before")
	w.fake.Outage(comeettest.HTMLPage(503))
	asked, used := w.fake.Counts().Requests, processorTime(p)
	for i := range b.N {
		w.publish(fmt.Sprint("e", i), person(1+i))
	}
	<-time.After(long)
	asked, used = w.fake.Counts().Requests-asked, processorTime(p)-used
	w.fake.Recover()
	over := time.Now()
	w.counted("a success", func(c comeettest.Counts) bool { return c.Created > 1 })
	took := time.Since(over)
	w.settled()
	w.noneOutstanding("default")
	c, err := w.js.Consumer(w.Context(), bus.SourcedStream, "comeet-default")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(asked), "requests")
	b.ReportMetric(used.Seconds(), "cpu-s")
	b.ReportMetric(float64(took.Milliseconds()), "first-success-ms")
	b.ReportMetric(float64(c.CachedInfo().Delivered.Consumer)/float64(b.N+1), "deliveries/event")
	b.ReportMetric(float64(len(w.letters())), "dead-letters")
	w.check()
	p.stop()
}

// processorTime is what a process has used, user and system, as Linux tells; 0 elsewhere.
func processorTime(p *process) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// After the name, which may hold anything, in parentheses; see proc_pid_stat(5).
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkLatency publishes b.N events, each when the one before has arrived, and tells how long one takes from its publisher to Comeet.
func BenchmarkLatency(b *testing.B) {
	var at atomic.Int64
	begun := time.Now()
	arrived := make(chan struct{}, 1)
	inner := newTarget(0, -1)
	defer inner.Close()
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			at.Store(int64(time.Since(begun)))
			defer func() { arrived <- struct{}{} }()
		}
		inner.Config.Handler.ServeHTTP(w, r)
	}))
	defer outer.Close()
	w := newWorld(b, func(s *setup) { s.RequestTimeout, s.PollInterval = 10*time.Second, time.Minute })
	w.BaseURL = outer.URL
	p := startChild(b, w.child)
	took := make([]time.Duration, 0, b.N)
	for i := range b.N + 1 {
		h, body, err := events.Encode(events.New(source, fmt.Sprint("e", i), person(i)))
		if err != nil {
			b.Fatal(err)
		}
		from := time.Since(begun)
		if _, err := w.js.PublishMsg(b.Context(), &nats.Msg{Subject: "candidate.sourced.default", Header: h, Data: body}); err != nil {
			b.Fatal(err)
		}
		<-arrived
		if i > 0 { // the first one waits for the start
			took = append(took, time.Duration(at.Load())-from)
		}
	}
	p.stop()
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
