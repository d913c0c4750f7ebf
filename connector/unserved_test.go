package connector_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
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

// One account that can't be served is told by a gauge and leaves the replica ready; it is not ready when no account can be.
func TestTroubleOfOneAccountLeavesTheOthersReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("default", "other"))
	locked := map[string]*atomic.Bool{"default": new(atomic.Bool), "other": new(atomic.Bool)}
	r := w.run(func(c *connector.Config) {
		c.AdminAddr = "127.0.0.1:0"
		for i, a := range c.Accounts {
			c.Accounts[i].Credentials = func() (string, string, error) {
				if locked[a.Name].Load() {
					return "", "", errors.New("no key")
				}
				return a.Credentials()
			}
		}
	})
	w.publish("e1", person(1))
	w.publishTo("other", source, "e2", person(2))
	w.settled()
	lose := func(account string) {
		t.Helper()
		locked[account].Store(true)
		if err := w.js.DeleteConsumer(t.Context(), bus.SourcedStream, "comeet-"+account); err != nil {
			t.Fatal(err)
		}
		w.eventually("the trouble of "+account, func() bool {
			return strings.Contains(metrics(t, r), `comeet_connector_account_in_trouble{account="`+account+`"} 1`)
		})
	}
	lose("other")
	if err := r.Health(); err != nil || !strings.Contains(metrics(t, r), `comeet_connector_account_in_trouble{account="default"} 0`) {
		t.Errorf("not ready although the account default is well: %v", err)
	}
	lose("default")
	if err := r.Health(); err == nil || !strings.Contains(err.Error(), "account default: ") || !strings.Contains(err.Error(), "account other: ") {
		t.Errorf("health %v, want the troubles of both", err)
	}
	locked["other"].Store(false)
	w.eventually("ready with one of the two", func() bool { return r.Health() == nil })
}
