package positions

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/internal/latest"
)

// refreshShare of the interval is the least time between two readings that unknown positions ask for, 10 s by default: one
// refresh serves all of them.
const refreshShare = 30

// pageSize is how many positions are asked for per page; Comeet may give fewer.
const pageSize = 500

// Catalogue is an account's positions: read from Comeet at every interval, and written to the positions bucket where they changed,
// so that sourcing services can watch them without credentials of Comeet. All methods are safe for concurrent use.
type Catalogue struct {
	cfg Config
	// wanted asks for an early reading.
	wanted chan struct{}

	// known is the last reading.
	known latest.Value[Reading]
}

// Config is what a Catalogue works with. All fields are required.
type Config struct {
	// Account is the account's name, Comeet its client.
	Account string
	Comeet  *comeet.Client
	// Bucket is the positions bucket, Now the clock of its bus.
	Bucket *bus.Bucket
	Now    func() time.Time
	// Interval is the time between two readings, RequestTimeout how long one request to Comeet may take.
	Interval, RequestTimeout time.Duration
	// OnReading is told the positions after each reading, from Run's goroutine.
	OnReading func([]Position)
	Log       zerolog.Logger
}

// Reading is what is known of an account's positions.
type Reading struct {
	List []Position
	// Began is when the reading began, by the bus's clock; zero for what an earlier process left in the bucket.
	Began time.Time
	// Usable is false until there was anything to match by.
	Usable bool
	// Denied means that this account may not read positions now: List is what was known before, perhaps nothing.
	Denied bool
}

// ErrUnavailable means that a reading took longer than one may take.
var ErrUnavailable = errors.New("the positions cannot be read now")

// New returns a Catalogue that knows nothing until Run reads.
func New(cfg Config) *Catalogue {
	return &Catalogue{cfg: cfg, wanted: make(chan struct{}, 1)}
}

// Latest is the last reading, be it usable or not. It does not block.
func (c *Catalogue) Latest() Reading {
	known, _ := c.known.Get()
	return known
}

// First is the last reading; it waits for the first one. Errors: ErrUnavailable, the context's.
func (c *Catalogue) First(ctx context.Context) (Reading, error) {
	return c.await(ctx, func(r Reading) bool { return r.Usable })
}

// ReadAfter waits for a reading that began after t, or until this account may not read. The first to ask brings it about, the others
// wait for the same one. Errors: ErrUnavailable, the context's.
func (c *Catalogue) ReadAfter(ctx context.Context, t time.Time) (Reading, error) {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	return c.await(ctx, func(r Reading) bool { return r.Usable && (r.Denied || r.Began.After(t)) })
}

// await gives up after the time that the next reading may take, so that an event does not block a worker that other events could use.
func (c *Catalogue) await(ctx context.Context, enough func(Reading) bool) (Reading, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.RequestTimeout+2*c.cfg.Interval/refreshShare, ErrUnavailable)
	defer cancel()
	return c.known.Await(ctx, enough)
}

// Run reads the positions until ctx ends, and returns nil then. A reading that failed is repeated soon, then ever later: after a short trouble nobody waits long for
// the first one.
func (c *Catalogue) Run(ctx context.Context) error {
	pause := c.cfg.Interval / refreshShare
	again := pause / 16
	for {
		begun := time.Now()
		err := c.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			c.cfg.Log.Warn().Err(err).Dur("again_in", again).Msg("could not read the positions; matching by the last known ones")
			c.useLastKnown(ctx, comeet.KindOf(err) == comeet.Denied)
			if !bus.Sleep(ctx, again) {
				return nil
			}
			again = min(2*again, pause)
			continue
		}
		again = pause / 16
		if !bus.Sleep(ctx, pause-time.Since(begun)) {
			return nil
		}
		early := time.NewTimer(c.cfg.Interval - time.Since(begun))
		select {
		case <-early.C:
		case <-c.wanted:
		case <-ctx.Done():
		}
		early.Stop()
	}
}

// refresh reads all pages. A listing that misses a page, or that may have lost a row between two, proves nothing about absence, so it
// changes nothing: a missing position refuses candidates for good, and a missing namesake sends them to the wrong one.
func (c *Catalogue) refresh(ctx context.Context) error {
	begun := c.cfg.Now()
	key := func(p *comeet.Position) string { return p.UID }
	rows, _, err := comeet.ReadSteady(ctx, 0, key, func(ctx context.Context, page string) ([]comeet.Position, *comeet.Response, error) {
		return c.cfg.Comeet.ListPositions(ctx, comeet.PositionQuery{Limit: pageSize, Page: page})
	})
	if err != nil {
		return err
	}
	var list []Position
	for i := range rows {
		if !rows[i].IsTemplate {
			list = append(list, positionOf(&rows[i]))
		}
	}
	c.publish(Reading{List: list, Began: begun, Usable: true})
	if err := c.store(ctx, list); err != nil && ctx.Err() == nil {
		c.cfg.Log.Error().Err(err).Msg("could not write the positions bucket; its readers see the positions as they were")
	}
	return nil
}

func (c *Catalogue) publish(r Reading) {
	c.known.Set(r)
	c.cfg.OnReading(r.List)
}

func positionOf(p *comeet.Position) Position {
	out := Position{
		UID: p.UID, Name: p.Name, CustomID: p.CustomID, Department: p.Department, Status: p.Status,
		Published: p.IsPublished, TalentPool: p.IsTalentPool,
	}
	if p.Location != nil {
		out.Location = p.Location.Name
	}
	return out
}

// useLastKnown matches by what is known from before while Comeet cannot be asked, or must not be. After a start that is
// what an earlier process left in the bucket.
func (c *Catalogue) useLastKnown(ctx context.Context, denied bool) {
	r := c.Latest()
	if !r.Usable {
		var err error
		if r.List, err = Read(ctx, c.cfg.Bucket, c.cfg.Account); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error().Err(err).Msg("could not read the positions bucket")
		}
		r.Usable = denied || len(r.List) > 0
	}
	r.Denied = denied
	c.publish(r)
}
