package comeet

import (
	"context"
	"slices"
	"sync"
	"time"
)

// GateConfig holds the settings of a [Gate]. The zero value is useful.
type GateConfig struct {
	// Limit is the request budget. Zero Requests means no limit; [DefaultLimit] is what Comeet
	// documents.
	Limit Limit
	// Reserved is the share of polls in Limit.Requests; see [Limit]. Defaults to a tenth, but at
	// least 1. Both classes keep at least 1, unless Limit.Requests is 1.
	Reserved int
	// RequestTimeout is how long a request takes at most; set it to the client's timeout. A trial
	// that has not ended by then counts as lost. Any request counts as lost after ten times as
	// long. Defaults to [DefaultTimeout].
	RequestTimeout time.Duration
	// HoldBack is how long a request that got no usable answer may still be under way after its end:
	// in the network, in a server that is busy, or held back by a forward proxy. It counts as sent
	// when that time is over. Defaults to none.
	HoldBack time.Duration
	// ProbeTimeout bounds one probe. It also bounds how long a caller may hold the trial after it
	// unused while others wait. Defaults to [ProbeTimeout].
	ProbeTimeout time.Duration
	// ProbeMin and ProbeMax are the shortest and the longest time between two probes. Between these
	// bounds it is 5 % of the outage so far. Default to 500 ms and 30 s.
	ProbeMin, ProbeMax time.Duration
	// DeniedMin and DeniedMax bound the wait before one request tries a denied capability again.
	// The wait begins with DeniedMin and doubles each time. Default to 1 min and 15 min.
	DeniedMin, DeniedMax time.Duration
	// OnChange receives the state after each change of the breaker, a capability, an operator's
	// pause or a 429's hold. The caller that caused the change calls it: in order, one call at a
	// time, with no lock held. It must not block for long.
	OnChange func(GateState)
}

func (c GateConfig) withDefaults() GateConfig {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.Limit.Window, DefaultLimit.Window)
	c.Limit.Requests = max(c.Limit.Requests, 0)
	if c.Reserved <= 0 {
		c.Reserved = max(c.Limit.Requests/10, 1)
	}
	c.Reserved = max(min(c.Reserved, c.Limit.Requests-1), 0)
	set(&c.RequestTimeout, DefaultTimeout)
	c.HoldBack = max(c.HoldBack, 0)
	set(&c.ProbeTimeout, ProbeTimeout)
	set(&c.ProbeMin, 500*time.Millisecond)
	set(&c.ProbeMax, 30*time.Second)
	c.ProbeMax = max(c.ProbeMax, c.ProbeMin)
	set(&c.DeniedMin, time.Minute)
	set(&c.DeniedMax, 15*time.Minute)
	c.DeniedMax = max(c.DeniedMax, c.DeniedMin)
	return c
}

// Gate decides when a request to Comeet may go out: within the account's budget ([Limit]), while
// its breaker is closed, for capabilities that Comeet does not deny, and unless an operator has
// paused the account. There is one gate per account. It is safe for concurrent use, starts no
// goroutine, and runs a timer only while a caller waits.
type Gate struct {
	cfg   GateConfig
	begin time.Time // the gate's times are durations since this one, by the monotonic clock

	mu           sync.Mutex // guards all below, and the permits
	budget       budget
	breaker      breaker
	capabilities [lastCapability + 1]capability
	booking      booking
	operator     struct {
		paused bool
		reason string
	}
	held   int       // permits given and neither begun nor released
	flying []*Permit // permits begun and not ended, in the order in which they began

	queues  [lastPriority + 1][lastCapability + 1]queue
	waiting int
	seq     uint64
	timer   *time.Timer
	wakeAt  time.Duration // when timer fires; zero if it is not set

	changed bool        // OnChange has to be called
	news    []GateState // for OnChange, in order
	telling bool        // a caller is calling OnChange
}

// NewGate returns an open gate.
func NewGate(cfg GateConfig) *Gate {
	g := &Gate{cfg: cfg.withDefaults(), begin: time.Now()}
	g.budget = newBudget(g.cfg.Limit, g.cfg.Reserved)
	g.breaker = breaker{phase: BreakerClosed, wake: make(chan struct{}, 1)}
	g.breaker.machine = g.newMachine()
	g.booking.low = make(chan struct{}, 1)
	return g
}

func (g *Gate) now() time.Duration { return time.Since(g.begin) }

// Acquire waits until a request of this priority and capability may go out, and returns the permit
// for it. The caller must use or release the permit. Its only error is an *Error of kind Canceled,
// when ctx ends first.
func (g *Gate) Acquire(ctx context.Context, p Priority, c Capability) (*Permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, notAdmitted(err)
	}
	g.mu.Lock()
	now := g.now()
	if g.waiting == 0 {
		if g.tidy(now); g.admits(p, c, now) {
			permit := g.give(p, c, now)
			g.unlock(now)
			return permit, nil
		}
	}
	w := g.join(p, c)
	if !g.booking.leaves(g.held, now) {
		g.booking.want()
	}
	g.unlock(now)
	select {
	case <-w.given:
		return w.permit, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	if w.permit == nil {
		g.leave(w)
	} else {
		g.drop(w.permit) // unlock gives it to the next
	}
	g.unlock(g.now())
	return nil, notAdmitted(ctx.Err())
}

func notAdmitted(err error) error {
	return &Error{Op: "wait for the gate", Kind: Canceled, Err: err}
}

// TryAcquire is Acquire without waiting. It returns false if a request may not go out now, or if
// others go first.
func (g *Gate) TryAcquire(p Priority, c Capability) (*Permit, bool) {
	g.mu.Lock()
	now := g.now()
	g.tidy(now)
	g.dispatch(now) // waiting callers go first; those that still wait afterwards can't go now
	ok := g.admits(p, c, now)
	var permit *Permit
	if ok {
		permit = g.give(p, c, now)
	}
	g.unlock(now)
	return permit, ok
}

// admits reports whether a request may go out now.
func (g *Gate) admits(p Priority, c Capability, now time.Duration) bool {
	return !g.operator.paused &&
		g.booking.leaves(g.held, now) &&
		g.breaker.passes(p, now) &&
		(p == Probe || g.capabilities[c].passes(now)) &&
		(p != Sweep || !g.othersWait()) &&
		g.budget.mayTake(p, now)
}

// othersWait reports whether a sweep has to give way to a waiting caller. Callers that wait for a
// denied capability do not count.
func (g *Gate) othersWait() bool {
	if g.waiting == 0 {
		return false
	}
	for p := range g.queues {
		for c := range g.queues[p] {
			if Priority(p) != Sweep && len(g.queues[p][c]) > 0 && !g.capabilities[c].denied {
				return true
			}
		}
	}
	return false
}

// give makes a permit. The caller has called admits.
func (g *Gate) give(p Priority, c Capability, now time.Duration) *Permit {
	b := &g.breaker
	permit := &Permit{gate: g, priority: p, capability: c, stage: held, since: now, epoch: b.epoch, denials: g.capabilities[c].denials}
	g.held++
	g.budget.take(classOf(p))
	switch b.phase {
	case BreakerOpen:
		permit.probe, b.probe = true, permit
	case BreakerHalfOpen:
		permit.trial, b.trial = true, permit
		b.inHand++
	default:
		b.inHand++
	}
	if p != Probe && g.capabilities[c].denied {
		g.capabilities[c].trial = permit
	}
	return permit
}

// drop takes back a permit that was not begun.
func (g *Gate) drop(p *Permit) {
	p.stage = ended
	g.held--
	g.budget.free(classOf(p.priority))
	b := &g.breaker
	if p.probe {
		b.probe = nil
	} else if p.epoch == b.epoch {
		b.inHand--
	}
	g.forgetTrial(p)
}

func (g *Gate) forgetTrial(p *Permit) {
	if b := &g.breaker; b.trial == p {
		b.trial, b.undecided = nil, true
	}
	if c := &g.capabilities[p.capability]; c.trial == p {
		c.trial = nil
	}
}

// refusal returns why a permit may not be used now; nil if it may.
func (g *Gate) refusal(p *Permit, now time.Duration) error {
	switch {
	case p.stage != held:
		return errUsed
	case g.operator.paused:
		return errPaused
	case p.epoch != g.breaker.epoch:
		return errBreakerOpen
	case p.void:
		return errPassedOver
	case p.denials != g.capabilities[p.capability].denials && !p.probe:
		return errDenied
	case !g.booking.leaves(0, now):
		return errBookingSpent
	}
	return nil
}

// finish records how a request ended.
func (g *Gate) finish(p *Permit, r report, now time.Duration) {
	p.stage = ended
	i := slices.Index(g.flying, p)
	g.flying = slices.Delete(g.flying, i, i+1)
	if r.sent {
		at := now
		if !r.answered.IsZero() {
			at = min(max(r.answered.Sub(g.begin), p.since), now)
		}
		switch r.kind {
		case Unavailable, InDoubt, Canceled:
			at += g.cfg.HoldBack // a proxy may have answered in Comeet's place
		}
		g.budget.answer(classOf(p.priority), at)
	} else {
		g.budget.free(classOf(p.priority))
	}
	if r.kind == Throttled {
		g.budget.throttled(now, r.retryAfter)
		g.changed = true
	}
	g.reportToBreaker(p, r.kind, now)
	g.reportToCapability(p, r, now)
}

// tidy brings everything but the queues up to the present time.
func (g *Gate) tidy(now time.Duration) {
	g.budget.expire(now)
	for len(g.flying) > 0 && now-g.flying[0].since >= 10*g.cfg.RequestTimeout {
		g.finish(g.flying[0], report{kind: Canceled, sent: true}, now)
	}
	b := &g.breaker
	if b.phase == BreakerOpen && !b.running && now >= b.nextProbe && !g.operator.paused {
		g.enter(BreakerHalfOpen, now)
	}
	if b.ramping && b.rampDoublings(now) > rampSteps {
		b.ramping = false
	}
	g.tidyTrial(b.trial, g.waiting > 0, now)
	for c := range g.capabilities {
		if trial := g.capabilities[c].trial; trial != nil {
			g.tidyTrial(trial, g.waitsFor(Capability(c)), now)
		}
	}
}

func (g *Gate) waitsFor(c Capability) bool {
	for p := range g.queues {
		if len(g.queues[p][c]) > 0 {
			return true
		}
	}
	return false
}

// tidyTrial takes the trial away from a permit that holds it unused while others wait, and from one
// whose request is lost.
func (g *Gate) tidyTrial(p *Permit, wanted bool, now time.Duration) {
	switch {
	case p == nil || now < g.trialEnds(p):
	case p.stage == begun:
		g.forgetTrial(p)
		if p.done != nil {
			p.done(errNeither)
			p.done = nil
		}
	case wanted:
		p.void = true
		g.forgetTrial(p)
		g.capabilities[p.capability].interrupt()
	}
}

func (g *Gate) trialEnds(p *Permit) time.Duration {
	if p.stage == begun {
		return p.since + g.cfg.RequestTimeout
	}
	return p.since + g.cfg.ProbeTimeout
}

// unlock gives permits to the waiting callers that may go now, unlocks, and calls OnChange if
// something changed.
func (g *Gate) unlock(now time.Duration) {
	g.dispatch(now)
	if g.changed {
		g.changed = false
		if g.cfg.OnChange != nil {
			g.news = append(g.news, g.state(now))
		}
	}
	if len(g.news) == 0 || g.telling {
		g.mu.Unlock()
		return
	}
	g.telling = true
	for len(g.news) > 0 {
		s := g.news[0]
		g.news = g.news[1:]
		g.mu.Unlock()
		g.cfg.OnChange(s)
		g.mu.Lock()
	}
	g.telling = false
	g.mu.Unlock()
}

// dispatch gives permits to the waiting callers that may go now, and sets the timer for the rest.
func (g *Gate) dispatch(now time.Duration) {
	if g.waiting == 0 && g.wakeAt == 0 {
		return
	}
	g.tidy(now)
	for g.waiting > 0 {
		w := g.next(now)
		if w == nil {
			break
		}
		g.leave(w)
		w.permit = g.give(w.priority, w.capability, now)
		close(w.given)
	}
	g.setTimer(now)
}

// setTimer wakes the gate when it may admit more than now. Waking too early does no harm; not
// waking would.
func (g *Gate) setTimer(now time.Duration) {
	at := never
	if g.waiting > 0 {
		soonest := func(t time.Duration) {
			if t > now {
				at = min(at, t)
			}
		}
		g.budget.wakeups(soonest)
		b := &g.breaker
		if b.phase == BreakerOpen {
			soonest(b.nextProbe)
		}
		if b.ramping {
			soonest(b.since + (now-b.since)/rampStep*rampStep + rampStep)
		}
		if b.trial != nil {
			soonest(g.trialEnds(b.trial))
		}
		for i := range g.capabilities {
			c := &g.capabilities[i]
			soonest(c.nextTrial)
			if c.trial != nil {
				soonest(g.trialEnds(c.trial))
			}
		}
		if len(g.flying) > 0 {
			soonest(g.flying[0].since + 10*g.cfg.RequestTimeout)
		}
	}
	switch {
	case at == never:
		if g.wakeAt != 0 {
			g.timer.Stop()
			g.wakeAt = 0
		}
	case at == g.wakeAt:
	case g.timer == nil:
		g.timer = time.AfterFunc(at-now, g.wake)
		g.wakeAt = at
	default:
		g.timer.Reset(at - now)
		g.wakeAt = at
	}
}

func (g *Gate) wake() {
	g.mu.Lock()
	g.wakeAt = 0
	g.unlock(g.now())
}
