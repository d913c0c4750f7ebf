package comeet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

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
