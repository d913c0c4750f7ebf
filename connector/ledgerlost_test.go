package connector_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// atWork runs a connector that has an outcome behind it, and tells how it ends.
func (w *world) atWork() <-chan error {
	w.Helper()
	c, err := connector.New(w.config(zerolog.New(w.logs)))
	if err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(context.Background()) }()
	<-c.Ready()
	w.publish("e1", person(1))
	w.outcome("e1")
	return ended
}

// Without its ledger the connector would submit again whoever comes again: it stops, says so, and does not start on such a bus
// until somebody has accepted the loss.
func TestLostLedgerStopsTheConnector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended := w.atWork()
	if err := w.js.DeleteStream(t.Context(), bus.EventsStream); err != nil {
		t.Fatal(err)
	}
	stopped := func(why error) {
		t.Helper()
		if why == nil || !strings.Contains(why.Error(), bus.EventsStream) || !strings.Contains(why.Error(), "setup --apply") {
			t.Fatalf("ended with %v, want the stream's name and what to do", why)
		}
	}
	select {
	case err := <-ended:
		stopped(err)
	case <-time.After(bustest.Stretch(15 * time.Second)):
		t.Fatal("still running without a ledger")
	}
	again, err := connector.New(w.config(zerolog.New(w.logs)))
	if err != nil {
		t.Fatal(err)
	}
	stopped(again.Run(t.Context()))
	w.setUp()
	w.run()
}

// An account that has to be built anew in the moment in which the ledger is lost is not served without it.
func TestNoAccountIsServedWithoutTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended := w.atWork()
	// Just after the connector has looked at the stream, so that the account begins anew before the next look.
	looks, err := w.nc.SubscribeSync("$JS.API.STREAM.INFO." + bus.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := looks.NextMsg(bustest.Stretch(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	served := func() int { return strings.Count(w.logs.String(), `"message":"serving the account"`) }
	before := served()
	if err := w.js.DeleteStream(t.Context(), bus.EventsStream); err != nil {
		t.Fatal(err)
	}
	if err := w.js.DeleteConsumer(t.Context(), bus.SourcedStream, "comeet-default"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("ended without an error")
		}
	case <-time.After(bustest.Stretch(15 * time.Second)):
		t.Fatal("still running without a ledger")
	}
	if n := served() - before; n != 0 {
		t.Errorf("the account was served %d times without a ledger", n)
	}
}
