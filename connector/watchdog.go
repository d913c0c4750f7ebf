package connector

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// watchPause is the time between two looks at whether an account gets on. Only tests change it.
var watchPause = 10 * time.Second

// stalledLooks is how many looks in a row must see events wait untouched before the account is
// built anew. Time alone would also blame the bus after this process was frozen.
const stalledLooks = 3

// errStalled means that events wait, the bus was asked for them, and still none comes.
var errStalled = errors.New("events wait, the bus is asked for them, and yet it delivers none")

// progress is what the watchdog has to know of an account's intake.
type progress struct {
	deliveries atomic.Int64
	// asking is true while the bus is asked for events. It is not while all workers are busy or the
	// gate gives no permit, and only the gate knows when it will: a budget with free slots may
	// still owe them to the polls.
	asking atomic.Bool
}

func (p *progress) note() { p.deliveries.Add(1) }

// watch ends the account's term when it has stalled: a subscription that was lost without a word, a
// leader that forgot us. The supervisor builds it anew.
func (a *account) watch(ctx context.Context) error {
	var before int64
	for looks := 0; bus.Sleep(ctx, watchPause); {
		st, err := a.consumer.State(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		a.metrics.waiting.Set(float64(st.Pending))
		a.metrics.held.Set(float64(st.AckPending))
		looks++
		delivered := a.progress.deliveries.Load()
		if delivered != before || st.Pending == 0 || st.AckPending >= maxAckPending(a.cfg.Workers) || !a.progress.asking.Load() {
			before, looks = delivered, 0
		}
		if looks == stalledLooks {
			return errStalled
		}
	}
	return nil
}
