package connector

import (
	"context"
	"errors"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// An event that waits for longer than its stream keeps it would vanish without an outcome, and one that comes back when the ledger has
// forgotten its outcome would be submitted again. So it is ended in time, as expired, whether a worker holds it or nothing may be fetched at all.

// errExpired is the cause with which a submission's waits end.
var errExpired = errors.New("the event nears its age limit")

// ageLimit is how old an event may get at all: as old as its stream keeps it, 0 being for ever, and no older than half of the time for
// which the ledger remembers outcomes. An event that came back later could find it empty and be submitted again.
func ageLimit(streamMaxAge time.Duration) time.Duration {
	const most = ledger.KeepOutcomes / 2
	if streamMaxAge == 0 {
		return most
	}
	return min(streamMaxAge, most)
}

// expiry is how old an event may get without an outcome: a tenth of its age limit, at most a day, is left for ending it.
func expiry(limit time.Duration) time.Duration { return limit - min(limit/10, 24*time.Hour) }

// expires is when an event stored at a time must have its outcome.
func (a *account) expires(stored time.Time) time.Time { return stored.Add(expiry(a.ageLimit)) }

// expire ends an event that waited for too long. What is in doubt stays in doubt, for a person.
func (s *submission) expire(last ledger.Entry) error {
	if last.Seq == 0 {
		var err error
		if last, err = s.ledger.Last(s.work, s.op); err != nil {
			return err
		}
	}
	why := &refusal{reason: events.ReasonExpired, message: "the event waited until its age limit; it was not submitted. Replay it when Comeet takes candidates again"}
	if c := last.Claimed(); c != nil && c.State != events.StateReleased && c.State != events.StateErased {
		left := s.stored.Add(s.ageLimit).Sub(s.bus.Now())
		if wait := s.untilRipe(last, c); wait > 0 && wait < left/2 && (!s.hasMade(c) || c.State == events.StateClaimed) {
			return errLater{wait, "another worker's claim is young"} // whose request may be running, or who will be back
		}
		found, err := s.noted(c)
		if err != nil {
			return err
		}
		if found != nil {
			_, done, err := s.adopt(last, c, found)
			if err == nil && !done {
				return errLater{time.Second, "another worker has this operation in hand"}
			}
			return err
		}
		why = &refusal{reason: events.ReasonInDoubt, message: "a submission got no usable answer and could not be looked up before the event's age limit; check position " + c.PositionUID + " by hand, then replay"}
	}
	if last.Erased() {
		return s.finishErased()
	}
	if last.Accepted() != nil {
		return s.finishAccepted(last)
	}
	if last.Failed() != nil && s.isMine(last) {
		return s.msg.Term(string(last.Failed().Reason))
	}
	_, done, err := s.fail(last, why)
	if err == nil && !done {
		return errLater{time.Second, "another worker has this operation in hand"}
	}
	return err
}

// endExpired looks now and then for events that nobody may fetch, since Comeet is down, denied or paused, and ends those that
// have become too old.
func (a *account) endExpired(ctx context.Context) error {
	every := min(time.Hour, (a.ageLimit-expiry(a.ageLimit))/4)
	for rest(ctx, every) {
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
