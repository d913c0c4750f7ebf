package bus_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func objects(t *testing.T) (*bustest.Server, *bus.Objects, jetstream.ObjectStore) {
	t.Helper()
	s, b := ready(t, bustest.Options{})
	o, err := b.Objects(soon(t), bus.FilesStore)
	if err != nil {
		t.Fatal(err)
	}
	store, err := library(t, s.ClientURL()).ObjectStore(soon(t), bus.FilesStore)
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
	for _, size := range []int{0, 1, 128 << 10, 128<<10 + 1, 3 << 20} {
		data := someBytes(size)
		name := string(rune('a' + size%26))
		if _, err := store.PutBytes(ctx, name, data); err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		if got, err := o.Get(ctx, name, int64(size)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("get %d bytes: %d, %v", size, len(got), err)
		}
		if size == 0 {
			continue
		}
		if _, err := o.Get(ctx, name, int64(size-1)); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("limit below %d: %v", size, err)
		}
	}
	if _, err := o.Get(ctx, "nothing", 1); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("an object that is not there: %v", err)
	}
}

func TestDamagedObjects(t *testing.T) {
	t.Parallel()
	s, o, store := objects(t)
	js := library(t, s.ClientURL())
	stream, err := js.Stream(soon(t), "OBJ_"+bus.FilesStore)
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
			return stream.Purge(ctx, jetstream.WithPurgeSubject(chunks(ctx, name)), jetstream.WithPurgeKeep(23))
		}, bus.ErrNotFound},
		"a chunk of another size": {func(ctx context.Context, name string) error {
			subject := chunks(ctx, name)
			if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(23)); err != nil {
				return err
			}
			_, err := js.Publish(ctx, subject, someBytes(1))
			return err
		}, bus.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := soon(t)
			if _, err := store.PutBytes(ctx, name, data); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(ctx, name); err != nil {
				t.Fatal(err)
			}
			if got, err := o.Get(ctx, name, 3<<20); !errors.Is(err, tt.want) || got != nil {
				t.Errorf("%d bytes, %v, want %v", len(got), err, tt.want)
			}
			if _, err := store.PutBytes(ctx, name, data); err != nil {
				t.Fatal(err)
			}
			if got, err := o.Get(ctx, name, 3<<20); err != nil || !bytes.Equal(got, data) {
				t.Errorf("stored anew: %d bytes, %v", len(got), err)
			}
		})
	}
	ctx := soon(t)
	if err := js.DeleteObjectStore(ctx, bus.FilesStore); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Get(ctx, "x", 1); !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("get from a deleted store: %v", err)
	}
}

// What other clients write about an object, or damage, decides at once what becomes of its reader: content, or an error that is not
// the bus's. No entry leads out of the store.
func TestDescribedObjects(t *testing.T) {
	t.Parallel()
	s, o, store := objects(t)
	js := library(t, s.ClientURL())
	ctx := soon(t)
	data := someBytes(200 << 10)
	whole, err := store.PutBytes(ctx, "whole", data)
	if err != nil {
		t.Fatal(err)
	}
	crumbs, err := store.Put(ctx, jetstream.ObjectMeta{Name: "crumbs", Opts: &jetstream.ObjectMetaOptions{ChunkSize: 128}}, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	other, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "OTHER"})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.PutBytes(ctx, "foreign", data)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(change func(*jetstream.ObjectInfo)) string {
		info := *whole
		info.Opts = &jetstream.ObjectMetaOptions{}
		change(&info)
		b, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	link := func(bucket, name string) string {
		return entry(func(i *jetstream.ObjectInfo) {
			i.NUID, i.Size, i.Chunks, i.Opts.Link = "", 0, 0, &jetstream.ObjectLink{Bucket: bucket, Name: name}
		})
	}
	files := bus.FilesStore
	for name, tt := range map[string]struct {
		entry string
		want  error
	}{
		"digest in lower case":    {entry(func(i *jetstream.ObjectInfo) { i.Digest = "sha-256" + i.Digest[7:] }), nil},
		"digest without padding":  {entry(func(i *jetstream.ObjectInfo) { i.Digest = strings.TrimRight(i.Digest, "=") }), nil},
		"no digest":               {entry(func(i *jetstream.ObjectInfo) { i.Digest = "" }), nil},
		"wrong digest":            {entry(func(i *jetstream.ObjectInfo) { i.Digest = foreign.Digest[:20] }), nil},
		"wrong number of chunks":  {entry(func(i *jetstream.ObjectInfo) { i.Chunks = 77 }), nil},
		"no options":              {entry(func(i *jetstream.ObjectInfo) { i.Opts = nil }), nil},
		"link":                    {link(files, "whole"), nil},
		"larger than it is":       {entry(func(i *jetstream.ObjectInfo) { i.Size++ }), bus.ErrNotFound},
		"larger than anything":    {entry(func(i *jetstream.ObjectInfo) { i.Size = math.MaxUint64 }), bus.ErrTooLarge},
		"deleted":                 {entry(func(i *jetstream.ObjectInfo) { i.Deleted = true }), bus.ErrNotFound},
		"no chunks named":         {entry(func(i *jetstream.ObjectInfo) { i.NUID = "" }), bus.ErrDamaged},
		"all chunks named":        {entry(func(i *jetstream.ObjectInfo) { i.NUID = ">" }), bus.ErrDamaged},
		"chunks of another store": {entry(func(i *jetstream.ObjectInfo) { i.Bucket, i.NUID = foreign.Bucket, foreign.NUID }), bus.ErrNotFound},
		"entry of another name":   {entry(func(i *jetstream.ObjectInfo) { i.Name, i.NUID = "nobody", "none" }), bus.ErrNotFound},
		"in too many chunks":      {entry(func(i *jetstream.ObjectInfo) { i.NUID, i.Chunks = crumbs.NUID, crumbs.Chunks }), bus.ErrDamaged},
		"no JSON":                 {"{", bus.ErrDamaged},
		"empty entry":             {"", bus.ErrDamaged},
		"wrong types":             {`{"size":"many"}`, bus.ErrDamaged},
		"link to nothing":         {link(files, "nothing"), bus.ErrNotFound},
		"link to a link":          {link(files, "link"), bus.ErrDamaged},
		"link to a store":         {link(files, ""), bus.ErrDamaged},
		"link to another store":   {link("OTHER", "foreign"), bus.ErrDamaged},
	} {
		if _, err := js.Publish(ctx, "$O."+files+".M."+base64.URLEncoding.EncodeToString([]byte(name)), []byte(tt.entry)); err != nil {
			t.Fatal(err)
		}
		if name == "link to a link" {
			continue // read when all are there
		}
		got, err := o.Get(ctx, name, 6<<20)
		if !errors.Is(err, tt.want) || (err == nil) != bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, tt.want)
		}
	}
	if _, err := o.Get(ctx, "link to a link", 6<<20); !errors.Is(err, bus.ErrDamaged) {
		t.Errorf("link to a link: %v", err)
	}
}
