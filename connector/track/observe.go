package track

import (
	"context"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// reading is what Comeet showed of one candidate, once.
type reading struct {
	uid string
	// candidate is what Comeet showed; nil if it said that the candidate was merged into another.
	candidate *comeet.Candidate
	// seen is when Comeet showed it, by Comeet's clock, in whole seconds.
	seen time.Time
	// asked is when Comeet was asked for it, by Comeet's clock, in whole seconds and never too
	// late: what was shown is no older. Zero means not known.
	asked time.Time
	// sent is the same by this host's clock. Zero means not known: it is too old to be published.
	sent time.Time
	// after is the last entry that was known before Comeet was asked, so that the reading is surely
	// newer; 0 if the reading may be older than what is published by now.
	after uint64
	// runs is how many complete polls could not read the candidate.
	runs int
}

func (t *Tracker) readingOf(uid string, c *comeet.Candidate, r *comeet.Response) reading {
	return reading{uid: uid, candidate: c, seen: t.seenAt(r.Date), asked: askedAt(r), sent: r.Sent}
}

// seenAt is Comeet's time of an answer, or the best guess at it.
func (t *Tracker) seenAt(date time.Time) time.Time {
	if date.IsZero() {
		return t.comeetNow()
	}
	return date.UTC().Truncate(time.Second)
}

// askedAt is when a request was sent, by Comeet's clock and never too late. If Comeet does not tell
// its time, it is by this host's clock, less a margin for how wrong that may be. The Date of an
// answer itself is too late: the answer may have been ready long before.
func askedAt(r *comeet.Response) time.Time {
	if r.Date.IsZero() {
		return r.Sent.Add(-clockMargin).UTC().Truncate(time.Second)
	}
	return r.Date.Add(-r.Answered.Sub(r.Sent)).UTC().Truncate(time.Second) // guard: polls-go-by-comeets-clock
}

// isNewerThan reports whether a reading is surely newer than the last entry, whose status known is.
// Comeet's own clock tells, to the second; else the reading must have been asked for after the
// entry was read. Only the latter counts for a deletion: a list calls a candidate deleted that was
// merged, which only the candidate's own address tells.
func (r *reading) isNewerThan(last ledger.Entry, known, next *events.StatusChanged) bool {
	if r.after == last.Seq {
		return true
	}
	deletion := next.Deleted && !known.Deleted      // guard: deletion-may-be-a-merge
	return !deletion && r.asked.After(known.SeenAt) // guard: old-status-is-read-again
}

// maxLate is how many readings of one candidate in a row may be too old to be published.
const maxLate = 5

// freshness is how old a reading may be when it is published.
func (t *Tracker) freshness() time.Duration {
	return max(t.cfg.PollOverlap/2, 100*time.Millisecond)
}

// isLate reports whether a reading is too old to be published. The wall clock is asked too, since
// the monotonic one stands still while a virtual machine is suspended.
func (t *Tracker) isLate(r *reading) bool {
	return time.Since(r.sent) > t.freshness() || time.Now().Round(0).Sub(r.sent.Round(0)) > t.freshness()
}

// Observe publishes what a candidate is by what Comeet showed of it, unless that is known already.
// date is Comeet's time of that answer, zero if it told none. Comeet is asked again first. Errors:
// Comeet's, the bus's, the context's.
func (t *Tracker) Observe(ctx context.Context, uid string, c *comeet.Candidate, date time.Time) error {
	return t.observe(ctx, reading{uid: uid, candidate: c, seen: t.seenAt(date)})
}

// observe publishes what a reading shows and the last status event does not. A reading that must
// not be published, because it may be older than what is known by now, is fetched again.
//
// Why nothing may be published late: suppose this process is frozen, or without the bus, after it
// has read B. Meanwhile the candidate returns to A, and another replica reads that, finds nothing
// new and moves the cursor on. If this one published B then, nobody would correct it. Within half
// of PollOverlap it may: every replica's next run reaches back further, and sees what came after B.
func (t *Tracker) observe(ctx context.Context, r reading) error {
	for late := 0; late <= maxLate; {
		old, err := t.publish(ctx, &r)
		if err != nil || old == nil {
			return err
		}
		if old.isLate {
			late++
		}
		again, visible, err := t.refetch(ctx, r, old.memory)
		if err != nil || !visible {
			return err
		}
		r = again
	}
	return fmt.Errorf("publish the status of candidate_uid %s: what Comeet showed was older than %v each time, POLL_OVERLAP / 2; Comeet or the bus is slow", r.uid, t.freshness())
}

// outdated is why a reading must be fetched again.
type outdated struct {
	// isLate says that it is too old to be published; else it may be older than the last entry.
	isLate bool
	// memory is the last entry that was read, so that the next reading is surely newer; 0 if it
	// need not be.
	memory uint64
}

// publish compares a reading with the last status event, writes what differs over it, and starts
// again if another replica was first. It returns nil when all is published, else why r must be
// fetched again.
//
// A candidate without a status is not this connector's, or not yet: the submission writes the first
// one. A merged one has ended, whatever lists still show.
func (t *Tracker) publish(ctx context.Context, r *reading) (*outdated, error) {
	for {
		last, err := t.lastStatus(ctx, r.uid)
		if err != nil {
			return nil, err
		}
		known := last.Status()
		if known == nil || known.Merged { // guard: merged-candidate-has-ended
			return nil, nil
		}
		if r.candidate != nil && comeet.IsRealID(r.uid) && r.candidate.UID != r.uid {
			if err := t.followByUID(ctx, r, last); err != nil {
				return nil, err
			}
			r.candidate = nil // the number ends here, as if it was merged
		}
		t.source.learn(t.firstTold(known, *r))
		next := statusOver(known, *r, t.source.get())
		switch {
		case next == nil:
			return nil, nil
		case t.isLate(r):
			return &outdated{isLate: true, memory: last.Seq}, nil
		case !r.isNewerThan(last, known, next):
			return &outdated{memory: last.Seq}, nil
		}
		switch result, err := t.write(ctx, r, last, next); {
		case err != nil || result == stored:
			return nil, err
		case result == storedLate:
			// What Comeet shows from now on is published over it.
			return &outdated{isLate: true}, nil
		}
	}
}

// written is what became of a write.
type written int

const (
	// stored means that the event is published.
	stored written = iota
	// conflicted means that another entry stood in the way.
	conflicted
	// storedLate means that the event was published late, or may be, for all that is known.
	storedLate
)

// write publishes a status event over the last one. It has to be over while the reading is fresh.
func (t *Tracker) write(ctx context.Context, r *reading, last ledger.Entry, next *events.StatusChanged) (written, error) {
	fresh, cancel := context.WithDeadline(ctx, r.sent.Add(t.freshness())) // guard: status-written-while-fresh
	defer cancel()
	_, won, err := t.put(fresh, next, last.Seq, last.Event.Extensions())
	expired := err != nil && fresh.Err() != nil && ctx.Err() == nil
	if err != nil && !expired {
		return 0, fmt.Errorf("publish the status of candidate_uid %s: %w", r.uid, err)
	}
	if won {
		t.cfg.Metrics.StatusPublished()
		t.cfg.Log.Info().Str("candidate_id", next.CandidateID).Str("candidate_uid", r.uid).Str("status", next.Status).
			Interface("changed", next.Changed).Msg("candidate status changed")
	}
	switch {
	case expired, won && t.isLate(r):
		return storedLate, nil
	case won:
		return stored, nil
	}
	return conflicted, nil
}

// followByUID follows a candidate by its uid from now on. last is its entry under the number that
// Comeet's conflict answer gave, which lists do not show. What became of the candidate before is
// not published yet, hence the second reading.
func (t *Tracker) followByUID(ctx context.Context, r *reading, last ledger.Entry) error {
	known, uid := last.Status(), r.candidate.UID
	_, won, err := t.First(ctx, First{
		Operation: known.Operation, CandidateID: known.CandidateID, Sourced: known.Sourced, CandidateUID: uid,
		Known: known.State, Candidate: r.candidate, Date: r.seen, Trace: last.Event.Extensions(),
	})
	if err != nil {
		return err
	}
	if won {
		t.cfg.Metrics.StatusPublished()
		t.cfg.Log.Info().Str("candidate_id", known.CandidateID).Str("candidate_uid", uid).Str("known_as", known.CandidateUID).
			Msg("candidate is followed by its uid, no longer by its number")
	}
	again, visible, err := t.fetch(ctx, uid, comeet.Poll)
	if err != nil || !visible {
		return err
	}
	return t.observe(ctx, again)
}

// refetch reads a candidate again after memory was the last entry. visible is false if Comeet hides
// it, which changes nothing, unless a list has called it deleted: Comeet may answer "not found" for
// a deleted candidate. A page that says nothing counts only when it has done so for long.
func (t *Tracker) refetch(ctx context.Context, r reading, memory uint64) (again reading, visible bool, err error) {
	again, visible, err = t.fetch(ctx, r.uid, comeet.Poll)
	listedDeleted := r.candidate != nil && r.candidate.Deleted
	if listedDeleted && (err == nil && !visible || comeet.KindOf(err) == comeet.Gone && r.runs >= goneAfter) {
		again.candidate, visible, err = r.candidate, true, nil
	}
	again.after, again.runs = memory, r.runs
	return again, visible, err
}

// fetch reads one candidate as it is now. visible is false if Comeet hides it from this account. A
// uid of digits only is Comeet's other kind of id; what is shown then has another uid.
func (t *Tracker) fetch(ctx context.Context, uid string, p comeet.Priority) (r reading, visible bool, err error) {
	opts := []comeet.CallOption{comeet.WithPriority(p)}
	if comeet.IsRealID(uid) {
		opts = append(opts, comeet.ByRealID())
	}
	c, answer, err := t.cfg.Comeet.RetrieveCandidate(ctx, uid, opts...)
	switch kind := comeet.KindOf(err); {
	case err == nil:
		return t.readingOf(uid, c, answer), true, nil
	case kind == comeet.Merged:
		return t.readingOf(uid, nil, answer), true, nil
	case kind == comeet.NotFound, kind == comeet.Hidden:
		return t.readingOf(uid, nil, answer), false, nil
	}
	if answer != nil {
		r = t.readingOf(uid, nil, answer)
	}
	return r, false, fmt.Errorf("read candidate_uid %s: %w", uid, err)
}

// isOfOneCandidate reports whether reading a candidate, or what was published of it, failed in a
// way that may be that candidate's own.
func isOfOneCandidate(err error) bool {
	if ledger.IsUnreadable(err) {
		return true
	}
	switch comeet.KindOf(err) {
	case comeet.Unavailable, comeet.Invalid, comeet.NoPosition, comeet.Gone, comeet.Denied:
		return true
	}
	return false
}
