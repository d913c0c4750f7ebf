package connector

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/internal/latest"
)

// capacityPause is the time between two readings of how full the events stream is.
const capacityPause = 2 * time.Second

// unresponsiveAfter is how long the bus may leave such a reading unanswered before the connector
// calls itself not ready.
const unresponsiveAfter = 15 * time.Second

// capacity blocks claims, polls and sweeps while the events stream is at least 95 % full, so that
// there is always space for outcomes.
type capacity struct {
	log  zerolog.Logger
	full latest.Value[bool]
	// lastAnswer is when the bus last answered, as a time since the beginning of the process.
	lastAnswer atomic.Int64
}

var processBegan = time.Now()

// wait blocks while the stream is full.
func (c *capacity) wait(ctx context.Context) error {
	_, err := c.full.Await(ctx, func(full bool) bool { return !full })
	return err
}

// Full is closed when the stream is full, at once if it is already.
func (c *capacity) Full() <-chan struct{} {
	full, changed := c.full.Get()
	if !full {
		return changed
	}
	now := make(chan struct{})
	close(now)
	return now
}

// isFull reports whether claims are blocked.
func (c *capacity) isFull() bool {
	full, _ := c.full.Get()
	return full
}

// update takes what the bus says of the stream.
func (c *capacity) update(st bus.StreamState) {
	c.lastAnswer.Store(int64(time.Since(processBegan)))
	full := st.MaxBytes > 0 && st.Bytes >= st.MaxBytes/100*95
	if full == c.isFull() {
		return
	}
	c.full.Set(full)
	if full {
		c.log.Error().Int64("bytes", st.Bytes).Int64("max_bytes", st.MaxBytes).Msg("the events stream is 95 % full: no candidate is submitted and no status is looked for until its max_bytes is raised")
	} else {
		c.log.Info().Int64("bytes", st.Bytes).Int64("max_bytes", st.MaxBytes).Msg("the events stream has room again; going on")
	}
}

// unresponsive says that the bus has not answered for a while, although it may look connected; nil
// if it has.
func (c *capacity) unresponsive() error {
	if since := time.Since(processBegan) - time.Duration(c.lastAnswer.Load()); since > unresponsiveAfter {
		return fmt.Errorf("the bus has not answered for %s", since.Truncate(time.Second))
	}
	return nil
}

// run reads the stream's state until ctx ends, or until the stream is no longer the one that was
// created then: then it calls lost. It also keeps the bus's idea of the server's clock fresh.
func (c *capacity) run(ctx context.Context, b *bus.Bus, stream string, created time.Time, lost func()) {
	for {
		st, err := b.StreamState(ctx, stream, "")
		switch {
		case errors.Is(err, bus.ErrAssetDeleted), err == nil && !st.Created.Equal(created):
			lost()
			return
		case err == nil:
			c.update(st)
		case ctx.Err() == nil:
			c.log.Error().Err(err).Msg("could not look at the events stream")
		}
		if !bus.Sleep(ctx, capacityPause) {
			return
		}
	}
}
