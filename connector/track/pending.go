package track

import (
	"context"
	"fmt"
	"slices"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
)

const (
	// maxPending is how many candidates that it cannot read a poll may leave behind.
	maxPending = 300
	// goneAfter is after how many complete runs a candidate counts as deleted that a list calls so
	// and whose address Comeet has nothing at. In effect that is 16: it is read after 8 runs and
	// then after 16, see due.
	goneAfter = 10
)

// pending is a candidate that a run could not read. The cursor moves on without it, and later runs
// read it again.
type pending struct {
	UID string `json:"uid"`
	// Deleted says that a list called it deleted.
	Deleted bool `json:"deleted,omitempty"`
	// Runs is how many runs have been complete without it.
	Runs int `json:"runs"`
}

// due reports whether this run reads it: ever more rarely, since each time costs a request.
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

// observeOrLeave publishes what a reading shows. A candidate that must be read again, and that
// Comeet cannot show, is left to later runs: neither the others' changes nor the cursor wait for
// it.
func (t *Tracker) observeOrLeave(ctx context.Context, r reading, left *leftovers) error {
	if i := left.find(r.uid); i >= 0 && left.list[i].Deleted && r.candidate.Deleted {
		return nil // lists go on calling it deleted; checkPending has read it, or will when it is due
	}
	err := t.observe(ctx, r)
	if ledger.IsUnreadable(err) {
		t.reportUnreadable(err)
		return nil // it does not heal by being read again, and must not take others' places
	}
	if !isOfOneCandidate(err) {
		return err
	}
	if left.leave(pending{UID: r.uid, Deleted: r.candidate.Deleted}, err) {
		t.cfg.Log.Warn().Err(err).Msg("Comeet cannot show a candidate; later polls look at it again")
	}
	return nil
}

// checkPending reads those that earlier runs could not read, and returns who is left.
func (t *Tracker) checkPending(ctx context.Context, list []pending) (leftovers, error) {
	var left leftovers
	for _, p := range list {
		p.Runs++
		if p.due() {
			err := t.checkOne(ctx, p)
			t.reportUnreadable(err)
			if err == nil || ledger.IsUnreadable(err) {
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

func (t *Tracker) checkOne(ctx context.Context, p pending) error {
	r := reading{uid: p.UID, candidate: &comeet.Candidate{UID: p.UID, Deleted: true}, runs: p.Runs}
	if !p.Deleted {
		var visible bool
		var err error
		if r, visible, err = t.fetch(ctx, p.UID, comeet.Poll); err != nil || !visible {
			return err
		}
	}
	return t.observe(ctx, r)
}
