package comeet

import "time"

// capability is what the gate knows of one of an account's rights. A denial rests it alone: one real request tries it again
// after a while, since nothing else tells when an operator has repaired it.
type capability struct {
	denied  bool
	status  int
	code    string
	denials uint64 // how often it was denied: permits given before are void
	// backoff is how long it rests after a failed trial, nextTrial when it may be tried, trial who tries it.
	backoff   time.Duration
	nextTrial time.Duration
	trial     *Permit

	interrupted chan struct{} // nil while nobody has asked
}

func (c *capability) passes(now time.Duration) bool {
	return !c.denied || now >= c.nextTrial && c.trial == nil
}

// interrupt tells those who hold permits.
func (c *capability) interrupt() {
	if c.interrupted != nil {
		close(c.interrupted)
		c.interrupted = nil
	}
}

// reportToCapability notes what an answer says of a right. Only its trial can lengthen a denial, and only that and the
// breaker's probe can end it: other answers belong to requests that were on their way when the denial came.
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
		// Says nothing about rights; the next one tries.
	default:
		if c.denied && (trial || p.probe) {
			c.denied = false
			g.changed = true
		}
	}
}

// closedChannel is what Interrupted returns while nothing is admitted anyway.
var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Interrupted returns a channel that is closed when permits for the capability become void: the breaker opens, Comeet denies
// the capability, an operator pauses, or a trial is held for too long while others wait. Ask for it while holding the permit:
// it is closed from the start if that is so already, and the next one is a fresh one when requests are admitted again.
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

// Denied reports whether Comeet denies the account this capability, as far as is known.
func (g *Gate) Denied(c Capability) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.capabilities[c].denied
}

// Pause admits nothing until Resume, for the reason given; whoever waits goes on waiting. Requests on their way are not
// touched. Pausing again changes the reason.
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
