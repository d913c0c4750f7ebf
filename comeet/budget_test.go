package comeet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func mustAcquire(t *testing.T, g *Gate, p Priority, c Capability) *Permit {
	t.Helper()
	permit, err := g.Acquire(t.Context(), p, c)
	if err != nil {
		t.Fatalf("Acquire(%s, %s): %v", p, c, err)
	}
	return permit
}

// step is one thing that a caller of the gate does.
type step struct {
	Rest     time.Duration
	Priority Priority
	GiveUp   time.Duration // how long it waits at most; 0 is for ever
	Release  bool
	Hold     time.Duration // from permit to request
	Latency  time.Duration
	Percent  int // of Latency until it arrives
	Unsent   bool
	Kind     Kind
}

func drawStep(t *rapid.T) step {
	ms := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Millisecond
	}
	s := step{
		Rest: ms("rest", 3000), Priority: rapid.SampledFrom(priorities[:]).Draw(t, "priority"),
		Hold: ms("hold", 200), Latency: ms("latency", 4000), Percent: rapid.IntRange(0, 100).Draw(t, "percent"),
		// One in eight of each.
		Release: rapid.IntRange(0, 7).Draw(t, "release") == 7,
		Unsent:  rapid.IntRange(0, 7).Draw(t, "unsent") == 7,
		Kind:    rapid.SampledFrom([]Kind{0, 0, 0, 0, 0, 0, Invalid, Throttled}).Draw(t, "kind"),
	}
	if rapid.IntRange(0, 3).Draw(t, "gives up") == 3 {
		s.GiveUp = ms("patience", 5000) + 1
	}
	return s
}

// No interleaving of callers who wait, give up, release, are slow or are refused lets a strict server see more than the limit
// in any window, and every caller comes to an end: a lost wake-up would be a deadlock, which synctest reports.
func TestBudgetIsNeverOverrun(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := Limit{Requests: rapid.IntRange(1, 12).Draw(rt, "limit"), Window: 10 * time.Second}
		reserved := rapid.IntRange(0, 6).Draw(rt, "reserved")
		callers := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(drawStep), 1, 8), 1, 10).Draw(rt, "callers")
		var server strict
		var left BudgetUse
		var held, inFlight int
		synctest.Test(t, func(t *testing.T) {
			g := NewGate(GateConfig{Limit: limit, Reserved: reserved})
			var wg sync.WaitGroup
			for _, steps := range callers {
				wg.Go(func() {
					for _, s := range steps {
						s.do(t.Context(), g, &server)
					}
				})
			}
			wg.Wait()
			time.Sleep(limit.Window + limit.Window/1000)
			left = g.State().Budget
			held, inFlight = inHand(g)
		})
		if n := server.busiest(limit.Window); n > limit.Requests {
			rt.Fatalf("%d arrivals within %s, limit %d", n, limit.Window, limit.Requests)
		}
		if left != (BudgetUse{Free: limit.Requests}) || held != 0 || inFlight != 0 {
			rt.Fatalf("when all is over: %+v, %d held, %d in flight", left, held, inFlight)
		}
	})
}

func (s step) do(ctx context.Context, g *Gate, server *strict) {
	time.Sleep(s.Rest)
	if s.GiveUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.GiveUp)
		defer cancel()
	}
	p, err := g.Acquire(ctx, s.Priority, CanSubmit)
	if err != nil {
		return
	}
	defer p.Release()
	time.Sleep(s.Hold)
	if !s.Release {
		_ = server.exchange(p, s.Latency, s.Percent, report{kind: s.Kind, sent: !s.Unsent})
	}
}

// Under a backlog of any kind at least 97 of 100 are used, and each class has at least its share.
func TestBacklogUsesTheBudget(t *testing.T) {
	t.Parallel()
	const windows = 20
	for name, backlog := range map[string]map[Priority]int{
		"submissions":             {Submit: 16},
		"submissions, one worker": {Submit: 1},
		"submissions, 64 workers": {Submit: 64},
		"polls":                   {Poll: 1},
		"both":                    {Submit: 16, Poll: 2},
		"settling, new and polls": {Settle: 2, Submit: 16, Poll: 1},
	} {
		for _, latency := range []time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond} {
			t.Run(fmt.Sprint(name, latency), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := NewGate(GateConfig{Limit: DefaultLimit})
					ctx, cancel := context.WithTimeout(t.Context(), windows*time.Minute)
					defer cancel()
					var servers [lastPriority + 1]strict
					var all strict
					var wg sync.WaitGroup
					for p, workers := range backlog {
						for range workers {
							wg.Go(func() {
								for {
									permit, err := g.Acquire(ctx, p, CanSubmit)
									if err != nil {
										return
									}
									servers[p].arrive()
									if err := all.exchange(permit, latency, 50, report{sent: true}); err != nil {
										t.Error(err)
									}
								}
							})
						}
					}
					wg.Wait()
					if n := all.busiest(time.Minute); n > 100 {
						t.Errorf("%d arrivals in a minute", n)
					}
					perWindow := func(p Priority) float64 { return float64(servers[p].count()) / windows }
					if n := float64(all.count()) / windows; n < 97 {
						t.Errorf("%.1f of 100 used", n)
					}
					if n := perWindow(Poll); backlog[Poll] > 0 && n < 9.7 {
						t.Errorf("polls had %.1f per window, their share is 10", n)
					}
					if n := perWindow(Settle) + perWindow(Submit); backlog[Submit] > 0 && n < 87.3 {
						t.Errorf("submissions had %.1f per window, their share is 90", n)
					}
				})
			})
		}
	}
}

// Whatever one class has borrowed, the other never waits longer for its next slot than its share's spacing and the answers that
// are still out.
func TestLentSlotsComeBack(t *testing.T) {
	t.Parallel()
	const latency = 200 * time.Millisecond
	for name, test := range map[string]struct {
		borrower, owner Priority
		workers         int
		spacing         time.Duration
	}{
		"polls during a backlog":      {Submit, Poll, 16, 6006 * time.Millisecond},
		"submissions in a long poll":  {Poll, Submit, 4, 667*time.Millisecond + 334*time.Microsecond},
		"submissions during a sweep":  {Sweep, Submit, 4, 667*time.Millisecond + 334*time.Microsecond},
		"settling during a long poll": {Poll, Settle, 4, 667*time.Millisecond + 334*time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				quiet := time.Duration(rapid.IntRange(0, 180_000).Draw(rt, "quiet")) * time.Millisecond
				gaps := rapid.SliceOfN(rapid.IntRange(0, 20_000), 5, 40).Draw(rt, "gaps")
				var longest time.Duration
				synctest.Test(t, func(t *testing.T) {
					g := NewGate(GateConfig{Limit: DefaultLimit})
					ctx, cancel := context.WithCancel(t.Context())
					var server strict
					var wg sync.WaitGroup
					for range test.workers {
						wg.Go(func() {
							for {
								p, err := g.Acquire(ctx, test.borrower, CanSubmit)
								if err != nil {
									return
								}
								_ = server.exchange(p, latency, 50, report{sent: true})
							}
						})
					}
					time.Sleep(quiet)
					for _, gap := range gaps {
						asked := time.Now()
						p := mustAcquire(t, g, test.owner, CanPoll)
						longest = max(longest, time.Since(asked))
						_ = server.exchange(p, latency, 50, report{sent: true})
						// An owner that asks no faster than its share.
						time.Sleep(test.spacing + latency + time.Duration(gap)*time.Millisecond)
					}
					cancel()
					wg.Wait()
				})
				if longest > test.spacing+2*latency {
					rt.Fatalf("waited %s", longest)
				}
			})
		})
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: Limit{Requests: 1, Window: time.Second}})
		first := mustAcquire(t, g, Submit, CanSubmit)
		var order []int
		var wg sync.WaitGroup
		// Each comes while all before wait: polls among them too, since of one slot nothing can be reserved.
		for i := range 30 {
			wg.Go(func() {
				p := mustAcquire(t, g, []Priority{Submit, Poll}[i%2], capabilities[i%3])
				order = append(order, i)
				p.Release()
			})
			synctest.Wait()
		}
		first.Release()
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 30 {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestWhoGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: Limit{Requests: 10, Window: 10 * time.Second}, Reserved: 2})
		all := make([]*Permit, 0, 10)
		for range 10 {
			all = append(all, mustAcquire(t, g, Probe, CanPositions))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var order []Priority
		var wg sync.WaitGroup
		for _, p := range []Priority{Sweep, Poll, Poll, Poll, Submit, Settle, Submit, Probe} {
			wg.Go(func() {
				// Nobody releases, so that shares fill up.
				if _, err := g.Acquire(ctx, p, CanPoll); err == nil {
					order = append(order, p)
				}
			})
			synctest.Wait()
		}
		for _, p := range all[:7] {
			p.Release()
			synctest.Wait()
		}
		// Polls go before submissions up to their share of two. The third would have to borrow, and nothing in hand tells
		// when a slot of the submissions' share would come back.
		if diff := cmp.Diff([]Priority{Probe, Poll, Poll, Settle, Submit, Submit}, order); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, p := range all[7:] {
			p.Release()
		}
		synctest.Wait()
		if n := g.State().Waiting[Sweep]; n != 1 {
			t.Errorf("%d sweeps wait, want 1: a poll waits", n)
		}
		p, ok := g.TryAcquire(Submit, CanSubmit)
		if !ok {
			t.Fatal("a submission within its share was not admitted")
		}
		p.Release()
		cancel()
		wg.Wait()
	})
}

func TestSweepTakesOnlyWhatIsSpare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: DefaultLimit})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var server strict
		least := 100
		for {
			p, err := g.Acquire(ctx, Sweep, CanPoll)
			if err != nil {
				break
			}
			least = min(least, g.State().Budget.Free)
			_ = server.exchange(p, 10*time.Millisecond, 0, report{sent: true})
		}
		if least != 20 {
			t.Errorf("%d slots left free, want 20", least)
		}
		if n := server.count(); n < 10*78 {
			t.Errorf("%d requests in ten minutes: the spare budget is not used", n)
		}
	})
}

func TestThrottledHoldsEverything(t *testing.T) {
	t.Parallel()
	window := DefaultLimit.Window + DefaultLimit.Window/1000
	for name, test := range map[string]struct {
		limit      Limit
		retryAfter time.Duration
		want       time.Duration
	}{
		"a whole window":          {DefaultLimit, 0, window},
		"shorter than the window": {DefaultLimit, time.Second, window},
		"longer than the window":  {DefaultLimit, 2 * time.Minute, 2 * time.Minute},
		"a mistaken header":       {DefaultLimit, 48 * time.Hour, time.Hour},
		"without a limit":         {Limit{}, 0, window},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(GateConfig{Limit: test.limit})
				p := mustAcquire(t, g, Submit, CanSubmit)
				if err := p.begin(); err != nil {
					t.Fatal(err)
				}
				p.end(report{kind: Throttled, sent: true, retryAfter: test.retryAfter})
				from := time.Now()
				if got := g.State().Budget.Hold; got != test.want {
					t.Errorf("hold %s, want %s", got, test.want)
				}
				for _, priority := range priorities {
					if _, ok := g.TryAcquire(priority, CanPoll); ok {
						t.Errorf("%s was admitted", priority)
					}
				}
				first := mustAcquire(t, g, Submit, CanSubmit)
				if got := time.Since(from); got != test.want {
					t.Errorf("admitted after %s, want %s", got, test.want)
				}
				first.Release()
				for range 90 {
					if _, ok := g.TryAcquire(Submit, CanSubmit); !ok {
						t.Fatal("the budget did not start anew")
					}
				}
			})
		})
	}
}

func TestUnsentAndReleasedSlotsAreFreeAtOnce(t *testing.T) {
	t.Parallel()
	g := NewGate(GateConfig{Limit: Limit{Requests: 1, Window: time.Hour}})
	for range 3 {
		p := mustAcquire(t, g, Submit, CanSubmit)
		p.Release()
		p.Release()
		p = mustAcquire(t, g, Submit, CanSubmit)
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
		p.end(report{kind: Canceled})
		p.end(report{sent: true})
		p.Release()
	}
	if n := g.State().Budget.Free; n != 1 {
		t.Errorf("%d slots free", n)
	}
	var none *Permit
	none.Release()
	if none.Valid() {
		t.Error("a nil permit is valid")
	}
}

// A request that is never reported must not cost its slot for ever.
func TestLostRequestGivesItsSlotBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: Limit{Requests: 1, Window: time.Second}, RequestTimeout: time.Second})
		lost := mustAcquire(t, g, Submit, CanSubmit)
		if err := lost.begin(); err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		mustAcquire(t, g, Submit, CanSubmit).Release()
		if got, want := time.Since(from), 11*time.Second+time.Millisecond; got != want {
			t.Errorf("free after %s, want %s", got, want)
		}
	})
}

// An owner hands over at any moment; the requests of both, together, never overrun the limit.
func TestHandOver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := Limit{Requests: rapid.IntRange(1, 12).Draw(rt, "limit"), Window: 10 * time.Second}
		steps := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(drawStep), 1, 6), 1, 8)
		before, after := steps.Draw(rt, "before"), steps.Draw(rt, "after")
		at := time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "at")) * time.Millisecond
		onTheWay := time.Duration(rapid.IntRange(0, 5_000).Draw(rt, "on the way")) * time.Millisecond
		var server strict
		var used []int
		synctest.Test(t, func(t *testing.T) {
			cfg := GateConfig{Limit: limit, RequestTimeout: 5 * time.Second}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var wg sync.WaitGroup
			work := func(ctx context.Context, g *Gate, callers [][]step) {
				for _, steps := range callers {
					wg.Go(func() {
						for _, s := range steps {
							s.do(ctx, g, &server)
						}
					})
				}
			}
			old, successor := NewGate(cfg), NewGate(cfg)
			work(ctx, old, before)
			time.Sleep(at)
			old.Pause("handing over")
			exported := old.Export()
			held, _ := inHand(old)
			used = append(used, exported.count(), limit.Requests-old.State().Budget.Free-held)
			text, err := json.Marshal(exported)
			if err != nil {
				t.Fatal(err)
			}
			stop()
			time.Sleep(onTheWay)
			var state BudgetState
			if err := json.Unmarshal(text, &state); err != nil {
				t.Fatal(err)
			}
			successor.Import(state.After(onTheWay))
			work(t.Context(), successor, after)
			wg.Wait()
		})
		if used[0] != used[1] {
			rt.Fatalf("%d slots exported, %d used", used[0], used[1])
		}
		if n := server.busiest(limit.Window); n > limit.Requests {
			rt.Fatalf("%d arrivals within %s, limit %d", n, limit.Window, limit.Requests)
		}
	})
}

func (s BudgetState) count() int { return len(s.Submissions) + len(s.Polls) + len(s.Other) }
