package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
var patience = bustest.Stretch(10 * time.Second)

// world is a ledger on a server of its own.
type world struct {
	server *bustest.Server
	bus    *bus.Bus
	ledger *ledger.Ledger
	js     jetstream.JetStream // another program
}

func setup(t *testing.T) *world {
	t.Helper()
	s, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	w := &world{server: s, bus: connect(t, s.ClientURL())}
	if err := w.bus.Ensure(soon(t), bus.Layout{EventsMaxBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	w.ledger = ledger.New(w.bus)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if w.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(bustest.Stretch(5*time.Second))); err != nil {
		t.Fatal(err)
	}
	return w
}

func connect(t *testing.T, url string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(soon(t), bus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var (
	moment = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ref    = events.SourcedRef{Source: "/sourcing", ID: "e1"}
	op     = ledger.OpOf("acme", "/sourcing", &events.Sourced{Candidate: events.Candidate{ID: "c1"}, Position: events.Position{UID: "87.405"}})
)

func event(id string, d events.Data) events.Event {
	e := events.New("/connector", id, d)
	e.SetTime(moment)
	return events.Event{Event: e, Data: d}
}

func claimed(id, owner string) events.Event {
	return event(id, &events.Claimed{
		Account: op.Account, Operation: op.ID, State: events.StateClaimed, Attempt: 1, PositionUID: "87.405",
		MatchedBy: events.MatchedByUID, Owner: owner, Sourced: ref,
	})
}

func accepted(id string) events.Event {
	return event(id, &events.Accepted{
		Account: op.Account, Operation: op.ID, CandidateID: "c1", CandidateUID: "CA.1", PositionUID: "87.405",
		MatchedBy: events.MatchedByUID, Outcome: events.OutcomeCreated, Sourced: ref, SubmittedAt: moment,
	})
}

func failed(id string) events.Event {
	return event(id, &events.Failed{Account: op.Account, Operation: op.ID, Reason: events.ReasonRefused, Message: "refused", Sourced: &ref})
}
