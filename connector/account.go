package connector

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/owner"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/connector/track"
)

// account is everything that one Comeet account has for itself: budget, breaker, consumer,
// catalogue and poller. Nothing of it is shared with another account but memory for files, of which
// each has its share, so no account can hurt another.
type account struct {
	name string
	// cfg is the connector's configuration with this account's overrides.
	cfg      accountConfig
	log      zerolog.Logger
	metrics  *accountMetrics
	bus      *bus.Bus
	ledger   *ledger.Ledger
	comeet   *comeet.Client
	gate     *comeet.Gate
	consumer *bus.Consumer
	// streamCreated is when the sourced stream was made.
	streamCreated time.Time
	// ageLimit is how old an event may get.
	ageLimit  time.Duration
	catalogue *positions.Catalogue
	track     *track.Tracker
	cursors   *bus.Bucket
	objects   *bus.Objects
	downloads *http.Client
	// filesMemory is all accounts' memory for files, filesShare how much of it this account may
	// take.
	filesMemory, filesShare *semaphore.Weighted
	capacity                *capacity
	posts                   postStats
	heartbeats              heartbeats
	progress                progress
	// fallbackTold is what was last logged of the fallback position; only for sawPositions.
	fallbackTold string
	// work ends when the connector gives up waiting for what is in hand.
	work context.Context
}

// accountConfig is the Config as one account sees it.
type accountConfig struct {
	Config
	Account
	// The account's own settings win over the Config's of the same name.
	Workers      int
	PollInterval time.Duration
	RateLimit    comeet.Limit
}

// run serves the account until ctx ends and the events in hand have come to an end of their own. It
// returns an error only if the account must be built anew, such as after its consumer was deleted.
func (a *account) run(ctx context.Context) error {
	budget := owner.NewBookings(owner.BookingsConfig{
		Account: a.name, Replica: a.cfg.Replica, Bucket: a.cursors, Now: a.bus.Now, Gate: a.gate, Limit: a.cfg.RateLimit, Log: a.log,
	})
	if a.cfg.RateLimit.Requests > 0 {
		if err := budget.TakeOver(ctx); err != nil {
			return ignoreCanceled(ctx, err)
		}
		defer budget.HandOver(a.work)
	}
	g, ctx := errgroup.WithContext(ctx)
	if a.cfg.RateLimit.Requests > 0 {
		g.Go(func() error { return budget.Run(ctx) })
	}
	g.Go(func() error { return ignoreCanceled(ctx, a.gate.Run(ctx, a.comeet.Probe)) })
	g.Go(func() error { return a.catalogue.Run(ctx) })
	g.Go(func() error { return a.track.Poll(ctx) })
	g.Go(func() error { return a.track.Sweep(ctx) })
	g.Go(func() error { return a.take(ctx) })
	g.Go(func() error { return a.endExpired(ctx) })
	g.Go(func() error { return a.watch(ctx) })
	g.Go(func() error { return a.heartbeats.run(ctx, a.cfg.lease()/3) })
	return g.Wait()
}

// ignoreCanceled is nil if ctx has ended, since the error is of that then.
func ignoreCanceled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// comeetNow is the best guess at Comeet's clock.
func (a *account) comeetNow() time.Time {
	return a.comeet.Now().UTC().Truncate(time.Second)
}

func (a *account) now() time.Time { return a.bus.Now().UTC().Truncate(time.Millisecond) }
