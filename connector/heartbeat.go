package connector

import (
	"context"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// heartbeats give each delivery in hand another AckWait while it is worked on, however long Comeet
// takes.
type heartbeats struct {
	mu   sync.Mutex // guards msgs
	msgs map[uint64]*bus.Msg
}

// add reports whether the event, by its sequence, was not in hand yet. A server that lost a
// heartbeat delivers an event once more. Then the later delivery is kept alive, and the earlier one
// goes on working.
func (h *heartbeats) add(seq uint64, m *bus.Msg) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.msgs == nil {
		h.msgs = make(map[uint64]*bus.Msg)
	}
	_, again := h.msgs[seq]
	h.msgs[seq] = m
	return !again
}

func (h *heartbeats) remove(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.msgs, seq)
}

// run sends the heartbeats until ctx ends, and returns nil then.
func (h *heartbeats) run(ctx context.Context, every time.Duration) error {
	for bus.Sleep(ctx, every) {
		h.mu.Lock()
		msgs := make([]*bus.Msg, 0, len(h.msgs))
		for _, m := range h.msgs {
			msgs = append(msgs, m)
		}
		h.mu.Unlock()
		for _, m := range msgs {
			// A lost heartbeat costs a redelivery, which the ledger recognises.
			_ = m.InProgress()
		}
	}
	return nil
}
