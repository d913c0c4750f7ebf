package connector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// Whatever is refused is kept as it came: every byte and every header, up to the largest message that the bus takes.
func TestDeadLettersAreTheOriginals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	valid := func(change func(*events.Sourced)) (map[string][]string, []byte) {
		d := person(1)
		change(d)
		h, body, err := events.Encode(events.New(source, "valid", d))
		if err != nil {
			t.Fatal(err)
		}
		return h, body
	}
	_, closed := valid(func(d *events.Sourced) { d.Position.UID = "22.0C1" })
	data, err := json.Marshal(person(2))
	if err != nil {
		t.Fatal(err)
	}
	// An id of its own each: the same source and id again is the same event.
	binary := func(id string, extra map[string][]string) map[string][]string {
		h := map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/s"}, "ce-type": {events.TypeSourced}, "Content-Type": {"application/json"},
		}
		maps.Copy(h, extra)
		return h
	}
	fill := func(h map[string][]string) []byte {
		m := nats.Msg{Subject: "candidate.sourced.default", Header: h}
		room := int(w.nc.MaxPayload()) - m.Size() + len(m.Subject)
		return bytes.Repeat([]byte("x"), room)
	}
	big := map[string][]string{"Nats-Msg-Id": {"largest"}, "X-Fill": {strings.Repeat("h", 3000)}}
	cases := []struct {
		name   string
		header map[string][]string
		body   []byte
		reason events.Reason
	}{
		{"closed position", map[string][]string{"Content-Type": {"application/cloudevents+json"}, "Nats-Msg-Id": {"m-1"}, "X-Mine": {"a", "b"}}, closed, events.ReasonPositionClosed},
		{"empty", nil, nil, events.ReasonInvalidEvent},
		{"bytes", nil, []byte{0, 255, 1, '\r', '\n'}, events.ReasonInvalidEvent},
		{"not JSON", map[string][]string{"nats-expected-stream": {bus.SourcedStream}}, []byte("{"), events.ReasonInvalidEvent},
		{"binary, other account", binary("id-1", map[string][]string{"ce-account": {"other"}}), data, events.ReasonInvalidEvent},
		{"binary, of another type", binary("id-2", map[string][]string{"ce-type": {events.TypeAccepted}}), []byte(`{}`), events.ReasonInvalidEvent},
		{"binary, no id", func() map[string][]string { h := binary("", nil); delete(h, "ce-id"); return h }(), append(slices.Clip(data), ' '), events.ReasonInvalidEvent},
		{"as large as the bus takes", big, fill(big), events.ReasonInvalidEvent},
		{"as large as the bus takes, no header", nil, bytes.Repeat([]byte("y"), int(w.nc.MaxPayload())), events.ReasonInvalidEvent},
	}
	for _, c := range cases {
		w.publishRaw(sent{account: "default"}, c.header, c.body)
	}
	w.run()
	w.eventually("all outcomes", func() bool { return len(w.read()) == len(cases) })
	w.noneOutstanding("default")
	letters := w.letters()
	if len(letters) != len(cases) {
		t.Errorf("%d dead letters for %d events", len(letters), len(cases))
	}
	reasons := map[uint64]events.Reason{}
	for _, e := range w.read() {
		d := e.Data.(*events.Failed)
		if d.DeadLetter.Stream != bus.DeadLettersStream {
			t.Errorf("stream %s", d.DeadLetter.Stream)
		}
		reasons[d.DeadLetter.Sequence] = d.Reason
	}
	for _, c := range cases {
		found := false
		for seq, m := range letters {
			if !bytes.Equal(m.Data, c.body) {
				continue
			}
			found = true
			want := nats.Header{}
			for k, v := range c.header {
				if strings.EqualFold(k[:min(5, len(k))], "Nats-") {
					k = "Orig-" + k[5:]
				}
				want[k] = v
			}
			got := m.Header
			if got == nil {
				got = nats.Header{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: headers: %s", c.name, diff)
			}
			if reasons[seq] != c.reason {
				t.Errorf("%s: reason %q, want %q", c.name, reasons[seq], c.reason)
			}
		}
		if !found {
			t.Errorf("%s: no dead letter", c.name)
		}
	}
	if n := w.posts("default"); n != 0 {
		t.Errorf("%d POSTs", n)
	}
	w.checkLeaks(w.logs.String())
}

// A refusal ends its event and not the operation: a corrected event, and a replay, are taken.
func TestRefusedThenCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	bad := person(1)
	bad.Candidate.Email = "not an address"
	w.publish("e1", bad)
	failed, ok := w.outcome("e1").Data.(*events.Failed)
	if !ok {
		t.Fatal("not refused")
	}
	w.publish("e2", person(1))
	if got := outcomeOf(w.outcome("e2")); got != "created" {
		t.Errorf("corrected event: %s", got)
	}
	// The dead letter, as it is, once more: another event, of an operation that is accepted by now.
	letter := w.letters()[failed.DeadLetter.Sequence]
	h := map[string][]string(letter.Header)
	h[ledger.ReplayHeader] = []string{"r1"}
	w.publishRaw(sent{identity: source + " e1", account: "default"}, h, letter.Data)
	w.eventually("the replay's outcome", func() bool {
		es := w.read().outcomes()[source+" e1"]
		return len(es) == 2 && outcomeOf(es[1]) == "duplicate"
	})
	w.noneOutstanding("default")
}

// The end of a refused event is lost, and a corrected event of the same operation is accepted before it comes again: it has
// its outcome and gets no second one.
func TestRefusedEventComesAgainAfterItsOperationWasAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newProxy(t, w.NATSURL)
	lost := p.set("$JS.ACK.", false)
	first := w.spawn(func(c *child) { c.NATSURL = p.url() })
	bad := person(1)
	bad.Candidate.Email = "not an address"
	w.publish("e1", bad)
	<-lost
	first.kill()
	w.publish("e2", person(1))
	w.run()
	if got := outcomeOf(w.outcome("e2")); got != "created" {
		t.Errorf("corrected event: %s", got)
	}
	w.noneOutstanding("default")
	w.check()
	if n := len(w.letters()); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// Two events of an operation were refused, a third accepted, and then all come again, since their consumer was made anew: each keeps the
// outcome that it has.
func TestSeveralRefusedEventsComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	bad := person(1)
	bad.Candidate.Email = "not an address"
	for _, id := range []string{"e1", "e2"} {
		w.publish(id, bad)
		w.outcome(id)
	}
	w.publish("e3", person(1))
	w.outcome("e3")
	if err := w.js.DeleteConsumer(w.Context(), bus.SourcedStream, "comeet-default"); err != nil {
		t.Fatal(err)
	}
	w.noneOutstanding("default")
	w.check()
	if n := w.posts("default"); n != 3 {
		t.Errorf("%d POSTs, want 3", n)
	}
}

// A stream that takes no dead letter stops refusals, not the rest, and loses nothing.
func TestDeadLettersFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resize := func(messages int64) {
		w.reconfigure(bus.DeadLettersStream, func(info *jetstream.StreamInfo) { info.Config.MaxMsgs = messages })
	}
	resize(1)
	w.run()
	for n := range 3 {
		d := person(n)
		d.Position.UID = "22.0C1"
		w.publish(fmt.Sprint("bad", n), d)
	}
	w.publish("good", person(9))
	if got := outcomeOf(w.outcome("good")); got != "created" {
		t.Errorf("outcome %s", got)
	}
	w.eventually("complaints", func() bool { return strings.Count(w.logs.String(), "no outcome yet") >= 2 })
	resize(-1)
	w.settled()
	w.check()
	if n := len(w.letters()); n != 3 {
		t.Errorf("%d dead letters, want 3", n)
	}
}

// A refusal that Comeet gives under an earlier claim waits until that claim's fate is known: a refused event may have landed.
func TestRefusalIsNoVerdictOnAnEarlierAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	landed := make(chan struct{})
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		close(landed)
		return comeettest.ActThen(comeettest.Hang()), true
	})
	first := w.spawn()
	w.publish("e1", person(1))
	<-landed
	w.eventually("Comeet to act", func() bool { return w.fake.Counts().Created == 1 })
	first.kill()
	if err := w.fake.Recruiter("default").ClosePosition("87.405"); err != nil {
		t.Fatal(err)
	}
	w.run()
	if got := outcomeOf(w.outcome("e1")); got != "recovered" {
		t.Errorf("outcome %s, want recovered: the position closed after the candidate had landed", got)
	}
	w.within(10*time.Second, "a first status", func() bool { return len(w.read().statuses("default")) == 1 })
	w.check()
}
