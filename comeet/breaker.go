package comeet

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState is one of BreakerClosed, BreakerHalfOpen and BreakerOpen.
type BreakerState uint8

const (
	// BreakerClosed: requests pass.
	BreakerClosed BreakerState = iota + 1
	// BreakerHalfOpen: Comeet answered a probe, and one request at a time may pass until one succeeds.
	BreakerHalfOpen
	// BreakerOpen: only probes pass.
	BreakerOpen
)

// String is the stable name, fit for a metric label.
func (s BreakerState) String() string {
	if s > BreakerOpen {
		return "unknown"
	}
	return [...]string{"none", "closed", "half_open", "open"}[s]
}

const (
	// Five failures without a success between them open the breaker, however far apart they are: at five polls an hour a
	// rolling window never sees a second one.
	tripConsecutive = 5
	// So does half of at least twenty within the window: failures that take turns with successes are never consecutive.
	tripRequests = 20
	tripWindow   = 30 * time.Second

	// After an outage twice as many requests may be in hand with every success, and with every rampStep: the permits of
	// somebody who waits for work bring no successes and must not hold up the others.
	rampStep  = time.Second
	rampSteps = 10
)

// verdict is what an answer tells the breaker.
type verdict uint8

const (
	neither verdict = iota
	success
	failure
)

// verdicts is the breaker's column of the table of answers; its first entry is success.
var verdicts = verdictsOf(answers)

func verdictsOf(rows []Answer) (v [lastKind + 1]verdict) {
	for _, row := range rows {
		v[row.Kind] = map[string]verdict{"success": success, "failure": failure}[row.Breaker]
	}
	return v
}

// Errors that tell gobreaker what nil does not.
var (
	errFailure = errors.New("failure")
	errNeither = errors.New("neither success nor failure")
)

func (v verdict) err() error {
	switch v {
	case success:
		return nil
	case failure:
		return errFailure
	default:
		return errNeither
	}
}

// breaker wraps gobreaker, which keeps the counts and says when to open and when to close. What it does not do is here: it
// moves only when called, so the gate has its own phase and timer; its half-open state would let an unlimited number through
// one after the other when answers are excluded, so the gate hands out one trial at a time; a trial that is never reported
// would block it for ever, so the gate gives up on it.
type breaker struct {
	machine *gobreaker.TwoStepCircuitBreaker[struct{}]

	phase     BreakerState
	since     time.Duration // when the phase began
	opened    time.Duration // when the outage began; half-open belongs to it
	nextProbe time.Duration
	// epoch counts how often the breaker opened: permits of an older one are void, reports on them don't count.
	epoch       uint64
	consecutive int     // failures since the last success
	inHand      int     // permits of this epoch, held or in flight
	trial       *Permit // the half-open breaker's one request
	undecided   bool    // since the breaker opened, a trial was given back unused or its answer told nothing

	running bool          // Run is there, so nobody else probes
	probing bool          // Run is in its probe
	probe   *Permit       // its request
	wake    chan struct{} // tells Run that the breaker opened

	ramping       bool
	rampSuccesses int
}

func (g *Gate) newMachine() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	b := &g.breaker
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     tripWindow,
		BucketPeriod: tripWindow / 10,
		// The gate decides when to try again; gobreaker must not object.
		Timeout: 1,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			answers := c.TotalSuccesses + c.TotalFailures
			return b.consecutive >= tripConsecutive || answers >= tripRequests && 2*c.TotalFailures >= answers
		},
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return err == errNeither },
		// Called by a permit's begin or end, so under the gate's lock. The change to half-open is no news: the gate made
		// it, or a late report on an old request did, which means nothing.
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				g.open(g.now())
			case gobreaker.StateClosed:
				g.close(g.now())
			}
		},
	})
}

// enter moves the breaker to a phase.
func (g *Gate) enter(phase BreakerState, now time.Duration) {
	g.breaker.phase, g.breaker.since = phase, now
	g.changed = true
}

func (g *Gate) open(now time.Duration) {
	b := &g.breaker
	if b.phase == BreakerClosed {
		b.opened = now
	}
	g.enter(BreakerOpen, now)
	b.epoch++
	b.inHand, b.trial, b.undecided, b.ramping = 0, nil, false, false
	b.nextProbe = now + g.probeInterval(now)
	for c := range g.capabilities {
		g.capabilities[c].interrupt()
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (g *Gate) close(now time.Duration) {
	b := &g.breaker
	g.enter(BreakerClosed, now)
	b.consecutive = 0
	b.trial = nil
	b.ramping, b.rampSuccesses = true, 0
}

// probeInterval is 5 % of the outage so far, within bounds: recovery is noticed that much later, and a long outage costs few
// requests.
func (g *Gate) probeInterval(now time.Duration) time.Duration {
	return min(max((now-g.breaker.opened)/20, g.cfg.ProbeMin), g.cfg.ProbeMax)
}

// rampDoublings is how many times the number of requests in hand may double from 1.
func (b *breaker) rampDoublings(now time.Duration) int {
	return b.rampSuccesses + 1 + int((now-b.since)/rampStep)
}

// passes reports whether the breaker lets a request of this priority pass.
func (b *breaker) passes(p Priority, now time.Duration) bool {
	switch b.phase {
	case BreakerOpen:
		return p == Probe && b.probing && b.probe == nil
	case BreakerHalfOpen:
		return b.trial == nil
	default:
		return !b.ramping || b.inHand < 1<<b.rampDoublings(now)
	}
}

// report tells the breaker how a request ended.
func (g *Gate) reportToBreaker(p *Permit, k Kind, now time.Duration) {
	b := &g.breaker
	v := verdicts[k]
	if p.probe {
		b.probe = nil
		// Canceled is how Run's own time-out looks. Any other answer was Comeet speaking, if only to deny: a real request
		// finds out what it is worth.
		if b.phase == BreakerOpen && v != failure && k != Canceled {
			g.enter(BreakerHalfOpen, now)
		}
		return
	}
	current := p.epoch == b.epoch
	if current {
		b.inHand--
		switch v {
		case success:
			b.consecutive = 0
			b.rampSuccesses++
		case failure:
			b.consecutive++
		}
		if b.trial == p {
			b.trial, b.undecided = nil, true
		}
	}
	if p.done != nil {
		done := p.done
		p.done = nil
		done(v.err())
	}
}

// Run owns the breaker's timer until ctx ends, and then returns nil. While the breaker is open it calls probe at times that
// lie ProbeMin to ProbeMax apart, one at a time, with a permit and within ProbeTimeout; probe has to make one request with
// the permit, and what the client learns from that counts, not probe's error. [Client.Probe] is such a function. Run waits
// for slots of the budget and for operators like everybody.
//
// Without Run the gate is usable too: when a probe would be due, the next request that wants to go is let through instead.
// A second Run at the same time returns an error.
func (g *Gate) Run(ctx context.Context, probe func(ctx context.Context, p *Permit) error) error {
	g.mu.Lock()
	if g.breaker.running {
		g.mu.Unlock()
		return errors.New("comeet: Gate.Run is running already")
	}
	g.breaker.running = true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.breaker.running = false
		g.unlock(g.now()) // whoever waits may be the next to try
	}()
	for {
		g.mu.Lock()
		open, due := g.breaker.phase == BreakerOpen, g.breaker.nextProbe-g.now()
		g.mu.Unlock()
		var err error
		switch {
		case !open:
			err = g.untilOpen(ctx)
		case due > 0:
			err = pause(ctx, due)
		default:
			err = g.probeOnce(ctx, probe)
		}
		if err != nil {
			return nil
		}
	}
}

func (g *Gate) untilOpen(ctx context.Context) error {
	select {
	case <-g.breaker.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probeOnce makes one probe and sets when the next is due. Its error is the context's.
func (g *Gate) probeOnce(ctx context.Context, probe func(ctx context.Context, p *Permit) error) error {
	g.setProbing(true)
	defer g.setProbing(false)
	p, err := g.Acquire(ctx, Probe, CanPositions)
	if err != nil {
		return err
	}
	defer p.Release()
	limited, cancel := context.WithTimeout(ctx, g.cfg.ProbeTimeout)
	defer cancel()
	// The client has told the gate all that counts.
	_ = probe(limited, p)
	return ctx.Err()
}

func (g *Gate) setProbing(probing bool) {
	g.mu.Lock()
	now := g.now()
	b := &g.breaker
	b.probing = probing
	if !probing && b.phase == BreakerOpen {
		b.nextProbe = now + g.probeInterval(now)
	}
	g.unlock(now)
}
