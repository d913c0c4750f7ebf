package connector

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// Each hold is one line of the log, whatever follows it, and no hold is silent.
func TestEachHoldIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tell := tellGate(zerolog.New(&log))
		held := func(d time.Duration) comeet.GateState {
			return comeet.GateState{Budget: comeet.BudgetUse{Hold: d, HoldUntil: time.Now().Add(d)}}
		}
		lines := func() int { return strings.Count(log.String(), "too many requests") }
		for i, step := range []struct {
			state comeet.GateState
			want  int
		}{
			{comeet.GateState{}, 0},
			{held(time.Minute), 1},
			{held(61 * time.Second), 1}, // the same one, by another answer
			{held(time.Hour), 2},
			{comeet.GateState{Paused: true}, 2},
			{held(time.Minute), 3}, // two hours later; the end of the one before was no news
		} {
			if i == 5 {
				time.Sleep(2 * time.Hour)
			}
			if tell(step.state); lines() != step.want {
				t.Errorf("step %d: %d lines, want %d:\n%s", i, lines(), step.want, &log)
			}
		}
	})
}
