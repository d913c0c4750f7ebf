package connector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// roomPause is the time between two looks at how full the events stream is.
const roomPause = 2 * time.Second

// silentAfter is how long the bus may leave such a look unanswered before the connector calls itself not ready.
const silentAfter = 15 * time.Second

// room keeps new claims, polls and passes of the sweep out while the events stream is 95 % full, so that an outcome always fits.
type room struct {
	log zerolog.Logger
	// heard is when the bus last answered, as a time since the beginning of the process.
	heard atomic.Int64

	mu   sync.Mutex // guards full and turn
	full bool
	// turn is closed when full changes, and replaced.
	turn chan struct{}
}

var processBegan = time.Now()

func newRoom(log zerolog.Logger) *room { return &room{log: log, turn: make(chan struct{})} }

// wait blocks while the stream is nearly full.
func (r *room) wait(ctx context.Context) error {
	for {
		r.mu.Lock()
		full, turn := r.full, r.turn
		r.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// shut is closed when the stream becomes nearly full; it is open while there is room.
func (r *room) shut() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return r.turn
}

// isFull reports whether claims are kept out.
func (r *room) isFull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

func (r *room) look(st bus.StreamState) {
	full := st.MaxBytes > 0 && st.Bytes >= st.MaxBytes/100*95
	r.mu.Lock()
	defer r.mu.Unlock()
	if full == r.full {
		return
	}
	r.full = full
	close(r.turn)
	r.turn = make(chan struct{})
	if full {
		r.log.Error().Int64("bytes", st.Bytes).Int64("max_bytes", st.MaxBytes).Msg("the events stream is 95 % full: no candidate is submitted and no status is looked for until its max_bytes is raised")
	} else {
		r.log.Info().Int64("bytes", st.Bytes).Int64("max_bytes", st.MaxBytes).Msg("the events stream has room again; going on")
	}
}

// silent says that the bus has not answered for a while, although it may look connected.
func (r *room) silent() error {
	if since := time.Since(processBegan) - time.Duration(r.heard.Load()); since > silentAfter {
		return fmt.Errorf("the bus has not answered for %s", since.Truncate(time.Second))
	}
	return nil
}

// run watches the stream until ctx ends, or until it is no longer the one that was made at born: then it calls lost. It also
// keeps the bus's idea of the server's clock fresh.
func (r *room) run(ctx context.Context, b *bus.Bus, stream string, born time.Time, lost func()) {
	for {
		st, err := b.StreamState(ctx, stream, "")
		if errors.Is(err, bus.ErrGone) || err == nil && !st.Created.Equal(born) {
			lost()
			return
		}
		if err == nil {
			r.heard.Store(int64(time.Since(processBegan)))
			r.look(st)
		} else if ctx.Err() == nil {
			r.log.Error().Err(err).Msg("could not look at the events stream")
		}
		if !rest(ctx, roomPause) {
			return
		}
	}
}
