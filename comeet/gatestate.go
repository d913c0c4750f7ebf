package comeet

import "time"

// GateState is what a [Gate] knows at one moment, for status pages and metrics. It holds no
// personal data.
type GateState struct {
	Breaker BreakerState
	// Outage is how long the breaker has not been closed, NextProbe the time of the next probe.
	// Both are zero while it is closed. If NextProbe has passed, the probe is in flight or waits
	// for the budget.
	Outage    time.Duration
	NextProbe time.Time

	Budget BudgetUse

	// Capabilities has an entry for each Capability: CanSubmit, CanPoll, CanPositions.
	Capabilities []CapabilityState

	// Paused says that an operator has paused the account, PauseReason why.
	Paused      bool
	PauseReason string

	// Waiting is how many callers wait in Acquire; there is an entry for each Priority.
	Waiting map[Priority]int
}

// BudgetUse is how much of a budget is used. Without a limit all counts are zero.
type BudgetUse struct {
	// Submissions, Polls and Other are how many slots are taken, including those of unused permits.
	// Other is sweeps, probes and what an earlier owner had booked.
	Submissions, Polls, Other int
	// Free is the rest of the limit. It is below zero if Import brought more than the limit.
	Free int
	// Hold is for how long the gate admits nothing after a 429, and HoldUntil until when; both are
	// zero if there is no hold. An owner before may have left it.
	Hold      time.Duration
	HoldUntil time.Time
	// RetryAfter is how long the 429 asked for by its header, 0 if it did not say. The hold is
	// shorter where that is more than an hour.
	RetryAfter time.Duration
}

// CapabilityState says whether an account has a right.
type CapabilityState struct {
	Capability Capability
	// Denied says that Comeet denied it, by its last answer with this HTTP Status and machine Code.
	// From NextTrial on one request may try it again.
	Denied    bool
	Status    int
	Code      string
	NextTrial time.Time
}

// State returns what the gate knows now.
func (g *Gate) State() GateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.budget.expire(now)
	return g.state(now)
}

func (g *Gate) state(now time.Duration) GateState {
	at := func(t time.Duration) time.Time { return time.Now().Add(t - now) }

	b := &g.breaker
	s := GateState{Breaker: b.phase, Paused: g.operator.paused, PauseReason: g.operator.reason}
	if b.phase != BreakerClosed {
		s.Outage, s.NextProbe = now-b.opened, at(b.nextProbe)
	}
	u := &g.budget
	s.Budget = BudgetUse{
		Submissions: u.used[submissions], Polls: u.used[polls], Other: u.used[spare],
		Free: u.limit - u.total,
	}
	if u.hold > now {
		s.Budget.Hold, s.Budget.HoldUntil, s.Budget.RetryAfter = u.hold-now, at(u.hold), u.asked
	}
	for _, c := range capabilities {
		k := &g.capabilities[c]
		cs := CapabilityState{Capability: c, Denied: k.denied}
		if k.denied {
			cs.Status, cs.Code, cs.NextTrial = k.status, k.code, at(k.nextTrial)
		}
		s.Capabilities = append(s.Capabilities, cs)
	}
	s.Waiting = make(map[Priority]int, lastPriority)
	for _, p := range priorities {
		n := 0
		for c := range g.queues[p] {
			n += len(g.queues[p][c])
		}
		s.Waiting[p] = n
	}
	return s
}
