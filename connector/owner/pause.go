package owner

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// pausedKey is the head of a pause's key in the accounts bucket. A pause holds whichever replica
// serves the account, over restarts, and until an operator takes it back.
const pausedKey = "paused."

// Pause is why an account is held.
type Pause struct {
	// Account is its name.
	Account string `json:"-"`
	// Reason is the operator's text.
	Reason string `json:"reason"`
	// Since is when it was paused, by the operator's clock.
	Since time.Time `json:"since"`
}

// PauseAccount holds an account until ResumeAccount: its owner fetches and sends nothing for it,
// and nothing is lost. bucket is the accounts bucket. Errors: the bus's, the context's.
func PauseAccount(ctx context.Context, bucket *bus.Bucket, account, reason string) error {
	raw, err := json.Marshal(Pause{Reason: reason, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	return bucket.Put(ctx, pausedKey+account, raw)
}

// ResumeAccount ends a pause, and reports whether there was one. Errors: the bus's, the context's.
func ResumeAccount(ctx context.Context, bucket *bus.Bucket, account string) (paused bool, err error) {
	_, _, err = bucket.Get(ctx, pausedKey+account)
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, bucket.Delete(ctx, pausedKey+account)
}

// Paused lists the accounts that are paused, by name. Errors: the bus's, the context's.
func Paused(ctx context.Context, bucket *bus.Bucket) ([]Pause, error) {
	all, err := bucket.All(ctx, strings.TrimSuffix(pausedKey, "."))
	if err != nil {
		return nil, err
	}
	var out []Pause
	for _, key := range slices.Sorted(maps.Keys(all)) {
		p := Pause{Account: strings.TrimPrefix(key, pausedKey)}
		if err := json.Unmarshal(all[key], &p); err != nil {
			p.Reason = "unreadable"
		}
		out = append(out, p)
	}
	return out, nil
}

// Pauses apply the pauses in force to the gates of the accounts that this replica serves. Its
// methods are safe for concurrent use.
type Pauses struct {
	bucket *bus.Bucket
	log    zerolog.Logger
	// read is closed when the pauses in force are known for the first time.
	read chan struct{}
	once sync.Once

	mu    sync.Mutex // guards what follows
	known map[string]string
	gates map[string]*comeet.Gate
}

// NewPauses returns the pauses of the accounts bucket. None is known until Run.
func NewPauses(bucket *bus.Bucket, log zerolog.Logger) *Pauses {
	return &Pauses{
		bucket: bucket, log: log, read: make(chan struct{}),
		known: map[string]string{}, gates: map[string]*comeet.Gate{},
	}
}

// Admit applies a pause that is in force to the gate of an account that begins to be served, and
// later ones as they come. It blocks until Run knows what is in force, or ctx ends.
func (p *Pauses) Admit(ctx context.Context, account string, g *comeet.Gate) {
	select {
	case <-p.read:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gates[account] = g
	if reason, paused := p.known[account]; paused {
		g.Pause(reason)
	}
}

// Run follows the bucket until ctx ends. It logs trouble and goes on.
func (p *Pauses) Run(ctx context.Context) {
	for {
		seen := make(chan map[string]time.Time, 1)
		watch, cancel := context.WithCancel(ctx)
		var applying sync.WaitGroup
		applying.Go(func() {
			for {
				select {
				case keys := <-seen:
					p.apply(watch, keys)
				case <-watch.Done():
					return
				}
			}
		})
		err := p.bucket.Watch(watch, func(keys map[string]time.Time) {
			select {
			case <-seen:
			default:
			}
			seen <- maps.Clone(keys)
		})
		cancel()
		applying.Wait()
		if ctx.Err() != nil {
			return
		}
		p.log.Warn().Err(err).Msg("cannot follow which accounts are paused; trying again")
		if !bus.Sleep(ctx, time.Second) {
			return
		}
	}
}

func (p *Pauses) apply(ctx context.Context, keys map[string]time.Time) {
	now := map[string]string{}
	for key := range keys {
		account, ok := strings.CutPrefix(key, pausedKey)
		if !ok {
			continue
		}
		now[account] = "paused"
		if raw, _, err := p.bucket.Get(ctx, key); err == nil {
			var reason Pause
			if json.Unmarshal(raw, &reason) == nil {
				now[account] = reason.Reason
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for account, g := range p.gates {
		reason, paused := now[account]
		if _, before := p.known[account]; paused {
			g.Pause(reason)
		} else if before {
			g.Resume()
		}
	}
	p.known = now
	p.once.Do(func() { close(p.read) })
}
