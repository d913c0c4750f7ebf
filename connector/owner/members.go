// Package owner decides which replica serves an account, and with which budget: Members says who
// is alive and who of them serves what, Bookings hand the request budget from one owner to the
// next, and Pauses hold an account for an operator whoever serves it.
//
// Each replica serves the accounts for which it is the highest of all live members in a hash over
// member and account. Every member reckons for itself, so nothing has to be agreed on. A belief
// can be wrong, such as that of a process that was frozen; then two replicas serve one account for
// a while. The ledger's compare-and-set keeps every promise even so. Ownership only saves budget,
// and the budget is kept by bookings.
//
// A member lives for as long as it renews its key. That the key is there proves nothing: after an
// orderly restart and a kill, nats-server brings keys back that had expired, without their time to
// live, and an account that such a ghost owns is served by nobody.
package owner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/internal/latest"
)

// ConsumerOf names the durable consumer by which its owner reads an account's events.
func ConsumerOf(account string) string { return "comeet-" + account }

// Members are this replica's key in the members bucket, and which other replicas have one. Its
// methods are safe for concurrent use.
type Members struct {
	bucket *bus.Bucket
	self   string
	ttl    time.Duration
	log    zerolog.Logger
	live   latest.Value[[]string]
	ghosts latest.Value[[]string]
}

const (
	// deadAfter is how many times to live a member may go without renewing its key before the
	// others serve its accounts, where the server has not removed the key by then.
	deadAfter = 3
	// ghostAfter is the same until the others remove the key.
	ghostAfter = 10
)

// NewMembers returns the members of a bucket, of which this replica is to be one by the name self.
// Another replica takes it for dead when its key is ttl old. Nobody owns anything until Run.
func NewMembers(bucket *bus.Bucket, self string, ttl time.Duration, log zerolog.Logger) *Members {
	return &Members{bucket: bucket, self: self, ttl: ttl, log: log}
}

// Owns reports whether this replica is to serve an account, by what is known now.
func (m *Members) Owns(account string) bool {
	live, _ := m.live.Get()
	return ownerOf(account, live) == m.self
}

// Own blocks until this replica is to serve an account. The context that it returns ends when
// another replica is to, or with ctx; release frees what it holds. If ctx ends before, Own returns
// its cause.
func (m *Members) Own(ctx context.Context, account string) (owned context.Context, release func(), err error) {
	isOwner := func(live []string) bool { return ownerOf(account, live) == m.self }
	if _, err := m.live.Await(ctx, isOwner); err != nil {
		return nil, nil, err
	}
	owned, lose := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		_, _ = m.live.Await(owned, func(live []string) bool { return !isOwner(live) })
		lose()
	})
	return owned, func() { lose(); watching.Wait() }, nil
}

// ownerOf is rendezvous hashing: a replica that joins or leaves moves only the accounts that it
// wins or had.
func ownerOf(account string, members []string) string {
	var owner string
	var best uint64
	for _, m := range members {
		if w := xxhash.Sum64String(m + "\x00" + account); owner == "" || w > best || w == best && m < owner {
			owner, best = m, w
		}
	}
	return owner
}

// Run keeps this replica's key alive and watches the others' until ctx ends, then takes its key
// away, so that its accounts move at once. It logs trouble and goes on.
func (m *Members) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for {
			if err := m.bucket.Watch(ctx, m.see); ctx.Err() == nil {
				m.warn(err)
			}
			if !bus.Sleep(ctx, time.Second) {
				return
			}
		}
	})
	var revision uint64
	for {
		err := m.renew(ctx, &revision)
		if err != nil && ctx.Err() == nil {
			m.warn(fmt.Errorf("renew this replica's membership: %w", err))
		}
		if err == nil {
			m.removeGhosts(ctx)
		}
		if !bus.Sleep(ctx, m.ttl/3) {
			break
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = m.bucket.Release(last, m.self)
}

func (m *Members) warn(err error) { m.log.Warn().Err(err).Msg("membership is uncertain") }

// renew writes this replica's key. It takes over a key that a process of the same name left, and
// the mark of one that has ended.
func (m *Members) renew(ctx context.Context, revision *uint64) error {
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

// see judges who is alive by when each key was last renewed. The youngest renewal, which is this
// replica's own as a rule, tells the time: so all times are the server's, and none is compared with
// a clock of this host. It wakes those who wait only if the members have changed.
func (m *Members) see(renewed map[string]time.Time) {
	var now time.Time
	for _, at := range renewed {
		if at.After(now) {
			now = at
		}
	}
	var live, ghosts []string
	for _, key := range slices.Sorted(maps.Keys(renewed)) {
		age := now.Sub(renewed[key])
		if age <= deadAfter*m.ttl {
			live = append(live, key)
		} else if age > ghostAfter*m.ttl {
			ghosts = append(ghosts, key)
		}
	}
	if known, _ := m.live.Get(); !slices.Equal(live, known) {
		m.live.Set(live)
	}
	m.ghosts.Set(ghosts)
}

// removeGhosts removes the keys of members that ended long ago. One that lives after all writes its
// key again.
func (m *Members) removeGhosts(ctx context.Context) {
	ghosts, _ := m.ghosts.Get()
	for _, key := range ghosts {
		err := m.bucket.Release(ctx, key)
		if err == nil {
			m.log.Warn().Str("member", key).Msg("removed a replica that ended long ago from the members; nats-server had brought it back")
		} else if ctx.Err() == nil {
			m.warn(fmt.Errorf("remove the member %s, which ended long ago: %w", key, err))
		}
	}
	m.ghosts.Set(nil)
}
