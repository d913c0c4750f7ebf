package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is one key-value bucket.
type Bucket struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// Bucket binds a bucket that exists. ErrAssetDeleted if it does not.
func (b *Bus) Bucket(ctx context.Context, name string) (*Bucket, error) {
	out := &Bucket{bus: b}
	err := b.try(ctx, func(ctx context.Context) error {
		kv, err := b.js.KeyValue(ctx, name)
		out.kv = kv
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bind bucket %s: %w", name, err)
	}
	return out, nil
}

// Get reads a key and its revision. ErrNotFound if there is none.
func (k *Bucket) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	value, revision, _, err = k.Read(ctx, key)
	return value, revision, err
}

// Read is Get that also tells when the key was written, by the server's clock.
func (k *Bucket) Read(ctx context.Context, key string) (value []byte, revision uint64, stored time.Time, err error) {
	// Not through the library, whose reads may ask a replica that lags; whoever lost a
	// compare-and-set must see who won.
	m, err := k.bus.Last(ctx, "KV_"+k.kv.Bucket(), k.subject(key))
	if err == nil && removed(m.Header) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, 0, time.Time{}, fmt.Errorf("read key %s of bucket %s: %w", key, k.kv.Bucket(), err)
	}
	return m.Data, m.Seq, m.Time, nil
}

// removed reports whether a message marks that its key was deleted, purged or has expired.
func removed(header map[string][]string) bool {
	op := nats.Header(header).Get(operationHeader)
	return op == "DEL" || op == "PURGE" || op == "" && nats.Header(header).Get(jetstream.MarkerReasonHeader) != ""
}

// Put stores a key whatever was there.
func (k *Bucket) Put(ctx context.Context, key string, value []byte) error {
	_, err := k.bus.Publish(ctx, Write{Subject: k.subject(key), Data: value})
	return err
}

// Delete removes a key; a key that is not there is no error.
func (k *Bucket) Delete(ctx context.Context, key string) error {
	_, err := k.bus.Publish(ctx, Write{Subject: k.subject(key), Header: map[string][]string{operationHeader: {"DEL"}}})
	return err
}

// subject is where a key is stored. Writes are plain publishes, in the form that the client library
// gives them: it takes a bucket that is gone for one that is away.
func (k *Bucket) subject(key string) string { return "$KV." + k.kv.Bucket() + "." + key }

const operationHeader = "KV-Operation"

// allTimeout bounds one try to read a whole bucket.
const allTimeout = 30 * time.Second

// All reads every key that starts with prefix and a dot. ErrAssetDeleted if the bucket was deleted.
func (k *Bucket) All(ctx context.Context, prefix string) (map[string][]byte, error) {
	var out map[string][]byte
	err := k.bus.tryWithin(ctx, allTimeout, func(ctx context.Context) error {
		out = make(map[string][]byte)
		w, err := k.kv.Watch(ctx, prefix+".>", jetstream.IgnoreDeletes())
		if err != nil {
			return err
		}
		defer stopWatch(w)
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case e, open := <-w.Updates():
				if !open {
					return errAgain
				}
				if e == nil {
					return nil
				}
				out[e.Key()] = e.Value()
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read %s of bucket %s: %w", prefix, k.kv.Bucket(), err)
	}
	return out, nil
}

// stopWatch ends a watch and waits until it has: its goroutine would stay for ever with an update
// that nobody takes.
func stopWatch(w jetstream.KeyWatcher) {
	_ = w.Stop()
	for range w.Updates() {
	}
}
