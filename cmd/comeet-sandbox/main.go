// Command comeet-sandbox shows the connector at work without an account anywhere: an embedded
// nats-server with JetStream, a fake Comeet, the real connector and sample traffic in one process.
// Everybody in it is invented.
//
// It is a check too: at the end it counts from the streams and from the fake Comeet whether the
// connector kept its promises, and its exit code is 1 if not.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// settings are the flags.
type settings struct {
	For        time.Duration `help:"How long to run, at least 3s; 0 means until Ctrl-C." default:"0" placeholder:"30s"`
	Data       string        `help:"Keep the bus's data in this directory; another run goes on over it. Without it a temporary one is removed at the end." type:"path" placeholder:"DIR"`
	Quiet      bool          `help:"Only the header, outages, totals and the summary."`
	NATSPort   *int          `name:"nats-port" help:"Port of the bus; 0 means a free one. Defaults to 4222, or a free one if that is taken." placeholder:"PORT"`
	AdminPort  *int          `name:"admin-port" help:"Port of the connector's health and metrics, as above. Defaults to 8080." placeholder:"PORT"`
	ComeetPort *int          `name:"comeet-port" help:"Port of the fake Comeet, as above. Defaults to 8090." placeholder:"PORT"`
	Rate       float64       `help:"Sourced events per second, up to 200." default:"4"`
	Seed       uint64        `help:"The same seed gives the same traffic." default:"1"`
}

// Validate implements kong's hook.
func (s settings) Validate() error {
	switch {
	case s.Rate <= 0 || s.Rate > 200:
		return errors.New("--rate must be above 0 and at most 200")
	case s.For != 0 && s.For < 3*time.Second:
		return errors.New("--for must be 0 or at least 3s")
	}
	return nil
}

func main() {
	stop, stopped := context.WithCancel(context.Background())
	hurry, hurried := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stopped()
		<-signals
		hurried()
	}()
	os.Exit(run(stop, hurry, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process. When stop ends, traffic ends and everything settles; when hurry
// ends, that is cut short.
func run(stop, hurry context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	exited := -1
	parser, err := kong.New(&s,
		kong.Name("comeet-sandbox"),
		kong.Description("The connector at work: an embedded NATS, a fake Comeet and sample traffic in one process, checked at the end."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }), kong.UsageOnError(),
	)
	if err == nil {
		_, err = parser.Parse(args)
	}
	if exited >= 0 {
		return exited
	}
	if err == nil {
		err = play(stop, hurry, s, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "comeet-sandbox:", err)
		return 1
	}
	return 0
}

// The connector's settings, short so that things move.
const (
	pollInterval      = time.Second
	pollOverlap       = 10 * time.Second
	positionsInterval = 5 * time.Second
	requestTimeout    = 2 * time.Second
	settleDelay       = 300 * time.Millisecond
	budgetWindow      = 10 * time.Second
	eventsMaxBytes    = 512 << 20
	// settleTimeout is how long everything may take to settle; only a connector that is broken
	// takes it.
	settleTimeout = time.Minute
)

// budgetOf has room for the traffic, its polls, and what an outage makes of both.
func budgetOf(rate float64) comeet.Limit {
	return comeet.Limit{Requests: max(200, int(rate*40)), Window: budgetWindow}
}

// play starts everything, in the order in which it is ended the other way round. Its error says
// which promise was broken, or what could not be started.
func play(stop, hurry context.Context, s settings, out io.Writer) (err error) {
	dir, remove, err := openData(s.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	natsPort, err := pick("nats-port", s.NATSPort, 4222)
	if err != nil {
		return err
	}
	server, err := bustest.Start(bustest.Options{Dir: filepath.Join(dir, "nats"), Port: natsPort})
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := connector.Setup(hurry, connector.Config{NATSURL: server.ClientURL(), EventsMaxBytes: eventsMaxBytes}); err != nil {
		return err
	}
	nc, err := nats.Connect(server.ClientURL(), nats.Name("comeet-sandbox"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("join the bus: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("join the bus: %w", err)
	}
	before, err := lookAt(hurry, js)
	if err != nil {
		return err
	}

	budget := budgetOf(s.Rate)
	fake := newComeet(budget, before.events.LastSeq)
	defer fake.Close()
	comeetPort, err := pick("comeet-port", s.ComeetPort, 8090)
	if err != nil {
		return err
	}
	if err := fake.Listen(loopback(comeetPort)); err != nil {
		return fmt.Errorf("start the fake Comeet: %w", err)
	}

	v := newView(out, s.Quiet)
	logFile, err := os.OpenFile(filepath.Join(dir, "connector.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the connector's log: %w", err)
	}
	defer func() { _ = logFile.Close() }() // each line of it is written at once
	adminPort, err := pick("admin-port", s.AdminPort, 8080)
	if err != nil {
		return err
	}
	sidecar, err := connector.New(connector.Config{
		NATSURL: server.ClientURL(), EventsMaxBytes: eventsMaxBytes, BaseURL: fake.URL(), AdminAddr: loopback(adminPort),
		Accounts: []connector.Account{{
			Name: events.DefaultAccount, Credentials: comeet.StaticCredentials(comeettest.DefaultAPIKey, comeettest.DefaultSecret),
		}},
		PollInterval: pollInterval, PollOverlap: pollOverlap, PositionsInterval: positionsInterval, RateLimit: budget,
		RequestTimeout: requestTimeout, SettleDelay: settleDelay, Replica: "sandbox",
		Log: zerolog.New(zerolog.MultiLevelWriter(logFile, logLines{v})).Level(zerolog.InfoLevel).With().Timestamp().Logger(),
	})
	if err != nil {
		return err
	}
	v.header(s, headerFacts{
		nats: server.ClientURL(), comeet: fake.URL(), admin: sidecar.AdminAddr(), dir: dir, log: logFile.Name(),
		budget: budget, kept: s.Data != "", earlier: before.sourced.Msgs,
	})

	// The connector outlives stop, for there is much to settle then; what happens here needs it.
	working, end := context.WithCancel(context.WithoutCancel(stop))
	stop, noMore := context.WithCancel(stop)
	defer noMore()
	settling, noUse := context.WithCancel(hurry)
	defer noUse()
	ran := make(chan error, 1)
	go func() {
		ran <- sidecar.Run(working)
		noMore()
		noUse()
	}()
	ended := sync.OnceValue(func() error {
		end()
		return <-ran
	})
	defer func() { _ = ended() }()

	t := newTally(before)
	recruiter := newRecruiter(fake, v, s)
	watching, err := watch(hurry, js, t, before, v, recruiter)
	if err != nil {
		return err
	}
	defer watching.stop()
	totals := v.totals(t, fake, budget)
	defer totals()

	traffic, err := newTraffic(stop, js, v, s, before.sourced.LastSeq)
	if err != nil {
		return err
	}
	select {
	case <-sidecar.Ready():
	case <-stop.Done():
	}
	if err := act(stop, s, fake, v, traffic, recruiter); err != nil {
		return err
	}
	settleErr := settle(settling, js, t, fake, traffic)
	if err := ended(); err != nil {
		return fmt.Errorf("the connector ended with: %w", err)
	}
	totals()
	watching.stop()
	counting, cancel := context.WithTimeout(context.WithoutCancel(hurry), settleTimeout)
	defer cancel()
	found, err := count(counting, js, before)
	if err != nil {
		return err
	}
	return errors.Join(summarize(v, found, lookAtComeet(fake, found, budget)), settleErr)
}

// act lets traffic, recruiter and Comeet's troubles run until stop ends, or a few seconds before
// --for is over.
func act(stop context.Context, s settings, fake *comeettest.Server, v *view, traffic *traffic, recruiter *recruiter) error {
	acting, cancel := context.WithCancel(stop)
	defer cancel()
	if s.For > 0 {
		acting, cancel = context.WithTimeout(acting, s.For-min(3*time.Second, s.For/3))
		defer cancel()
	}
	var all sync.WaitGroup
	all.Go(func() { recruiter.run(acting) })
	all.Go(func() { troubles(acting, s.For, fake, v) })
	err := traffic.run(acting)
	cancel()
	all.Wait()
	if err == nil {
		v.notice("sandbox", "traffic ends", "everything settles: outcomes, then a last poll", green)
	}
	return err
}

// settle waits until every event has its outcome, a whole poll has begun and ended since, and the
// feed tells the present of every candidate. Whether that came true is for the summary to say; the
// error only says that waiting was of no use.
func settle(settling context.Context, js jetstream.JetStream, t *tally, fake *comeettest.Server, traffic *traffic) error {
	ctx, cancel := context.WithTimeout(settling, settleTimeout)
	defer cancel()
	err := t.await(ctx, func() bool { return t.caughtUp(traffic.lastSeq) && t.totals().waiting == 0 })
	if err == nil {
		err = awaitPoll(ctx, js)
	}
	if err == nil {
		err = t.await(ctx, func() bool {
			agree, all := agreement(t, fake.Candidates(comeettest.DefaultAccount))
			return agree == all
		})
	}
	if err != nil {
		return fmt.Errorf("not everything settled: %w", err)
	}
	return nil
}

// awaitPoll waits for two moves of the poll cursor, which moves when a poll has completed: the
// second is of a poll that began after now.
func awaitPoll(ctx context.Context, js jetstream.JetStream) error {
	cursors, err := js.KeyValue(ctx, "COMEET_CURSORS")
	if err != nil {
		return err
	}
	moves, err := cursors.Watch(ctx, "poll."+events.DefaultAccount, jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	defer func() { _ = moves.Stop() }()
	for range 2 {
		select {
		case <-moves.Updates():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// openData makes the data directory; remove takes a temporary one away.
func openData(dir string) (path string, remove func() error, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "comeet-sandbox-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	return dir, func() error { return nil }, os.MkdirAll(dir, 0o700)
}

// pick is the port to listen on, 0 for any: a wanted one must be free, a default one gives way.
func pick(flag string, wanted *int, usual int) (int, error) {
	port := usual
	if wanted != nil {
		port = *wanted
	}
	l, err := net.Listen("tcp", loopback(port))
	switch {
	case err == nil:
		return port, l.Close()
	case wanted != nil:
		return 0, fmt.Errorf("--%s: %w; 0 takes a free one", flag, err)
	}
	return 0, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// rest sleeps, and reports whether the context still lives.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// short is a CloudEvents source without what all of them have in common.
func short(source string) string {
	source = strings.TrimSuffix(source, "/")
	return source[strings.LastIndexAny(source, "/:")+1:]
}
