package comeet

import (
	"slices"
	"time"
)

// Booking is what an account's owner may send until it books again. The owner writes State where a
// successor finds it, and only then gives the booking to [Gate.Book]; an owner that is gone, or
// frozen and back, has then sent nothing that its successor does not count as spent.
type Booking struct {
	// State is the budget as a successor has to take it over: the slots in use, and everything
	// booked as if it were sent at the last moment.
	State BudgetState

	requests int
	until    time.Duration
	wall     time.Time
}

// booking is off, then forever on: with nothing left until the first Book, and after each Book with
// so many requests until a deadline.
type booking struct {
	on    bool
	left  int // may still begin
	half  int // left at which more is wanted
	until time.Duration
	wall  time.Time
	low   chan struct{} // of capacity 1
}

// want asks the owner for another booking.
func (b *booking) want() {
	select {
	case b.low <- struct{}{}:
	default:
	}
}

// leaves reports whether a request may begin beside those that others hold permits for. The wall
// clock is asked too, since the monotonic one stands still while a virtual machine is suspended.
func (b *booking) leaves(others int, now time.Duration) bool {
	return !b.on || b.left > others && now < b.until && time.Now().Round(0).Before(b.wall) // guard: unbooked-is-not-sent
}

// PrepareBooking plans for n more requests, beside those that permits have been given for, to begin
// within validFor from now. The first call turns booking on: from then on no request begins but
// what was booked.
func (g *Gate) PrepareBooking(n int, validFor time.Duration) Booking {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.budget.expire(now)
	g.booking.on = true
	b := Booking{State: g.export(now), requests: n + g.held, until: now + validFor, wall: time.Now().Round(0).Add(validFor)}
	// What the booking before still leaves may begin while this one is being written.
	var latest []time.Duration
	if left := g.booking.left; left > 0 && now < g.booking.until {
		latest = slices.Repeat([]time.Duration{now - g.booking.until - g.latest()}, left)
	}
	latest = append(latest, slices.Repeat([]time.Duration{-validFor - g.latest()}, b.requests)...)
	b.State.Other = append(b.State.Other, latest...)
	return b
}

// Book replaces the booking that was in force. Call it only when the booking's State is safely
// written. A booking whose time is over admits nothing.
func (g *Gate) Book(b Booking) {
	g.mu.Lock()
	now := g.now()
	g.booking = booking{on: true, left: b.requests, half: b.requests / 2, until: b.until, wall: b.wall, low: g.booking.low}
	g.unlock(now)
}

// BookingLow receives when another booking is wanted: half of the present one is used, or somebody
// waits for one.
func (g *Gate) BookingLow() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.booking.low
}

// latest is how long after its beginning a request may still reach Comeet, also where the owner is
// killed or frozen meanwhile.
func (g *Gate) latest() time.Duration {
	return g.cfg.RequestTimeout + MaxLateness(g.cfg.RequestTimeout) + g.cfg.HoldBack // guard: lost-owner-may-still-send
}

// Export returns the budget for a successor. To hand over, Pause first and wait for the requests in
// flight: one that is still in flight is exported as if it reached Comeet at the last moment at
// which it can.
func (g *Gate) Export() BudgetState {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.budget.expire(now)
	return g.export(now)
}

func (g *Gate) export(now time.Duration) BudgetState {
	s := g.budget.export(now)
	if g.budget.limit > 0 {
		for _, p := range g.flying {
			ages := s.ages(classOf(p.priority))
			*ages = append(*ages, min(now-p.since-g.latest(), 0))
		}
	}
	return s
}

// Import takes over what the owner before has used, on top of what this gate has used itself. Call
// it before the first request.
func (g *Gate) Import(s BudgetState) {
	g.mu.Lock()
	now := g.now()
	g.budget.importState(s, now)
	if s.Hold > 0 {
		g.changed = true
	}
	g.unlock(now)
}
