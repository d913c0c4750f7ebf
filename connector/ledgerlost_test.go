package connector_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// Without its ledger the connector would submit again whoever comes again: it stops, says so, and does not start on such a bus
// until somebody has accepted the loss.
func TestLostLedgerStopsTheConnector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := connector.New(w.config(zerolog.New(w.logs)))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(context.Background()) }()
	<-c.Ready()
	w.publish("e1", person(1))
	w.outcome("e1")
	if err := w.js.DeleteStream(t.Context(), bus.DefaultNames.Events); err != nil {
		t.Fatal(err)
	}
	stopped := func(why error) {
		t.Helper()
		if why == nil || !strings.Contains(why.Error(), bus.DefaultNames.Events) || !strings.Contains(why.Error(), "setup --apply") {
			t.Fatalf("ended with %v, want the stream's name and what to do", why)
		}
	}
	select {
	case err := <-ended:
		stopped(err)
	case <-time.After(30 * time.Second):
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
