package connector

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// Health is nil while the connector can make progress, else it says in words for an operator why
// not.
func (c *Connector) Health() error {
	if why := c.phase.Load(); why != nil {
		return errors.New(*why)
	}
	if b := c.bus.Load(); b == nil || !b.Connected() {
		return errors.New("not connected to the bus")
	}
	if c.capacity.isFull() {
		return errors.New("the events stream is full: raise its max_bytes")
	}
	if err := c.capacity.unresponsive(); err != nil {
		return err
	}
	return c.blocked()
}

func (c *Connector) enter(phase string) { c.phase.Store(&phase) }

// blocked says why none of the accounts served here can make progress; nil if one can, or if none
// is served here. One account's trouble is its own: the metrics tell it.
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

// closed says in words why an account's gate lets nothing pass; empty if it does, or if there is
// none yet.
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

// served are the accounts that this replica has to serve, and what keeps each from being served.
type served struct {
	mu sync.Mutex // guards errs
	// errs has an entry for each account, empty for none.
	errs map[string]string
}

// add notes that this replica has to serve an account. What was wrong with it stays.
func (s *served) add(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errs == nil {
		s.errs = map[string]string{}
	}
	s.errs[account] += ""
}

// remove notes that this replica has not to serve an account any more.
func (s *served) remove(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.errs, account)
}

// setError notes what is wrong with an account that was added.
func (s *served) setError(account string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[account] = err.Error()
}

// clearError notes that nothing is wrong with an account any more.
func (s *served) clearError(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, added := s.errs[account]; added {
		s.errs[account] = ""
	}
}

// all returns what is wrong with each account, empty for nothing.
func (s *served) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.errs)
}
