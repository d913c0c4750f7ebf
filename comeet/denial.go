package comeet

import "time"

// capability is what the gate knows about one right of an account. A denial stops the requests that
// need this right, and no others. After a while one real request tries again, because nothing else
// tells when an operator has granted the right.
type capability struct {
	denied  bool
	status  int
	code    string
	denials uint64 // how often it was denied; permits from before are void
	// backoff is the wait after a failed trial, nextTrial the time of the next one, trial the
	// permit that tries it.
	backoff   time.Duration
	nextTrial time.Duration
	trial     *Permit

	interrupted chan struct{} // nil until Interrupted is called
}

func (c *capability) passes(now time.Duration) bool {
	return !c.denied || now >= c.nextTrial && c.trial == nil
}

// interrupt notifies the callers that hold permits.
func (c *capability) interrupt() {
	if c.interrupted != nil {
		close(c.interrupted)
		c.interrupted = nil
	}
}

// reportToCapability records what an answer says about a right. Only the right's trial can lengthen
// a denial, and only that trial or the breaker's probe can end it. Other answers belong to requests
// that were in flight when the denial came.
func (g *Gate) reportToCapability(p *Permit, r report, now time.Duration) {
	op := r.op
	if op == 0 {
		op = p.capability
	}
	c := &g.capabilities[op]
	trial := c.trial == p
	g.forgetTrial(p)
	switch r.kind {
	case Denied:
		if c.denied && !trial {
			return
		}
		if c.denied {
			c.backoff = min(2*c.backoff, g.cfg.DeniedMax)
		} else {
			c.denied, c.backoff = true, g.cfg.DeniedMin
		}
		c.status, c.code = r.status, r.code
		c.nextTrial = now + c.backoff
		c.denials++
		c.interrupt()
		g.changed = true
	case Unavailable, InDoubt, Throttled, Canceled, Hidden, Gone:
		// The answer says nothing about rights, so the next request tries.
	default:
		if c.denied && (trial || p.probe) {
			c.denied = false
			g.changed = true
		}
	}
}

// closedChannel is what Interrupted returns while nothing is admitted.
var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Interrupted returns a channel that is closed when permits for the capability become void. That
// happens when the breaker opens, Comeet denies the capability, an operator pauses, or a trial is
// held for too long while others wait. Call it while you hold the permit. The channel is closed
// from the start if the permits are void already. Once requests are admitted again, the next call
// returns a new channel.
func (g *Gate) Interrupted(c Capability) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := &g.capabilities[c]
	if g.operator.paused || g.breaker.phase == BreakerOpen || k.denied && k.trial == nil {
		return closedChannel
	}
	if k.interrupted == nil {
		k.interrupted = make(chan struct{})
	}
	return k.interrupted
}

// Denied reports whether Comeet denied the account this capability when it last answered about it.
func (g *Gate) Denied(c Capability) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.capabilities[c].denied
}

// Pause admits nothing until Resume. Callers that wait go on waiting, and requests in flight are
// not touched. The reason is shown in State; a second Pause changes it.
func (g *Gate) Pause(reason string) {
	g.mu.Lock()
	now := g.now()
	g.operator.paused, g.operator.reason = true, reason
	for c := range g.capabilities {
		g.capabilities[c].interrupt()
	}
	g.changed = true
	g.unlock(now)
}

// Resume ends a Pause. It does nothing if there is none.
func (g *Gate) Resume() {
	g.mu.Lock()
	now := g.now()
	if g.operator.paused {
		g.operator.paused, g.operator.reason = false, ""
		g.changed = true
	}
	g.unlock(now)
}
