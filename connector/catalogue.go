package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// refreshShare of PositionsInterval is the least time between two readings that unknown positions ask for, 10 s by default: one
// refresh serves all of them.
const refreshShare = 30

// catalogue is an account's positions: read from Comeet every PositionsInterval, and written to the positions bucket where
// they changed, so that sourcing services can watch them without credentials of Comeet.
type catalogue struct {
	a      *account
	bucket *bus.Bucket
	// wanted asks for an early reading.
	wanted chan struct{}

	mu sync.Mutex // guards all below
	// known is the last reading.
	known positions
	// renewed is closed and replaced at every reading.
	renewed chan struct{}
}

type positions struct {
	list []position
	// read is when the reading began, by the bus's clock; zero for what an earlier process left in the bucket.
	read time.Time
	// usable is false until there was anything to match by.
	usable bool
	// denied means that this account may not read positions now: list is what was known before, perhaps nothing.
	denied bool
}

func newCatalogue(a *account, bucket *bus.Bucket) *catalogue {
	return &catalogue{a: a, bucket: bucket, wanted: make(chan struct{}, 1), renewed: make(chan struct{})}
}

// now is the last reading, be it usable or not.
func (c *catalogue) now() positions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// current is the last reading; it waits for the first one.
func (c *catalogue) current(ctx context.Context) (positions, error) {
	return c.await(ctx, func(p positions) bool { return p.usable })
}

// readAfter is a reading that began after t. The first to ask brings it about, the others wait for the same one.
func (c *catalogue) readAfter(ctx context.Context, t time.Time) (positions, error) {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	return c.await(ctx, func(p positions) bool { return p.usable && (p.denied || p.read.After(t)) })
}

// await waits for as long as the next reading may take; then the event goes back, so that others, whose position needs no reading, can have
// its worker.
func (c *catalogue) await(ctx context.Context, enough func(positions) bool) (positions, error) {
	late := time.NewTimer(c.a.cfg.RequestTimeout + 2*c.a.cfg.PositionsInterval/refreshShare)
	defer late.Stop()
	for {
		c.mu.Lock()
		known, renewed := c.known, c.renewed
		c.mu.Unlock()
		if enough(known) {
			return known, nil
		}
		select {
		case <-renewed:
		case <-late.C:
			return positions{}, errLater{c.a.cfg.RequestTimeout, "the positions cannot be read now"}
		case <-ctx.Done():
			return positions{}, errLater{c.a.cfg.SettleDelay, "the positions are not known yet"}
		}
	}
}

// run reads the positions until ctx ends. A reading that failed is repeated soon, then ever later: after a short trouble nobody waits long for
// the first one.
func (c *catalogue) run(ctx context.Context) error {
	pause := c.a.cfg.PositionsInterval / refreshShare
	again := pause / 16
	for {
		begun := time.Now()
		err := c.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			c.a.log.Warn().Err(err).Dur("again_in", again).Msg("could not read the positions; matching by the last known ones")
			c.settleForLess(ctx, comeet.KindOf(err) == comeet.Denied)
			if !rest(ctx, again) {
				return nil
			}
			again = min(2*again, pause)
			continue
		}
		again = pause / 16
		if !rest(ctx, pause-time.Since(begun)) {
			return nil
		}
		early := time.NewTimer(c.a.cfg.PositionsInterval - time.Since(begun))
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
func (c *catalogue) refresh(ctx context.Context) error {
	begun := c.a.bus.Now()
	key := func(p *comeet.Position) string { return p.UID }
	rows, _, err := comeet.ReadSteady(ctx, 0, key, func(ctx context.Context, page string) ([]comeet.Position, *comeet.Response, error) {
		return c.a.comeet.ListPositions(ctx, comeet.PositionQuery{Limit: pageSize, Page: page})
	})
	if err != nil {
		return err
	}
	var list []position
	for i := range rows {
		if !rows[i].IsTemplate {
			list = append(list, positionOf(&rows[i]))
		}
	}
	c.publish(positions{list: list, read: begun, usable: true})
	if err := c.store(ctx, list); err != nil && ctx.Err() == nil {
		c.a.log.Error().Err(err).Msg("could not write the positions bucket; its readers see the positions as they were")
	}
	return nil
}

func (c *catalogue) publish(p positions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = p
	close(c.renewed)
	c.renewed = make(chan struct{})
	c.a.metrics.positions(p.list)
}

func positionOf(p *comeet.Position) position {
	out := position{
		UID: p.UID, Name: p.Name, CustomID: p.CustomID, Department: p.Department, Status: p.Status,
		Published: p.IsPublished, TalentPool: p.IsTalentPool,
	}
	if p.Location != nil {
		out.Location = p.Location.Name
	}
	return out
}

// settleForLess matches by what is known from before while Comeet cannot be asked, or must not be. After a start that is
// what an earlier process left in the bucket.
func (c *catalogue) settleForLess(ctx context.Context, denied bool) {
	p := c.now()
	if !p.usable {
		stored, err := c.bucket.All(ctx, c.a.name)
		if err != nil && ctx.Err() == nil {
			c.a.log.Error().Err(err).Msg("could not read the positions bucket")
		}
		for _, raw := range stored {
			var one position
			if json.Unmarshal(raw, &one) == nil {
				p.list = append(p.list, one)
			}
		}
		p.usable = denied || len(p.list) > 0
	}
	p.denied = denied
	c.publish(p)
}

// store writes what differs from the bucket, which is read anew since another replica may have written it. A position that
// Comeet no longer shows is removed: it may be closed, deleted or no longer shared, and in each case nobody should source
// for it.
func (c *catalogue) store(ctx context.Context, list []position) error {
	gone, err := c.bucket.All(ctx, c.a.name)
	if err != nil {
		return err
	}
	for _, p := range list {
		key := c.a.name + "." + keyToken(p.UID)
		raw, err := json.Marshal(p)
		if err != nil {
			return err
		}
		same := bytes.Equal(gone[key], raw)
		delete(gone, key)
		if same {
			continue
		}
		if err := c.bucket.Put(ctx, key, raw); err != nil {
			return err
		}
	}
	for key := range gone {
		if err := c.bucket.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// keyToken writes a uid as one token of a bucket's key: letters, digits, - and _ stay, all else becomes =XX.
func keyToken(uid string) string {
	var b strings.Builder
	for i := range len(uid) {
		ch := uid[i]
		if ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || ch == '-' || ch == '_' {
			b.WriteByte(ch)
		} else {
			fmt.Fprintf(&b, "=%02X", ch)
		}
	}
	return b.String()
}
