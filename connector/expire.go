package connector

import (
	"context"
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// An event that waits for longer than its stream keeps it would vanish without an outcome, and one
// that comes back when the ledger has forgotten its outcome would be submitted again. So it is
// ended in time, as expired, whether a worker holds it or nothing may be fetched at all.

// errExpired is the cause with which a submission's waits end.
var errExpired = errors.New("the event nears its age limit")

// ageLimit is how old an event may get at all: as old as its stream keeps it, 0 being for ever, and
// no older than half of the time for which the ledger remembers outcomes. An event that came back
// later could find it empty and be submitted again.
func ageLimit(streamMaxAge time.Duration) time.Duration {
	const most = ledger.KeepOutcomes / 2
	if streamMaxAge == 0 {
		return most
	}
	return min(streamMaxAge, most)
}

// expiry is how old an event may get without an outcome: a tenth of its age limit, at most a day,
// is left for ending it.
func expiry(limit time.Duration) time.Duration { return limit - min(limit/10, 24*time.Hour) }

// expires is when an event stored at a time must have its outcome.
func (a *account) expires(stored time.Time) time.Time { return stored.Add(expiry(a.ageLimit)) }

// expire ends an event that waited for too long. What is in doubt stays in doubt, for a person.
func (s *submission) expire(at state) (state, bool, error) {
	if at.last.Seq == 0 {
		known, err := s.ledger.Last(s.work, s.Op)
		if err != nil || known.Seq != 0 {
			return at.after(known), false, err
		}
	}
	why := &refusal{
		reason:  events.ReasonExpired,
		message: "the event waited until its age limit; it was not submitted. Replay it when Comeet takes candidates again",
	}
	if c := at.last.Claimed(); c != nil && c.State != events.StateReleased {
		left := s.stored.Add(s.ageLimit).Sub(s.bus.Now())
		wait := s.settlingWait(at.last, c)
		if wait > 0 && wait < left/2 && (!s.isClaimant(c) || c.State == events.StateClaimed) {
			// Its request may be on its way, or the event that it is for will be back.
			return at, false, retryLaterError{wait, "another worker's claim is young"}
		}
		found, err := s.noted(c)
		if err != nil {
			return at, false, err
		}
		if found != nil {
			return s.adopt(at, c, *found)
		}
		why = &refusal{
			reason: events.ReasonInDoubt,
			message: "a submission got no usable answer and could not be looked up before the event's age limit; check position " +
				c.PositionUID + " by hand, then replay",
		}
	}
	return s.fail(at, why)
}

// endExpired looks now and then for events that nobody may fetch, since Comeet is down, denied or
// paused, and ends those that have become too old.
func (a *account) endExpired(ctx context.Context) error {
	every := min(time.Hour, (a.ageLimit-expiry(a.ageLimit))/4)
	for bus.Sleep(ctx, every) {
		for {
			oldest, err := a.consumer.Oldest(ctx)
			if errors.Is(err, bus.ErrNotFound) || ctx.Err() != nil {
				break
			}
			if err != nil {
				a.log.Error().Err(err).Msg("could not look for events that near their age limit")
				break
			}
			if a.bus.Now().Before(a.expires(oldest)) {
				break
			}
			fetched := false
			pull, cancel := context.WithTimeout(ctx, 5*time.Second)
			err = a.consumer.Fetch(pull, 1, func(m *bus.Msg) {
				fetched = true
				a.handle(ctx, m, nil)
			})
			cancel()
			if err != nil && ctx.Err() == nil && pull.Err() == nil {
				return err
			}
			if !fetched {
				break
			}
		}
	}
	return nil
}
