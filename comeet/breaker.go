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
	// BreakerClosed lets requests pass.
	BreakerClosed BreakerState = iota + 1
	// BreakerHalfOpen follows when Comeet has answered a probe. One request at a time may pass
	// until one succeeds.
	BreakerHalfOpen
	// BreakerOpen lets only probes pass.
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
	// Five failures without a success between them open the breaker, however far apart they are. At
	// five polls an hour a rolling window would never see a second failure.
	tripConsecutive = 5
	// The breaker also opens if half of at least twenty answers in the window are failures.
	// Failures that alternate with successes are never consecutive.
	tripRequests = 20
	tripWindow   = 30 * time.Second

	// After an outage the number of permits in hand may double with every success, and with every
	// rampStep. A caller that holds a permit while it waits for work brings no success, and must
	// not hold up the others.
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

// verdicts is the breaker's column of the table of answers. Kind 0 is success.
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

// breaker wraps gobreaker, which keeps the counts and says when to open and when to close. This
// type adds what gobreaker lacks:
//
//   - gobreaker changes its state only when it is called, so the gate has a phase and a timer of
//     its own.
//   - Half open, gobreaker lets any number of requests pass one after the other while their answers
//     are excluded. So the gate hands out one trial at a time.
//   - A trial that is never reported would block gobreaker for ever, so the gate gives up on it.
type breaker struct {
	machine *gobreaker.TwoStepCircuitBreaker[struct{}]

	phase     BreakerState
	since     time.Duration // when the phase began
	opened    time.Duration // when the outage began; half-open belongs to it
	nextProbe time.Duration
	// epoch counts how often the breaker opened. Permits of an older epoch are void, and reports on
	// them do not count.
	epoch       uint64
	consecutive int     // failures since the last success
	inHand      int     // permits of this epoch, held or in flight
	trial       *Permit // the half-open breaker's one request
	undecided   bool    // a trial since the opening was released unused, or its answer told nothing

	running bool          // Run is running, so the gate lets no other request probe
	probing bool          // Run is in its probe
	probe   *Permit       // the probe's request
	wake    chan struct{} // wakes Run when the breaker opens

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
		IsExcluded:   func(err error) bool { return errors.Is(err, errNeither) },
		// gobreaker calls this within a permit's begin or end, so under the gate's lock. A change
		// to half-open needs no action: the gate made it, or a late report on an old request did,
		// which means nothing.
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

// probeInterval is 5 % of the outage so far, within bounds. So the gate notices recovery at most
// that much later, and a long outage costs few requests.
func (g *Gate) probeInterval(now time.Duration) time.Duration {
	return min(max((now-g.breaker.opened)/20, g.cfg.ProbeMin), g.cfg.ProbeMax)
}

// rampDoublings is how many times the number of permits in hand may have doubled, from 1.
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

// reportToBreaker tells the breaker how a request ended.
func (g *Gate) reportToBreaker(p *Permit, k Kind, now time.Duration) {
	b := &g.breaker
	v := verdicts[k]
	if p.probe {
		b.probe = nil
		// Canceled is what Run's own timeout looks like. Any other answer came from Comeet, even if
		// it was a denial. A real request then shows whether Comeet works.
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

// Run probes Comeet while the breaker is open, until ctx ends; then it returns nil. Its calls of
// probe lie ProbeMin to ProbeMax apart. Each gets a permit and ends within ProbeTimeout. The
// function must make one request with the permit, as [Client.Probe] does. The answer to that
// request counts, not the function's error. Run waits for the budget and for the end of a pause
// like every caller.
//
// Without Run the gate works too: when a probe would be due, it lets the next waiting request pass
// instead. A second Run at the same time returns an error.
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
		g.unlock(g.now()) // a waiting request may be the next to try
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
	// The client has reported the answer to the gate already.
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
