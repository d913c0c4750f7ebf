package connector

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// cursor is how far an account's polls have come, by Comeet's clock. It moves only after a complete run.
type cursor struct {
	// Started is when the last complete run began.
	Started time.Time `json:"started"`
	// Began is Started by the bus's clock; zero means not known. The two clocks tell when Comeet's was set back.
	Began time.Time `json:"began,omitzero"`
	// Since is from when on the next run has to look: Started, or the start of the run before it if the last one read several
	// pages. Rows that move while pages are read may be skipped, so what took several pages is read twice. If Comeet's clock was
	// set back since the run before, it is as early as that run had to look, by the clock as it is now.
	Since time.Time `json:"since"`
	// Pending are candidates that could not be read.
	Pending []pending `json:"pending,omitempty"`
	// Strays are new candidates that no operation follows yet.
	Strays []stray `json:"strays,omitempty"`
	// Source is our own, see ownSource.
	Source *events.CandidateSource `json:"source,omitempty"`
}

// setBack is by how much Comeet's clock was set back between two runs; 0 if it was not, for all that two clocks can tell.
func (c cursor) setBack(last cursor) time.Duration {
	if last.Began.IsZero() {
		return 0
	}
	if by := c.Began.Sub(last.Began) - c.Started.Sub(last.Started); by > clockJitter {
		return by
	}
	return 0
}

// clockJitter is by how much two clocks may seem to drift apart between two runs: Comeet's tells whole seconds.
const clockJitter = 3 * time.Second

// poll looks for status changes every PollInterval until ctx ends. A run that fails is told and repeated; it has published
// what it saw, which the next run sees again and finds unchanged.
func (a *account) poll(ctx context.Context) error {
	wait := time.Duration(0)
	for rest(ctx, wait) {
		if a.room.wait(ctx) != nil {
			return nil
		}
		begun := time.Now()
		err := a.pollOnce(ctx)
		wait = max(0, a.cfg.PollInterval-time.Since(begun))
		switch {
		case err == nil:
			a.metrics.pollsCompleted.Inc()
			a.metrics.lastPoll.SetToCurrentTime()
		case ctx.Err() != nil:
			return nil
		default:
			a.metrics.pollsFailed.Inc()
			wait = min(wait, max(time.Second, a.cfg.PollInterval/10))
			a.log.Warn().Err(err).Dur("again_in", wait).Msg("poll did not complete; nothing is lost, the next one reads the same span")
		}
	}
	return nil
}

// pollOnce reads what has moved since the last complete run, and what was deleted.
//
// No field of Comeet's tells when a candidate last moved, so the lower bound is when the last complete run began, by the
// clock that stamps candidates, minus an overlap for what becomes visible late. There is no upper bound: Comeet's clock
// moves on while pages are read.
func (a *account) pollOnce(ctx context.Context) error {
	last, err := recall[cursor](ctx, a, "poll")
	if err != nil {
		return err
	}
	a.ours.source(last.Source)
	after := last.Since.Add(-a.cfg.PollOverlap)
	if now := a.comeetNow(); last.Since.IsZero() || last.Since.After(now.Add(clockMargin)) {
		// No run was complete yet, or Comeet's clock has been set back since.
		if after, err = a.sinceFirstFollowed(ctx, now.Add(-a.cfg.PollOverlap)); err != nil {
			return err
		}
	}
	left, err := a.lookAtPending(ctx, last.Pending)
	if err != nil {
		return err
	}
	next := cursor{}
	if next.Strays, err = a.checkStrays(ctx, last.Strays); err != nil {
		return err
	}
	pages := comeet.ReadPages(maxPages, func(ctx context.Context, page string) ([]comeet.Candidate, *comeet.Response, error) {
		return a.comeet.ListCandidates(ctx, comeet.CandidateQuery{TimeHiringProcessUpdatedAfter: after, Limit: pageSize, Page: page})
	})
	for n := 1; pages.Next(ctx); n++ {
		if next.Started.IsZero() {
			next.Started, next.Began = askedAt(pages.Response()), a.bus.Now().Add(-time.Since(pages.Response().Sent)).UTC()
		}
		next.Since = next.Started
		if n > 1 {
			next.Since = last.Started
		}
		if by := next.setBack(last); by > 0 {
			// What happened since the last run may be stamped before this one has looked.
			next.Since = last.Since.Add(-by)
			if n == 1 {
				a.log.Warn().Dur("by", by).Msg("Comeet's clock was set back; the next poll reads the span since the last one again")
			}
		}
		for i, rows := 0, pages.Items(); i < len(rows); i++ {
			if next.Strays, err = a.noteStray(ctx, next.Strays, &rows[i], after); err != nil {
				return err
			}
			if err := a.observeOrLeave(ctx, a.sightingOf(rows[i].UID, &rows[i], pages.Response()), &left); err != nil {
				return err
			}
		}
	}
	if err := pages.Err(); err != nil {
		return err
	}
	if err := a.pollDeleted(ctx, after, &left); err != nil {
		return err
	}
	if left.overflow != nil {
		return left.overflow
	}
	a.metrics.pollUnread.Set(float64(len(left.list)))
	next.Pending, next.Source = left.list, a.ours.source(nil)
	return a.keep(ctx, "poll", next)
}

// pageSize is what is asked for per page; Comeet may give less. maxPages only ends a listing that never would.
const (
	pageSize = 500
	maxPages = 100_000
)

// pollDeleted reads which candidates were deleted.
func (a *account) pollDeleted(ctx context.Context, after time.Time, left *leftovers) error {
	pages := comeet.ReadPages(maxPages, func(ctx context.Context, page string) ([]string, *comeet.Response, error) {
		return a.comeet.ListDeletedCandidates(ctx, after, time.Time{}, page)
	})
	for pages.Next(ctx) {
		for _, uid := range pages.Items() {
			s := a.sightingOf(uid, &comeet.Candidate{UID: uid, Deleted: true}, pages.Response())
			if err := a.observeOrLeave(ctx, s, left); err != nil {
				return err
			}
		}
	}
	return pages.Err()
}

// followed covers the status events of all candidates of the account.
func (a *account) followed() string { return events.TypeStatusChanged + "." + a.name + ".*" }

// sinceFirstFollowed is where polling starts without a cursor: now, for an account that follows nobody yet; else when the
// first status was published, since what has moved in between is not known.
func (a *account) sinceFirstFollowed(ctx context.Context, now time.Time) (time.Time, error) {
	first, err := a.bus.First(ctx, a.cfg.Names.Events, a.followed())
	if errors.Is(err, bus.ErrNotFound) {
		return now, nil
	}
	if err != nil {
		return now, err
	}
	if since := first.Time.Add(-clockMargin); since.Before(now) {
		return since, nil
	}
	return now, nil
}

// recall reads what was kept under a name in the cursors bucket; the zero value if nothing was, or nothing readable.
func recall[T any](ctx context.Context, a *account, what string) (kept T, err error) {
	key := what + "." + a.name
	raw, _, err := a.cursors.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return kept, nil
	}
	if err != nil {
		return kept, err
	}
	if err := json.Unmarshal(raw, &kept); err != nil {
		a.log.Error().Str("key", key).Msg("what was kept in the cursors bucket is unreadable; starting anew, nothing is lost")
		return *new(T), nil
	}
	return kept, nil
}

// keep stores a value for recall.
func (a *account) keep(ctx context.Context, what string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return a.cursors.Put(ctx, what+"."+a.name, raw)
}
