package comeet

import (
	"slices"
	"time"
)

// Limit is how many requests Comeet takes from one account.
//
// A request takes a slot from its permit on until Window after its answer, for only then can no
// server, however it counts, see more than Requests of them within a Window; a request that was
// never sent gives its slot back at once. (Counted from the send, a slow answer lets 101 in.) A
// thousandth of Window is added, for clocks that run at different speeds.
//
// The slots are shared by two classes: polls, whose share is GateConfig.Reserved, and submissions
// (Settle and Submit), whose share is the rest. The rule, the same for both:
//
//   - A class that uses less than its share takes any free slot.
//   - Beyond its share it borrows a free slot, if afterwards the other class is still supplied: for
//     k = 1, 2, … up to what is unused of the other's share, the k-th slot that is free, or comes
//     back from anybody but the other class itself, does so within k × Window / share. So what is
//     lent comes back one by one (with 10 of 100 for polls: one every 6 s, and one every 0.67 s for
//     submissions), and a class that asks no faster than its share never waits longer than that,
//     provided that Comeet answers. A slot in hand has no known end and supplies nobody.
//   - When both wait, polls go first while they use less than their share, then submissions.
//   - Sweep has no share and borrows from both, while more than a fifth of all slots is free. Probe
//     takes any free slot.
//
// A Limit of one request has no shares: who waits longest goes first.
//
// So each class can always have its share within a window, none can starve the other, and a backlog
// of either alone uses all.
type Limit struct {
	// Requests per Window; 0 means no limit.
	Requests int
	// Window is the length of the sliding window. Defaults to 60 s. Without a limit it is how long
	// a 429 holds everything.
	Window time.Duration
}

// DefaultLimit is what Comeet documents: 100 requests per 60 s.
//
// Comeet API: error-responses
var DefaultLimit = Limit{Requests: 100, Window: 60 * time.Second}

// maxHold bounds how long a Retry-After may hold an account: a mistaken header must not stop it for
// days. GateState tells the hold, and what the header asked for.
const maxHold = time.Hour

type class uint8

const (
	submissions class = iota
	polls
	spare // Sweep and Probe: no share of their own
	classes
)

func classOf(p Priority) class {
	switch p {
	case Settle, Submit:
		return submissions
	case Poll:
		return polls
	default:
		return spare
	}
}

// budget is the sliding window as a pure structure: it knows no clock and no lock. All times are
// durations since the gate's beginning.
type budget struct {
	limit  int // 0 is none, and then nothing is recorded
	share  [classes]int
	period time.Duration // how long after its answer a slot is taken

	total int
	used  [classes]int // per class: in hand, or answered and not free yet
	// answered are the slots whose end is known, the first to come free first.
	answered []answeredSlot
	// hold is until when a 429 admits nothing, and asked what its Retry-After said; 0 if it had
	// none.
	hold, asked time.Duration
}

type answeredSlot struct {
	until time.Duration
	class class
}

func newBudget(l Limit, reserved int) budget {
	b := budget{limit: l.Requests, period: l.Window + l.Window/1000}
	b.share[polls] = reserved
	b.share[submissions] = l.Requests - reserved
	return b
}

// expire frees the slots whose time is over.
func (b *budget) expire(now time.Duration) {
	n := 0
	for n < len(b.answered) && b.answered[n].until <= now {
		b.free(b.answered[n].class)
		n++
	}
	b.answered = b.answered[n:]
}

// mayTake applies the rule of [Limit] to what is free now.
func (b *budget) mayTake(p Priority, now time.Duration) bool {
	if now < b.hold {
		return false
	}
	if b.limit == 0 {
		return true
	}
	if b.total >= b.limit {
		return false
	}
	switch c := classOf(p); {
	case p == Probe:
		return true
	case p == Sweep:
		return (b.limit-b.total)*5 > b.limit && b.lendable(polls) <= now && b.lendable(submissions) <= now
	case c == submissions:
		return b.used[c] < b.share[c] || b.lendable(polls) <= now
	default:
		return b.used[c] < b.share[c] || b.lendable(submissions) <= now
	}
}

const never = time.Duration(1<<63 - 1)

// lendable is from when on one free slot may go to somebody else than its owner, as far as is known
// now.
func (b *budget) lendable(owner class) time.Duration {
	if b.share[polls] == 0 {
		return 0 // of one slot there are no shares
	}
	var from time.Duration
	share := b.share[owner]
	k := max(b.limit-b.total-1, 0)
	last := share - b.used[owner]
	for i := 0; k < last; i++ {
		if i == len(b.answered) {
			return never
		}
		if b.answered[i].class == owner {
			continue // coming free it raises what the owner may claim as well
		}
		k++
		from = max(from, b.answered[i].until-time.Duration(k)*b.period/time.Duration(share))
	}
	return from
}

// pollsFirst says who goes first when polls and submissions wait. Where polls have no share (a
// limit of 1) it is who waits longer.
func (b *budget) pollsFirst(waitLonger bool) bool {
	if b.share[polls] == 0 {
		return waitLonger
	}
	return b.used[polls] < b.share[polls]
}

func (b *budget) take(c class) {
	if b.limit == 0 {
		return
	}
	b.total++
	b.used[c]++
}

func (b *budget) free(c class) {
	if b.limit == 0 {
		return
	}
	b.total--
	b.used[c]--
}

// answer turns a slot in hand into one that comes free a period after at.
func (b *budget) answer(c class, at time.Duration) {
	if b.limit == 0 {
		return
	}
	s := answeredSlot{at + b.period, c} // guard: slot-taken-for-a-window
	i := len(b.answered)
	for i > 0 && b.answered[i-1].until > s.until {
		i--
	}
	b.answered = slices.Insert(b.answered, i, s)
}

// throttled holds everything for a whole window, or for as long as Comeet asks. After it nothing is
// left of the window that was overrun, so the budget starts anew by itself.
func (b *budget) throttled(now, retryAfter time.Duration) {
	if until := now + max(b.period, min(retryAfter, maxHold)); until > b.hold {
		b.hold, b.asked = until, retryAfter
	}
}

// wakeups calls soonest with every time at which more may be admitted than now.
func (b *budget) wakeups(soonest func(time.Duration)) {
	soonest(b.hold)
	if len(b.answered) > 0 {
		soonest(b.answered[0].until)
	}
	if b.limit > 0 && b.total < b.limit {
		soonest(b.lendable(polls))
		soonest(b.lendable(submissions))
	}
}

// BudgetState is a budget on its way from one owner of an account to the next. All times are
// durations, since the clocks of two hosts differ, in nanoseconds when encoded.
type BudgetState struct {
	// Submissions, Polls and Other are the ages of the slots in use, per class: for how long each
	// has been answered. An age below zero means an answer still to come, or a request still to be
	// sent: so far ahead is the latest time for it.
	Submissions []time.Duration `json:"submissions,omitempty"`
	Polls       []time.Duration `json:"polls,omitempty"`
	Other       []time.Duration `json:"other,omitempty"`
	// Hold is for how long a 429 still holds everything.
	Hold time.Duration `json:"hold,omitempty"`
}

// After returns the state as it is when elapsed has passed. It must not be more than what has
// passed in truth; without it a successor waits as much longer as the state was under way.
func (s BudgetState) After(elapsed time.Duration) BudgetState {
	older := func(ages []time.Duration) []time.Duration {
		ages = slices.Clone(ages)
		for i := range ages {
			ages[i] += elapsed
		}
		return ages
	}
	return BudgetState{older(s.Submissions), older(s.Polls), older(s.Other), max(s.Hold-elapsed, 0)}
}

func (s *BudgetState) ages(c class) *[]time.Duration {
	return [...]*[]time.Duration{&s.Submissions, &s.Polls, &s.Other}[c]
}

// export leaves out what is in hand; only the gate knows how much of that has begun.
func (b *budget) export(now time.Duration) BudgetState {
	s := BudgetState{Hold: max(b.hold-now, 0)}
	for _, a := range b.answered {
		ages := s.ages(a.class)
		*ages = append(*ages, now-(a.until-b.period))
	}
	return s
}

func (b *budget) importState(s BudgetState, now time.Duration) {
	b.hold = max(b.hold, now+min(s.Hold, maxHold))
	for c := range classes {
		for _, age := range *s.ages(c) {
			if age < b.period {
				b.take(c)
				b.answer(c, now-age)
			}
		}
	}
}
