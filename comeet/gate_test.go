package comeet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whoever gives up at the very moment of being served passes the permit on. Were it lost, the rest would wait for ever.
func TestCanceledWaiterPassesItsPermitOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		givesUp := rapid.SliceOfN(rapid.Bool(), 1, 20).Draw(rt, "gives up")
		served := make([]bool, len(givesUp))
		var left GateState
		synctest.Test(t, func(t *testing.T) {
			g := NewGate(GateConfig{Limit: Limit{Requests: 1, Window: time.Second}})
			p := mustAcquire(t, g, Submit, CanSubmit)
			var wg sync.WaitGroup
			var cancels []context.CancelFunc
			for i := range givesUp {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if givesUp[i] {
					cancels = append(cancels, cancel)
				}
				wg.Go(func() {
					p, err := g.Acquire(ctx, Submit, CanSubmit)
					if err == nil {
						served[i] = true
						p.Release()
					} else if KindOf(err) != Canceled || !errors.Is(err, context.Canceled) {
						t.Errorf("error: %v", err)
					}
				})
				synctest.Wait()
			}
			for _, cancel := range cancels {
				cancel()
			}
			p.Release() // most likely to one who has been canceled and does not know yet
			wg.Wait()
			left = g.State()
		})
		for i := range givesUp {
			if !givesUp[i] && !served[i] {
				rt.Fatalf("caller %d was not served", i)
			}
		}
		if left.Budget != (BudgetUse{Free: 1}) || left.Waiting[Submit] != 0 {
			rt.Fatalf("left over: %+v", left)
		}
	})
}

// inHand counts the permits that are held and those whose requests are on their way.
func inHand(g *Gate) (held, inFlight int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held, len(g.flying)
}

func TestAcquireWithAnEndedContext(t *testing.T) {
	t.Parallel()
	g := NewGate(GateConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Acquire(ctx, Submit, CanSubmit); KindOf(err) != Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestDeniedCapabilityRestsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{})
		inFlight, other := mustAcquire(t, g, Submit, CanSubmit), mustAcquire(t, g, Poll, CanPoll)
		unused, late := mustAcquire(t, g, Submit, CanSubmit), mustAcquire(t, g, Submit, CanSubmit)
		if err := late.begin(); err != nil {
			t.Fatal(err)
		}
		interrupted := g.Interrupted(CanSubmit)
		if err := inFlight.begin(); err != nil {
			t.Fatal(err)
		}
		p := mustAcquire(t, g, Submit, CanSubmit)
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
		p.end(report{kind: Denied, sent: true, status: 403, code: "no_permission"})
		since := time.Now()
		<-interrupted
		if unused.Valid() || !other.Valid() {
			t.Error("a denial voids the permits of its capability and no others")
		}
		if err := unused.begin(); !errors.Is(err, errDenied) {
			t.Errorf("begin: %v", err)
		}
		want := CapabilityState{Capability: CanSubmit, Denied: true, Status: 403, Code: "no_permission", NextTrial: since.Add(time.Minute)}
		if diff := cmp.Diff(want, g.State().Capabilities[0]); diff != "" {
			t.Errorf("state (-want +got):\n%s", diff)
		}
		// What was on its way when the denial came neither ends nor lengthens it.
		inFlight.end(report{sent: true})
		time.Sleep(time.Second)
		late.end(report{kind: Denied, sent: true, status: 401})
		if diff := cmp.Diff(want, g.State().Capabilities[0]); diff != "" {
			t.Errorf("state after a late denial (-want +got):\n%s", diff)
		}
		if !g.Denied(CanSubmit) || g.Denied(CanPoll) {
			t.Error("denied: submit must be, poll must not")
		}
		other.Release()

		// One request tries it after 1, 2, 4, 8, 15, 15 min.
		var waits []time.Duration
		from := since
		for range 6 {
			p := mustAcquire(t, g, Submit, CanSubmit)
			waits = append(waits, time.Since(from))
			if _, ok := g.TryAcquire(Settle, CanSubmit); ok {
				t.Error("two trials at once")
			}
			if err := p.begin(); err != nil {
				t.Fatal(err)
			}
			p.end(report{kind: Denied, sent: true, status: 401})
			from = time.Now()
		}
		if diff := cmp.Diff([]time.Duration{1 * time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute}, waits); diff != "" {
			t.Errorf("trials (-want +got):\n%s", diff)
		}
		// An answer that tells nothing leaves the trial to the next; a refusal of the request itself ends the denial.
		for _, k := range []Kind{Canceled, Throttled, Unavailable, Invalid} {
			if !g.Denied(CanSubmit) {
				t.Errorf("no longer denied before %s", k)
			}
			sendOne(t, g, k)
		}
		if g.Denied(CanSubmit) {
			t.Error("still denied after a usable answer")
		}
		sendOne(t, g, Denied)
		if got := time.Until(g.State().Capabilities[0].NextTrial); got != time.Minute {
			t.Errorf("a new denial rests %s, want a minute again", got)
		}
	})
}

// The trial of a denied capability, too, is passed on when it is held unused.
func TestDeniedTrialIsPassedOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{})
		sendOne(t, g, Denied)
		trial := mustAcquire(t, g, Submit, CanSubmit)
		interrupted := g.Interrupted(CanSubmit)
		from := time.Now()
		mustAcquire(t, g, Poll, CanPoll).Release()
		next := mustAcquire(t, g, Settle, CanSubmit)
		if got := time.Since(from); got != ProbeTimeout {
			t.Errorf("passed on after %s", got)
		}
		<-interrupted
		if trial.Valid() || !next.Valid() {
			t.Error("the trial belongs to the second")
		}
		trial.Release()
		next.Release()
	})
}

// A sweep steps back for those who wait, but not for those who wait for a denied capability, or it would rest for days.
func TestSweepIgnoresTheDenied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: DefaultLimit})
		sendOne(t, g, Denied)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := g.Acquire(ctx, Submit, CanSubmit); err == nil {
				t.Error("a denied submission was admitted")
			}
		})
		synctest.Wait()
		p, ok := g.TryAcquire(Sweep, CanPoll)
		if !ok {
			t.Error("a sweep waits for a denied submission")
		}
		p.Release()
		cancel()
		wg.Wait()
	})
}

func TestOperatorPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: DefaultLimit})
		p, q := mustAcquire(t, g, Submit, CanSubmit), mustAcquire(t, g, Submit, CanSubmit)
		interrupted := g.Interrupted(CanSubmit)
		g.Pause("maintenance")
		<-interrupted
		<-g.Interrupted(CanPoll)
		if err := p.begin(); !errors.Is(err, errPaused) {
			t.Errorf("begin: %v", err)
		}
		var wg sync.WaitGroup
		var served atomic.Int32
		for range 5 {
			wg.Go(func() {
				mustAcquire(t, g, Submit, CanSubmit).Release()
				served.Add(1)
			})
		}
		time.Sleep(time.Hour)
		if s := g.State(); served.Load() != 0 || !s.Paused || s.PauseReason != "maintenance" || s.Waiting[Submit] != 5 {
			t.Errorf("paused: %d served, %+v", served.Load(), s)
		}
		g.Resume()
		wg.Wait()
		if !q.Valid() {
			t.Error("a permit that was kept is not valid after the pause")
		}
		q.Release()
		select {
		case <-g.Interrupted(CanSubmit):
			t.Error("still interrupted")
		default:
		}
	})
}

func TestOnChangeIsToldInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var g *Gate
		g = NewGate(GateConfig{OnChange: func(s GateState) {
			got = append(got, fmt.Sprint(s.Breaker, " paused=", s.Paused, " submit denied=", s.Capabilities[0].Denied))
			if s.PauseReason == "again" {
				g.Resume() // no lock is held, and order is kept
			}
			_ = g.State()
		}})
		g.Pause("first")
		g.Resume()
		sendOne(t, g, Denied)
		sendOne(t, g, 0)
		trip(t, g)
		time.Sleep(time.Minute)
		sendOne(t, g, 0)
		g.Pause("again")
		g.Resume() // no change, no news
		want := []string{
			"closed paused=true submit denied=false",
			"closed paused=false submit denied=false",
			"closed paused=false submit denied=true",
			"closed paused=false submit denied=false",
			"open paused=false submit denied=false",
			"half_open paused=false submit denied=false",
			"closed paused=false submit denied=false",
			"closed paused=true submit denied=false",
			"closed paused=false submit denied=false",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A hold is told when it begins, with its end, also each later one and the one that an owner before has left.
func TestAHoldIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type hold struct{ Until, Asked time.Duration }
		begin := time.Now()
		var told []hold
		tell := func(s GateState) { told = append(told, hold{s.Budget.HoldUntil.Sub(begin), s.Budget.RetryAfter}) }
		g := NewGate(GateConfig{OnChange: tell})
		throttle := func(after time.Duration) {
			p, err := g.Acquire(t.Context(), Submit, CanSubmit)
			if err != nil || p.begin() != nil {
				t.Fatal(err)
			}
			p.end(report{kind: Throttled, sent: true, retryAfter: after})
		}
		throttle(48 * time.Hour)
		if s := g.State().Budget; s.Hold != time.Hour || s.RetryAfter != 48*time.Hour {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Hour)
		if s := g.State().Budget; s.Hold != 0 || !s.HoldUntil.IsZero() || s.RetryAfter != 0 {
			t.Errorf("after the hold: %+v", s)
		}
		throttle(10 * time.Minute)
		successor := NewGate(GateConfig{OnChange: tell})
		successor.Import(g.Export())
		want := []hold{{time.Hour, 48 * time.Hour}, {2*time.Hour + 10*time.Minute, 10 * time.Minute}, {2*time.Hour + 10*time.Minute, 0}}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestStateCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: Limit{Requests: 10, Window: 10 * time.Second}, Reserved: 2})
		for range 8 {
			sendOne(t, g, 0)
		}
		time.Sleep(time.Second)
		p := mustAcquire(t, g, Submit, CanSubmit) // borrows
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
		q := mustAcquire(t, g, Poll, CanPoll)
		s := g.State()
		if diff := cmp.Diff(BudgetUse{Submissions: 9, Polls: 1, Free: 0}, s.Budget); diff != "" {
			t.Errorf("budget (-want +got):\n%s", diff)
		}
		q.Release()
		p.end(report{sent: true})
	})
}

// No timer runs while nobody waits: a thousand idle accounts cost nothing.
func TestNoTimerWithoutWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: Limit{Requests: 1, Window: time.Minute}})
		sendOne(t, g, 0)
		for _, wait := range []time.Duration{time.Second, 2 * time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			if p, err := g.Acquire(ctx, Submit, CanSubmit); err == nil {
				p.Release()
			}
			cancel()
			if g.wakeAt != 0 {
				t.Errorf("after waiting for %s a timer is set", wait)
			}
		}
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for requests, want := range map[int]int{-1: 0, 0: 0, 1: 0, 2: 1, 9: 1, 100: 10} {
		if got := NewGate(GateConfig{Limit: Limit{Requests: requests}}).cfg.Reserved; got != want {
			t.Errorf("of %d requests %d are reserved, want %d", requests, got, want)
		}
	}
	if got := NewGate(GateConfig{Limit: DefaultLimit, Reserved: 1000}).cfg.Reserved; got != 99 {
		t.Errorf("%d reserved: submissions keep at least one", got)
	}
	names := map[string]bool{}
	for _, p := range priorities {
		names[p.String()] = true
	}
	for _, c := range capabilities {
		names["can "+c.String()] = true
	}
	for _, s := range []BreakerState{BreakerClosed, BreakerHalfOpen, BreakerOpen} {
		names[s.String()] = true
	}
	if names["unknown"] || names["none"] || len(names) != 11 {
		t.Errorf("names: %v", names)
	}
}

// Many callers at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	g := NewGate(GateConfig{OnChange: func(GateState) {}})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 200 {
				p := mustAcquire(t, g, priorities[(i+j)%5], capabilities[i%3])
				switch {
				case j%7 == 0:
					_ = g.State()
					p.Release()
				case p.begin() == nil:
					p.end(report{sent: true})
				}
				if j%50 == 0 {
					g.Pause("test")
					_ = p.Valid()
					g.Resume()
				}
			}
		})
	}
	wg.Wait()
	if held, inFlight := inHand(g); held != 0 || inFlight != 0 || g.State().Waiting[Submit] != 0 {
		t.Errorf("left over: %d held, %d in flight, %+v", held, inFlight, g.State())
	}
}
