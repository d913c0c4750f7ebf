package connector_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	extra := fakeWith(comeettest.WithAccount(comeettest.Account{Name: "fallback", APIKey: apiKeyOf("fallback"), Positions: append(positions(),
		comeettest.Position{UID: "99.001", Name: "Talent Pool", Status: "open", IsTalentPool: true})}),
		comeettest.WithAccount(comeettest.Account{Name: "closed-fallback", APIKey: apiKeyOf("closed-fallback"), Positions: positions()}),
		comeettest.WithAccount(comeettest.Account{Name: "odd", APIKey: apiKeyOf("odd"), Positions: []comeettest.Position{
			{UID: "1.1", Name: "Template", Status: "open", IsTemplate: true},
			{UID: "1.2", Name: "Template", Status: "open"},
			{UID: "1.3", Name: "Strange", Status: "paused"},
			{UID: "1.4", Name: "Somewhere", Status: "open", Location: &comeettest.Location{Name: "Oslo"}},
			{UID: "1.5", Name: "Somewhere", Status: "open", Location: &comeettest.Location{Name: "Bergen"}},
			{UID: "1.6", Name: "Both", Status: "closed", InternalUseCustomID: "B"},
			{UID: "1.7", Name: "Both", Status: "open", InternalUseCustomID: "B"},
			{UID: "1.8", Name: "Both", Status: "on hold", InternalUseCustomID: "B"},
		}}))
	w := newWorld(t, extra)
	cases := []struct {
		account string
		ref     events.Position
		want    string
	}{
		{"default", events.Position{UID: "87.405"}, "uid 87.405"},
		{"default", events.Position{UID: "87.4050"}, "position_not_found"},
		{"default", events.Position{CustomID: "DA-1"}, "custom_id 48.16A"},
		{"default", events.Position{CustomID: "da-1"}, "custom_id 48.16A"},
		{"default", events.Position{CustomID: "TWIN"}, "position_ambiguous"},
		{"default", events.Position{Name: " data  ANALYST"}, "name 48.16A"},
		{"default", events.Position{Name: "Data Analyst", Department: "bi"}, "name 48.16A"},
		{"default", events.Position{Name: "Data Analyst", Department: "R&D"}, "position_not_found"},
		{"default", events.Position{Name: "Twin"}, "position_ambiguous"},
		{"default", events.Position{Name: "Twin", Department: "b"}, "name 11.112"},
		{"default", events.Position{UID: "22.0C1"}, "position_closed"},
		{"default", events.Position{UID: "22.0C2"}, "position_on_hold"},

		{"fallback", events.Position{UID: "87.405"}, "uid 87.405"},
		{"fallback", events.Position{UID: "0.0"}, "fallback 99.001"},
		{"fallback", events.Position{Name: "Closed One"}, "fallback 99.001"},
		{"fallback", events.Position{CustomID: "OH-1"}, "fallback 99.001"},
		{"fallback", events.Position{Name: "Twin"}, "position_ambiguous"},
		{"fallback", events.Position{UID: "99.001"}, "uid 99.001"},

		{"closed-fallback", events.Position{UID: "0.0"}, "position_not_found"},
		{"closed-fallback", events.Position{UID: "22.0C2"}, "position_on_hold"},
		{"closed-fallback", events.Position{UID: "22.0C1"}, "position_closed"},

		{"odd", events.Position{UID: "1.1"}, "position_not_found"},
		{"odd", events.Position{Name: "Template"}, "name 1.2"},
		{"odd", events.Position{Name: "Strange"}, "name 1.3"},
		{"odd", events.Position{Name: "Somewhere"}, "position_ambiguous"},
		{"odd", events.Position{Name: "Somewhere", Location: "bergen"}, "name 1.5"},
		{"odd", events.Position{CustomID: "B"}, "custom_id 1.7"},
	}
	w.Accounts = []string{"default", "fallback", "closed-fallback", "odd"}
	w.run(func(c *connector.Config) {
		c.Accounts[1].FallbackPosition = "99.001"
		c.Accounts[2].FallbackPosition = "22.0C1"
	})
	t.Cleanup(w.check)
	for i, c := range cases {
		ref := strings.TrimSpace(c.ref.UID + c.ref.CustomID + c.ref.Name + " " + c.ref.Department + c.ref.Location)
		t.Run(c.account+", "+ref, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			d := person(i)
			d.Position = c.ref
			id := fmt.Sprint("e", i)
			w.publishTo(c.account, source, id, d)
			got := w.outcome(id)
			if matched(got) != c.want {
				t.Errorf("%s, want %s", matched(got), c.want)
			}
			if f, failed := got.Data.(*events.Failed); failed && c.account == "closed-fallback" && !strings.Contains(f.Message, "fallback") {
				t.Errorf("message %q does not tell that the fallback cannot take it", f.Message)
			}
		})
	}
}

// A position may be newer than what the connector last read, or have closed since: nobody is refused, nor sent, by an old
// catalogue. However many events name what is not known, they cause one reading, not one each.
func TestMatchByFreshPositions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{RefuseClosedPositions: true})))
	w.run(func(c *connector.Config) {
		c.Accounts[0].FallbackPosition, c.RequestTimeout = "48.16A", bustest.Stretch(20*time.Second)
	})
	w.publish("first", person(0))
	w.outcome("first")
	r := w.fake.Recruiter("default")
	for _, err := range []error{
		r.AddPosition(comeettest.Position{UID: "77.7", Name: "New"}),
		r.ReopenPosition("22.0C1"),
		r.ReopenPosition("22.0C2"),
		r.ChangePosition("11.111", func(p *comeettest.Position) { p.Name = "No twin any more" }),
		r.ClosePosition("87.405"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := w.fake.Counts().ByRoute[comeettest.ListPositions]
	// The first reading is held up until all are published. Those that came after it had begun need one more.
	all := make(chan struct{})
	w.fake.Control(comeettest.ListPositions, func(comeettest.Request) (comeettest.Fault, bool) {
		<-all
		return comeettest.Delay(0), true
	})
	want := map[string]string{}
	n := 0
	send := func(ref events.Position, outcome string) {
		n++
		d := person(n)
		d.Position = ref
		id := fmt.Sprint("e", n)
		want[id] = outcome
		w.publish(id, d)
	}
	send(events.Position{Name: "new"}, "name 77.7")
	send(events.Position{UID: "22.0C1"}, "uid 22.0C1")
	send(events.Position{UID: "22.0C2"}, "uid 22.0C2")
	send(events.Position{Name: "Twin"}, "name 11.112")
	send(events.Position{UID: "87.405"}, "fallback 48.16A")
	for range 60 {
		send(events.Position{UID: fmt.Sprint("0.", n)}, "fallback 48.16A")
	}
	close(all)
	outcomes := w.settled().outcomes()
	for id, outcome := range want {
		if got := matched(outcomes[source+" "+id][0]); got != outcome {
			t.Errorf("%s: %s, want %s", id, got, outcome)
		}
	}
	if reads := w.fake.Counts().ByRoute[comeettest.ListPositions] - before; reads > 2 {
		t.Errorf("%d readings of the positions, want one or two", reads)
	}
	w.check()
}

// An account that may not read positions sends what names a uid; the rest waits until the permission is granted.
func TestMatchWithoutPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Recruiter("default").Deny(comeettest.ReadPositions)
	w.run(func(c *connector.Config) { c.DeniedRetry = 200 * time.Millisecond })
	w.publish("by-uid", person(1))
	unknown := person(2)
	unknown.Position.UID = "0.0"
	w.publish("by-unknown-uid", unknown)
	if got := matched(w.outcome("by-uid")); got != "uid 87.405" {
		t.Errorf("by uid: %s", got)
	}
	if got := matched(w.outcome("by-unknown-uid")); got != "position_not_found" {
		t.Errorf("by a uid that Comeet does not know: %s", got)
	}
	w.check()
}
