package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

const (
	// watchPause is the time between two looks at whether an account gets on.
	watchPause = 10 * time.Second
	// stallAfter is how long events may wait untouched although everything is open, before the account is built anew.
	stallAfter = 30 * time.Second
)

// errStalled means that events wait, nothing forbids to take them, and still none comes.
var errStalled = errors.New("events wait, a request could be sent, and yet the bus delivers none")

// progress is when something last came out of the bus for an account, as a time since the beginning of the process.
type progress struct{ last atomic.Int64 }

var processBegan = time.Now()

func (p *progress) note() { p.last.Store(int64(time.Since(processBegan))) }
func (p *progress) idle() time.Duration {
	return time.Since(processBegan) - time.Duration(p.last.Load())
}

// watch ends the account's term when it has stalled: a subscription that was lost without a word, a leader that forgot us. The
// supervisor builds it anew.
func (a *account) watch(ctx context.Context) error {
	a.progress.note()
	for rest(ctx, watchPause) {
		st, err := a.consumer.State(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		a.metrics.waiting.Set(float64(st.Pending))
		a.metrics.held.Set(float64(st.AckPending))
		if st.Pending == 0 || st.AckPending >= a.cfg.Workers || !a.mayFetch() {
			a.progress.note()
		}
		if a.progress.idle() > stallAfter {
			return errStalled
		}
	}
	return nil
}

// mayFetch reports whether nothing on Comeet's side or ours keeps events waiting.
func (a *account) mayFetch() bool {
	s := a.gate.State()
	free := s.Budget.Limit.Requests == 0 || s.Budget.Free > 0 || s.Held > 0
	return s.Breaker == comeet.BreakerClosed && !s.Paused && !a.gate.Denied(comeet.CanSubmit) && s.Budget.Hold == 0 && free && !a.room.isFull()
}

// blocked says why none of the accounts served here can make progress; nil if one can, or if none is served here. One
// account's trouble is its own: the metrics tell it.
func (c *Connector) blocked() error {
	var why []error
	for key, client := range c.clients.Range {
		s := client.(*comeet.Client).Gate().State()
		switch {
		case s.Paused:
			why = append(why, fmt.Errorf("account %s: paused by an operator: %s", key, s.PauseReason))
		case s.Breaker == comeet.BreakerOpen:
			why = append(why, fmt.Errorf("account %s: Comeet is not usable for %s; it is probed, and goes on by itself", key, s.Outage.Truncate(time.Second)))
		case client.(*comeet.Client).Gate().Denied(comeet.CanSubmit):
			why = append(why, fmt.Errorf("account %s: Comeet denies to create candidates; check the API key, the secret and the integration's permissions", key))
		default:
			return nil
		}
	}
	return errors.Join(why...)
}

// troubles is what keeps each account of this replica from being served, by name.
type troubles struct {
	mu    sync.Mutex // guards known
	known map[string]string
}

func (t *troubles) set(account string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[string]string{}
	}
	if err == nil {
		delete(t.known, account)
	} else {
		t.known[account] = err.Error()
	}
}

func (t *troubles) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) == 0 {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(t.known)) {
		lines = append(lines, fmt.Sprintf("account %s: %s", name, t.known[name]))
	}
	return errors.New(strings.Join(lines, "\n"))
}
