package connector

import (
	"context"
	"fmt"
	"slices"

	"github.com/comeet-connector/comeet-connector/comeet"
)

const (
	// maxPending is how many candidates that it cannot read a poll may leave behind.
	maxPending = 300
	// goneAfter is after how many complete runs a candidate counts as deleted that a list calls so and whose address Comeet has
	// nothing at.
	goneAfter = 10
)

// pending is a candidate that a run could not read. The cursor moves on without it, and later runs look at it.
type pending struct {
	UID string `json:"uid"`
	// Deleted says that a list called it deleted.
	Deleted bool `json:"deleted,omitempty"`
	// Runs is how many runs have been complete without it.
	Runs int `json:"runs"`
}

// due reports whether this run looks at it: ever more rarely, since each look costs a request.
func (p pending) due() bool { return p.Runs&(p.Runs-1) == 0 || p.Runs%64 == 0 }

// leftovers are what a run leaves to later ones.
type leftovers struct {
	list []pending
	// overflow is why the run cannot be complete after all: there are too many.
	overflow error
}

func (l *leftovers) find(uid string) int {
	return slices.IndexFunc(l.list, func(p pending) bool { return p.UID == uid })
}

func (l *leftovers) leave(p pending, why error) (isNew bool) {
	i := l.find(p.UID)
	switch {
	case i >= 0:
		l.list[i].Deleted = l.list[i].Deleted || p.Deleted
		return false
	case len(l.list) >= maxPending:
		l.overflow = fmt.Errorf("%d candidates cannot be read, and one more: %w", maxPending, why)
		return false
	}
	l.list = append(l.list, p)
	return true
}

// observeOrLeave publishes what a look shows. A candidate that must be read anew and that Comeet cannot show is left to later
// runs: neither the others' changes nor the cursor wait for it.
func (a *account) observeOrLeave(ctx context.Context, s sighting, left *leftovers) error {
	if i := left.find(s.uid); i >= 0 && left.list[i].Deleted && s.candidate.Deleted {
		return nil // lists go on calling it deleted; its next look has its turn
	}
	err := a.observe(ctx, s)
	if !isOfOneCandidate(err) {
		return err
	}
	if left.leave(pending{UID: s.uid, Deleted: s.candidate.Deleted}, err) {
		a.log.Warn().Err(err).Msg("Comeet cannot show a candidate; later polls look at it again")
	}
	return nil
}

// lookAtPending looks at those whom earlier runs could not read, and returns who is left.
func (a *account) lookAtPending(ctx context.Context, list []pending) (leftovers, error) {
	var left leftovers
	for _, p := range list {
		p.Runs++
		if p.due() {
			err := a.lookAtOne(ctx, p)
			if err == nil {
				continue
			}
			if !isOfOneCandidate(err) {
				return left, err
			}
		}
		left.list = append(left.list, p)
	}
	return left, nil
}

func (a *account) lookAtOne(ctx context.Context, p pending) error {
	s := sighting{uid: p.UID, candidate: &comeet.Candidate{UID: p.UID, Deleted: true}, runs: p.Runs}
	if !p.Deleted {
		var shown bool
		var err error
		if s, shown, err = a.look(ctx, p.UID, comeet.Poll); err != nil || !shown {
			return err
		}
	}
	return a.observe(ctx, s)
}

// isOfOneCandidate reports whether a look at a candidate failed in a way that may be that candidate's own.
func isOfOneCandidate(err error) bool {
	switch comeet.KindOf(err) {
	case comeet.Unavailable, comeet.Invalid, comeet.NoPosition, comeet.Gone, comeet.Denied:
		return true
	}
	return false
}
