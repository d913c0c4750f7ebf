package track

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	// sweepPause is the longest pause between two requests of a pass: what a pass remembers dies
	// with its process, so it has to be over in hours.
	sweepPause = 10 * time.Second
	// sweepTries is how often a pass asks for the same thing before it gives up and begins anew.
	sweepTries = 3
)

// swept is what is kept of the passes.
type swept struct {
	// Began is when the last complete pass began, by the bus's clock.
	Began time.Time `json:"began"`
	// Requests is how many it took; the next one paces itself by them.
	Requests int `json:"requests"`
}

// Sweep re-reads every followed candidate now and then, for what polls cannot see: changes that
// Comeet does not count as activity (a source that becomes visible, a merge that no list tells of),
// and rows that were skipped while pages moved.
//
// Bound: every followed candidate that Comeet can show is read at least once within SweepInterval.
// Passes begin SweepInterval / 2 apart and pace themselves to be over in half of that, by what the
// last one took. They use the spare budget alone, so a pass takes longer while Comeet is down or
// the budget is used up, and the bound is the later by that. A crash leaves when the last complete
// pass began; the pass under way begins again.
//
// One thing stays unseen: a merged candidate that Comeet goes on listing as it was.
//
// Sweep returns nil when ctx ends.
func (t *Tracker) Sweep(ctx context.Context) error {
	for {
		wait, err := t.sweepIfDue(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			wait = min(t.cfg.SweepInterval/10, 10*time.Minute)
			t.cfg.Metrics.SweepFailed()
			t.cfg.Log.Warn().Err(err).Dur("again_in", wait).Msg("sweep did not complete; it begins anew")
		}
		if !bus.Sleep(ctx, wait) {
			return nil
		}
	}
}

// sweepIfDue makes a pass if it is time, and returns the time until the next one.
func (t *Tracker) sweepIfDue(ctx context.Context) (time.Duration, error) {
	last, err := loadState[swept](ctx, t, "sweep")
	if err != nil {
		return 0, err
	}
	now := t.cfg.Bus.Now().UTC()
	if last.Began.IsZero() {
		// Whoever is followed by now was read by a submission or is about to be by the first poll.
		last.Began = now
		if err := t.saveState(ctx, "sweep", last); err != nil {
			return 0, err
		}
	}
	if wait := last.Began.Add(t.cfg.SweepInterval / 2).Sub(now); wait > 0 {
		return min(wait, t.cfg.SweepInterval/2), nil
	}
	if err := t.cfg.WaitForCapacity(ctx); err != nil {
		return 0, err
	}
	now = t.cfg.Bus.Now().UTC()
	p := &pass{Tracker: t, began: now, pause: min(sweepPause, t.cfg.SweepInterval/4/time.Duration(max(last.Requests, 500)))}
	if err := p.run(ctx); err != nil {
		return 0, err
	}
	if err := t.saveState(ctx, "sweep", swept{Began: now, Requests: p.requests}); err != nil {
		return 0, err
	}
	t.cfg.Metrics.SweepCompleted(p.unread)
	if p.unread > 0 {
		t.cfg.Log.Warn().Int("unread", p.unread).Str("candidate_uid", p.example).Msg("the sweep could not read some followed candidates; the next pass tries again")
	}
	t.cfg.Log.Info().Int("requests", p.requests).Dur("took", t.cfg.Bus.Now().Sub(now)).Msg("sweep completed")
	return max(0, now.Add(t.cfg.SweepInterval/2).Sub(t.cfg.Bus.Now())), nil
}

// pass is one time through everything.
type pass struct {
	*Tracker
	began    time.Time
	pause    time.Duration
	requests int
	// listed holds a hash of the uid of each candidate that the listing showed: 8 bytes each, for
	// an account may have a million. A uid that hashes like another one's has its turn in the next
	// pass, under another seed.
	listed []uint64
	seed   maphash.Seed
	// skipped are candidates that could not be read and are read again at the end of the pass; at
	// most maxSkipped.
	skipped []string
	// unread is how many the pass could not read, example one of them.
	unread  int
	example string
}

// maxSkipped bounds what a pass remembers of candidates that it could not read.
const maxSkipped = 1000

func (p *pass) run(ctx context.Context) error {
	_, err := p.cfg.Bus.First(ctx, p.cfg.Events, p.statusFilter())
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.seed = maphash.MakeSeed()
	if err := p.list(ctx); err != nil {
		return err
	}
	if err := p.checkUnlisted(ctx); err != nil { // guard: sweep-reads-the-unlisted
		return err
	}
	return p.retrySkipped(ctx)
}

// list reads all pages of all candidates.
func (p *pass) list(ctx context.Context) error {
	pages := comeet.ReadPages(maxPages, func(ctx context.Context, page string) (rows []comeet.Candidate, answer *comeet.Response, err error) {
		err = p.ask(ctx, func() error {
			rows, answer, err = p.cfg.Comeet.ListCandidates(ctx, comeet.CandidateQuery{Limit: pageSize, Page: page}, comeet.WithPriority(comeet.Sweep))
			return err
		})
		return rows, answer, err
	})
	for pages.Next(ctx) {
		for i, rows := 0, pages.Items(); i < len(rows); i++ {
			err := p.observe(ctx, p.readingOf(rows[i].UID, &rows[i], pages.Response()))
			if isOfOneCandidate(err) {
				continue // it counts as not listed
			}
			if err != nil {
				return err
			}
			p.listed = append(p.listed, maphash.String(p.seed, rows[i].UID))
		}
	}
	slices.Sort(p.listed)
	p.listed = slices.Compact(p.listed)
	return pages.Err()
}

// checkUnlisted reads one by one the followed candidates that the listing did not show. It walks
// through the status events that were there when the pass began: what was published since has been
// seen since.
func (p *pass) checkUnlisted(ctx context.Context) error {
	for from := uint64(1); ; {
		m, err := p.cfg.Bus.Next(ctx, p.cfg.Events, p.statusFilter(), from)
		if errors.Is(err, bus.ErrNotFound) || err == nil && m.Time.After(p.began) {
			return nil
		}
		if err != nil {
			return err
		}
		from = m.Seq + 1
		uid, ok := events.UIDOfSubject(m.Subject)
		if _, listed := slices.BinarySearch(p.listed, maphash.String(p.seed, uid)); !ok || listed {
			continue
		}
		err = p.check(ctx, uid, m.Seq)
		switch {
		case isOfOneCandidate(err) && len(p.skipped) < maxSkipped:
			p.skipped = append(p.skipped, uid)
		case isOfOneCandidate(err):
			p.missed(uid)
		case err != nil:
			return err
		}
	}
}

// retrySkipped reads those again that Comeet could not show: it may have been in trouble just then.
// One that it still cannot show must not keep the pass from its end, for the sake of all others.
func (p *pass) retrySkipped(ctx context.Context) error {
	for _, uid := range p.skipped {
		err := p.check(ctx, uid, 0)
		if isOfOneCandidate(err) {
			p.missed(uid)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) missed(uid string) {
	p.unread++
	p.example = uid
}

// check reads one followed candidate, unless it has ended. Of several entries, only the last one is
// of interest; entry is the one that led here, or 0.
func (p *pass) check(ctx context.Context, uid string, entry uint64) error {
	last, err := p.lastStatus(ctx, uid)
	if err != nil {
		return err
	}
	if st := last.Status(); entry != 0 && last.Seq != entry || st == nil || st.Deleted || st.Merged {
		return nil
	}
	var r reading
	var visible bool
	err = p.ask(ctx, func() (err error) {
		r, visible, err = p.fetch(ctx, uid, comeet.Sweep)
		return err
	})
	if err != nil || !visible {
		return err
	}
	r.after = last.Seq
	return p.observe(ctx, r)
}

// ask makes a request, and again if Comeet gave no usable answer, each after the pass's pause.
func (p *pass) ask(ctx context.Context, request func() error) error {
	for try := 1; ; try++ {
		if !bus.Sleep(ctx, p.pause) {
			return ctx.Err()
		}
		p.requests++
		err := request()
		if kind := comeet.KindOf(err); try == sweepTries || kind != comeet.Unavailable && kind != comeet.Throttled {
			return err
		}
	}
}
