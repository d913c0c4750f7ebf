package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Lease writes a key that vanishes by itself after ttl, if its last revision is as expected; 0
// means that it must not be there. It returns the new revision, to be given to the next renewal.
// ErrConflict if somebody else has written it.
//
// It is a plain publish because the client library's Update takes no time to live and would make
// the key immortal.
func (k *Bucket) Lease(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	subject := k.subject(key)
	return k.bus.Publish(ctx, Write{Subject: subject, Data: value, TTL: ttl, Expect: &Expect{Filter: subject, Seq: revision}})
}

// Revision is the last revision of a key, even if that is only the mark that it was deleted or has
// expired; 0 if there is none.
func (k *Bucket) Revision(ctx context.Context, key string) (uint64, error) {
	m, err := k.bus.Last(ctx, "KV_"+k.kv.Bucket(), k.subject(key))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return m.Seq, err
}

// Release ends a lease at once.
func (k *Bucket) Release(ctx context.Context, key string) error {
	_, err := k.bus.Publish(ctx, Write{
		Subject: k.subject(key), TTL: time.Second,
		Header: map[string][]string{operationHeader: {"PURGE"}, jetstream.MsgRollup: {jetstream.MsgRollupSubject}},
	})
	return err
}

// Update stores a key if its last revision is as expected, 0 meaning that it was never there, and
// returns the new revision. ErrConflict if somebody else has written it since.
func (k *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	subject := k.subject(key)
	return k.bus.Publish(ctx, Write{Subject: subject, Data: value, Expect: &Expect{Filter: subject, Seq: revision}})
}

// watchLife is how long one watch is trusted. The mark of an expired key stays for a second only,
// so that a watch whose consumer is made anew (after a restart, a new leader, a gap) may never
// learn that the key is gone; a new watch does.
const watchLife = 10 * time.Second

// Watch calls changed with the keys that are there and when each was last written, by the server's
// clock: first as soon as that is known and then at every write, until ctx ends or the watch
// breaks; then watch anew. What a broken watch missed is known within 10 s. changed must not block,
// nor keep the map. ErrAssetDeleted if the bucket was deleted.
func (k *Bucket) Watch(ctx context.Context, changed func(keys map[string]time.Time)) error {
	for {
		if err := k.watch(ctx, changed); err != nil {
			return err
		}
	}
}

func (k *Bucket) watch(ctx context.Context, changed func(keys map[string]time.Time)) error {
	// The library ends a watch with the context that it was begun with.
	life, cancel := context.WithTimeout(ctx, watchLife)
	defer cancel()
	restored := k.bus.epoch.Load().ctx.Done()
	w, err := k.kv.WatchAll(life, jetstream.MetaOnly())
	if err != nil {
		verdict, again := classify(err)
		if !again {
			return fmt.Errorf("watch bucket %s: %w", k.kv.Bucket(), verdict)
		}
		if ctx.Err() == nil {
			k.bus.notify(ConnEvent{State: "waiting", Err: err})
		}
		if !k.bus.wait(ctx, time.Second) {
			return k.bus.ended(ctx)
		}
		return nil
	}
	defer stopWatch(w)
	keys := map[string]time.Time{}
	known := false
	for {
		select {
		case <-life.Done():
			return context.Cause(ctx)
		case <-restored:
			return nil
		case e, open := <-w.Updates():
			switch {
			case !open && k.bus.nc.IsClosed():
				return fmt.Errorf("watch bucket %s: %w", k.kv.Bucket(), k.bus.ended(ctx))
			case !open:
				return nil
			case e == nil:
				known = true
			case e.Operation() == jetstream.KeyValuePut:
				keys[e.Key()] = e.Created()
			default:
				delete(keys, e.Key())
			}
			if known {
				changed(keys)
			}
		}
	}
}
