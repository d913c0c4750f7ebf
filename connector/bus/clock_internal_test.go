package bus

import (
	"testing"
	"time"
)

// A look is off by up to half of the time that it took. So a slow one proves the last one wrong only if it contradicts that by more:
// else a good clock would be exchanged for one that is off by seconds.
func TestSlowLookMustProveTheLastOneWrong(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for name, tt := range map[string]struct {
		said time.Duration // the server's clock in the slow look, beside the true one at its beginning
		want bool          // whether it replaces the last one
	}{
		"at its beginning, and the last one was ahead": {0, false},
		"at its end":                     {4 * time.Second, false},
		"before it, by more than can be": {-time.Second, true},
		"after it, by more than can be":  {6 * time.Second, true},
	} {
		b := &Bus{}
		b.sawClock(at(400*time.Millisecond), at(0), at(400*time.Millisecond)) // said at its end, so taken 200 ms too early: the clock is ahead
		was := b.clock.Load()
		b.sawClock(at(10*time.Second+tt.said), at(10*time.Second), at(14*time.Second))
		if got := b.clock.Load() != was; got != tt.want {
			t.Errorf("%s: replaced %v, want %v", name, got, tt.want)
		}
	}
}
