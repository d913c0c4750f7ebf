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

// watchPause is the time between two looks at whether an account gets on. Only tests change it.
var watchPause = 10 * time.Second

// stalledLooks is how many looks in a row must see events wait untouched before the account is built anew. Time alone would also
// blame the bus after this process was frozen.
const stalledLooks = 3

// errStalled means that events wait, the bus was asked for them, and still none comes.
var errStalled = errors.New("events wait, the bus is asked for them, and yet it delivers none")

// progress is what the watchdog has to know of an account's intake.
type progress struct {
	deliveries atomic.Int64
	// asking is true while the bus is asked for events. It is not while all workers are busy or the gate gives no permit, and only
	// the gate knows when it will: a budget with free slots may still owe them to the polls.
	asking atomic.Bool
}

func (p *progress) note() { p.deliveries.Add(1) }

// watch ends the account's term when it has stalled: a subscription that was lost without a word, a leader that forgot us. The
// supervisor builds it anew.
func (a *account) watch(ctx context.Context) error {
	var before int64
	for looks := 0; rest(ctx, watchPause); {
		st, err := a.consumer.State(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		a.metrics.waiting.Set(float64(st.Pending))
		a.metrics.held.Set(float64(st.AckPending))
		looks++
		delivered := a.progress.deliveries.Load()
		if delivered != before || st.Pending == 0 || st.AckPending >= maxAckPending(a.cfg.Workers) || !a.progress.asking.Load() {
			before, looks = delivered, 0
		}
		if looks == stalledLooks {
			return errStalled
		}
	}
	return nil
}

// blocked says why none of the accounts served here can make progress; nil if one can, or if none is served here. One
// account's trouble is its own: the metrics tell it.
func (c *Connector) blocked() error {
	var why []error
	for name, trouble := range c.served.all() {
		if trouble == "" {
			trouble = c.closed(name)
		}
		if trouble == "" {
			return nil
		}
		why = append(why, fmt.Errorf("account %s: %s", name, trouble))
	}
	slices.SortFunc(why, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(why...)
}

// closed says in words why an account's gate lets nothing pass; empty if it does, or is being made.
func (c *Connector) closed(account string) string {
	client, ok := c.clients.Load(account)
	if !ok {
		return ""
	}
	gate := client.(*comeet.Client).Gate()
	s := gate.State()
	switch {
	case s.Paused:
		return "paused by an operator: " + s.PauseReason
	case s.Breaker == comeet.BreakerOpen:
		return fmt.Sprintf("Comeet is not usable for %s; it is probed, and goes on by itself", s.Outage.Truncate(time.Second))
	case gate.Denied(comeet.CanSubmit):
		return "Comeet denies to create candidates; check the API key, the secret and the integration's permissions"
	}
	return ""
}

// served are the accounts that this replica has to serve and what keeps each from being served.
type served struct {
	mu sync.Mutex // guards troubles
	// troubles has an entry for each account of ours, empty for none.
	troubles map[string]string
}

// hold notes that an account is ours.
func (s *served) hold(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.troubles == nil {
		s.troubles = map[string]string{}
	}
	s.troubles[account] += ""
}

// fail notes the trouble of an account of ours.
func (s *served) fail(account string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles[account] = err.Error()
}

// mend notes that an account of ours has no trouble any more.
func (s *served) mend(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ours := s.troubles[account]; ours {
		s.troubles[account] = ""
	}
}

// leave notes that an account is not ours any more.
func (s *served) leave(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.troubles, account)
}

func (s *served) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.troubles)
}
