package connector_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// BenchmarkAccounts serves b.N accounts, each with a backlog, in one process, against a Comeet that refuses the 101st request of any
// window. used-% is what an account made of its budget in the second window, the least and the mean of all.
func BenchmarkAccounts(b *testing.B) {
	limit := comeet.DefaultLimit
	if b.N < 10 {
		limit.Window = 2 * time.Second // so that a look whether it still runs is short
	}
	names := make([]string, b.N)
	for i := range names {
		names[i] = fmt.Sprint("a", i)
	}
	w := newWorld(b, accounts(names...), fakeWith(comeettest.WithRateLimit(limit.Requests, limit.Window), comeettest.WithoutHistory(), comeettest.WithRecording(0)), func(s *setup) {
		s.RateLimit, s.PollInterval, s.RequestTimeout, s.SettleDelay, s.MemberTTL = limit, 5*time.Minute, 30*time.Second, 5*time.Second, 10*time.Second
		s.Workers = 0 // what so many accounts have by default
	})
	for i := range 2*limit.Requests + 20 {
		for _, name := range names {
			w.enqueue(b, "candidate.sourced."+name, events.New(source, fmt.Sprint(name, "-", i), person(i)))
		}
	}
	w.flushed(b)
	var mu sync.Mutex // guards used
	used := map[string]int{}
	begun := make(chan struct{})
	var once sync.Once
	var measured bool
	w.fake.Control("", func(r comeettest.Request) (comeettest.Fault, bool) {
		once.Do(func() { close(begun) })
		mu.Lock()
		defer mu.Unlock()
		if measured {
			used[r.Account]++
		}
		return comeettest.Fault{}, false
	})
	p := startChild(b, w.child)
	<-begun
	measure := func(on bool) {
		<-time.After(limit.Window)
		mu.Lock()
		defer mu.Unlock()
		measured = on
	}
	measure(true)
	measure(false)
	rss := residentMB(p)
	p.stop()
	counts := make([]int, 0, b.N)
	total, refused := 0, int64(0)
	for _, name := range names {
		counts = append(counts, used[name])
		total += used[name]
		refused += w.fake.Throttled(name)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*float64(slices.Min(counts))/float64(limit.Requests), "least-used-%")
	b.ReportMetric(100*float64(total)/float64(limit.Requests*b.N), "mean-used-%")
	b.ReportMetric(rss, "resident-MB")
	if refused > 0 {
		b.Errorf("%d requests refused as too many", refused)
	}
}

// BenchmarkFollowed starts on a bus with b.N operations done, whose candidates are all followed, and polls while nothing changes: ready-ms is from the
// process's start to /readyz, requests/poll what a poll costs.
func BenchmarkFollowed(b *testing.B) {
	target := newTarget(0, -1)
	defer target.Close()
	w := newWorld(b, func(s *setup) {
		s.PollInterval, s.EventsMaxBytes = time.Second, 16<<30
	})
	for i := range b.N {
		w.enqueueOperation(b, i)
	}
	w.flushed(b)
	address, err := bustest.FreePorts(1)
	if err != nil {
		b.Fatal(err)
	}
	w.BaseURL, w.AdminAddr = target.URL, fmt.Sprint("127.0.0.1:", address[0])
	began := time.Now()
	p := startChild(b, w.child)
	for ready := false; !ready; {
		resp, err := http.Get("http://" + w.AdminAddr + "/readyz")
		if err == nil {
			ready = resp.StatusCode == http.StatusOK
			resp.Body.Close()
		}
		if time.Since(began) > time.Minute {
			b.Fatal("not ready within a minute")
		}
	}
	ready := time.Since(began)
	polls := func() float64 { return metricOf(b, w.AdminAddr, "comeet_connector_polls_total") }
	for polls() < 1 {
		<-time.After(10 * time.Millisecond)
	}
	asked, done := target.reads.Load(), polls()
	for polls() < done+3 {
		<-time.After(10 * time.Millisecond)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ready.Microseconds())/1000, "ready-ms")
	b.ReportMetric(float64(target.reads.Load()-asked)/(polls()-done), "requests/poll")
	b.ReportMetric(residentMB(p), "resident-MB")
	p.stop()
}

// enqueue publishes without waiting for the acknowledgement; see flushed.
func (w *world) enqueue(b *testing.B, subject string, e event.Event) {
	b.Helper()
	h, body, err := events.Encode(e)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.js.PublishMsgAsync(&nats.Msg{Subject: subject, Header: h, Data: body}, jetstream.WithStallWait(time.Minute)); err != nil {
		b.Fatal(err)
	}
}

func (w *world) flushed(b *testing.B) {
	b.Helper()
	select {
	case <-w.js.PublishAsyncComplete():
	case <-time.After(5 * time.Minute):
		b.Fatal("could not publish what the benchmark needs")
	}
}

// enqueueOperation stores what an accepted operation leaves behind.
func (w *world) enqueueOperation(b *testing.B, i int) {
	b.Helper()
	d := person(i)
	op, uid := ledger.OpOf("default", source, d), fmt.Sprintf("%02X.%X", i%256, i)
	ref := events.SourcedRef{Source: source, ID: fmt.Sprint("e", i)}
	for _, data := range []events.Data{
		&events.Claimed{Account: op.Account, Operation: op.ID, State: events.StateClaimed, Attempt: 1, PositionUID: "87.405", MatchedBy: events.MatchedByUID,
			PartnerCandidateID: ledger.PartnerCandidateID(source, d.Candidate.ID), Owner: "r0", Sourced: ref},
		&events.Accepted{Account: op.Account, Operation: op.ID, CandidateID: d.Candidate.ID, CandidateUID: uid, PositionUID: "87.405", MatchedBy: events.MatchedByUID,
			Outcome: events.OutcomeCreated, Sourced: ref, SubmittedAt: time.Now()},
		&events.StatusChanged{Account: op.Account, Operation: op.ID, CandidateID: d.Candidate.ID, CandidateUID: uid, Changed: []events.Change{events.ChangedFirstSeen},
			Sourced: &ref, SeenAt: time.Now(), State: events.State{Status: "In progress", PositionUID: "87.405"}},
	} {
		if data.EventType() == events.TypeStatusChanged {
			w.enqueue(b, events.StatusSubject(op.Account, uid), events.New("/comeet-connector", ledger.NewID(), data))
			continue
		}
		w.enqueue(b, data.EventType()+"."+op.Account+"."+op.ID, events.New("/comeet-connector", ledger.NewID(), data))
	}
}

// residentMB is what a process holds in memory, as Linux tells; 0 elsewhere.
func residentMB(p *process) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(raw) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "VmRSS:" {
			kb, _ := strconv.ParseFloat(string(fields[1]), 64)
			return kb / 1024
		}
	}
	return 0
}

// metricOf sums a metric over its labels; no poll of these benchmarks fails.
func metricOf(b *testing.B, address, name string) float64 {
	b.Helper()
	sum := 0.0
	for lines := bufio.NewScanner(strings.NewReader(metricsAt(b, address))); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && (fields[0] == name || strings.HasPrefix(fields[0], name+"{")) {
			v, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}
