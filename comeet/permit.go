package comeet

import (
	"errors"
	"time"
)

// Priority decides which request goes first when several wait for the gate. The probe goes first,
// then Settle before Submit, Poll beside them by the rule of [Limit], and Sweep when no other
// request waits. Within a priority the oldest goes first.
type Priority uint8

const (
	// Settle finishes a submission in doubt: it looks the candidate up, or sends it again.
	Settle Priority = iota + 1
	// Submit sends a new candidate.
	Submit
	// Poll reads what changed.
	Poll
	// Sweep reads with the spare budget. It goes only while no other request waits and more than a
	// fifth of the budget is free.
	Sweep
	// Probe asks whether Comeet is back. It goes first, takes any free slot, and ignores denied
	// capabilities.
	Probe

	lastPriority = Probe
)

var priorities = [...]Priority{Settle, Submit, Poll, Sweep, Probe}

// String is the stable name, fit for a metric label.
func (p Priority) String() string {
	if p > lastPriority {
		return "unknown"
	}
	return [...]string{"none", "settle", "submit", "poll", "sweep", "probe"}[p]
}

// Capability is a right that Comeet may deny an account while it grants the others.
type Capability uint8

const (
	// CanSubmit: create candidates.
	CanSubmit Capability = iota + 1
	// CanPoll: read candidates.
	CanPoll
	// CanPositions: read positions.
	CanPositions

	lastCapability = CanPositions
)

var capabilities = [...]Capability{CanSubmit, CanPoll, CanPositions}

// String is the stable name, fit for a metric label.
func (c Capability) String() string {
	if c > lastCapability {
		return "unknown"
	}
	return [...]string{"none", "submit", "poll", "positions"}[c]
}

// Permit is the right to send one request. It holds a slot of the budget until it is used or
// released, so its holder must do one of the two. A nil *Permit may be released and is never valid.
type Permit struct {
	gate       *Gate
	priority   Priority
	capability Capability

	// All below is guarded by gate.mu.
	stage   stage
	since   time.Duration   // when it entered its stage
	epoch   uint64          // the breaker's when it was given; an older one is void
	denials uint64          // the capability's when it was given; an older one is void
	void    bool            // it was a trial, and another permit got the trial
	trial   bool            // the one request that a half-open breaker lets through
	probe   bool            // the request that asks whether an open breaker may half open
	done    func(err error) // reports to gobreaker; nil before begin and after the report
}

type stage uint8

const (
	held stage = iota + 1
	begun
	ended
)

// Causes of an Unavailable error without a request.
var (
	errUsed         = errors.New("the permit was used or released before; take a new one")
	errBreakerOpen  = errors.New("the breaker opened after the permit was given; nothing was sent")
	errPassedOver   = errors.New("the permit was the breaker's or a denied capability's trial and was not used in time; nothing was sent")
	errDenied       = errors.New("this capability was denied by Comeet after the permit was given; nothing was sent")
	errPaused       = errors.New("an operator paused the account; nothing was sent")
	errBookingSpent = errors.New("the booking of requests is spent or has run out; nothing was sent")
)

// Release returns an unused permit; its slot is free at once. It does nothing if the permit is nil,
// or was used or released before.
func (p *Permit) Release() {
	if p == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	now := g.now()
	if p.stage == held {
		g.drop(p)
	}
	g.unlock(now)
}

// Valid reports whether a request could be sent with the permit now. It can if the permit is unused
// and, since it was given, the breaker has not opened, Comeet has not denied the capability and no
// operator has paused.
func (p *Permit) Valid() bool {
	if p == nil {
		return false
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal(p, g.now()) == nil
}

// begin is called immediately before the request is sent. Its error is an *Error of kind
// Unavailable. Then nothing may be sent, and the permit is released.
func (p *Permit) begin() error {
	g := p.gate
	g.mu.Lock()
	now := g.now()
	why := g.refusal(p, now)
	if why == nil && !p.probe {
		if p.done, why = g.breaker.machine.Allow(); why != nil {
			why = errBreakerOpen
		}
	}
	if why != nil {
		if p.stage == held {
			g.drop(p)
		}
		g.unlock(now)
		return &Error{Op: "send request", Kind: Unavailable, Err: why}
	}
	p.stage, p.since = begun, now
	g.held--
	g.flying = append(g.flying, p)
	if g.booking.on {
		g.booking.left--
		if g.booking.left <= g.booking.half {
			g.booking.want()
		}
	}
	g.mu.Unlock()
	return nil
}

// report is how a request ended.
type report struct {
	kind Kind // zero is success
	sent bool // bytes may have left; false frees the slot at once
	op   Capability
	// status and code are shown to operators when a capability is denied.
	status     int
	code       string
	retryAfter time.Duration
	answered   time.Time // zero is now
}

// end is called once after begin, when the answer has been read or the request has failed. More
// calls do nothing.
func (p *Permit) end(r report) {
	g := p.gate
	g.mu.Lock()
	now := g.now()
	if p.stage == begun {
		g.finish(p, r, now)
	}
	g.unlock(now)
}
