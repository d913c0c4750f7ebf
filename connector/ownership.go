package connector

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// Which replica serves an account: the highest of all live members in a hash over member and account. Every member reckons for
// itself, so that nothing has to be agreed on. A belief can be wrong, such as that of a process that was frozen; then two serve
// one account for a while. The ledger's compare-and-set keeps every promise even so; ownership only saves budget, and
// the budget is kept by bookings.

// membership is this replica's key in the members bucket, and who else has one.
type membership struct {
	bucket *bus.Bucket
	self   string
	ttl    time.Duration

	mu     sync.Mutex // guards live and turn
	live   []string
	turn   chan struct{}
	joined bool
}

func newMembership(bucket *bus.Bucket, self string, ttl time.Duration) *membership {
	return &membership{bucket: bucket, self: self, ttl: ttl, turn: make(chan struct{})}
}

// owns reports whether this replica is to serve an account, by what is known now; changed is closed when that may change.
func (m *membership) owns(account string) (owned bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined && ownerOf(account, m.live) == m.self, m.turn
}

// ownerOf is rendezvous hashing: who joins or leaves moves only the accounts that it wins or had.
func ownerOf(account string, members []string) string {
	var owner string
	var best uint64
	for _, m := range members {
		h := fnv.New64a()
		h.Write([]byte(m))
		h.Write([]byte{0})
		h.Write([]byte(account))
		// FNV alone leaves near names near each other.
		if w := mix(h.Sum64()); owner == "" || w > best || w == best && m < owner {
			owner, best = m, w
		}
	}
	return owner
}

func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// run keeps our key alive and watches the others' until ctx ends, then takes our key away at once.
func (m *membership) run(ctx context.Context, tell func(error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for {
			if err := m.bucket.Watch(ctx, m.see); ctx.Err() == nil {
				tell(err)
			}
			if !rest(ctx, time.Second) {
				return
			}
		}
	})
	var revision uint64
	for {
		err := m.renew(ctx, &revision)
		if err != nil && ctx.Err() == nil {
			tell(fmt.Errorf("renew this replica's membership: %w", err))
		}
		if !rest(ctx, m.ttl/3) {
			break
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = m.bucket.Release(last, m.self)
}

// renew writes our key. One that a process of the same name left is taken over, and so is the mark of one that has ended.
func (m *membership) renew(ctx context.Context, revision *uint64) error {
	ctx, cancel := context.WithTimeout(ctx, m.ttl)
	defer cancel()
	next, err := m.bucket.Lease(ctx, m.self, nil, *revision, m.ttl)
	if errors.Is(err, bus.ErrConflict) {
		if *revision, err = m.bucket.Revision(ctx, m.self); err != nil {
			return err
		}
		next, err = m.bucket.Lease(ctx, m.self, nil, *revision, m.ttl)
	}
	if err == nil {
		*revision = next
	}
	return err
}

func (m *membership) see(keys map[string]struct{}) {
	live := slices.Sorted(maps.Keys(keys))
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Equal(live, m.live) {
		return
	}
	m.live = live
	m.joined = m.joined || slices.Contains(live, m.self)
	close(m.turn)
	m.turn = make(chan struct{})
}
