package comeet

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
