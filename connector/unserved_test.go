package connector_test

import (
	"strings"
	"testing"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
)

// Events for an account that nobody serves are never silent.
func TestUnservedEventsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publishTo("nobody", source, "e1", person(1))
	r := w.run(func(c *connector.Config) { c.AdminAddr = "127.0.0.1:0" })
	w.eventually("a word about the unserved account", func() bool {
		return strings.Contains(w.logs.String(), `"account":"nobody","events":1`) && strings.Contains(metrics(t, r), "comeet_connector_events_unserved 1")
	})
}

// Ready means that progress can be made: it ends when Comeet is away from every account served here, and comes back.
func TestReadyMeansProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run()
	w.publish("e1", person(1))
	w.outcome("e1")
	if err := r.Health(); err != nil {
		t.Fatalf("not ready while all is well: %v", err)
	}
	w.fake.Outage(comeettest.HTMLPage(503))
	w.publish("e2", person(2))
	w.eventually("not ready in an outage", func() bool {
		err := r.Health()
		return err != nil && strings.Contains(err.Error(), "account default: Comeet is not usable")
	})
	w.fake.Recover()
	w.outcome("e2")
	w.eventually("ready after the outage", func() bool { return r.Health() == nil })
}
