package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// An operator's pause is a key in the accounts bucket, so that it holds whichever replica serves the account, over restarts, and
// until somebody takes it back.

// Pause is why an account is held.
type Pause struct {
	// Account is its name.
	Account string `json:"-"`
	// Reason is the operator's text.
	Reason string `json:"reason"`
	// Since is when it was paused, by the operator's clock.
	Since time.Time `json:"since"`
}

const pausedKey = "paused."

// pauses are the pauses in force, and the gates that have to know.
type pauses struct {
	bucket *bus.Bucket
	log    zerolog.Logger
	// read is closed when the pauses in force are known for the first time; nothing is served before.
	read chan struct{}
	once sync.Once

	mu    sync.Mutex // guards what follows
	known map[string]string
	gates map[string]*comeet.Gate
}

func newPauses(bucket *bus.Bucket, log zerolog.Logger) *pauses {
	return &pauses{bucket: bucket, log: log, read: make(chan struct{}), known: map[string]string{}, gates: map[string]*comeet.Gate{}}
}

// admit applies a pause that is in force to the gate of an account that begins to be served.
func (p *pauses) admit(ctx context.Context, account string, g *comeet.Gate) {
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

// run follows the bucket until ctx ends.
func (p *pauses) run(ctx context.Context) {
	for {
		seen := make(chan map[string]struct{}, 1)
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
		err := p.bucket.Watch(watch, func(keys map[string]struct{}) {
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
		if !rest(ctx, time.Second) {
			return
		}
	}
}

func (p *pauses) apply(ctx context.Context, keys map[string]struct{}) {
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

// PauseAccount holds an account until ResumeAccount: nothing is fetched or sent for it, and nothing is lost. An account that no
// connector has ever served may be paused beforehand; that is a warning in the log, since it may be a misspelled name.
func PauseAccount(ctx context.Context, cfg Config, account, reason string) error {
	if err := events.CheckAccount(account); err != nil {
		return err
	}
	return withAccounts(ctx, cfg, func(b *bus.Bus, bucket *bus.Bucket) error {
		raw, err := json.Marshal(Pause{Reason: reason, Since: time.Now().UTC().Truncate(time.Second)})
		if err != nil {
			return err
		}
		if err := bucket.Put(ctx, pausedKey+account, raw); err != nil {
			return err
		}
		served, err := b.HasConsumer(ctx, cfg.WithDefaults().Names.Sourced, consumerOf(account))
		if err == nil && !served {
			cfg.Log.Warn().Str("account", account).Msg("no connector has served an account of this name yet; check the spelling")
		}
		return err
	})
}

// ResumeAccount ends a pause, and reports whether there was one.
func ResumeAccount(ctx context.Context, cfg Config, account string) (paused bool, err error) {
	if err := events.CheckAccount(account); err != nil {
		return false, err
	}
	err = withAccounts(ctx, cfg, func(_ *bus.Bus, bucket *bus.Bucket) error {
		_, _, err := bucket.Get(ctx, pausedKey+account)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		paused = true
		return bucket.Delete(ctx, pausedKey+account)
	})
	return paused, err
}

// Pauses lists the accounts that are paused, by name.
func Pauses(ctx context.Context, cfg Config) ([]Pause, error) {
	var out []Pause
	err := withAccounts(ctx, cfg, func(_ *bus.Bus, bucket *bus.Bucket) error {
		all, err := bucket.All(ctx, strings.TrimSuffix(pausedKey, "."))
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(all)) {
			p := Pause{Account: strings.TrimPrefix(key, pausedKey)}
			if err := json.Unmarshal(all[key], &p); err != nil {
				p.Reason = "unreadable"
			}
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

func withAccounts(ctx context.Context, cfg Config, do func(*bus.Bus, *bus.Bucket) error) error {
	cfg = cfg.WithDefaults()
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, Creds: cfg.NATSCreds, Server: cfg.NATSServer, Name: "comeet-connector accounts", OnEvent: bus.LogEvents(cfg.Log)})
	if err != nil {
		return err
	}
	defer b.Close()
	bucket, err := b.Bucket(ctx, cfg.Names.Accounts)
	if errors.Is(err, bus.ErrGone) {
		return fmt.Errorf("%w: run the connector or setup --apply first", err)
	}
	if err != nil {
		return err
	}
	return do(b, bucket)
}
