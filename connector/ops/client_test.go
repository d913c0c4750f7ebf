package ops_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a bus with the connector's assets and no connector.
type world struct {
	url string
	nc  *nats.Conn
	js  jetstream.JetStream // another program
}

func setup(t *testing.T) *world {
	t.Helper()
	s, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b, err := bus.Connect(soon(t), bus.Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ensure(soon(t), bus.Layout{EventsMaxBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	w := &world{url: s.ClientURL()}
	if w.nc, err = nats.Connect(w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	patient := jetstream.WithDefaultTimeout(bustest.Stretch(5 * time.Second))
	if w.js, err = jetstream.New(w.nc, patient, jetstream.WithPublishAsyncMaxPending(many)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) client(t *testing.T) *ops.Client {
	t.Helper()
	c, err := ops.Open(soon(t), ops.Config{NATSURL: w.url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Stretch(10*time.Second))
	t.Cleanup(cancel)
	return ctx
}

func TestOpenNeedsItsStreams(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.js.DeleteStream(soon(t), bus.DeadLettersStream); err != nil {
		t.Fatal(err)
	}
	if _, err := ops.Open(soon(t), ops.Config{NATSURL: w.url}); !errors.Is(err, bus.ErrAssetDeleted) || !strings.Contains(err.Error(), "setup --apply") {
		t.Errorf("opened without dead letters: %v", err)
	}
}

// many is so many messages that a scan of them reports its progress once.
const many = 10_000

// A long scan says how far it has come.
func TestExplainTellsProgress(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const n = many
	var last jetstream.PubAckFuture
	for i := range n {
		var err error
		if last, err = w.js.PublishAsync(events.SourcedSubject("acme"), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-soon(t).Done():
		t.Fatal("not all were stored")
	}
	if ack := <-last.Ok(); ack.Sequence != n {
		t.Fatalf("the last is message %d", ack.Sequence)
	}
	told := 0
	_, err := w.client(t).Explain(soon(t), "nobody", ops.ExplainOptions{Progress: func(stream string, read int) {
		if told++; stream != bus.SourcedStream || read != n {
			t.Errorf("%d of %s", read, stream)
		}
	}})
	if !errors.Is(err, ops.ErrUnknownID) || told != 1 {
		t.Errorf("told %d times, then %v", told, err)
	}
}
