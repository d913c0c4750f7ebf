package bus_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func TestErase(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	fill(t, library(t, s.ClientURL()), 3)
	for range 2 {
		if err := b.Erase(soon(t), bus.SourcedStream, 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Message(soon(t), bus.SourcedStream, 2); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the erased message: %v", err)
	}
	for _, seq := range []uint64{1, 3} {
		if m, err := b.Message(soon(t), bus.SourcedStream, seq); err != nil || !bytes.HasPrefix(m.Data, []byte("body")) {
			t.Errorf("its neighbour %d: %v", seq, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.Stop()
	if err := b.Erase(short, bus.SourcedStream, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a server: %v", err)
	}
}

// What is erased of a subject is gone, also what was written meanwhile, and its neighbours stay.
func TestEraseAll(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	js := library(t, s.ClientURL())
	fill(t, js, 12)
	for range 2 {
		if err := b.EraseAll(soon(t), bus.SourcedStream, "candidate.sourced.acme"); err != nil {
			t.Fatal(err)
		}
	}
	st, err := b.StreamState(soon(t), bus.SourcedStream, ">")
	if err != nil || len(st.Subjects) != 1 || st.Subjects["candidate.sourced.other"] != 2 {
		t.Errorf("left: %v, %v", st.Subjects, err)
	}
	if err := b.EraseAll(soon(t), "NONE", "x"); !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("of a stream that is not there: %v", err)
	}
}

// Nothing of an object stays: no chunk, no name, no mark that it was there, no byte on the disk.
func TestEraseObject(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	dir := s.StoreDir()
	o, err := b.Objects(soon(t), bus.FilesStore)
	if err != nil {
		t.Fatal(err)
	}
	store, err := library(t, s.ClientURL()).ObjectStore(soon(t), bus.FilesStore)
	if err != nil {
		t.Fatal(err)
	}
	mark := []byte("a mark that only this object has")
	if _, err := store.PutBytes(soon(t), "one", append(bytes.Repeat(mark, 40_000), someBytes(10)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutBytes(soon(t), "other", []byte("other")); err != nil {
		t.Fatal(err)
	}
	if !onDisk(t, dir, mark) {
		t.Fatal("the test looks in the wrong place: the object is not on the disk")
	}
	for range 2 {
		if err := o.Erase(soon(t), "one"); err != nil {
			t.Fatal(err)
		}
	}
	if onDisk(t, dir, mark) {
		t.Error("the object's bytes are still on the disk")
	}
	left, err := store.List(soon(t), jetstream.ListObjectsShowDeleted())
	if err != nil || len(left) != 1 || left[0].Name != "other" {
		t.Errorf("left: %v, %v", left, err)
	}
	if got, err := o.Get(soon(t), "other", 5); err != nil || string(got) != "other" {
		t.Errorf("its neighbour: %s, %v", got, err)
	}
	s.Stop()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := o.Erase(short, "other"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a server: %v", err)
	}
}

func onDisk(t *testing.T, dir string, mark []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		found = found || bytes.Contains(raw, mark)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
