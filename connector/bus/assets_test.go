package bus_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// configs reads what is on the bus.
func configs(t *testing.T, js jetstream.JetStream) map[string]jetstream.StreamConfig {
	t.Helper()
	out := map[string]jetstream.StreamConfig{}
	l := js.ListStreams(soon(t))
	for info := range l.Info() {
		out[info.Config.Name] = info.Config
	}
	if l.Err() != nil {
		t.Fatal(l.Err())
	}
	return out
}

func TestEnsureMakesThePlan(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{})
	b := connect(t, s.ClientURL(), nil)
	republishing := layout
	republishing.RePublish = "live"
	for range 2 {
		if err := b.Ensure(soon(t), republishing); err != nil {
			t.Fatal(err)
		}
	}
	have := configs(t, library(t, s.ClientURL()))
	plan := republishing.Plan(1)
	if len(have) != len(plan) {
		t.Errorf("%d streams, planned %d", len(have), len(plan))
	}
	// What the server fills in by itself.
	filled := cmpopts.IgnoreFields(jetstream.StreamConfig{}, "Duplicates", "MaxMsgSize", "DenyDelete", "Metadata", "ConsumerLimits")
	allowed := cmpopts.EquateEmpty()
	for _, want := range plan {
		got := have[want.Name]
		if diff := cmp.Diff(want, got, filled, allowed); diff != "" {
			t.Errorf("%s: %s", want.Name, diff)
		}
		if got.DenyDelete != want.DenyDelete {
			t.Errorf("%s: deny_delete is %v", want.Name, got.DenyDelete)
		}
	}
	if err := b.Ensure(soon(t), layout); err != nil {
		t.Errorf("republishing is left to the operator: %v", err)
	}
	// The feed is on core NATS too.
	nc := library(t, s.ClientURL()).Conn()
	sub, err := nc.SubscribeSync("live.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(soon(t), claimOf("op")); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.NextMsg(patience); err != nil || m.Subject != "live."+claimOf("op").Subject {
		t.Errorf("republished %v, %v", m, err)
	}
}

func TestEnsureRace(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		b := connect(t, s.ClientURL(), nil)
		mine := layout
		mine.EventsMaxBytes += int64(i%2) << 20 // replicas of different settings, in the middle of an upgrade
		wg.Go(func() {
			if err := b.Ensure(soon(t), mine); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Each setting on which a promise depends, broken alone, is named with its stream and the reason.
func TestEnsureContradictions(t *testing.T) {
	t.Parallel()
	type config = jetstream.StreamConfig
	for name, tt := range map[string]struct {
		stream string
		change func(*config)
		want   string
	}{
		"work queue":              {bus.SourcedStream, func(c *config) { c.Retention = jetstream.WorkQueuePolicy }, "retention must be limits"},
		"sourced in memory":       {bus.SourcedStream, func(c *config) { c.Storage = jetstream.MemoryStorage }, "storage must be file"},
		"sourced unconfirmed":     {bus.SourcedStream, func(c *config) { c.NoAck = true }, "no_ack must be off"},
		"sourced early acks":      {bus.SourcedStream, func(c *config) { c.PersistMode = jetstream.AsyncPersistMode }, "persist_mode"},
		"sourced only bare":       {bus.SourcedStream, func(c *config) { c.Subjects = []string{"candidate.sourced"} }, "subjects must cover"},
		"sourced discards old":    {bus.SourcedStream, func(c *config) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 1<<20 }, "discard must be new"},
		"sourced few per subject": {bus.SourcedStream, func(c *config) { c.MaxMsgsPerSubject = 5 }, "max_msgs_per_subject"},
		"sourced rolls up":        {bus.SourcedStream, func(c *config) { c.AllowRollup = true }, "allow_rollup_hdrs must be off"},
		"sourced not erasable":    {bus.SourcedStream, func(c *config) { c.DenyPurge = true }, "deny_delete and deny_purge must be off"},
		"sourced transformed": {bus.SourcedStream, func(c *config) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "candidate.sourced.*", Destination: "x.{{wildcard(1)}}"}
		}, "subject transform"},
		"events without bound":     {bus.EventsStream, func(c *config) { c.MaxBytes = -1 }, "max_bytes must be set"},
		"events forget":            {bus.EventsStream, func(c *config) { c.Discard = jetstream.DiscardOld }, "discard must be new"},
		"events age":               {bus.EventsStream, func(c *config) { c.MaxAge = time.Hour }, "max_age must be 0"},
		"events without ttl":       {bus.EventsStream, func(c *config) { c.AllowMsgTTL = false }, "allow_msg_ttl must be on"},
		"events long history":      {bus.EventsStream, func(c *config) { c.MaxMsgsPerSubject = bus.MaxHistory + 1 }, "max_msgs_per_subject must be between"},
		"events refuse history":    {bus.EventsStream, func(c *config) { c.DiscardNewPerSubject = true }, "discard_new_per_subject off"},
		"events in memory":         {bus.EventsStream, func(c *config) { c.Storage = jetstream.MemoryStorage }, "storage must be file"},
		"events of one kind":       {bus.EventsStream, func(c *config) { c.Subjects = []string{"candidate.status.changed.*.*"} }, "subjects must cover"},
		"events not erasable":      {bus.EventsStream, func(c *config) { c.DenyDelete = true }, "deny_delete and deny_purge must be off"},
		"events small":             {bus.EventsStream, func(c *config) { c.MaxMsgSize = 100 }, "max_msg_size must not be set"},
		"events roll up":           {bus.EventsStream, func(c *config) { c.AllowRollup = true }, "allow_rollup_hdrs must be off"},
		"dead letters twice":       {bus.DeadLettersStream, func(c *config) { c.DiscardNewPerSubject = false }, "discard_new_per_subject on"},
		"dead letters in memory":   {bus.DeadLettersStream, func(c *config) { c.Storage = jetstream.MemoryStorage }, "storage must be file"},
		"dead letters small":       {bus.DeadLettersStream, func(c *config) { c.MaxMsgSize = 100 }, "max_msg_size must not be set"},
		"members immortal":         {"KV_" + bus.MembersBucket, func(c *config) { c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = false, 0 }, "allow_msg_ttl must be on"},
		"accounts in memory":       {"KV_" + bus.AccountsBucket, func(c *config) { c.Storage = jetstream.MemoryStorage }, "storage must be file"},
		"cursors in memory":        {"KV_" + bus.CursorsBucket, func(c *config) { c.Storage = jetstream.MemoryStorage }, "storage must be file"},
		"positions dropped":        {"KV_" + bus.PositionsBucket, func(c *config) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 1<<20 }, "discard must be new"},
		"positions under one root": {"KV_" + bus.PositionsBucket, func(c *config) { c.Subjects = []string{"$KV." + bus.PositionsBucket + ".a"} }, "subjects must cover"},
		"files not erasable":       {"OBJ_" + bus.FilesStore, func(c *config) { c.DenyDelete = true }, "deny_delete and deny_purge must be off"},
		"files without chunks":     {"OBJ_" + bus.FilesStore, func(c *config) { c.Subjects = c.Subjects[1:] }, "subjects must cover"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, bustest.Options{})
			js := library(t, s.ClientURL())
			b := connect(t, s.ClientURL(), nil)
			var broken config
			for _, c := range layout.Plan(1) {
				if c.Name == tt.stream {
					broken = c
				}
			}
			tt.change(&broken)
			if _, err := js.CreateStream(soon(t), broken); err != nil {
				t.Fatal(err)
			}
			before := configs(t, js)[tt.stream]
			err := b.Ensure(soon(t), layout)
			if err == nil {
				t.Fatal("not noticed")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != 1 || !strings.HasPrefix(lines[0], "stream "+tt.stream+": ") || !strings.Contains(lines[0], tt.want) {
				t.Errorf("got %q, want %q alone", lines, tt.want)
			}
			have := configs(t, js)
			if diff := cmp.Diff(before, have[tt.stream]); diff != "" {
				t.Errorf("what others own was changed: %s", diff)
			}
			if len(have) != len(layout.Plan(1)) {
				t.Errorf("the others were not made: %d", len(have))
			}
		})
	}
}

func TestEnsureReportsAllAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, bustest.Options{})
	js := library(t, s.ClientURL())
	for _, c := range layout.Plan(1)[:2] {
		c.Storage = jetstream.MemoryStorage
		if _, err := js.CreateStream(soon(t), c); err != nil {
			t.Fatal(err)
		}
	}
	err := connect(t, s.ClientURL(), nil).Ensure(soon(t), layout)
	if err == nil || len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("got %v, want two lines", err)
	}
}

// Trouble that waiting does not mend ends Ensure.
func TestEnsureFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		other  *jetstream.StreamConfig
		layout func(*bus.Layout)
		words  string
	}{
		"subjects taken":  {other: &jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"candidate.>"}}, words: "subjects overlap"},
		"three replicas":  {layout: func(l *bus.Layout) { l.Replicas = 3 }, words: "replicas > 1 not supported"},
		"more than there": {layout: func(l *bus.Layout) { l.EventsMaxBytes = 1 << 60 }, words: "less room"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, bustest.Options{})
			if tt.other != nil {
				if _, err := library(t, s.ClientURL()).CreateStream(soon(t), *tt.other); err != nil {
					t.Fatal(err)
				}
			}
			l := layout
			if tt.layout != nil {
				tt.layout(&l)
			}
			ctx := soon(t)
			if err := connect(t, s.ClientURL(), nil).Ensure(ctx, l); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want words %q", err, tt.words)
			}
		})
	}
}

// A server refuses a stream whose folder it can't make just now, such as that of a namesake which it is still removing.
func TestEnsureRepeatsWhatTheStoreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := bustest.Start(bustest.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	// The server clears this away when it has failed once.
	inTheWay := filepath.Join(dir, "jetstream", "$G", "streams", bus.EventsStream)
	if err := os.MkdirAll(filepath.Dir(inTheWay), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, s.ClientURL(), nil).Ensure(soon(t), layout); err != nil {
		t.Error(err)
	}
}

// What Ensure makes is what the client library calls a bucket and an object store.
func TestBucketsAndStoresOfTheLibrary(t *testing.T) {
	t.Parallel()
	s, _ := ready(t, bustest.Options{})
	js := library(t, s.ClientURL())
	ctx := soon(t)
	for _, name := range []string{bus.PositionsBucket, bus.AccountsBucket, bus.MembersBucket, bus.CursorsBucket} {
		kv, err := js.KeyValue(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := kv.Watch(ctx, "a.*")
		if err != nil {
			t.Fatal(err)
		}
		if e := <-w.Updates(); e != nil {
			t.Errorf("%s: first update is %v", name, e)
		}
		if _, err := kv.Create(ctx, "a.b", []byte("1")); err != nil {
			t.Fatal(err)
		}
		if e := <-w.Updates(); e.Key() != "a.b" || string(e.Value()) != "1" {
			t.Errorf("%s: watched %v", name, e)
		}
		if e, err := kv.Get(ctx, "a.b"); err != nil || string(e.Value()) != "1" {
			t.Errorf("%s: got %v, %v", name, e, err)
		}
		if err := kv.Delete(ctx, "a.b"); err != nil {
			t.Error(err)
		}
		if e := <-w.Updates(); e.Operation() != jetstream.KeyValueDelete {
			t.Errorf("%s: watched %v", name, e.Operation())
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}
	store, err := js.ObjectStore(ctx, bus.FilesStore)
	if err != nil {
		t.Fatal(err)
	}
	data := someBytes(3 << 20)
	if _, err := store.PutBytes(ctx, "a", data); err != nil {
		t.Fatal(err)
	}
	if got, err := store.GetBytes(ctx, "a"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := store.Delete(ctx, "a"); err != nil {
		t.Error(err)
	}
}
