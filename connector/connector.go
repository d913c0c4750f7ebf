// Package connector submits sourced candidates from NATS JetStream to Comeet and publishes what
// becomes of them.
//
// It keeps the promises of DESIGN.md: every sourced event gets exactly one outcome, whatever
// crashes; at most one candidate is created for an operation; every state that a poll sees reaches
// the bus once and in order. All state lives in JetStream, so a process may be killed at any moment
// and another one goes on.
//
// The files follow one event: intake, submission, attempt (match, files, download, request), settle
// (lookup, person, doubt, adopt), accept, refuse, deadletter, confirm. Around them: account (what
// one account has for itself), heartbeat, connector, supervise and setup (lifecycle), capacity,
// expire, unserved, watchdog, health, admin, metrics.
//
// The way back is package track. Who serves an account is decided in package owner, where a
// candidate goes in package positions. What operators do is package ops: another process, which
// needs the bus alone.
package connector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/owner"
)

// Connector is one replica.
type Connector struct {
	cfg     Config
	log     zerolog.Logger
	metrics *metrics
	// clients holds each served account's client by name, for the figures.
	clients     sync.Map
	downloads   *http.Client
	filesMemory *semaphore.Weighted
	pauses      *owner.Pauses
	served      served
	admin       *adminServer
	capacity    *capacity
	ready       chan struct{}

	// phase says in words why the connector can't make progress; nil means that it can.
	phase atomic.Pointer[string]
	bus   atomic.Pointer[bus.Bus]
}

// New checks the configuration and takes the admin address, but does not touch the bus or Comeet.
// Its error names each field that is wrong and the rule.
func New(cfg Config) (*Connector, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Connector{
		cfg: cfg, log: cfg.Log.With().Str("replica", cfg.Replica).Logger(), metrics: newMetrics(),
		downloads: newDownloads(cfg.PrivateFileURLs), filesMemory: semaphore.NewWeighted(filesMemory), ready: make(chan struct{}),
	}
	c.capacity = &capacity{log: c.log}
	for _, a := range cfg.Accounts {
		if _, err := c.newClient(a); err != nil {
			return nil, fmt.Errorf("account %q: %w", a.Name, err)
		}
		c.metrics.of(a.Name)
	}
	c.metrics.registry.MustRegister(gates{&c.clients, &c.served})
	c.enter("starting")
	if cfg.AdminAddr != "off" {
		var err error
		if c.admin, err = listenAdmin(cfg.AdminAddr, c.Health, c.metrics.registry); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Connector) newClient(a Account) (*comeet.Client, error) {
	if _, _, err := a.Credentials(); err != nil {
		return nil, err
	}
	log := c.log.With().Str("account", a.Name).Logger()
	gate := comeet.NewGate(comeet.GateConfig{
		HoldBack: c.cfg.settleDelay(),
		Limit:    a.RateLimit, RequestTimeout: c.cfg.RequestTimeout, DeniedMin: c.cfg.DeniedRetry, DeniedMax: 15 * c.cfg.DeniedRetry, OnChange: tellGate(log),
	})
	opts := []comeet.Option{
		comeet.WithBaseURL(a.BaseURL), comeet.WithTimeout(c.cfg.RequestTimeout), comeet.WithGate(gate),
		comeet.WithTransport(c.cfg.Transport), comeet.WithObserver(c.metrics.of(a.Name).answered),
	}
	if c.cfg.PlainHTTP {
		opts = append(opts, comeet.WithPlainHTTP())
	}
	return comeet.NewClient(a.Credentials, opts...)
}

// Ready is closed when the connector has joined the bus and begun to work.
func (c *Connector) Ready() <-chan struct{} { return c.ready }

// AdminAddr is where health and metrics are served; empty if nowhere.
func (c *Connector) AdminAddr() string {
	if c.admin == nil {
		return ""
	}
	return c.admin.addr()
}

// Run works until ctx ends, then lets what is in hand come to its end for up to DrainTimeout. It
// waits for a bus that is not up. Its error is nil after an orderly end, or says what contradicts
// the connector's promises on the bus.
func (c *Connector) Run(ctx context.Context) error {
	g := new(errgroup.Group)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	if c.admin != nil {
		g.Go(func() error { return c.admin.serve(serving) })
	}
	err := c.serve(ctx)
	c.enter("stopped")
	stopServing()
	return errors.Join(err, g.Wait())
}

func (c *Connector) serve(ctx context.Context) error {
	c.enter("waiting for the bus")
	b, err := bus.Connect(ctx, bus.Config{
		URL: c.cfg.NATSURL, Creds: c.cfg.NATSCreds, Server: c.cfg.NATSServer, Name: "comeet-connector " + c.cfg.Replica, OnEvent: bus.LogEvents(c.log),
	})
	if err != nil {
		return ignoreCanceled(ctx, err)
	}
	defer b.Close()
	c.bus.Store(b)
	if err := c.ledgerKept(ctx, b); err != nil {
		return ignoreCanceled(ctx, err)
	}
	if err := b.Ensure(ctx, c.cfg.layout()); err != nil {
		return ignoreCanceled(ctx, fmt.Errorf("the bus is not as the connector needs it: %w", err))
	}
	st, err := b.StreamState(ctx, bus.EventsStream, "")
	if err != nil {
		return ignoreCanceled(ctx, err)
	}
	c.capacity.update(st)
	bucket, err := b.Bucket(ctx, bus.MembersBucket)
	if err != nil {
		return ignoreCanceled(ctx, err)
	}
	members := owner.NewMembers(bucket, c.cfg.Replica, c.cfg.MemberTTL, c.log)
	held, err := b.Bucket(ctx, bus.AccountsBucket)
	if err != nil {
		return ignoreCanceled(ctx, err)
	}
	c.pauses = owner.NewPauses(held, c.log)

	// work outlives ctx by DrainTimeout, so that what is in hand can come to its end.
	work, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	draining := context.AfterFunc(ctx, func() {
		c.enter("draining")
		c.log.Info().Dur("at_most", c.cfg.DrainTimeout).Msg("stopping: no new events; finishing those in hand")
		time.AfterFunc(c.cfg.DrainTimeout, func() { giveUp(errors.New("DRAIN_TIMEOUT has passed")) })
	})
	defer draining()

	var wg sync.WaitGroup
	wg.Go(func() {
		c.capacity.run(ctx, b, bus.EventsStream, st.Created, func() {
			err := c.errLedgerLost()
			stop(err)
			giveUp(err)
		})
	})
	wg.Go(func() { c.pauses.Run(ctx) })
	wg.Go(func() { c.watchUnserved(ctx, b) })
	wg.Go(func() { members.Run(ctx) })
	for _, a := range c.cfg.Accounts {
		wg.Go(func() { c.supervise(ctx, work, b, members, a) })
	}
	c.phase.Store(nil)
	close(c.ready)
	c.log.Info().Int("accounts", len(c.cfg.Accounts)).Str("admin", c.AdminAddr()).Msg("ready")
	wg.Wait()
	c.log.Info().Msg("stopped")
	if lost, ok := errors.AsType[ledgerLostError](context.Cause(ctx)); ok {
		return lost
	}
	return nil
}

// ledgerLostError means that the events stream is gone or another one. Going on would submit again
// whoever comes again.
type ledgerLostError struct{ stream string }

func (e ledgerLostError) Error() string {
	return fmt.Sprintf("the stream %s is gone or was replaced, and with it the ledger of what was submitted: to go on could create candidates twice. "+
		"Restore it from a backup, or accept that and run: comeet-connector setup --apply", e.stream)
}

func (c *Connector) errLedgerLost() error { return ledgerLostError{bus.EventsStream} }

// ledgerKept refuses a bus on which the connector has worked before, as the cursors tell, and whose
// events stream is missing.
func (c *Connector) ledgerKept(ctx context.Context, b *bus.Bus) error {
	if _, err := b.StreamState(ctx, bus.EventsStream, ""); !errors.Is(err, bus.ErrAssetDeleted) {
		return err
	}
	_, err := b.Bucket(ctx, bus.CursorsBucket)
	switch {
	case errors.Is(err, bus.ErrAssetDeleted):
		return nil
	case err != nil:
		return err
	}
	return c.errLedgerLost()
}

// replicaName is the host's name and something of this process's own.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "replica"
	}
	return host + "-" + strings.ToLower(rand.Text()[:6])
}
