package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// BenchmarkBacklog drains a backlog of b.N events with 64 workers. The bare loop pulls, POSTs and acknowledges and keeps no
// promise; the connector keeps all of them. Each runs in a process of its own, against a nats-server and a target in the
// benchmark's, the target answering at once or after 20 ms. Compare the rows of one run; cpu-µs/event is what the process
// itself used, start and end included. BENCHMARKS.md has the figures and the command.
func BenchmarkBacklog(b *testing.B) {
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		for _, who := range []string{"bare", "connector"} {
			b.Run(fmt.Sprintf("target=%s/%s", delay, who), func(b *testing.B) { benchBacklog(b, who == "bare", delay) })
		}
	}
}

func benchBacklog(b *testing.B, bare bool, delay time.Duration) {
	w := newWorld(b)
	target := newTarget(delay, int64(b.N))
	defer target.Close()
	w.Workers, w.BaseURL, w.RequestTimeout, w.PollInterval, w.Bare = 64, target.URL, 10*time.Second, time.Minute, bare
	w.publishBacklog(b, b.N)
	p := startChild(b, w.child)
	select {
	case <-target.done:
	case <-p.gone:
		b.Fatal("the process ended")
	case <-time.After(10 * time.Minute):
		b.Fatalf("%d of %d events after 10 minutes", target.posts.Load(), b.N)
	}
	w.drained(b)
	p.stop()
	used := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	took := time.Duration(target.last.Load() - target.first.Load())
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/max(took, time.Microsecond).Seconds(), "events/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/event")
	if got := target.posts.Load(); got != int64(b.N) {
		b.Fatalf("%d POSTs for %d events", got, b.N)
	}
}

// target is a Comeet that knows two answers and costs next to nothing.
type target struct {
	*httptest.Server
	posts, first, last atomic.Int64
	reads              atomic.Int64 // of all other requests
	done               chan struct{}
}

func newTarget(delay time.Duration, expect int64) *target {
	t := &target{done: make(chan struct{})}
	begun := time.Now()
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodPost {
			t.reads.Add(1)
			_, _ = io.WriteString(w, `{"positions":[{"uid":"87.405","name":"Backend Engineer","status":"open"}],"candidates":[],"next_page":null}`)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		n := t.posts.Add(1)
		t.first.CompareAndSwap(0, int64(time.Since(begun)))
		if delay > 0 {
			time.Sleep(delay)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"uid":"3C.%X","position_uid":"87.405","time_created":"2031-02-03T04:05:06Z","time_last_status_changed":"2031-02-03T04:05:06Z",`+
			`"current_steps":[{"name":"Screen","type":"Go/No-go","time_scheduled":null}],"completed_steps":[],"status":"In progress"}`, n)
		if n == expect {
			t.last.Store(int64(time.Since(begun)))
			close(t.done)
		}
	}))
	return t
}

// publishBacklog stores n events of about 1.4 KB.
func (w *world) publishBacklog(b *testing.B, n int) {
	b.Helper()
	for i := range n {
		d := person(i)
		d.Candidate.Note = string(bytes.Repeat([]byte("a note of some length. "), 40))
		w.enqueue(b, "candidate.sourced.default", events.New(source, fmt.Sprint("b", i), d))
	}
	w.flushed(b)
}

// drained waits until the consumer has nothing left.
func (w *world) drained(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	w.eventually("an empty backlog", func() bool {
		c, err := w.js.Consumer(ctx, bus.SourcedStream, "comeet-default")
		if err != nil {
			b.Fatal(err)
		}
		info, err := c.Info(ctx)
		if err != nil {
			b.Fatal(err)
		}
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// bareLoop is what anybody would write first: it pulls, POSTs the event as it is, and acknowledges.
func (c child) bareLoop(ctx context.Context) error {
	nc, err := nats.Connect(c.NATSURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	cons, err := js.CreateOrUpdateConsumer(ctx, bus.SourcedStream, jetstream.ConsumerConfig{Durable: "comeet-default", MaxAckPending: c.Workers})
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.Workers}}
	msgs := make(chan jetstream.Msg)
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() {
			for m := range msgs {
				resp, err := client.Post(c.BaseURL+"/candidates", "application/json", bytes.NewReader(m.Data()))
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusCreated {
					_ = m.Ack()
				}
			}
		})
	}
	consuming, err := cons.Consume(func(m jetstream.Msg) { msgs <- m }, jetstream.PullMaxMessages(c.Workers))
	if err != nil {
		return err
	}
	<-ctx.Done()
	consuming.Drain()
	<-consuming.Closed()
	close(msgs)
	workers.Wait()
	if !errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}
