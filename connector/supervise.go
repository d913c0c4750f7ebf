package connector

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/owner"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/connector/track"
	"github.com/comeet-connector/comeet-connector/events"
)

// supervise serves one account while this replica owns it. It builds the account again when
// something under it was taken away.
func (c *Connector) supervise(ctx, work context.Context, b *bus.Bus, members *owner.Members, cfg Account) {
	log := c.log.With().Str("account", cfg.Name).Logger()
	for wait := time.Second; ; {
		if !members.Owns(cfg.Name) {
			c.served.remove(cfg.Name)
		}
		owned, release, err := members.Own(ctx, cfg.Name)
		if err != nil {
			return
		}
		c.served.add(cfg.Name)
		begun := time.Now()
		log.Info().Msg("serving the account")
		err = c.runAccount(owned, work, b, log, cfg)
		lost := owned.Err() != nil
		release()
		switch {
		case ctx.Err() != nil:
			return
		case lost:
			log.Info().Msg("another replica serves the account now")
			wait = time.Second
			continue
		case errors.Is(err, owner.ErrOvertaken):
			log.Warn().Err(err).Msg("the members disagree about who serves the account; looking again")
		default:
			log.Error().Err(err).Dur("again_in", wait).Msg("the account stopped; starting it anew")
		}
		c.served.setError(cfg.Name, err)
		if time.Since(begun) > time.Minute {
			wait = time.Second
		}
		for {
			if !bus.Sleep(ctx, wait) {
				return
			}
			wait = min(2*wait, 30*time.Second)
			err := c.ledgerKept(ctx, b)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				log.Error().Err(err).Dur("again_in", wait).Msg("not serving the account")
			}
		}
		if err := b.Ensure(ctx, c.cfg.layout()); err != nil && ctx.Err() == nil {
			log.Error().Err(err).Msg("the bus is not as the connector needs it")
		}
	}
}

func (c *Connector) runAccount(ctx, work context.Context, b *bus.Bus, log zerolog.Logger, cfg Account) error {
	// A client of its own for each term of ownership: what was sent in an earlier one is in the
	// budget record.
	client, err := c.newClient(cfg)
	if err != nil {
		return err
	}
	c.clients.Store(cfg.Name, client)
	defer c.clients.Delete(cfg.Name)
	c.pauses.Admit(ctx, cfg.Name, client.Gate())
	a := &account{
		name: cfg.Name, log: log, metrics: c.metrics.of(cfg.Name), bus: b, ledger: ledger.New(b),
		cfg:    accountConfig{Config: c.cfg, Account: cfg, Workers: cfg.Workers, PollInterval: cfg.PollInterval, RateLimit: cfg.RateLimit},
		comeet: client, gate: client.Gate(), downloads: c.downloads, capacity: c.capacity, work: work,
		filesMemory: c.filesMemory, filesShare: semaphore.NewWeighted(accountFilesMemory),
	}
	a.metrics.begin()
	defer a.metrics.end()
	st, err := b.StreamState(ctx, bus.SourcedStream, "")
	if err != nil {
		return err
	}
	a.streamCreated, a.ageLimit = st.Created, ageLimit(st.MaxAge)
	subjects := []string{events.SourcedSubject(cfg.Name)}
	if cfg.Name == events.DefaultAccount {
		subjects = append(subjects, events.SourcedSubject(""))
	}
	a.consumer, err = b.Consumer(ctx, bus.ConsumerSpec{
		Stream: bus.SourcedStream, Durable: owner.ConsumerOf(cfg.Name), Subjects: subjects,
		AckWait: c.cfg.lease(), MaxAckPending: maxAckPending(cfg.Workers),
	})
	if err != nil {
		return err
	}
	if a.cursors, err = b.Bucket(ctx, bus.CursorsBucket); err != nil {
		return err
	}
	listed, err := b.Bucket(ctx, bus.PositionsBucket)
	if err != nil {
		return err
	}
	a.catalogue = positions.New(positions.Config{
		Account: cfg.Name, Comeet: client, Bucket: listed, Now: b.Now, Interval: c.cfg.PositionsInterval, RequestTimeout: c.cfg.RequestTimeout,
		OnReading: a.sawPositions, Log: log,
	})
	a.track = track.New(track.Config{
		Account: cfg.Name, Comeet: client, Bus: b, Events: bus.EventsStream, Ledger: a.ledger, Cursors: a.cursors, Source: c.cfg.EventSource,
		PollInterval: cfg.PollInterval, PollOverlap: c.cfg.PollOverlap, SweepInterval: c.cfg.SweepInterval,
		StrayAfter: 2*c.cfg.lease() + 128*c.cfg.settleDelay(), WaitForCapacity: c.capacity.wait, Metrics: a.metrics, Log: log,
	})
	if a.objects, err = b.Objects(ctx, bus.FilesStore); err != nil {
		return err
	}
	// From here on it is served. What was wrong before is forgotten when it has been so for a
	// while.
	served := time.AfterFunc(watchPause, func() { c.served.clearError(cfg.Name) })
	defer served.Stop()
	return a.run(ctx)
}
