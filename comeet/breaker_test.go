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

// sendOne sends one request that ends with a kind at once.
func sendOne(t *testing.T, g *Gate, k Kind) {
	t.Helper()
	p := mustAcquire(t, g, Submit, CanSubmit)
	if err := p.begin(); err != nil {
		t.Fatalf("begin: %v", err)
	}
	p.end(report{kind: k, sent: true})
}

func trip(t *testing.T, g *Gate) {
	t.Helper()
	for range tripConsecutive {
		sendOne(t, g, Unavailable)
	}
	if s := g.State().Breaker; s != BreakerOpen {
		t.Fatalf("after %d failures the breaker is %s", tripConsecutive, s)
	}
}

func TestWhatTripsTheBreaker(t *testing.T) {
	t.Parallel()
	repeat := func(n int, kinds ...Kind) (all []Kind) {
		for range n {
			all = append(all, kinds...)
		}
		return all
	}
	for name, test := range map[string]struct {
		kinds []Kind
		apart time.Duration
		want  BreakerState
	}{
		"five failures":                    {repeat(5, Unavailable), 0, BreakerOpen},
		"five doubts":                      {repeat(5, InDoubt), 0, BreakerOpen},
		"four failures":                    {repeat(4, Unavailable), 0, BreakerClosed},
		"a success between them":           {append(repeat(4, Unavailable), append([]Kind{Existing}, repeat(4, Unavailable)...)...), 0, BreakerClosed},
		"five failures in as many hours":   {repeat(5, Unavailable), time.Hour, BreakerOpen},
		"half of twenty":                   {repeat(10, 0, Unavailable), time.Second, BreakerOpen},
		"83 % spread evenly":               {repeat(4, 0, Unavailable, Unavailable, Unavailable, Unavailable), time.Second, BreakerOpen},
		"a third of many":                  {repeat(40, 0, 0, Unavailable), 100 * time.Millisecond, BreakerClosed},
		"half, but never twenty in 30 s":   {repeat(40, 0, Unavailable), 2 * time.Second, BreakerClosed},
		"canceled":                         {repeat(50, Canceled), 0, BreakerClosed},
		"invalid, denied, throttled, gone": {repeat(10, Invalid, NoPosition, Merged), 0, BreakerClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(GateConfig{})
				for _, k := range test.kinds {
					time.Sleep(test.apart)
					if g.State().Breaker == BreakerOpen {
						break
					}
					sendOne(t, g, k)
				}
				if got := g.State().Breaker; got != test.want {
					t.Errorf("breaker is %s, want %s", got, test.want)
				}
			})
		})
	}
}

// The breaker follows the table of answers, and no Kind means two things to it.
func TestVerdictsAreTheTable(t *testing.T) {
	t.Parallel()
	names := map[verdict]string{neither: "neither", success: "success", failure: "failure"}
	for _, row := range Answers() {
		if got := names[verdicts[row.Kind]]; got != row.Breaker {
			t.Errorf("%s (%s): the breaker takes it as %s, the table says %s", row.Result, row.From, got, row.Breaker)
		}
	}
}

// comeet is down for a while, answers at once, and everything else is as in production: Run probes, callers wait.
func TestOutageCostsLittleAndRecoveryIsNoticed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		outage := time.Duration(rapid.IntRange(0, 3*3600*1000).Draw(rt, "outage")) * time.Millisecond
		if rapid.Bool().Draw(rt, "short") {
			outage %= 20 * time.Second
		}
		var probes int
		var late time.Duration
		synctest.Test(t, func(t *testing.T) {
			g := NewGate(GateConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			back := time.Now().Add(outage)
			answer := func() Kind {
				if time.Now().Before(back) {
					return Unavailable
				}
				return 0
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := g.Run(ctx, func(_ context.Context, p *Permit) error {
					probes++
					if err := p.begin(); err != nil {
						return err
					}
					p.end(report{kind: answer(), sent: true})
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
			for range tripConsecutive {
				sendOne(t, g, answer())
			}
			for p := mustAcquire(t, g, Submit, CanSubmit); ; p = mustAcquire(t, g, Submit, CanSubmit) {
				if err := p.begin(); err != nil {
					t.Error(err)
				}
				k := answer()
				p.end(report{kind: k, sent: true})
				if k == 0 {
					late = time.Since(back)
					break
				}
			}
			if s := g.State().Breaker; s != BreakerClosed {
				t.Errorf("breaker is %s after a success", s)
			}
			cancel()
			wg.Wait()
		})
		if most := max(500*time.Millisecond, min(outage/19, 30*time.Second)) + time.Millisecond; late > most {
			rt.Fatalf("first success %s after recovery from an outage of %s, want at most %s", late, outage, most)
		}
		if outage <= 10*time.Second && probes > 25 || probes > 20+100+int(outage/(30*time.Second)) {
			rt.Fatalf("%d probes in %s", probes, outage)
		}
	})
}

func TestHalfOpenLetsOnePass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]Kind{Invalid, Denied, Throttled, Canceled, NoPosition, Merged}), 0, 10).Draw(rt, "before")
		last := rapid.SampledFrom([]Kind{0, Existing, Unavailable, InDoubt}).Draw(rt, "last")
		callers := rapid.IntRange(1, 8).Draw(rt, "callers")
		var most int32
		var state GateState
		synctest.Test(t, func(t *testing.T) {
			g := NewGate(GateConfig{Limit: Limit{Window: time.Second}, DeniedMin: time.Millisecond})
			trip(t, g)
			time.Sleep(time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var inHand atomic.Int32
			var i int
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for {
						p, err := g.Acquire(ctx, Submit, CanSubmit)
						if err != nil {
							return
						}
						most = max(most, inHand.Add(1))
						if err := p.begin(); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Second)
						k := last
						if i < len(kinds) {
							k = kinds[i]
						} else {
							cancel()
						}
						i++
						inHand.Add(-1)
						p.end(report{kind: k, sent: true})
						if i > len(kinds) {
							state = g.State()
						}
					}
				})
			}
			wg.Wait()
		})
		if most != 1 {
			rt.Fatalf("%d at once", most)
		}
		want := BreakerClosed
		if verdicts[last] == failure {
			want = BreakerOpen
		}
		if state.Breaker != want {
			rt.Fatalf("after %s the breaker is %s, want %s", last, state.Breaker, want)
		}
	})
}

// After the trial twice as many may be in hand with every success.
func TestNoStampedeAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{})
		trip(t, g)
		time.Sleep(time.Minute)
		sendOne(t, g, 0)
		var inHand []*Permit
		take := func() int {
			for {
				p, ok := g.TryAcquire(Submit, CanSubmit)
				if !ok {
					return len(inHand)
				}
				inHand = append(inHand, p)
				if err := p.begin(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var got []int
		for range 4 {
			got = append(got, take())
			inHand[0].end(report{sent: true})
			inHand = inHand[1:]
		}
		if diff := cmp.Diff([]int{2, 4, 8, 16}, got); diff != "" {
			t.Errorf("in hand after each success (-want +got):\n%s", diff)
		}
		// Those who hold permits without using them don't hold up the others for long.
		from := time.Now()
		var all []*Permit
		for range 2000 {
			all = append(all, mustAcquire(t, g, Submit, CanSubmit))
		}
		if d := time.Since(from); d > rampSteps*rampStep {
			t.Errorf("the ramp lasted %s", d)
		}
		for _, p := range append(all, inHand...) {
			p.Release()
		}
	})
}

func TestOpeningVoidsPermits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: DefaultLimit})
		p := mustAcquire(t, g, Submit, CanSubmit)
		interrupted := g.Interrupted(CanSubmit)
		late := mustAcquire(t, g, Poll, CanPoll)
		if err := late.begin(); err != nil {
			t.Fatal(err)
		}
		trip(t, g)
		<-interrupted
		<-g.Interrupted(CanPoll) // closed from the start while open
		if p.Valid() {
			t.Error("valid after the breaker opened")
		}
		err := p.begin()
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unavailable || !errors.Is(err, errBreakerOpen) {
			t.Errorf("begin: %v", err)
		}
		if held, _ := inHand(g); held != 0 {
			t.Errorf("%d held after begin failed", held)
		}
		time.Sleep(time.Minute)
		// A late success of before says nothing about now.
		late.end(report{sent: true})
		trial := mustAcquire(t, g, Submit, CanSubmit)
		select {
		case <-g.Interrupted(CanSubmit):
			t.Error("interrupted while a trial may go")
		default:
		}
		if s := g.State(); s.Breaker != BreakerHalfOpen || s.Outage < time.Minute {
			t.Errorf("without Run the next request is the trial: %+v", s)
		}
		trial.Release()
	})
}

// A trial that is held unused, or whose end is never told, is passed on.
func TestTrialIsPassedOn(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]bool{"held": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(GateConfig{})
				trip(t, g)
				time.Sleep(time.Minute)
				trial := mustAcquire(t, g, Submit, CanSubmit)
				interrupted := g.Interrupted(CanSubmit)
				var want time.Duration
				if use {
					want = DefaultTimeout
					if err := trial.begin(); err != nil {
						t.Fatal(err)
					}
				} else {
					// While nobody else wants it, it may be held for long.
					time.Sleep(time.Hour)
					if !trial.Valid() {
						t.Error("taken away though nobody waits")
					}
				}
				from := time.Now()
				next := mustAcquire(t, g, Poll, CanPoll)
				if got := time.Since(from); got != want {
					t.Errorf("passed on after %s, want %s", got, want)
				}
				if !use {
					<-interrupted
					if err := trial.begin(); !errors.Is(err, errPassedOver) {
						t.Errorf("begin: %v", err)
					}
				}
				if err := next.begin(); err != nil {
					t.Fatal(err)
				}
				next.end(report{sent: true})
				if s := g.State().Breaker; s != BreakerClosed {
					t.Errorf("breaker is %s", s)
				}
				trial.end(report{sent: true})
			})
		})
	}
}

func TestTrialPrefersWriting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Limit: DefaultLimit})
		trip(t, g)
		var first Priority
		var wg sync.WaitGroup
		for _, w := range []struct {
			p Priority
			c Capability
		}{{Poll, CanPoll}, {Settle, CanPoll}, {Submit, CanSubmit}} {
			wg.Go(func() {
				p := mustAcquire(t, g, w.p, w.c)
				if first == 0 {
					first = w.p
				}
				if err := p.begin(); err != nil {
					t.Error(err)
				}
				p.end(report{sent: true})
			})
			synctest.Wait()
		}
		wg.Wait()
		if first != Submit {
			t.Errorf("the trial was %s", first)
		}
	})
}

// A submitter takes the trial and gives it back, again and again, as one does whose event names a position that is not known yet, or has events
// that Comeet refuses, which tells the breaker nothing. The reader has its turn.
func TestUndecidedTrialGoesToWhoWaitsLongest(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(*Permit){
		"given back": (*Permit).Release,
		"refused": func(p *Permit) {
			if p.begin() == nil {
				p.end(report{kind: Invalid, sent: true})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(GateConfig{})
				trip(t, g)
				time.Sleep(time.Minute)
				read := make(chan struct{})
				end := sync.OnceFunc(func() { close(read) })
				var wg sync.WaitGroup
				submit := func(p *Permit) {
					for {
						select {
						case <-read:
							p.Release()
							return
						case <-time.After(ProbeTimeout / 4):
						}
						use(p)
						p = mustAcquire(t, g, Submit, CanSubmit)
					}
				}
				first := mustAcquire(t, g, Submit, CanSubmit)
				wg.Go(func() {
					p := mustAcquire(t, g, Poll, CanPositions)
					end()
					if err := p.begin(); err != nil {
						t.Error(err)
					}
					p.end(report{sent: true})
				})
				synctest.Wait()
				wg.Go(func() { submit(first) })
				wg.Go(func() { submit(mustAcquire(t, g, Submit, CanSubmit)) }) // waits for the trial while the other one has it
				select {
				case <-read:
				case <-time.After(time.Minute):
					t.Error("the reader has no turn")
					end()
				}
				wg.Wait()
			})
		})
	}
}

func TestWhatAProbeTells(t *testing.T) {
	t.Parallel()
	for k := range lastKind + 1 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(GateConfig{})
				sendOne(t, g, Denied)
				p, ok := g.TryAcquire(Submit, CanPositions)
				if !ok {
					t.Fatal("another capability was paused")
				}
				_ = p.begin()
				p.end(report{kind: Denied, sent: true}) // the probe's own: it must not be kept from probing
				for range tripConsecutive {
					p := mustAcquire(t, g, Poll, CanPoll)
					_ = p.begin()
					p.end(report{kind: Unavailable, sent: true})
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				probed := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					_ = g.Run(ctx, func(_ context.Context, p *Permit) error {
						if err := p.begin(); err != nil {
							return err
						}
						p.end(report{kind: k, sent: true})
						select {
						case probed <- struct{}{}:
						case <-ctx.Done():
						}
						return nil
					})
				})
				<-probed
				synctest.Wait()
				want := BreakerHalfOpen
				if k == Unavailable || k == InDoubt || k == Canceled {
					want = BreakerOpen
				}
				if got := g.State().Breaker; got != want {
					t.Errorf("after a probe that ends as %s the breaker is %s, want %s", k, got, want)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

// A probe that hangs is ended by its time-out; one that does nothing counts for nothing; the token's renewal is part of it.
func TestProbesThatGoWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{})
		trip(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		from := time.Now()
		n := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = g.Run(ctx, func(ctx context.Context, p *Permit) error {
				switch n++; n {
				case 1: // hangs
					if err := p.begin(); err != nil {
						t.Error(err)
					}
					<-ctx.Done()
					p.end(report{kind: Canceled, sent: true})
				case 2: // does nothing
				case 3: // renews the token
					if err := p.begin(); err != nil {
						t.Error(err)
					}
					p.end(report{kind: Canceled, sent: true})
					again, err := g.Acquire(ctx, Probe, CanPositions)
					if err != nil {
						t.Errorf("second request of the probe: %v", err)
						return nil
					}
					if err := again.begin(); err != nil {
						t.Error(err)
					}
					again.end(report{sent: true})
				default:
					t.Errorf("probe %d", n)
				}
				return nil
			})
		})
		sendOne(t, g, 0)
		if got, want := time.Since(from), 3*500*time.Millisecond+ProbeTimeout; got != want {
			t.Errorf("recovered after %s, want %s", got, want)
		}
		if err := g.Run(ctx, nil); err == nil {
			t.Error("a second Run")
		}
		cancel()
		wg.Wait()
		// Run may be called again, and the gate recovers without it meanwhile.
		trip(t, g)
		time.Sleep(time.Second)
		sendOne(t, g, 0)
		if s := g.State().Breaker; s != BreakerClosed {
			t.Errorf("breaker is %s", s)
		}
	})
}
