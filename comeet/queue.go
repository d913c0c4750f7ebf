package comeet

import (
	"slices"
	"time"
)

// waiter is a caller that waits in Acquire.
type waiter struct {
	priority   Priority
	capability Capability
	seq        uint64 // the order of arrival
	given      chan struct{}
	permit     *Permit
}

// queue holds the waiters of one priority and one capability, the oldest first. Each capability has
// a queue of its own, so that a denied one does not keep the others of its priority waiting.
type queue []*waiter

// first returns the oldest waiter; nil if there is none.
func (q queue) first() *waiter {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

// join puts the caller at the end of its queue.
func (g *Gate) join(p Priority, c Capability) *waiter {
	g.seq++
	w := &waiter{priority: p, capability: c, seq: g.seq, given: make(chan struct{})}
	g.queues[p][c] = append(g.queues[p][c], w)
	g.waiting++
	return w
}

func (g *Gate) leave(w *waiter) {
	q := &g.queues[w.priority][w.capability]
	i := slices.Index(*q, w)
	*q = slices.Delete(*q, i, i+1)
	g.waiting--
}

// head returns the oldest waiter of a priority among some capabilities; nil if there is none.
func (g *Gate) head(p Priority, among func(Capability) bool) *waiter {
	var first *waiter
	for c := range g.queues[p] {
		if w := g.queues[p][c].first(); w != nil && (first == nil || w.seq < first.seq) && among(Capability(c)) {
			first = w
		}
	}
	return first
}

var (
	pollsBefore      = []Priority{Probe, Poll, Settle, Submit, Sweep}
	pollsAfter       = []Priority{Probe, Settle, Submit, Poll, Sweep}
	submittingBefore = []Priority{Settle, Submit}
)

// next returns the waiter that goes next; nil if none may go now.
func (g *Gate) next(now time.Duration) *waiter {
	if g.breaker.phase == BreakerHalfOpen {
		if g.breaker.undecided {
			// The last trial told nothing. Its caller may need what another one waits to read, or
			// may have many requests that Comeet refuses. It must not get the trial again and
			// again.
			return g.oldest(now)
		}
		// The probe was a read. If a caller wants to write, the trial has to tell whether writing
		// works too.
		for _, p := range submittingBefore {
			if w := g.queues[p][CanSubmit].first(); w != nil && g.admits(p, CanSubmit, now) {
				return w
			}
		}
	}
	order := pollsAfter
	if g.budget.pollsFirst(g.pollWaitsLonger()) {
		order = pollsBefore
	}
	for _, p := range order {
		if w := g.head(p, func(c Capability) bool { return g.admits(p, c, now) }); w != nil {
			return w
		}
	}
	return nil
}

// oldest returns the oldest of all waiters that may go now.
func (g *Gate) oldest(now time.Duration) *waiter {
	var oldest *waiter
	for _, p := range pollsAfter {
		if w := g.head(p, func(c Capability) bool { return g.admits(p, c, now) }); w != nil && (oldest == nil || w.seq < oldest.seq) {
			oldest = w
		}
	}
	return oldest
}

func (g *Gate) pollWaitsLonger() bool {
	all := func(Capability) bool { return true }
	poll := g.head(Poll, all)
	for _, p := range submittingBefore {
		if w := g.head(p, all); w != nil && poll != nil && w.seq < poll.seq {
			return false
		}
	}
	return poll != nil
}
