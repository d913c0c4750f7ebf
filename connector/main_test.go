package connector_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector"
)

// The test binary is also the program that tests kill: a connector in a process of its own.
const childEnv = "CONNECTOR_TEST_CHILD"

func TestMain(m *testing.M) {
	connector.SetWatchPause(time.Second)
	if raw := os.Getenv(childEnv); raw != "" {
		var c child
		if err := json.Unmarshal([]byte(raw), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := c.main(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if raw := os.Getenv(serverEnv); raw != "" {
		var c serverChild
		err := json.Unmarshal([]byte(raw), &c)
		if err == nil {
			err = c.main()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	manyAtOnce()
	// An object store's Put may end before the client library's goroutine has looked at the channel that tells it to end.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// manyAtOnce lets more tests run at once than there are cores, unless it was said how many: they wait rather than compute.
func manyAtOnce() {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", strconv.Itoa(8*runtime.GOMAXPROCS(0)))
	}
}

// child is what such a process is told.
type child struct {
	NATSURL, BaseURL, Replica   string
	Accounts                    []string
	RequestTimeout, SettleDelay time.Duration
	PollInterval, PollOverlap   time.Duration
	// 0 is the connector's default.
	SweepInterval, DeniedRetry, PositionsInterval time.Duration
	RateLimit                                     comeet.Limit
	Workers                                       int
	MemberTTL                                     time.Duration
	// AdminAddr is "off" if empty.
	AdminAddr string
	// EventsMaxBytes bounds the events stream when it is made; 0 means 1 GiB.
	EventsMaxBytes int64
	// PlainHTTP allows a BaseURL without TLS that is not loopback.
	PlainHTTP bool
	// Bare makes it the benchmark's bare loop.
	Bare bool
}

func (c child) main() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if c.Bare {
		return c.bareLoop(ctx)
	}
	reserve := make([]byte, 32<<20) // as the command does
	defer runtime.KeepAlive(reserve)
	con, err := connector.New(c.config(zerolog.New(os.Stderr)))
	if err != nil {
		return err
	}
	return con.Run(ctx)
}

func (c child) config(log zerolog.Logger) connector.Config {
	cfg := connector.Config{
		NATSURL: c.NATSURL, BaseURL: c.BaseURL, PlainHTTP: c.PlainHTTP, Replica: c.Replica, AdminAddr: cmp.Or(c.AdminAddr, "off"), EventsMaxBytes: cmp.Or(c.EventsMaxBytes, 1<<30),
		RequestTimeout: c.RequestTimeout, SettleDelay: c.SettleDelay, PollInterval: c.PollInterval, PollOverlap: c.PollOverlap,
		SweepInterval: c.SweepInterval, DeniedRetry: c.DeniedRetry, PositionsInterval: c.PositionsInterval,
		RateLimit: c.RateLimit, NoRateLimit: c.RateLimit.Requests == 0, Workers: c.Workers, MemberTTL: c.MemberTTL, Log: log.With().Timestamp().Logger(),
	}
	for _, name := range c.Accounts {
		cfg.Accounts = append(cfg.Accounts, connector.Account{Name: name, Credentials: comeet.StaticCredentials(apiKeyOf(name), secret)})
	}
	return cfg
}

// process is a child that runs.
type process struct {
	cmd  *exec.Cmd
	logs *logBuffer
	gone chan struct{}
}

func startChild(t testing.TB, c child) *process {
	t.Helper()
	return startChildBy(t, exec.Command(os.Args[0]), c)
}

// startChildBy starts a child by a command that ends in the test binary.
func startChildBy(t testing.TB, cmd *exec.Cmd, c child) *process {
	t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, logs: new(logBuffer), gone: make(chan struct{})}
	p.cmd.Env = append(cmd.Environ(), childEnv+"="+string(raw))
	p.cmd.Stderr, p.cmd.Stdout = p.logs, p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.gone)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("process %d (%s):\n%s", p.cmd.Process.Pid, c.Replica, p.logs.tail(8000))
		}
	})
	return p
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// ask tells it to end in order.
func (p *process) ask() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// stop asks it to end and waits.
func (p *process) stop() {
	p.ask()
	<-p.gone
}

func (p *process) freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) thaw()   { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
