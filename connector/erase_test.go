package connector_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

func (w *world) erase(d *ops.Client, id string, o ops.EraseOptions) *ops.Erasure {
	w.Helper()
	e, err := d.Erase(w.Context(), id, o)
	if err != nil {
		w.Fatal(err)
	}
	w.checkLeaks(fmt.Sprintf("%+v", *e))
	return e
}

// refuseToErase checks that an operation that is not at its end stays whole.
func (w *world) refuseToErase(d *ops.Client, id, why string) {
	w.Helper()
	before := w.stored()
	for _, dry := range []bool{true, false} {
		e, err := d.Erase(w.Context(), id, ops.EraseOptions{DryRun: dry})
		if !errors.Is(err, ops.ErrInFlight) || !strings.Contains(err.Error(), why) || e != nil {
			w.Errorf("erased %+v, error %v, want %q", e, err, why)
		}
	}
	after := w.stored()
	for _, stream := range []string{bus.SourcedStream, bus.DeadLettersStream, bus.EventsStream} {
		for seq := range before[stream] {
			if after[stream][seq] == nil {
				w.Errorf("message %d of %s is gone", seq, stream)
			}
		}
	}
	for _, e := range w.kept() {
		if d, ok := e.Data.(*events.Claimed); ok && d.State == events.StateErased {
			w.Errorf("%+v", d)
		}
	}
}

// marked are a person's data, all of them marked, and whose file is in the object store.
func (w *world) marked(n int) *events.Sourced {
	w.Helper()
	d := whole(n)
	d.Candidate.Files = append(d.Candidate.Files, events.File{Name: personMark, Object: &events.Object{Name: w.store("", fmt.Appendf(nil, "%s file of %d", personMark, n))}})
	return d
}

// live leads a person's life: accepted, a duplicate, refused and replayed, refused and discarded, invalid, moved by a recruiter.
func (w *world) live(d *ops.Client, data *events.Sourced) (uid string) {
	w.Helper()
	w.publish("e1", data)
	w.eventuallyKept("e1", "created")
	w.publish("e2", data)
	w.eventuallyKept("e2", "duplicate")
	closed := *data
	closed.Position.UID = "22.0C1"
	first := w.refused(d, "closed-1", &closed)
	w.replay(d, ops.ReplayOptions{Anyway: true}, first.Seq)
	w.eventuallyKept("closed-1", "position_closed", "position_closed")
	second := w.refused(d, "closed-2", &closed)
	if err := d.Discard(w.Context(), "filled", second.Seq); err != nil {
		w.Fatal(err)
	}
	w.publishInvalid("bad", data)
	w.eventuallyKept("bad", "invalid_event")
	uid = w.outcome("e1").Data.(*events.Accepted).CandidateUID
	if err := w.fake.Recruiter("default").SetProspectStatus(uid, "Contacted"); err != nil {
		w.Fatal(err)
	}
	w.eventually("a second status", func() bool { return len(w.kept().statuses("default")[uid]) == 2 })
	return uid
}

// erased is a world in which a person with a whole life has been erased, and another one who is all alike has not.
type erased struct {
	*world
	replica  *replica
	operator *ops.Client
	data     *events.Sourced // the person's
	uid      string          // of the candidate that Comeet still has
	gone     []string        // what nothing on the bus may hold any more
	before   map[string]map[uint64]*jetstream.RawStreamMsg
	would    *ops.Erasure // the dry run's
	did      *ops.Erasure
	created  int64 // how many candidates had been created
}

func eraseOne(t *testing.T) *erased {
	t.Helper()
	w := newWorld(t)
	sweeping := func(c *connector.Config) { c.SweepInterval = 2 * time.Second }
	e := &erased{world: w, replica: w.run(oftenRead, briefly, sweeping), operator: w.operator()}
	e.data = w.marked(1)
	e.uid = w.live(e.operator, e.data)
	other := person(7)
	other.Candidate = events.Candidate{ID: "other-7", FirstName: "Other", LastName: "Person"}
	w.publish("o1", other)
	w.eventuallyKept("o1", "created")
	other.Position.UID = "22.0C1"
	w.refused(e.operator, "o2", other)
	w.noneOutstanding("default")
	e.created = w.fake.Counts().Created
	e.gone = []string{personMark, mailMark, phoneMark, "src-1", e.uid, `"e1"`, `"e2"`, "closed-1", "closed-2", `"bad"`, "traceparent"}
	if len(w.marks(personMark)) == 0 {
		t.Fatal("the test looks in the wrong place")
	}
	e.before = w.stored()
	e.would = w.erase(e.operator, "src-1", ops.EraseOptions{DryRun: true})
	if len(w.stored()[bus.EventsStream]) < len(e.before[bus.EventsStream]) || len(w.marks(personMark)) == 0 {
		t.Error("the dry run erased something")
	}
	e.did = w.erase(e.operator, "src-1", ops.EraseOptions{})
	return e
}

// briefly makes polls reach back for a second only.
func briefly(c *connector.Config) { c.PollOverlap = time.Second }

// nothingLeft looks for the person on the bus and on its disk.
func (e *erased) nothingLeft() {
	e.Helper()
	for _, m := range e.marks(e.gone...) {
		e.Error(m)
	}
}

// lastLetter is the sequence of the latest dead letter, be it there or not.
func (e *erased) lastLetter() uint64 {
	e.Helper()
	return e.stream(bus.DeadLettersStream).CachedInfo().State.LastSeq
}

// A person who is erased leaves nothing on the bus, and whatever comes of them later does not bring them back. Another person, who is
// all alike, keeps everything.
func TestErasedPersonLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(*testing.T, *erased){
		"nothing is left": erasedIsGone, "their events come again": erasedComesAgain,
		"recruiters go on": erasedIsNotFollowed, "other acts are free": erasedMayBeSubmittedOnPurpose,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := eraseOne(t)
			look(t, e)
			e.replica.stop(e.world)
			e.checkLeaks(e.logs.String())
		})
	}
}

func erasedIsGone(t *testing.T, e *erased) {
	if len(e.would.Operations) != 3 || len(e.would.Files) != 1 || e.would.Shared != nil || e.would.Kind != ops.KindCandidate {
		t.Errorf("the dry run: %+v", e.would)
	}
	if diff := cmp.Diff(e.would, e.did); diff != "" {
		t.Errorf("foreseen (-), done (+): %s", diff)
	}
	for _, m := range e.did.Messages {
		if e.before[m.Stream][m.Seq] == nil {
			t.Errorf("%+v was not there", m)
		}
	}
	e.nothingLeft()
	for _, op := range e.did.Operations {
		entry := e.entryOf(op.Operation)
		want := &events.Claimed{Account: "default", Operation: op.Operation, State: events.StateErased}
		if diff := cmp.Diff(want, entry.Data); diff != "" || entry.Subject() != "" || len(entry.Extensions()) != 0 {
			t.Errorf("the entry that stays: %+v, %s", entry, diff)
		}
		m := e.stored()[bus.EventsStream][entry.seq]
		if ttl := m.Header.Get(jetstream.MsgTTLHeader); ttl != ledger.KeepOutcomes.String() {
			t.Errorf("it stays for %q", ttl)
		}
	}
	for _, id := range []string{"o1", "o2"} {
		if n := len(e.keptOf(id)); n != 1 {
			t.Errorf("%d outcomes of %s are left", n, id)
		}
	}
	if l := e.list(e.operator, ops.LetterFilter{}); len(l) != 1 || l[0].CandidateID != "other-7" {
		t.Errorf("letters: %+v", l)
	}
}

// The event again, another one of the operation, and the invalid one: none is submitted or buried.
func erasedComesAgain(t *testing.T, e *erased) {
	buried := e.lastLetter()
	for range 2 {
		e.publish("e1", e.data)
		e.publish("e3", e.data)
		e.publishInvalid("bad", e.data)
	}
	for range 2 { // also when all deliveries are over
		for _, id := range []string{"e1", "e3", "bad"} {
			e.eventuallyKept(id, "erased")
		}
		e.noneOutstanding("default")
	}
	for _, kept := range e.kept() {
		f, ok := kept.Data.(*events.Failed)
		if ok && f.Reason == events.ReasonErased &&
			(f.DeadLetter != nil || f.CandidateID != "" || kept.Subject() != "" || !strings.Contains(f.Message, "submission_id")) {
			t.Errorf("%+v", kept)
		}
	}
	if got := e.fake.Counts().Created; got != e.created {
		t.Errorf("%d candidates were created of an erased one", got-e.created)
	}
	if n := e.posts("default"); n != 2 {
		t.Errorf("%d POSTs, want one of each person", n)
	}
	if got := e.lastLetter(); got != buried {
		t.Errorf("%d letters were stored anew, if only for a moment", got-buried)
	}
	// What was published again is erased by the operation, with its outcomes; the entry stays.
	e.erase(e.operator, opOf(e.data), ops.EraseOptions{})
	e.erase(e.operator, "bad", ops.EraseOptions{})
	e.nothingLeft()
	if again := e.erase(e.operator, opOf(e.data), ops.EraseOptions{}); len(again.Messages)+len(again.Files) != 0 || again.Operations[0].State != "erased" {
		t.Errorf("a third time: %+v", again)
	}
	e.entryOf(opOf(e.data))
}

// Recruiters move the candidate: polls and sweeps see a stranger.
func erasedIsNotFollowed(t *testing.T, e *erased) {
	if err := e.fake.Recruiter("default").Hire(e.uid); err != nil {
		t.Fatal(err)
	}
	e.polled()
	swept := func() int { return strings.Count(e.logs.String(), "sweep completed") }
	passes := swept()
	e.eventually("a whole sweep", func() bool { return swept() >= passes+2 })
	if s := e.kept().statuses("default")[e.uid]; len(s) != 0 {
		t.Errorf("followed again: %+v", s)
	}
	e.nothingLeft()
}

// Other acts are free: another position, and the same one on purpose.
func erasedMayBeSubmittedOnPurpose(_ *testing.T, e *erased) {
	elsewhere := *e.data
	elsewhere.Position.UID = "48.16A"
	e.publish("elsewhere", &elsewhere)
	e.eventuallyKept("elsewhere", "file_missing")
	elsewhere.Candidate.Files = nil
	e.publish("elsewhere 2", &elsewhere)
	e.eventuallyKept("elsewhere 2", "created")
	again := elsewhere
	again.Position.UID, again.SubmissionID = "87.405", "on purpose"
	e.publish("again", &again)
	e.eventually("another act", func() bool { o := e.keptOf("again"); return len(o) == 1 && (o[0] == "created" || o[0] == "existing") })
}

// An id that may be several people's is refused until it is told whose; a file that somebody else's event names stays.
func TestEraseWhom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("default", "acme"))
	w.run()
	d := w.operator()
	file := &events.File{Name: "terms.pdf", Object: &events.Object{Name: w.store("", []byte("the same for all"))}}
	publish := func(account, source, id string, data *events.Sourced) {
		data.Candidate.Resume = file
		w.publishTo(account, source, id, data)
	}
	same := person(1)
	same.Candidate.ID = "17"
	publish("default", source, "e1", same)
	publish("default", "/sourcing/another", "x1", same)
	publish("acme", source, "a1", same)
	w.settled()
	w.noneOutstanding("default")
	w.noneOutstanding("acme")
	if _, err := d.Erase(t.Context(), "17", ops.EraseOptions{}); err == nil || !strings.Contains(err.Error(), "which kind") {
		t.Errorf("a number of no kind: %v", err)
	}
	_, err := d.Erase(t.Context(), "17", ops.EraseOptions{Kind: ops.KindCandidate})
	if err == nil || !strings.Contains(err.Error(), "account acme, source /sourcing/scout; account default, source /sourcing/another; account default, source /sourcing/scout") {
		t.Errorf("several people: %v", err)
	}
	for _, o := range []ops.EraseOptions{{Account: "nobody"}, {Source: "/nobody"}} {
		o.Kind = ops.KindCandidate
		if _, err := d.Erase(t.Context(), "17", o); !errors.Is(err, ops.ErrUnknownID) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if n := len(w.stored()[bus.SourcedStream]); n != 3 {
		t.Errorf("%d events are left, want all", n)
	}
	for i, o := range []ops.EraseOptions{{Account: "acme"}, {Source: "/sourcing/another"}, {}} {
		o.Kind = ops.KindCandidate
		e := w.erase(d, "17", o)
		if len(e.Operations) != 1 || (len(e.Shared) == 1) != (i < 2) || (len(e.Files) == 1) != (i == 2) {
			t.Errorf("%+v: %+v", o, e)
		}
		all := w.stored()
		if n := len(all[bus.SourcedStream]); n != 2-i {
			t.Errorf("%+v: %d events are left", o, n)
		}
		if n := len(all["OBJ_"+bus.FilesStore]); n == 0 != (i == 2) {
			t.Errorf("%+v: %d messages of the file are left", o, n)
		}
	}
	if _, err := d.Erase(t.Context(), "17", ops.EraseOptions{Kind: ops.KindCandidate}); !errors.Is(err, ops.ErrUnknownID) {
		t.Errorf("once more: %v", err)
	}
}

// What nobody can read is erased by its letter; the file that it names goes with it.
func TestEraseTheUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	name := w.store("", []byte(personMark))
	body := `{"data":{"candidate":{"first_name":"` + personMark + `","resume":{"name":"x","object":{"name":"` + name + `"}},"files":[{"object":{"name":"../x"}}]}}}`
	w.publishRaw(sent{account: "default"}, nil, []byte(body))
	w.publishRaw(sent{account: "default"}, map[string][]string{"ce-type": {"x"}, "ce-id": {"b1"}, "ce-source": {source}, "ce-specversion": {"1.0"}}, []byte(body[8:len(body)-1]))
	w.publishRaw(sent{account: "default"}, nil, []byte("not of the contract"))
	var letters []ops.DeadLetter
	w.eventually("the letters", func() bool { letters = w.list(d, ops.LetterFilter{}); return len(letters) == 3 })
	w.noneOutstanding("default")
	w.eventually("their outcomes", func() bool { return len(w.kept()) == 3 })
	for i, l := range letters {
		raw, err := d.Raw(t.Context(), l.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("not of")) {
			letters = slices.Delete(letters, i, i+1)
			break
		}
	}
	for i, l := range letters {
		e := w.erase(d, fmt.Sprint(l.Seq), ops.EraseOptions{Kind: ops.KindLetter})
		if len(e.Messages) != 3 || len(e.Files) != i || len(e.Shared) != 1-i {
			t.Errorf("%+v", e)
		}
	}
	for _, m := range w.marks(personMark, name) {
		t.Error(m)
	}
	if n := len(w.list(d, ops.LetterFilter{})); n != 1 {
		t.Errorf("%d letters are left, want the other one", n)
	}
}

// A letter that has come back from the dead, say out of a backup, is not replayed under its erased operation.
func TestReplayOfAnErasedOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(oftenRead)
	d := w.operator()
	data := person(1)
	data.Position.UID = "22.0C1"
	l := w.refused(d, "e1", data)
	w.noneOutstanding("default")
	was := w.letters()[l.Seq]
	w.erase(d, "e1", ops.EraseOptions{})
	ack, err := w.js.Publish(t.Context(), was.Subject, was.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []ops.ReplayOptions{{DryRun: true}, {Sure: true, Anyway: true}} {
		r := w.replay(d, o, ack.Sequence)[0]
		if r.Verdict != ops.VerdictErased || r.Sent || !strings.Contains(r.Message, "submission_id") || (r.Kept == "") != o.DryRun {
			t.Errorf("%+v: %+v", o, r)
		}
	}
	raw, err := d.Raw(t.Context(), ack.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.Replace(raw, []byte(`"position":{"uid":"22.0C1"}`), []byte(`"position":{"uid":"87.405"},"submission_id":"anew"`), 1)
	if r := w.replay(d, ops.ReplayOptions{Edited: edited}, ack.Sequence)[0]; !r.Sent {
		t.Errorf("a new act: %+v", r)
	}
	w.eventuallyKept("e1", "created")
}

// The history of an erased operation is that it was erased, and what came of it later.
func TestExplainTheErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	d := w.operator()
	w.publish("e1", person(1))
	w.eventuallyKept("e1", "created")
	w.noneOutstanding("default")
	w.erase(d, "e1", ops.EraseOptions{})
	op := opOf(person(1))
	history := w.explain(d, op, ops.ExplainOptions{})
	tells(t, history, "operator: erased: all that the bus knew of this operation")
	if len(history.Entries) != 1 || history.Operations[0].State != "erased" || history.Operations[0].CandidateID != "" {
		t.Errorf("%+v", history)
	}
	if _, err := d.Explain(t.Context(), "e1", ops.ExplainOptions{}); !errors.Is(err, ops.ErrUnknownID) {
		t.Errorf("by an id that was erased: %v", err)
	}
	w.publish("e2", person(1))
	w.eventuallyKept("e2", "erased")
	for _, id := range []string{op, "e2"} {
		history = w.explain(d, id, ops.ExplainOptions{})
		tells(t, history, "operator: erased", "published: event e2", "connector: failed: erased")
		if history.Operations[0].State != "erased" {
			t.Errorf("%+v", history.Operations)
		}
	}
}

// An event of an erased operation that nobody may fetch until it nears its stream's age limit has the same end.
func TestErasedOperationExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run()
	d := w.operator()
	w.publish("e1", person(1))
	w.eventuallyKept("e1", "created")
	w.noneOutstanding("default")
	w.erase(d, "e1", ops.EraseOptions{})
	r.stop(w)
	w.keepEventsFor(bustest.Stretch(3 * time.Second))
	w.fake.Outage(comeettest.HTMLPage(503))
	w.publish("held", person(1))
	w.run()
	w.eventually("an open breaker", func() bool { return strings.Contains(w.logs.String(), "breaker open") })
	w.publish("never fetched", person(1))
	for _, id := range []string{"held", "never fetched"} {
		w.eventuallyKept(id, "erased")
	}
	if n := len(w.stored()[bus.DeadLettersStream]); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
