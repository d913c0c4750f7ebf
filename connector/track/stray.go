package track

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// stray is a new candidate that Comeet lists under this integration's own source and that no
// operation follows. As a rule its submission is still under way or in doubt. One that stays a
// stray came of a request that had been given up, and that was looked up, before it reached Comeet:
// nothing else knows of it.
//
// Strays live in memory alone: an operation that is erased may have one, and what is erased must
// not stay on the bus.
type stray struct {
	uid string
	// since is when a poll saw it first, by the bus's clock, and runs how many have been complete
	// since.
	since time.Time
	runs  int
}

const (
	// maxStrays bounds how many are remembered.
	maxStrays = 300
	// strayRuns is how many complete polls a stray outlives: behind an outage polls may be ahead of
	// the submissions in doubt.
	strayRuns = 3
	// ownerSearch bounds the search for the operation that a stray belongs to.
	ownerSearch = 30 * time.Second
)

// noteStray remembers a row of a poll if it is a stray. created is the poll's lower bound: what is
// older has been seen before.
func (t *Tracker) noteStray(ctx context.Context, c *comeet.Candidate, created time.Time) error {
	own, told := t.source.get(), sourceOf(c)
	if own == nil || told == nil || !sameSource(own, told) || c.Deleted || c.TimeCreated.Before(created) ||
		len(t.strays) >= maxStrays || slices.ContainsFunc(t.strays, func(s stray) bool { return s.uid == c.UID }) {
		return nil
	}
	last, err := t.lastStatus(ctx, c.UID)
	if ledger.IsUnreadable(err) {
		return nil
	}
	if err == nil && last.Seq == 0 {
		t.strays = append(t.strays, stray{uid: c.UID, since: t.cfg.Bus.Now()})
	}
	return err
}

// checkStrays ends a complete run: it forgets those that have found their operation, and reports
// and follows those that no longer can.
func (t *Tracker) checkStrays(ctx context.Context) error {
	var left []stray
	for i, s := range t.strays {
		last, err := t.lastStatus(ctx, s.uid)
		s.runs++
		switch {
		case err == nil && last.Seq != 0:
			continue
		case err == nil && (s.runs < strayRuns || t.cfg.Bus.Now().Sub(s.since) < t.cfg.StrayAfter):
			left = append(left, s)
			continue
		case err == nil:
			err = t.reportStray(ctx, s.uid)
		}
		if ledger.IsUnreadable(err) {
			continue // it has an entry
		}
		if err != nil {
			t.strays = append(left, t.strays[i:]...)
			return err
		}
	}
	t.strays = left
	return nil
}

// reportStray says that Comeet has a candidate that no operation knows. If its person is on the
// same position already, it is that operation's second one, and is followed as such.
func (t *Tracker) reportStray(ctx context.Context, uid string) error {
	r, visible, err := t.fetch(ctx, uid, comeet.Poll)
	if isOfOneCandidate(err) || err == nil && (!visible || r.candidate == nil || r.candidate.Deleted) {
		return nil // deleted, merged or hidden meanwhile
	}
	if err != nil {
		return err
	}
	c := r.candidate
	first, err := t.sameProcess(ctx, c)
	if err != nil {
		return err
	}
	if first == nil {
		t.cfg.Metrics.Overtaken()
		t.cfg.Log.Error().Str("second_candidate_uid", c.UID).Str("position_uid", c.PositionUID).
			Msg("overtaken: Comeet has a candidate of this integration that no operation follows, so a submission landed that had been given up; look for events of this position that failed as in_doubt")
		return nil
	}
	second := First{
		Operation: first.Operation, CandidateID: first.CandidateID, CandidateUID: c.UID, Sourced: first.Sourced,
		Candidate: c, Date: r.seen,
	}
	if _, _, err := t.First(ctx, second); err != nil {
		return err
	}
	t.ReportSecond(first.CandidateUID, second)
	return nil
}

// ReportSecond counts and logs that Comeet has a second candidate of an operation, which had ended
// without it: with the candidate first, or with none if that is empty.
func (t *Tracker) ReportSecond(first string, second First) {
	t.cfg.Metrics.Overtaken()
	t.cfg.Log.Error().Str("candidate_id", second.CandidateID).Str("operation", second.Operation).
		Str("position_uid", second.Candidate.PositionUID).Str("candidate_uid", first).Str("second_candidate_uid", second.CandidateUID).
		Msg("overtaken: Comeet took a submission that had been given up, after the operation had ended without it; compare the candidates at Comeet and merge or delete one")
}

// sameProcess finds the followed candidate of the same person on the same position; nil if there is
// none. It reads all statuses, since nothing leads from a person to an operation: strays are rare.
func (t *Tracker) sameProcess(ctx context.Context, c *comeet.Candidate) (*events.StatusChanged, error) {
	if c.PersonUID == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, ownerSearch, errSearchTooLong)
	defer cancel()
	var first *events.StatusChanged
	err := t.cfg.Bus.Scan(ctx, bus.ScanSpec{Stream: t.cfg.Events, Filters: []string{t.statusFilter()}}, func(m bus.Stored) error {
		e, err := ledger.Read(m)
		if err != nil {
			return nil // what this connector did not write is no candidate's
		}
		if st := e.Status(); st != nil && st.PersonUID == c.PersonUID && st.PositionUID == c.PositionUID && st.CandidateUID != c.UID {
			first = st
		}
		return nil
	})
	if errors.Is(context.Cause(ctx), errSearchTooLong) {
		err = nil
	}
	return first, err
}

var errSearchTooLong = errors.New("the search for a stray candidate's operation took too long")
