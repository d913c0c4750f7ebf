package positions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/internal/latest"
)

// refreshShare of the interval is the least time between two readings that unknown positions ask
// for, 10 s by default: one refresh serves all of them.
const refreshShare = 30

// A reading that lacks most of the positions that were known is doubted: an answer of Comeet's that
// went wrong looks the same, and would refuse candidates for good. It is believed when so many
// readings in a row have said so, each a share of the interval after the one before: by default
// over two and a half minutes.
const (
	confirmations = 3
	confirmShare  = 4
)

// pageSize is how many positions are asked for per page; Comeet may give fewer.
const pageSize = 500

// Catalogue is an account's positions: read from Comeet at every interval, and written to the
// positions bucket where they changed, so that sourcing services can watch them without credentials
// of Comeet. All methods are safe for concurrent use.
type Catalogue struct {
	cfg Config
	// wanted asks for an early reading.
	wanted chan struct{}

	// known is the last reading that is believed.
	known latest.Value[Reading]
	// doubted is how many readings in a row have lacked most of what is known. Only Run's goroutine
	// uses it.
	doubted int
}

// Config is what a Catalogue works with. All fields are required.
type Config struct {
	// Account is the account's name, Comeet its client.
	Account string
	Comeet  *comeet.Client
	// Bucket is the positions bucket, Now the clock of its bus.
	Bucket *bus.Bucket
	Now    func() time.Time
	// Interval is the time between two readings, RequestTimeout how long one request to Comeet may
	// take.
	Interval, RequestTimeout time.Duration
	// OnReading is told the positions after each reading, from Run's goroutine.
	OnReading func([]Position)
	Log       zerolog.Logger
}

// Reading is what is known of an account's positions.
type Reading struct {
	List []Position
	// Began is when the reading began, by the bus's clock; zero for what an earlier process left in
	// the bucket.
	Began time.Time
	// Usable is false until there was anything to match by.
	Usable bool
	// Denied means that this account may not read positions now: List is what was known before,
	// perhaps nothing.
	Denied bool
	// Doubted means that Comeet has answered since, without most of List, and that this is not
	// confirmed yet.
	Doubted bool
}

// ErrUnavailable means that a reading took longer than one may take.
var ErrUnavailable = errors.New("the positions cannot be read now")

// New returns a Catalogue that knows nothing until Run reads.
func New(cfg Config) *Catalogue {
	return &Catalogue{cfg: cfg, wanted: make(chan struct{}, 1)}
}

// Latest is the last reading that is believed, be it usable or not. It does not block.
func (c *Catalogue) Latest() Reading {
	known, _ := c.known.Get()
	return known
}

// First is the last reading; it waits for the first one. Errors: ErrUnavailable, the context's.
func (c *Catalogue) First(ctx context.Context) (Reading, error) {
	return c.await(ctx, func(r Reading) bool { return r.Usable })
}

// ReadAfter waits for a reading that began after t, or until this account may not read. The first
// to ask brings it about, the others wait for the same one. Errors: ErrUnavailable, the context's.
func (c *Catalogue) ReadAfter(ctx context.Context, t time.Time) (Reading, error) {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	return c.await(ctx, func(r Reading) bool { return r.Usable && (r.Denied || r.Began.After(t)) })
}

// await gives up after the time that the next reading may take, so that an event does not block a
// worker that other events could use.
func (c *Catalogue) await(ctx context.Context, enough func(Reading) bool) (Reading, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.RequestTimeout+2*c.cfg.Interval/refreshShare, ErrUnavailable)
	defer cancel()
	return c.known.Await(ctx, enough)
}

// Run reads the positions until ctx ends, and returns nil then. A reading that failed is repeated
// soon, then ever later: after a short trouble nobody waits long for the first one.
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
		if c.doubted > 0 {
			// An early reading would confirm nothing.
			if !bus.Sleep(ctx, c.cfg.Interval/confirmShare-time.Since(begun)) {
				return nil
			}
			continue
		}
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

// refresh reads all pages. A listing that misses a page, or that may have lost a row between two,
// proves nothing about absence, so it changes nothing: a missing position refuses candidates for
// good, and a missing namesake sends them to the wrong one. Nor does a complete one that lacks most
// positions, until it is confirmed.
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
	doubtful, err := c.doubt(ctx, list)
	if err != nil || doubtful {
		return err
	}
	c.publish(Reading{List: list, Began: begun, Usable: true})
	if err := c.store(ctx, list); err != nil && ctx.Err() == nil {
		c.cfg.Log.Error().Err(err).Msg("could not write the positions bucket; its readers see the positions as they were")
	}
	return nil
}

// doubt reports whether a reading is not to be believed yet. Matching goes on by what was known
// before. After a start that is what an earlier process left in the bucket.
func (c *Catalogue) doubt(ctx context.Context, list []Position) (bool, error) {
	known := c.Latest()
	if !known.Usable {
		var err error
		if known.List, err = Read(ctx, c.cfg.Bucket, c.cfg.Account); err != nil {
			return false, fmt.Errorf("read the positions bucket: %w", err)
		}
	}
	missing := lacking(known.List, list)
	if !isMost(missing, known.List) {
		if c.doubted > 0 {
			c.cfg.Log.Info().Int("positions", len(list)).Msg("Comeet shows the positions again that it had left out")
		}
		c.doubted = 0
		return false, nil
	}
	c.doubted++
	if c.doubted == confirmations {
		c.cfg.Log.Warn().Int("missing", len(missing)).Int("known", len(known.List)).Int("readings", c.doubted).
			Msg("Comeet has left out most of the known positions in each of these readings; from now on they count as gone")
		c.doubted = 0
		return false, nil
	}
	c.cfg.Log.Warn().Int("missing", len(missing)).Int("known", len(known.List)).Int("reading", c.doubted).Int("of", confirmations).
		Dur("again_in", c.cfg.Interval/confirmShare).
		Msg("Comeet's answer leaves out most of the known positions; it is not believed until it is confirmed, and matching goes on by the last believed reading")
	known.Usable, known.Denied, known.Doubted = true, false, true
	c.publish(known)
	return true, nil
}

// lacking are the known positions that a reading does not have.
func lacking(known, list []Position) []Position {
	listed := make(map[string]bool, len(list))
	for _, p := range list {
		listed[p.UID] = true
	}
	return slices.DeleteFunc(slices.Clone(known), func(p Position) bool { return listed[p.UID] })
}

// isMost reports whether more than half of the known positions are missing, or of those that are
// not closed: these take candidates.
func isMost(missing, known []Position) bool {
	usable := func(ps []Position) int {
		n := 0
		for _, p := range ps {
			if p.State() != Closed {
				n++
			}
		}
		return n
	}
	return 2*len(missing) > len(known) || 2*usable(missing) > usable(known)
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

// useLastKnown matches by what is known from before while Comeet cannot be asked, or must not be.
// After a start that is what an earlier process left in the bucket.
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
