package track

import (
	"context"
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// cursor is how far an account's polls have come, by Comeet's clock. It moves only after a complete
// run.
type cursor struct {
	// Started is when the last complete run began.
	Started time.Time `json:"started"`
	// Began is Started by the bus's clock; zero means not known. The two clocks tell when Comeet's
	// was set back.
	Began time.Time `json:"began,omitzero"`
	// Since is from when on the next run has to look: Started, or the start of the run before it if
	// the last one read several pages. Rows that move while pages are read may be skipped, so what
	// took several pages is read twice. If Comeet's clock was set back since the run before, it is
	// as early as that run had to look, by the clock as it is now.
	Since time.Time `json:"since"`
	// Pending are candidates that could not be read.
	Pending []pending `json:"pending,omitempty"`
	// Source is this integration's own, see integrationSource.
	Source *events.CandidateSource `json:"source,omitempty"`
}

// setBack is by how much Comeet's clock was set back between two runs; 0 if it was not, for all
// that two clocks can tell.
func (c cursor) setBack(last cursor) time.Duration {
	if last.Began.IsZero() {
		return 0
	}
	if by := c.Began.Sub(last.Began) - c.Started.Sub(last.Started); by > clockJitter {
		return by
	}
	return 0
}

// clockJitter is by how much two clocks may seem to drift apart between two runs: Comeet's tells
// whole seconds.
const clockJitter = 3 * time.Second

// Poll looks for status changes every PollInterval until ctx ends, and returns nil then. A run that
// fails is logged and repeated. It has published what it saw, which the next run finds unchanged.
func (t *Tracker) Poll(ctx context.Context) error {
	wait := time.Duration(0)
	for bus.Sleep(ctx, wait) {
		if t.cfg.WaitForCapacity(ctx) != nil {
			return nil
		}
		begun := time.Now()
		unread, err := t.pollOnce(ctx)
		wait = max(0, t.cfg.PollInterval-time.Since(begun))
		switch {
		case err == nil:
			t.cfg.Metrics.PollCompleted(unread)
		case ctx.Err() != nil:
			return nil
		default:
			t.cfg.Metrics.PollFailed()
			wait = min(wait, max(time.Second, t.cfg.PollInterval/10))
			t.cfg.Log.Warn().Err(err).Dur("again_in", wait).Msg("poll did not complete; nothing is lost, the next one reads the same span")
		}
	}
	return nil
}

// pollOnce reads what has moved since the last complete run, and what was deleted. It returns how
// many candidates it leaves to later runs, because Comeet cannot show them.
//
// No field of Comeet's tells when a candidate last moved, so the lower bound is when the last
// complete run began, by the clock that stamps candidates, minus an overlap for what becomes
// visible late. There is no upper bound: Comeet's clock moves on while pages are read.
func (t *Tracker) pollOnce(ctx context.Context) (unread int, err error) {
	last, err := loadState[cursor](ctx, t, "poll")
	if err != nil {
		return 0, err
	}
	t.source.learn(last.Source)
	after := last.Since.Add(-t.cfg.PollOverlap) // guard: poll-reaches-back
	if now := t.comeetNow(); last.Since.IsZero() || last.Since.After(now.Add(clockMargin)) {
		// No run was complete yet, or Comeet's clock has been set back since.
		if after, err = t.sinceFirstFollowed(ctx, now.Add(-t.cfg.PollOverlap)); err != nil {
			return 0, err
		}
	}
	next := cursor{} // guard: cursor-after-what-was-seen
	left, err := t.checkPending(ctx, last.Pending)
	if err != nil {
		return 0, err
	}
	if err := t.pollListed(ctx, after, last, &next, &left); err != nil { // guard: failed-poll-moves-no-cursor
		return 0, err
	}
	if err := t.pollDeleted(ctx, after, &left); err != nil {
		return 0, err
	}
	if left.overflow != nil {
		return 0, left.overflow
	}
	if err := t.checkStrays(ctx); err != nil {
		return 0, err
	}
	next.Pending, next.Source = left.list, t.source.get()
	return len(left.list), t.saveState(ctx, "poll", next)
}

// pollListed reads which candidates have moved, and sets when this run began.
func (t *Tracker) pollListed(ctx context.Context, after time.Time, last cursor, next *cursor, left *leftovers) error {
	pages := comeet.ReadPages(maxPages, func(ctx context.Context, page string) ([]comeet.Candidate, *comeet.Response, error) {
		return t.cfg.Comeet.ListCandidates(ctx, comeet.CandidateQuery{TimeHiringProcessUpdatedAfter: after, Limit: pageSize, Page: page})
	})
	for n := 1; pages.Next(ctx); n++ {
		if next.Started.IsZero() {
			next.Started, next.Began = askedAt(pages.Response()), t.cfg.Bus.Now().Add(-time.Since(pages.Response().Sent)).UTC()
		}
		next.Since = next.Started
		if n > 1 {
			next.Since = last.Started // guard: several-pages-are-read-twice
		}
		if by := next.setBack(last); by > 0 { // guard: clock-set-back-is-noticed
			// What happened since the last run may be stamped before this one has looked.
			next.Since = last.Since.Add(-by)
			if n == 1 {
				t.cfg.Log.Warn().Dur("by", by).Msg("Comeet's clock was set back; the next poll reads the span since the last one again")
			}
		}
		for i, rows := 0, pages.Items(); i < len(rows); i++ {
			if err := t.noteStray(ctx, &rows[i], after); err != nil {
				return err
			}
			if err := t.observeOrLeave(ctx, t.readingOf(rows[i].UID, &rows[i], pages.Response()), left); err != nil {
				return err
			}
		}
	}
	return pages.Err()
}

// pollDeleted reads which candidates were deleted.
func (t *Tracker) pollDeleted(ctx context.Context, after time.Time, left *leftovers) error {
	pages := comeet.ReadPages(maxPages, func(ctx context.Context, page string) ([]string, *comeet.Response, error) {
		return t.cfg.Comeet.ListDeletedCandidates(ctx, after, time.Time{}, page)
	})
	for pages.Next(ctx) {
		for _, uid := range pages.Items() {
			r := t.readingOf(uid, &comeet.Candidate{UID: uid, Deleted: true}, pages.Response())
			if err := t.observeOrLeave(ctx, r, left); err != nil {
				return err
			}
		}
	}
	return pages.Err()
}

// sinceFirstFollowed is where polling starts without a cursor: now, for an account that follows
// nobody yet; else when the first status was published, since what has moved in between is not
// known.
func (t *Tracker) sinceFirstFollowed(ctx context.Context, now time.Time) (time.Time, error) {
	first, err := t.cfg.Bus.First(ctx, t.cfg.Events, t.statusFilter())
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
