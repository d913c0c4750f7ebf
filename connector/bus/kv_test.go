package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func bucket(t *testing.T, b *bus.Bus, name string) *bus.Bucket {
	t.Helper()
	k, err := b.Bucket(soon(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBucket(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	ctx := soon(t)
	k := bucket(t, b, bus.PositionsBucket)
	if _, _, err := k.Get(ctx, "acme.1"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	if all, err := k.All(ctx, "acme"); err != nil || len(all) != 0 {
		t.Errorf("all of nothing: %v, %v", all, err)
	}
	for _, key := range []string{"acme.1", "acme.2", "acme.3", "other.1"} {
		if err := k.Put(ctx, key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(k.Delete(ctx, "acme.2"), k.Delete(ctx, "acme.never")); err != nil {
		t.Fatal(err)
	}
	all, err := k.All(ctx, "acme")
	if diff := cmp.Diff(map[string][]byte{"acme.1": []byte("acme.1"), "acme.3": []byte("acme.3")}, all); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, _, err := k.Get(ctx, "acme.2"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
	value, revision, stored, err := k.Read(ctx, "acme.3")
	if err != nil || string(value) != "acme.3" || revision != 3 || time.Since(stored).Abs() > time.Minute {
		t.Errorf("read %q, %d, %v, %v", value, revision, stored, err)
	}
	next, err := k.Update(ctx, "acme.3", []byte("new"), revision)
	if err != nil || next <= revision {
		t.Errorf("update: %d, %v", next, err)
	}
	if _, err := k.Update(ctx, "acme.3", []byte("newer"), revision); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("update of an old revision: %v", err)
	}
	if err := library(t, s.ClientURL()).DeleteKeyValue(ctx, bus.PositionsBucket); err != nil {
		t.Fatal(err)
	}
	_, _, get := k.Get(ctx, "acme.1")
	_, err = k.All(ctx, "acme")
	_, bind := b.Bucket(ctx, bus.PositionsBucket)
	for call, err := range map[string]error{"get": get, "all": err, "bind": bind, "put": k.Put(ctx, "acme.1", nil), "watch": k.Watch(ctx, func(map[string]time.Time) {})} {
		if !errors.Is(err, bus.ErrAssetDeleted) {
			t.Errorf("%s of a deleted bucket: %v, want ErrAssetDeleted", call, err)
		}
	}
}

// Many values do not fit into the client library's buffers: ending early must not leave anything behind.
func TestBucketAllEndsEarly(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	js := library(t, s.ClientURL())
	for i := range 2000 {
		if _, err := js.PublishAsync(fmt.Sprintf("$KV.%s.acme.%d", bus.PositionsBucket, i), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	k := bucket(t, b, bus.PositionsBucket)
	for d := time.Millisecond; d < 8*time.Millisecond; d += time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		_, _ = k.All(ctx, "acme")
		cancel()
	}
	if all, err := k.All(soon(t), "acme"); err != nil || len(all) != 2000 {
		t.Errorf("%d keys, %v", len(all), err)
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	ctx := soon(t)
	k := bucket(t, b, bus.MembersBucket)
	first, err := k.Lease(ctx, "a", nil, 0, bustest.Stretch(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Lease(ctx, "a", nil, 0, time.Minute); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("a second owner: %v", err)
	}
	second, err := k.Lease(ctx, "a", []byte("v"), first, bustest.Stretch(time.Second))
	if err != nil || second <= first {
		t.Fatalf("renewal: %d, %v", second, err)
	}
	kv, err := library(t, s.ClientURL()).KeyValue(ctx, bus.MembersBucket)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, "a"); err != nil || string(e.Value()) != "v" {
		t.Errorf("the library reads %v, %v", e, err)
	}
	until(t, "the lease has expired", func() bool {
		_, _, err := k.Get(ctx, "a")
		return errors.Is(err, bus.ErrNotFound)
	})
	until(t, "its mark has gone and the key may be had", func() bool {
		_, err := k.Lease(ctx, "a", nil, 0, time.Minute)
		return err == nil
	})
	if err := k.Release(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Get(ctx, "a"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a released key: %v", err)
	}
}

// watched follows a bucket and says who is there.
func watched(t *testing.T, k *bus.Bucket) (see func(want ...string), ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string)
	done := make(chan error, 1)
	go func() {
		done <- k.Watch(ctx, func(keys map[string]time.Time) {
			select {
			case seen <- strings.Join(slices.Sorted(maps.Keys(keys)), " "):
			case <-ctx.Done():
			}
		})
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		for range done {
		}
	})
	return func(want ...string) {
		t.Helper()
		limit := time.After(patience)
		var last string
		for {
			select {
			case last = <-seen:
				if last == strings.Join(want, " ") {
					return
				}
			case err := <-done:
				t.Fatalf("the watch ended: %v", err)
			case <-limit:
				t.Fatalf("last seen %q, want %q", last, want)
			}
		}
	}, done
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	ctx := soon(t)
	k := bucket(t, b, bus.MembersBucket)
	see, ended := watched(t, k)
	see()
	if _, err := k.Lease(ctx, "a", nil, 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	see("a")
	if _, err := k.Lease(ctx, "b", nil, 0, bustest.Stretch(time.Second)); err != nil {
		t.Fatal(err)
	}
	see("a", "b")
	see("a") // b has expired
	if _, err := k.Lease(ctx, "c", nil, 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	see("a", "c")
	if err := k.Release(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	see("a")
	if err := library(t, s.ClientURL()).DeleteKeyValue(ctx, bus.MembersBucket); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("the bucket was deleted: %v, want ErrAssetDeleted", err)
	}
}

// A member whose key expires while the watcher is cut off leaves a mark for one second only; the watcher must learn it even so.
func TestWatchLearnsWhatItMissed(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	ctx := soon(t)
	mine := bucket(t, b, bus.MembersBucket)
	for key, ttl := range map[string]time.Duration{"dies": bustest.Stretch(time.Second), "lives": time.Hour} {
		if _, err := mine.Lease(ctx, key, nil, 0, ttl); err != nil {
			t.Fatal(err)
		}
	}
	p := proxy(t, s)
	see, _ := watched(t, bucket(t, connect(t, p.URL(), nil), bus.MembersBucket))
	see("dies", "lives")
	p.Mute(true)
	stream, err := library(t, s.ClientURL()).Stream(ctx, "KV_"+bus.MembersBucket)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the mark has gone too", func() bool {
		_, err := stream.GetLastMsgForSubject(ctx, "$KV."+bus.MembersBucket+".dies")
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	p.Mute(false)
	p.Cut()
	see("lives")
}
