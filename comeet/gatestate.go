package comeet

import "time"

// GateState is what a [Gate] knows at one moment, for status pages and metrics. It holds no person's data.
type GateState struct {
	// Breaker, and Since when it has been so.
	Breaker BreakerState
	Since   time.Time
	// Outage is for how long the breaker has not been closed, and NextProbe when Comeet is asked next; both are zero while it
	// is closed. NextProbe may have passed: then the probe is on its way, or waits for the budget.
	Outage    time.Duration
	NextProbe time.Time

	Budget  BudgetUse
	Booking BookingUse

	// Capabilities has an entry for each Capability, in the order of [Capabilities].
	Capabilities []CapabilityState

	// Paused tells that an operator has paused the account, PausedSince when and PauseReason why.
	Paused      bool
	PausedSince time.Time
	PauseReason string

	// Waiting is how many callers wait in Acquire, by priority; there is an entry for each Priority.
	Waiting map[Priority]int
	// Held is how many permits are given and not used yet, InFlight how many requests are on their way.
	Held, InFlight int
}

// BudgetUse is how much of a budget is used. Without a limit all counts are zero.
type BudgetUse struct {
	Limit Limit
	// Reserved is the polls' share of Limit.Requests.
	Reserved int
	// Used is how many slots are taken, including those of permits that are held; Free the rest of Limit.Requests, and below
	// zero if more was imported than there is.
	Used, Free int
	// Submissions, Polls and Other are the parts of Used; Other is sweeps, probes and what an owner before had booked.
	Submissions, Polls, Other int
	// LentToSubmissions is what Settle and Submit use beyond their share, LentToPolls what polls do.
	LentToSubmissions, LentToPolls int
	// Hold is for how long nothing is admitted after a 429.
	Hold time.Duration
}

// BookingUse is how much of a booking is used.
type BookingUse struct {
	// On is whether requests need a booking at all.
	On bool
	// Used have begun, Unused may still begin until For from now has passed.
	Used, Unused int
	For          time.Duration
}

// CapabilityState is whether an account has a right.
type CapabilityState struct {
	Capability Capability
	// Denied, and if so Since when, with which HTTP Status and machine Code by the last answer, and NextTrial: from when on
	// one request may try it again.
	Denied    bool
	Since     time.Time
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
	wall := time.Now()
	at := func(t time.Duration) time.Time { return wall.Add(t - now) }

	b := &g.breaker
	s := GateState{Breaker: b.phase, Since: at(b.since), Held: g.held, InFlight: len(g.flying)}
	if b.phase != BreakerClosed {
		s.Outage, s.NextProbe = now-b.opened, at(b.nextProbe)
	}
	u := &g.budget
	s.Budget = BudgetUse{
		Limit: g.cfg.Limit, Reserved: g.cfg.Reserved,
		Used: u.total, Free: u.limit - u.total,
		Submissions: u.used[submissions], Polls: u.used[polls], Other: u.used[spare],
		LentToSubmissions: max(u.used[submissions]-u.share[submissions], 0),
		LentToPolls:       max(u.used[polls]-u.share[polls], 0),
		Hold:              max(u.hold-now, 0),
	}
	s.Booking = BookingUse{On: g.booking.on, Used: g.booking.used, Unused: g.booking.left, For: max(g.booking.until-now, 0)}
	for _, c := range Capabilities() {
		k := &g.capabilities[c]
		cs := CapabilityState{Capability: c, Denied: k.denied}
		if k.denied {
			cs.Since, cs.Status, cs.Code, cs.NextTrial = at(k.since), k.status, k.code, at(k.nextTrial)
		}
		s.Capabilities = append(s.Capabilities, cs)
	}
	if g.operator.paused {
		s.Paused, s.PausedSince, s.PauseReason = true, at(g.operator.since), g.operator.reason
	}
	s.Waiting = make(map[Priority]int, lastPriority)
	for _, p := range Priorities() {
		n := 0
		for c := range g.queues[p] {
			n += len(g.queues[p][c])
		}
		s.Waiting[p] = n
	}
	return s
}
