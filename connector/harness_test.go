package connector_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	"github.com/comeet-connector/comeet-connector/connector/ops"
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
	*record
}

// record is what was published to a world's bus, and what was read from it.
type record struct {
	mu        sync.Mutex // guards what follows
	published []sent
	feed      feed
	tail      jetstream.MessagesContext
}

// in is the same world for a subtest, which fails by itself.
func (w *world) in(t testing.TB) *world {
	own := *w
	own.TB = t
	return &own
}

// sent is one event as the bus stored it.
type sent struct {
	identity string // source and id, or the stream sequence where these are not readable
	want     string // "accepted", or the reason of the refusal
	account  string // to publishRaw, "" is the subject that names no account
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
	w := &world{TB: t, nats: srv, fake: fake, logs: new(logBuffer), child: s.child, record: new(record)}
	w.NATSURL, w.BaseURL = strings.Join(srv.urls(), ","), fake.URL()
	var err error
	w.nc, err = nats.Connect(w.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	if w.js, err = jetstream.New(w.nc, jetstream.WithDefaultTimeout(bustest.Stretch(5*time.Second))); err != nil {
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

// quick makes polls follow each other closely.
func quick(c *connector.Config) { c.PollInterval, c.PollOverlap = 50*time.Millisecond, 5*time.Second }

// sweeping makes the sweep re-read everything within a second.
func sweeping(c *connector.Config) { c.SweepInterval = time.Second }

func oftenRead(cfg *connector.Config) { cfg.PositionsInterval = time.Second }

// operator joins the bus as an operator does.
func (w *world) operator(change ...func(*ops.Config)) *ops.Client {
	w.Helper()
	cfg := ops.Config{NATSURL: w.NATSURL, Log: zerolog.New(w.logs)}
	for _, c := range change {
		c(&cfg)
	}
	d, err := ops.Open(w.Context(), cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(d.Close)
	return d
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
	s.account = cmp.Or(s.account, events.DefaultAccount)
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

// publishInvalid stores an event with a misspelled field.
func (w *world) publishInvalid(id string, data *events.Sourced) {
	w.Helper()
	h, body, err := events.Encode(events.New(source, id, data))
	if err != nil {
		w.Fatal(err)
	}
	w.publishRaw(sent{identity: source + " " + id, account: "default"}, h, bytes.Replace(body, []byte("last_name"), []byte("lastname"), 1))
}

// store puts an object under its own name, or another one.
func (w *world) store(name string, data []byte) string {
	w.Helper()
	store, err := w.js.ObjectStore(w.Context(), bus.FilesStore)
	if err != nil {
		w.Fatal(err)
	}
	if name == "" {
		sum := sha256.Sum256(data)
		name = hex.EncodeToString(sum[:])
	}
	if _, err := store.PutBytes(w.Context(), name, data); err != nil {
		w.Fatal(err)
	}
	return name
}

// keepEventsFor sets the age limit of the sourced stream.
func (w *world) keepEventsFor(d time.Duration) {
	w.Helper()
	w.reconfigure(bus.SourcedStream, func(info *jetstream.StreamInfo) { info.Config.MaxAge, info.Config.Duplicates = d, time.Second })
}

// reconfigure changes a stream's settings.
func (w *world) reconfigure(stream string, change func(*jetstream.StreamInfo)) {
	w.Helper()
	info := w.stream(stream).CachedInfo()
	change(info)
	if _, err := w.js.UpdateStream(w.Context(), info.Config); err != nil {
		w.Fatal(err)
	}
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

// counted waits until the fake's counts satisfy a condition.
func (w *world) counted(what string, satisfied func(comeettest.Counts) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), bustest.Stretch(20*time.Second))
	defer cancel()
	if err := w.fake.Await(ctx, satisfied); err != nil {
		w.Fatalf("did not happen: %s", what)
	}
}

// polled waits until a poll that began after now is complete.
func (w *world) polled() { w.Helper(); w.pollsEnd(3) }

// pollsEnd waits until so many polls have come to their last question.
func (w *world) pollsEnd(n int64) {
	w.Helper()
	from := w.fake.Counts().ByRoute[comeettest.ListDeletedCandidates]
	w.counted("a whole poll", func(c comeettest.Counts) bool { return c.ByRoute[comeettest.ListDeletedCandidates] >= from+n })
}

// submit makes candidates at Comeet and waits for their first statuses.
func (w *world) submit(n int) []string {
	w.Helper()
	for i := range n {
		w.publish(fmt.Sprint("f", i), person(i))
	}
	var uids []string
	w.eventually("a first status of every candidate", func() bool {
		uids = slices.Sorted(maps.Keys(w.read().statuses("default")))
		return len(uids) == n
	})
	return uids
}

// follow submits candidates and waits until polls have seen them.
func (w *world) follow(n int) []string {
	w.Helper()
	uids := w.submit(n)
	w.polled()
	return uids
}

// noneOutstanding waits until the bus holds no event of an account to be delivered any more.
func (w *world) noneOutstanding(account string) {
	w.Helper()
	w.eventually("an end of all deliveries", func() bool {
		c, err := w.js.Consumer(w.Context(), bus.SourcedStream, "comeet-"+account)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return false // it was deleted, and is not made anew yet
		}
		if err != nil {
			w.Fatal(err)
		}
		i := c.CachedInfo()
		return i.NumPending == 0 && i.NumAckPending == 0
	})
}

// replay replays letters and returns what came of each.
func (w *world) replay(d *ops.Client, o ops.ReplayOptions, seqs ...uint64) []ops.Replayed {
	w.Helper()
	var out []ops.Replayed
	if err := d.Replay(w.Context(), seqs, o, func(r ops.Replayed) { out = append(out, r) }); err != nil {
		w.Fatal(err)
	}
	w.checkLeaks(fmt.Sprintf("%+v", out))
	return out
}

// refused publishes one event that must fail and returns its letter.
func (w *world) refused(d *ops.Client, id string, data *events.Sourced) ops.DeadLetter {
	w.Helper()
	w.publish(id, data)
	return w.letterOf(d, id)
}

// dieWithWhatWasFound publishes e1 and lets a worker die between the status of the candidate that it has found and the outcome.
func (w *world) dieWithWhatWasFound() (uid string) {
	w.Helper()
	w.fake.Script(comeettest.CreateCandidate, comeettest.ActThen(comeettest.HTMLPage(502)))
	p := newProxy(w.TB, w.NATSURL)
	sprung := p.set("candidate.submission.accepted.", false)
	first := w.spawn(func(c *child) { c.NATSURL = p.url() })
	w.publish("e1", person(1))
	select {
	case <-sprung:
	case <-time.After(bustest.Stretch(15 * time.Second)):
		w.Fatal("nothing was recovered")
	}
	first.kill()
	return w.fake.Candidates("default")[0].UID
}

// lostAnswer is the fault of a POST that Comeet has acted on and whose answer nobody gets.
func lostAnswer() comeettest.Fault { return comeettest.ActThen(comeettest.HTMLPage(502)) }

// posts is what an outage of POSTs alone covers.
var posts = comeettest.Scope{Route: comeettest.CreateCandidate}

// breakPages makes the next n requests for a page after the first fail.
func breakPages(fake *comeettest.Server, route comeettest.Route, n int) {
	for range n {
		fake.Control(route, func(r comeettest.Request) (comeettest.Fault, bool) {
			return comeettest.HTMLPage(502), r.Query.Has("opaque")
		})
	}
}
