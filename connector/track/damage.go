package track

import (
	"context"
	"errors"
	"sync"

	"github.com/comeet-connector/comeet-connector/connector/ledger"
)

// damage remembers which unreadable entries were reported, so that each is reported once.
type damage struct {
	mu       sync.Mutex // guards reported
	reported map[uint64]bool
}

// maxReported bounds what is remembered; beyond it entries are reported again.
const maxReported = 10_000

func (d *damage) isNew(seq uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reported[seq] {
		return false
	}
	if d.reported == nil || len(d.reported) >= maxReported {
		d.reported = map[uint64]bool{}
	}
	d.reported[seq] = true
	return true
}

// lastStatus is the candidate's last status. One that cannot be read is reported, and the last
// readable one before it counts.
func (t *Tracker) lastStatus(ctx context.Context, uid string) (ledger.Entry, error) {
	last, err := t.cfg.Ledger.LastStatus(ctx, t.cfg.Account, uid)
	if last.Unreadable != nil {
		t.reportUnreadable(last.Unreadable)
	}
	t.reportUnreadable(err)
	return last, err
}

// reportUnreadable counts and logs an entry that cannot be read, if err is about one. It is one
// candidate's trouble: all others go on.
func (t *Tracker) reportUnreadable(err error) {
	if bad, ok := errors.AsType[*ledger.UnreadableError](err); ok && t.damage.isNew(bad.Seq) {
		t.cfg.Metrics.EntryUnreadable()
		t.cfg.Log.Error().Err(err).Uint64("seq", bad.Seq).Str("subject", bad.Subject).
			Msg("an entry of a candidate's status cannot be read; the last readable one before it counts, and all other candidates go on")
	}
}
