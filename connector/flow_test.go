package connector_test

import (
	"fmt"
	"testing"

	"github.com/comeet-connector/comeet-connector/events"
)

func TestEveryEventGetsOneOutcome(t *testing.T) {
	w := newWorld(t)
	w.run()
	for n := range 50 {
		// Every second one on the subject that names no account.
		w.publishTo([]string{"default", ""}[n%2], source, fmt.Sprint("e", n), person(n))
	}
	w.settled()
	w.check()
	if got := len(w.fake.Candidates("default")); got != 50 {
		t.Errorf("%d candidates at Comeet, want 50", got)
	}
	for _, e := range w.read() {
		if d, ok := e.Data.(*events.Accepted); ok && d.Outcome != events.OutcomeCreated {
			t.Errorf("outcome %s, want created", d.Outcome)
		}
	}
}
