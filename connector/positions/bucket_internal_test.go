package positions

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a catalogue stores is what is read, for its account alone; what Comeet no longer shows goes.
func TestReadWhatWasStored(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := bus.Connect(ctx, bus.Config{URL: server.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Ensure(ctx, bus.Layout{EventsMaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	bucket, err := b.Bucket(ctx, bus.PositionsBucket)
	if err != nil {
		t.Fatal(err)
	}
	acme, other := New(Config{Account: "acme", Bucket: bucket}), New(Config{Account: "other", Bucket: bucket})
	list := []Position{
		{UID: "48.16A", Name: "Data Analyst", CustomID: "DA-1", Department: "BI", Location: "Oslo", Status: "open", Published: true},
		{UID: "87.405", Name: "Backend Engineer", Status: "closed", TalentPool: true},
		{UID: "87_405", Name: "Its neighbour as a key", Status: "on hold"},
	}
	foreign := []Position{{UID: "87.405", Name: "Another one's", Status: "open"}}
	read := func(account string, want []Position) {
		t.Helper()
		got, err := Read(ctx, bucket, account)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b Position) int { return cmp.Compare(a.UID, b.UID) })
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("of %s: %s", account, diff)
		}
	}
	read("acme", nil)
	for c, l := range map[*Catalogue][]Position{acme: list, other: foreign} {
		if err := c.store(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	read("acme", list)
	if err := bucket.Put(ctx, "acme.noise", []byte("{")); err != nil {
		t.Fatal(err)
	}
	read("acme", list)
	if err := acme.store(ctx, list[1:]); err != nil {
		t.Fatal(err)
	}
	read("acme", list[1:])
	read("other", foreign)
}
