package connector_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// Marks of what must never be seen outside the requests that need it.
const (
	secret     = "SECRETMARK-partner-secret-of-32-bytes-and-more"
	keyMark    = "KEYMARK"
	personMark = "Persónmárk"
	mailMark   = "mailmark"
	phoneMark  = "5550199"
)

func apiKeyOf(account string) string { return keyMark + "-" + account }

const source = "/sourcing/scout"

// world is a real bus and a faithful Comeet, and everything that was published to the one.
type world struct {
	testing.TB
	nats servers
	fake *comeettest.Server
	nc   *nats.Conn
	js   jetstream.JetStream
	logs *logBuffer
	child

	mu        sync.Mutex // guards what follows
	published []sent
	feed      feed
	tail      jetstream.MessagesContext
}

// sent is one event as the bus stored it.
type sent struct {
	identity string // source and id, or the stream sequence where these are not readable
	want     string // "accepted", or the reason of the refusal
	account  string
	// data is what was said, if it can be read.
	data *events.Sourced
}

type option func(*setup)

type setup struct {
	fake []comeettest.Option
	// servers starts the bus. The default is one server in this process.
	servers func(testing.TB) servers
	child
}

func accounts(names ...string) option { return func(s *setup) { s.Accounts = names } }

func fakeWith(o ...comeettest.Option) option {
	return func(s *setup) { s.fake = append(s.fake, o...) }
}

func positions() []comeettest.Position {
	return []comeettest.Position{
		{UID: "87.405", Name: "Backend Engineer", Status: "open", InternalUseCustomID: "BE-1", Department: "R&D"},
		{UID: "48.16A", Name: "Data Analyst", Status: "open", InternalUseCustomID: "DA-1", Department: "BI"},
		{UID: "11.111", Name: "Twin", Status: "open", InternalUseCustomID: "TWIN", Department: "A"},
		{UID: "11.112", Name: "Twin", Status: "open", InternalUseCustomID: "TWIN", Department: "B"},
		{UID: "22.0C1", Name: "Closed One", Status: "closed", InternalUseCustomID: "CL-1"},
		{UID: "22.0C2", Name: "Waiting One", Status: "on hold", InternalUseCustomID: "OH-1"},
	}
}

func newWorld(t testing.TB, opts ...option) *world {
	t.Helper()
	s := setup{child: child{
		Accounts: []string{"default"}, RequestTimeout: bustest.Stretch(500 * time.Millisecond), SettleDelay: 100 * time.Millisecond,
		PollInterval: time.Second, PollOverlap: 10 * time.Second, Workers: 16, Replica: "r1", MemberTTL: bustest.Stretch(time.Second),
	}, servers: oneServer}
	for _, o := range opts {
		o(&s)
	}
	srv := s.servers(t)
	t.Cleanup(srv.stop)
	fopts := []comeettest.Option{comeettest.WithSecret(secret), comeettest.WithoutRateLimit(), comeettest.WithBasePath("/recruit/api")}
	for _, name := range s.Accounts {
		fopts = append(fopts, comeettest.WithAccount(comeettest.Account{Name: name, APIKey: apiKeyOf(name), Positions: positions()}))
	}
	fake := comeettest.New(append(fopts, s.fake...)...)
	t.Cleanup(fake.Close)
	// Where no outgoing connection takes its port while an outage has closed it.
	for err := errors.New("not tried"); err != nil; {
		ports, none := bustest.FreePorts(1)
		if none != nil {
			t.Fatal(none)
		}
		err = fake.Listen(fmt.Sprint("127.0.0.1:", ports[0]))
	}
	w := &world{TB: t, nats: srv, fake: fake, logs: new(logBuffer), child: s.child}
	w.NATSURL, w.BaseURL = strings.Join(srv.urls(), ","), fake.URL()
	var err error
	w.nc, err = nats.Connect(w.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	if w.js, err = jetstream.New(w.nc); err != nil {
		t.Fatal(err)
	}
	w.setUp()
	t.Cleanup(func() {
		if w.tail != nil {
			w.tail.Stop()
		}
		if t.Failed() {
			t.Logf("connector:\n%s", w.logs.tail(12000))
		}
	})
	return w
}

func oneServer(t testing.TB) servers {
	t.Helper()
	// A port of its own, which nobody else gets while a crash leaves it free.
	ports, err := bustest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bustest.Start(bustest.Options{Dir: t.TempDir(), Port: ports[0]})
	if err != nil {
		t.Fatal(err)
	}
	return embedded{s}
}

// setUp creates the assets, so that events can be published before a connector runs.
func (w *world) setUp() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), bustest.Stretch(20*time.Second))
	defer cancel()
	if err := connector.Setup(ctx, connector.Config{NATSURL: w.NATSURL, EventsMaxBytes: cmp.Or(w.EventsMaxBytes, 1<<30)}); err != nil {
		w.Fatal(err)
	}
}

// replica is a connector in this process.
type replica struct {
	*connector.Connector
	cancel context.CancelFunc
	done   chan error
}

// run starts a connector in this process and waits until it works.
func (w *world) run(change ...func(*connector.Config)) *replica {
	w.Helper()
	cfg := w.config(zerolog.New(w.logs))
	for _, c := range change {
		c(&cfg)
	}
	c, err := connector.New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{c, cancel, make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	w.Cleanup(func() { r.stop(w) })
	select {
	case <-c.Ready():
	case err := <-r.done:
		r.done <- err
		w.Fatalf("connector ended: %v", err)
	case <-time.After(bustest.Stretch(10 * time.Second)):
		w.Fatal("connector did not become ready")
	}
	return r
}

// stop drains the connector.
func (r *replica) stop(w *world) {
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- err
		if err != nil {
			w.Errorf("connector ended with: %v", err)
		}
	case <-time.After(bustest.Stretch(15 * time.Second)):
		w.Error("connector did not stop")
	}
}

// spawn starts a connector in a process of its own, to be killed or frozen.
func (w *world) spawn(change ...func(*child)) *process {
	w.Helper()
	c := w.child
	for _, f := range change {
		f(&c)
	}
	return startChild(w.TB, c)
}

// person makes the data of a sourced event. n tells one person from another.
func person(n int) *events.Sourced {
	return &events.Sourced{
		Candidate: events.Candidate{
			ID: fmt.Sprintf("src-%d", n), FirstName: personMark, LastName: fmt.Sprintf("Nr %d", n),
			Email: fmt.Sprintf("%s.%d@example.test", mailMark, n), Phone: fmt.Sprintf("+46 %s %04d", phoneMark, n),
		},
		Position: events.Position{UID: "87.405"},
	}
}

// publish stores a sourced event as its publisher would, and remembers it.
func (w *world) publish(id string, d *events.Sourced) { w.publishTo("default", source, id, d) }

func (w *world) publishTo(account, source, id string, d *events.Sourced) {
	w.Helper()
	e := events.New(source, id, d)
	e.SetTime(time.Now())
	h, body, err := events.Encode(e)
	if err != nil {
		w.Fatal(err)
	}
	w.publishRaw(sent{identity: source + " " + id, want: "accepted", account: account, data: d}, h, body)
}

func (w *world) publishRaw(s sent, h map[string][]string, body []byte) {
	w.Helper()
	subject := events.SourcedSubject(s.account)
	if s.account == events.DefaultAccount && len(body)%2 == 0 {
		subject = events.SourcedSubject("")
	}
	var ack *jetstream.PubAck
	// One whose acknowledgement was lost is published again: the same event twice has one outcome.
	w.again("publish", func(ctx context.Context) (err error) {
		ack, err = w.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: h, Data: body}, jetstream.WithRetryAttempts(20))
		return err
	})
	if s.identity == "" {
		s.identity = fmt.Sprint("#", ack.Sequence)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = append(w.published, s)
}

// feed is everything on the events stream, oldest first.
type feed []entry

type entry struct {
	subject string
	seq     uint64
	events.Event
}

// read takes the whole feed as an analyst would: what was read before is kept, and the tail read on.
func (w *world) read() feed {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var s jetstream.Stream
	w.again("look at the feed", func(ctx context.Context) (err error) {
		s, err = w.js.Stream(ctx, bus.DefaultNames.Events)
		return err
	})
	last := s.CachedInfo().State.LastSeq
	for len(w.feed) == 0 && last > 0 || len(w.feed) > 0 && w.feed[len(w.feed)-1].seq < last {
		var m jetstream.Msg
		w.again("read the feed", func(ctx context.Context) (err error) {
			if w.tail == nil {
				from := uint64(1)
				if n := len(w.feed); n > 0 {
					from = w.feed[n-1].seq + 1
				}
				c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
				if err != nil {
					return err
				}
				if w.tail, err = c.Messages(); err != nil {
					return err
				}
			}
			if m, err = w.tail.Next(jetstream.NextContext(ctx)); err != nil {
				w.tail.Stop() // its server may be gone, and it with it
				w.tail = nil
			}
			return err
		})
		meta, err := m.Metadata()
		if err != nil {
			w.Fatal(err)
		}
		e, err := events.Decode(m.Headers(), m.Data())
		if err != nil {
			w.Fatalf("message %d on %s is not of the contract: %v", meta.Sequence.Stream, m.Subject(), err)
		}
		w.feed = append(w.feed, entry{m.Subject(), meta.Sequence.Stream, e})
	}
	return w.feed
}

// again asks the bus until it answers: its servers may be away.
func (w *world) again(what string, ask func(context.Context) error) {
	w.Helper()
	var err error
	for began := time.Now(); time.Since(began) < bustest.Stretch(20*time.Second); {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		err = ask(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	w.Fatalf("%s: %v", what, err)
}

// outcomes are the final outcomes per sourced event.
func (f feed) outcomes() map[string][]entry {
	out := map[string][]entry{}
	for _, e := range f {
		switch d := e.Data.(type) {
		case *events.Accepted:
			k := d.Sourced.Source + " " + d.Sourced.ID
			out[k] = append(out[k], e)
		case *events.Failed:
			k := ""
			if d.Sourced != nil {
				k = d.Sourced.Source + " " + d.Sourced.ID
			} else if d.DeadLetter != nil {
				k = fmt.Sprint("#letter ", d.DeadLetter.Sequence)
			}
			out[k] = append(out[k], e)
		}
	}
	return out
}

// statuses are the status events per candidate uid.
func (f feed) statuses(account string) map[string][]*events.StatusChanged {
	out := map[string][]*events.StatusChanged{}
	for _, e := range f {
		if d, ok := e.Data.(*events.StatusChanged); ok && d.Account == account {
			out[d.CandidateUID] = append(out[d.CandidateUID], d)
		}
	}
	return out
}

// eventually waits until a condition holds, looking whenever the feed may have moved.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	w.within(30*time.Second, what, holds)
}

// within is eventually with a limit of its own, which is stretched as all are.
func (w *world) within(limit time.Duration, what string, holds func() bool) {
	w.Helper()
	limit = bustest.Stretch(limit)
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			w.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// settled waits until every published event has an outcome.
func (w *world) settled() feed {
	w.Helper()
	var f feed
	w.eventually("an outcome for every event", func() bool {
		f = w.read()
		return len(f.outcomes()) >= len(w.published)
	})
	return f
}

// outcome waits for the outcome of one event.
func (w *world) outcome(id string) entry {
	w.Helper()
	var found []entry
	w.eventually("an outcome of "+id, func() bool {
		found = w.read().outcomes()[source+" "+id]
		return len(found) > 0
	})
	return found[0]
}

// check proves the promises from the outside: one outcome per event, at most one candidate per act, no breach of the API,
// no secret and no person in what was written for operators.
func (w *world) check() {
	w.Helper()
	f := w.settled()
	outcomes := f.outcomes()
	for _, p := range w.published {
		if strings.HasPrefix(p.identity, "#") {
			continue
		}
		if got := len(outcomes[p.identity]); got != 1 {
			w.Errorf("event %s has %d outcomes", p.identity, got)
		}
	}
	for _, name := range w.Accounts {
		if dup := w.fake.Duplicates(name); len(dup) > 0 {
			w.Errorf("account %s: duplicates at Comeet: %v", name, dup)
		}
	}
	for _, v := range w.fake.Violations() {
		w.Errorf("breach of the API: %v", v)
	}
	w.checkLeaks(w.logs.String())
}

// checkLeaks looks for marks of persons and secrets.
func (w *world) checkLeaks(texts ...string) {
	w.Helper()
	for _, text := range texts {
		for _, mark := range []string{secret, keyMark, personMark, mailMark, phoneMark, "eyJ"} {
			if i := strings.Index(text, mark); i >= 0 {
				w.Errorf("%q leaked: …%s…", mark, text[max(0, i-200):min(len(text), i+60)])
			}
		}
	}
}

// metrics reads what the admin address shows.
func metrics(t testing.TB, r *replica) string { t.Helper(); return metricsAt(t, r.AdminAddr()) }

func metricsAt(t testing.TB, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// logBuffer collects what a connector writes.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail is the end of it, without what only tells that time passes.
func (l *logBuffer) tail(n int) string {
	var b strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, "sweep completed") {
			b.WriteString(line)
		}
	}
	return b.String()[max(0, b.Len()-n):]
}
