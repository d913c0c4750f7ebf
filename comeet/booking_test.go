package comeet

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// owner is a process that books, and may be frozen: nothing of it moves from freeze to thaw, except what is on the wire.
type owner struct {
	gate         *Gate
	freeze, thaw time.Time
}

// stall is called wherever the process could stop.
func (o *owner) stall() {
	if now := time.Now(); !now.Before(o.freeze) && now.Before(o.thaw) {
		time.Sleep(time.Until(o.thaw))
	}
}

// An owner that books, then crashes or is frozen at any instant, with requests in its kernel that arrive after their time, and its successor, who knows only the last booking written,
// together never overrun the limit; even if the owner thaws and goes on.
func TestBookingBoundsAnOwnerThatIsGone(t *testing.T) {
	t.Parallel()
	const requestTimeout = 4 * time.Second
	rapid.Check(t, func(rt *rapid.T) {
		ms := func(label string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(rt, label)) * time.Millisecond
		}
		limit := Limit{Requests: rapid.IntRange(1, 12).Draw(rt, "limit"), Window: 10 * time.Second}
		n := rapid.IntRange(1, 6).Draw(rt, "booked")
		every, validFor := ms("every", 100, 2000), ms("valid for", 200, 4000)
		writing := ms("writing", 0, 500)
		freeze, frozen := ms("freeze", 0, 25_000), ms("frozen", 1, 30_000)
		takeOver := freeze + ms("take-over after", 0, 20_000)
		latency, percent := ms("latency", 0, int(requestTimeout/time.Millisecond)), rapid.IntRange(0, 100).Draw(rt, "percent")
		if rapid.Bool().Draw(rt, "as late as can be") {
			latency, percent = requestTimeout, 100
		}
		late := rapid.Bool().Draw(rt, "the kernel goes on")
		rest := ms("rest", 0, 1500)
		workers := rapid.IntRange(1, 6).Draw(rt, "workers")
		ageKnown := rapid.Bool().Draw(rt, "age known")
		var server strict
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			end := start.Add(takeOver + time.Minute)
			cfg := GateConfig{Limit: limit, RequestTimeout: requestTimeout}
			old := &owner{NewGate(cfg), start.Add(freeze), start.Add(freeze + frozen)}
			var mu sync.Mutex
			var written BudgetState
			var writtenAt time.Time
			taken := false

			old.gate.PrepareBooking(0, 0) // booking is on before the first request
			var wg sync.WaitGroup
			wg.Go(func() {
				for time.Now().Before(end) {
					old.stall()
					prepared := time.Now()
					b := old.gate.PrepareBooking(n, validFor)
					old.stall()
					time.Sleep(writing)
					mu.Lock()
					if taken {
						mu.Unlock()
						return // the compare-and-set fails: somebody else is the owner
					}
					written, writtenAt = b.State, prepared
					mu.Unlock()
					old.stall()
					old.gate.Book(b)
					time.Sleep(every)
				}
			})
			run := func(g *Gate, stall func(), rest time.Duration, latency func() time.Duration) {
				for range workers {
					wg.Go(func() {
						for time.Now().Before(end) {
							time.Sleep(rest)
							stall()
							p, ok := g.TryAcquire(Submit, CanSubmit)
							if !ok {
								time.Sleep(37 * time.Millisecond)
								continue
							}
							stall()
							_ = server.exchange(p, latency(), percent, report{sent: true})
						}
					})
				}
			}
			run(old.gate, old.stall, rest, func() time.Duration {
				if now := time.Now(); late && now.After(old.freeze.Add(-requestTimeout)) && now.Before(old.freeze) {
					return requestTimeout + MaxLateness(requestTimeout)
				}
				return latency
			})
			time.Sleep(takeOver)
			successor := NewGate(cfg)
			mu.Lock()
			taken = true
			state := written
			if ageKnown {
				state = state.After(time.Since(writtenAt))
			}
			mu.Unlock()
			if !writtenAt.IsZero() {
				successor.Import(state)
			}
			run(successor, func() {}, 0, func() time.Duration { return 0 })
			wg.Wait()
		})
		if most := server.busiest(limit.Window); most > limit.Requests {
			rt.Fatalf("%d arrivals within %s, limit %d", most, limit.Window, limit.Requests)
		}
	})
}

func TestBookingAdmitsWhatWasBooked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{})
		early := mustAcquire(t, g, Submit, CanSubmit)
		b := g.PrepareBooking(2, time.Second)
		if _, ok := g.TryAcquire(Submit, CanSubmit); ok {
			t.Error("admitted before the booking is in force")
		}
		if err := early.begin(); KindOf(err) != Unavailable {
			t.Errorf("begin before the booking is in force: %v", err)
		}
		g.Book(b) // two, and one for the permit that was held
		for range 2 {
			p := mustAcquire(t, g, Submit, CanSubmit)
			if err := p.begin(); err != nil {
				t.Fatal(err)
			}
			p.end(report{sent: true})
		}
		if g.booking.left != 1 {
			t.Errorf("%d requests may still begin, want 1", g.booking.left)
		}
		last := mustAcquire(t, g, Submit, CanSubmit)
		if _, ok := g.TryAcquire(Submit, CanSubmit); ok {
			t.Error("admitted more than was booked")
		}
		time.Sleep(time.Second)
		if last.Valid() {
			t.Error("a permit is valid when the booking has run out")
		}
		if err := last.begin(); !errors.Is(err, errBookingSpent) {
			t.Errorf("begin when the booking has run out: %v", err)
		}
		// Who waits goes on with the next booking.
		var got *Permit
		var wg sync.WaitGroup
		wg.Go(func() { got = mustAcquire(t, g, Submit, CanSubmit) })
		synctest.Wait()
		if got != nil {
			t.Error("admitted when the booking has run out")
		}
		g.Book(g.PrepareBooking(1, time.Second))
		wg.Wait()
		if !got.Valid() {
			t.Error("the permit of the next booking is not valid")
		}
	})
}
