package bus_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func objects(t *testing.T) (*bustest.Server, *bus.Objects, jetstream.ObjectStore) {
	t.Helper()
	s, b := ready(t, bustest.Options{})
	o, err := b.Objects(soon(t), bus.DefaultNames.Files)
	if err != nil {
		t.Fatal(err)
	}
	store, err := library(t, s.ClientURL()).ObjectStore(soon(t), bus.DefaultNames.Files)
	if err != nil {
		t.Fatal(err)
	}
	return s, o, store
}

func someBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data)
	return data
}

func TestObjects(t *testing.T) {
	t.Parallel()
	_, o, store := objects(t)
	ctx := soon(t)
	for _, size := range []int{0, 1, bus.ChunkBytes, bus.ChunkBytes + 1, 3 << 20} {
		data := someBytes(size)
		name := string(rune('a' + size%26))
		if err := o.PutAbsent(ctx, name, data); err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		if got, err := o.Get(ctx, name, int64(size)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("get %d bytes: %d, %v", size, len(got), err)
		}
		if got, err := store.GetBytes(ctx, name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("the library gets %d bytes: %d, %v", size, len(got), err)
		}
		if size == 0 {
			continue
		}
		if _, err := o.Get(ctx, name, int64(size-1)); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("limit below %d: %v", size, err)
		}
		before, err := store.GetInfo(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.PutAbsent(ctx, name, someBytes(size)); err != nil {
			t.Fatal(err)
		}
		if after, err := store.GetInfo(ctx, name); err != nil || after.NUID != before.NUID {
			t.Errorf("a second put replaced the first: %v", err)
		}
	}
	if _, err := o.Get(ctx, "nothing", 1); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("an object that is not there: %v", err)
	}
	data := someBytes(3 << 20)
	if _, err := store.PutBytes(ctx, "theirs", data); err != nil {
		t.Fatal(err)
	}
	if got, err := o.Get(ctx, "theirs", 3<<20); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what the library put: %d bytes, %v", len(got), err)
	}
}

func TestDamagedObjects(t *testing.T) {
	t.Parallel()
	s, o, store := objects(t)
	js := library(t, s.ClientURL())
	stream, err := js.Stream(soon(t), "OBJ_"+bus.DefaultNames.Files)
	if err != nil {
		t.Fatal(err)
	}
	data := someBytes(3 << 20)
	chunks := func(ctx context.Context, name string) string {
		info, err := store.GetInfo(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return "$O." + info.Bucket + ".C." + info.NUID
	}
	for name, tt := range map[string]struct {
		damage func(ctx context.Context, name string) error
		want   error
	}{
		"no chunk left": {func(ctx context.Context, name string) error {
			return stream.Purge(ctx, jetstream.WithPurgeSubject(chunks(ctx, name)))
		}, bus.ErrNotFound},
		"one chunk missing": {func(ctx context.Context, name string) error {
			return stream.Purge(ctx, jetstream.WithPurgeSubject(chunks(ctx, name)), jetstream.WithPurgeKeep(5))
		}, bus.ErrNotFound},
		"another content": {func(ctx context.Context, name string) error {
			subject := chunks(ctx, name)
			if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(5)); err != nil {
				return err
			}
			_, err := js.Publish(ctx, subject, someBytes(bus.ChunkBytes))
			return err
		}, jetstream.ErrDigestMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := soon(t)
			if err := o.PutAbsent(ctx, name, data); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(ctx, name); err != nil {
				t.Fatal(err)
			}
			if got, err := o.Get(ctx, name, 3<<20); !errors.Is(err, tt.want) || got != nil {
				t.Errorf("%d bytes, %v, want %v", len(got), err, tt.want)
			}
			if !errors.Is(tt.want, bus.ErrNotFound) {
				return
			}
			if err := o.PutAbsent(ctx, name, data); err != nil {
				t.Fatal(err)
			}
			if got, err := o.Get(ctx, name, 3<<20); err != nil || !bytes.Equal(got, data) {
				t.Errorf("stored anew: %d bytes, %v", len(got), err)
			}
		})
	}
	ctx := soon(t)
	if err := js.DeleteObjectStore(ctx, bus.DefaultNames.Files); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Get(ctx, "x", 1); !errors.Is(err, bus.ErrGone) {
		t.Errorf("get from a deleted store: %v", err)
	}
	if err := o.PutAbsent(ctx, "x", []byte("x")); !errors.Is(err, bus.ErrGone) {
		t.Errorf("put into a deleted store: %v", err)
	}
}
