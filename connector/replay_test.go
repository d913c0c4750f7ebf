package connector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

func (w *world) forecast(d *ops.Client, seq uint64) ops.Replayed {
	w.Helper()
	return w.replay(d, ops.ReplayOptions{DryRun: true}, seq)[0]
}

// Two operators replay one letter at once, and a letter that was replayed comes back from the dead: one outcome, one candidate.
func TestReplayTwiceIsOneEvent(t *testing.T) {
	t.Parallel()
	for name, died := range map[string]struct {
		subject string
		stored  bool
	}{
		"sent, its ack lost":  {"candidate.sourced.", true},
		"sent, not noted":     {"deadletter.candidate.sourced.", false},
		"noted, not yet gone": {"$JS.API.STREAM.MSG.DELETE.", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.run(oftenRead)
			d := w.operator()
			bad := person(1)
			bad.Position.UID = "22.0C1"
			l := w.refused(d, "e1", bad)
			if err := w.fake.Recruiter("default").ReopenPosition("22.0C1"); err != nil {
				t.Fatal(err)
			}
			w.eventually("the bus to know", func() bool { return w.forecast(d, l.Seq).Verdict == ops.VerdictSubmit })
			r.stop(w)

			p := newProxy(t, w.NATSURL)
			mortal := w.operator(func(cfg *ops.Config) { cfg.NATSURL = p.url() })
			lost := p.set(died.subject, died.stored)
			ctx, kill := context.WithCancel(t.Context())
			dead := make(chan error, 1)
			go func() {
				dead <- mortal.Replay(ctx, []uint64{l.Seq}, ops.ReplayOptions{}, func(ops.Replayed) {})
			}()
			<-lost
			kill()
			if err := <-dead; !errors.Is(err, context.Canceled) {
				t.Fatalf("the operator's process: %v", err)
			}
			again := w.replay(d, ops.ReplayOptions{}, l.Seq)[0]
			if noted := died.subject[0] == '$'; noted != (again.Verdict == ops.VerdictReplayed) || again.Sent == noted {
				t.Errorf("again: %+v", again)
			}
			if last := w.replay(d, ops.ReplayOptions{}, l.Seq)[0]; last.Verdict != ops.VerdictNotFound {
				t.Errorf("a third time: %+v", last)
			}
			if left := w.list(d, ops.LetterFilter{}); len(left) != 0 {
				t.Errorf("left of the letters: %+v", left)
			}
			w.run()
			w.accepted("e1")
			w.candidates(1)
			if diff := cmp.Diff([]string{"position_closed", "created"}, w.accepted("e1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The connector dies with a replay in its hands, which Comeet has taken.
func TestReplayWhileTheConnectorDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run()
	d := w.operator()
	w.fake.Script(comeettest.CreateCandidate, comeettest.APIError(400, "invalid_phone"))
	l := w.refused(d, "e1", person(1))
	first.stop(w)
	landed := make(chan struct{})
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		close(landed)
		return comeettest.ActThen(comeettest.Hang()), true
	})
	victim := w.spawn(func(c *child) { c.Replica = "victim" })
	if r := w.replay(d, ops.ReplayOptions{}, l.Seq)[0]; !r.Sent {
		t.Fatalf("%+v", r)
	}
	<-landed
	w.eventually("Comeet to act", func() bool { return w.fake.Counts().Created == 1 })
	victim.kill()
	w.run()
	if diff := cmp.Diff([]string{"refused", "recovered"}, w.accepted("e1")); diff != "" {
		t.Error(diff)
	}
	w.candidates(1)
}

// A replay that fails again is a new letter, and the same one once more is recognised by its outcome.
func TestReplayFailsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(oftenRead)
	d := w.operator()
	bad := person(1)
	bad.Position.UID = "22.0C1"
	l := w.refused(d, "e1", bad)
	if r := w.replay(d, ops.ReplayOptions{Anyway: true}, l.Seq)[0]; !r.Sent || r.Verdict != ops.VerdictPosition {
		t.Fatalf("%+v", r)
	}
	var letters []ops.DeadLetter
	w.eventually("a new letter", func() bool {
		letters = w.list(d, ops.LetterFilter{Reason: events.ReasonPositionClosed})
		return len(letters) == 1
	})
	if letters[0].Seq == l.Seq || letters[0].Replay == "" || letters[0].Operation != l.Operation {
		t.Errorf("the new letter %+v of %+v", letters[0], l)
	}
	w.candidates(0)
}

// An edited event is another one than its letter's: what it asks for is decided by its own content.
func TestReplayEdited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	data, err := json.Marshal(person(1))
	if err != nil {
		t.Fatal(err)
	}
	header := map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"e%201"}, "ce-source": {source}, "ce-type": {"candidate.sorced"},
		"Content-Type": {"application/json"}, "X-Mine": {"kept"}, "Nats-Expected-Last-Sequence": {"0"}, "Nats-Msg-Id": {"m1"}}
	w.publishRaw(sent{account: "default"}, header, data)
	var letters []ops.DeadLetter
	w.eventually("a letter", func() bool {
		letters = w.list(d, ops.LetterFilter{Reason: events.ReasonInvalidEvent})
		return len(letters) == 1
	})
	seq := letters[0].Seq
	raw, err := d.Raw(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.replay(d, ops.ReplayOptions{Edited: raw}, seq)[0]; r.Sent || r.Verdict != ops.VerdictInvalid || r.Kept == "" || r.Violations[0].Pointer != "/type" {
		t.Errorf("not mended yet: %+v", r)
	}
	if err := d.Replay(t.Context(), []uint64{seq, seq}, ops.ReplayOptions{Edited: raw}, func(ops.Replayed) {}); err == nil {
		t.Error("one edit for two letters")
	}
	mended := bytes.Replace(raw, []byte("candidate.sorced"), []byte(events.TypeSourced), 1)
	mended = bytes.Replace(mended, []byte(`"87.405"`), []byte(`"48.16A"`), 1)
	// The positions come into their bucket while the connector works already.
	w.eventually("a forecast by known positions", func() bool {
		return w.replay(d, ops.ReplayOptions{Edited: mended, DryRun: true}, seq)[0].Verdict != ops.VerdictUnmatched
	})
	r := w.replay(d, ops.ReplayOptions{Edited: mended}, seq)[0]
	if !r.Sent || r.PositionUID != "48.16A" {
		t.Fatalf("mended: %+v", r)
	}
	if diff := cmp.Diff([]string{"invalid_event", "created"}, w.accepted("e 1")); diff != "" {
		t.Error(diff)
	}
	m := w.message(bus.SourcedStream, r.SourcedSeq)
	mark := m.Header[ledger.ReplayHeader]
	want := nats.Header{"Content-Type": {events.ContentType}, "X-Mine": {"kept"}, ledger.ReplayHeader: mark,
		"Orig-Expected-Last-Sequence": {"0"}, "Orig-Msg-Id": {"m1"}}
	if diff := cmp.Diff(want, m.Header); diff != "" || len(mark) != 1 || !bytes.Equal(m.Data, mended) {
		t.Errorf("the replayed message: %s", diff)
	}
	w.candidates(1)
}

// An operator's process dies after it has sent an edit that is refused again; a better edit of the same letter is another event.
func TestReplayEditedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	w.publishInvalid("e1", person(1))
	l := w.letterOf(d, "e1")
	raw, err := d.Raw(t.Context(), l.Seq)
	if err != nil {
		t.Fatal(err)
	}
	mended := bytes.Replace(raw, []byte("lastname"), []byte("last_name"), 1)
	w.fake.Script(comeettest.CreateCandidate, comeettest.APIError(400, "invalid_email"))
	p := newProxy(t, w.NATSURL)
	mortal := w.operator(func(cfg *ops.Config) { cfg.NATSURL = p.url() })
	lost := p.set("deadletter.candidate.sourced.", false)
	ctx, kill := context.WithCancel(t.Context())
	dead := make(chan error, 1)
	go func() {
		dead <- mortal.Replay(ctx, []uint64{l.Seq}, ops.ReplayOptions{Edited: mended}, func(ops.Replayed) {})
	}()
	<-lost
	kill()
	if err := <-dead; !errors.Is(err, context.Canceled) {
		t.Fatalf("the operator's process: %v", err)
	}
	w.eventually("the first edit to be refused", func() bool { return len(w.read().outcomes()[source+" e1"]) == 2 })
	better := bytes.Replace(mended, []byte(mailMark+".1@"), []byte(mailMark+".2@"), 1)
	if r := w.replay(d, ops.ReplayOptions{Edited: better}, l.Seq)[0]; !r.Sent {
		t.Errorf("the second edit: %+v", r)
	}
	if diff := cmp.Diff([]string{"invalid_event", "refused", "created"}, w.accepted("e1")); diff != "" {
		t.Error(diff)
	}
	w.candidates(1)
}

// The dry run knows of the other events of an operation, of fallbacks, and of what it can't know.
func TestForecasts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.RequestTimeout, s.SettleDelay = bustest.Stretch(20*time.Second), 20*time.Millisecond })
	r := w.run(oftenRead)
	d := w.operator()
	withFallback := w.operator(func(cfg *ops.Config) { cfg.Fallbacks = map[string]string{"default": "48.16A"} })

	closed := person(1)
	closed.Position.UID = "22.0C1"
	l := w.refused(d, "closed", closed)
	if f := w.forecast(withFallback, l.Seq); f.Verdict != ops.VerdictSubmit || f.MatchedBy != events.MatchedByFallback || f.PositionUID != "48.16A" {
		t.Errorf("with a fallback: %+v", f)
	}

	invalid := comeettest.APIError(400, "invalid_email")
	w.fake.Script(comeettest.CreateCandidate, invalid)
	twice := w.refused(d, "twice-1", person(2))
	w.publish("twice-2", person(2))
	w.accepted("twice-2")
	uid := w.outcome("twice-2").Data.(*events.Accepted).CandidateUID
	if f := w.forecast(d, twice.Seq); f.Verdict != ops.VerdictDuplicate || f.CandidateUID != uid {
		t.Errorf("of an accepted operation: %+v", f)
	}
	w.replay(d, ops.ReplayOptions{}, twice.Seq)
	if diff := cmp.Diff([]string{"refused", "duplicate"}, w.accepted("twice-1")); diff != "" {
		t.Error(diff)
	}

	w.fake.Script(comeettest.CreateCandidate, invalid)
	busy := w.refused(d, "busy-1", person(3))
	held, answer := make(chan struct{}), make(chan struct{})
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		close(held)
		<-answer
		return comeettest.Delay(0), true
	})
	w.publish("busy-2", person(3))
	<-held
	if f := w.forecast(d, busy.Seq); f.Verdict != ops.VerdictInProgress {
		t.Errorf("of an operation under way: %+v", f)
	}
	close(answer)
	w.accepted("busy-2")

	// Another event of the operation may have landed.
	w.fake.Script(comeettest.CreateCandidate, invalid)
	doubt := w.refused(d, "doubt-1", person(4))
	w.fake.OutageOf(posts, comeettest.Drop())
	w.refused(d, "doubt-2", person(4))
	w.fake.RecoverOf(posts)
	if f := w.forecast(d, doubt.Seq); f.Verdict != ops.VerdictSubmit || !f.InDoubt || !strings.Contains(f.Message, "IN DOUBT") {
		t.Errorf("of an operation in doubt: %+v", f)
	}
	if kept := w.replay(d, ops.ReplayOptions{}, doubt.Seq)[0]; kept.Sent || kept.Kept == "" {
		t.Errorf("replayed in doubt: %+v", kept)
	}

	r.stop(w)
	positions := w.positionsBucket()
	keys, err := positions.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := positions.Purge(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if f := w.forecast(w.operator(), l.Seq); f.Verdict != ops.VerdictUnmatched {
		t.Errorf("without positions on the bus: %+v", f)
	}
	w.candidates(2)
}

// What a letter has of headers that the bus obeys is never sent again, and what no longer fits with its mark stays as it is.
func TestReplayHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	letter := func(own string, h nats.Header, body []byte) uint64 {
		t.Helper()
		ack, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: "deadletter.candidate.sourced.default." + own, Header: h, Data: body})
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}
	h, body, err := events.Encode(events.New(source, "e1", person(1)))
	if err != nil {
		t.Fatal(err)
	}
	h["nats-odd"], h[ledger.ReplayHeader] = []string{"x"}, []string{"an older mark"}
	small := letter("one", h, body)
	large := letter("two", nil, append(body, bytes.Repeat([]byte(" "), int(w.nc.MaxPayload())-len(body))...))
	if l := w.list(d, ops.LetterFilter{}); len(l) != 2 || l[0].Reason != "" || l[0].Outcome != 0 {
		t.Errorf("letters without an outcome: %+v", l)
	}
	if r := w.replay(d, ops.ReplayOptions{}, large)[0]; r.Sent || !strings.Contains(r.Kept, "max_payload") {
		t.Errorf("the largest: %+v", r)
	}
	r := w.replay(d, ops.ReplayOptions{}, small)[0]
	m := w.message(bus.SourcedStream, r.SourcedSeq)
	mark := m.Header[ledger.ReplayHeader]
	if diff := cmp.Diff(nats.Header{"Content-Type": {events.ContentType}, ledger.ReplayHeader: mark}, m.Header); diff != "" || len(mark) != 1 || mark[0] == "an older mark" {
		t.Errorf("the replayed message: %s", diff)
	}
	w.accepted("e1")
	w.candidates(1)
}

func TestReplayIsThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	var seqs []uint64
	for n := range 4 {
		w.fake.Script(comeettest.CreateCandidate, comeettest.APIError(400, "invalid_email"))
		seqs = append(seqs, w.refused(d, fmt.Sprint("e", n), person(n)).Seq)
	}
	begun := time.Now()
	w.replay(d, ops.ReplayOptions{Every: 100 * time.Millisecond, DryRun: true}, seqs...)
	if r := w.replay(d, ops.ReplayOptions{Every: 100 * time.Millisecond}, seqs...); !r[3].Sent {
		t.Errorf("%+v", r)
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("four replays took %v", took)
	}
	for n := range 4 {
		w.accepted(fmt.Sprint("e", n))
	}
	w.candidates(4)
}
