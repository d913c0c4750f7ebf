package connector_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// lastOn is the last event on a subject of the events stream; it has no data if that cannot be read.
func (w *world) lastOn(subject string) (e events.Event) {
	w.Helper()
	w.again("the last event of a subject", func(ctx context.Context) error {
		s, err := w.js.Stream(ctx, bus.EventsStream)
		if err != nil {
			return err
		}
		if m, err := s.GetLastMsgForSubject(ctx, subject); err == nil {
			e, _ = events.Decode(m.Header, m.Data)
		}
		return nil
	})
	return e
}

// forge writes what nobody can read, and returns its sequence.
func (w *world) forge(subject string) uint64 {
	w.Helper()
	ack, err := w.js.Publish(w.Context(), subject, []byte("not an event"))
	if err != nil {
		w.Fatal(err)
	}
	return ack.Sequence
}

// An entry that cannot be read is the trouble of its candidate or its operation. It ends no poll and no sweep, and no event waits for
// ever; it is told once with its sequence.
func TestEntriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(func(c *connector.Config) { c.SweepInterval = 4 * time.Second })
	uids := map[string]string{}
	for i, id := range []string{"damaged", "lost", "healthy"} {
		w.publish(id, person(1+i))
		if got := matched(w.outcome(id)); got != "uid 87.405" {
			t.Fatalf("outcome %s", got)
		}
		uids[id] = w.read().outcomes()[source+" "+id][0].Data.(*events.Accepted).CandidateUID
	}
	subject := func(id string) string { return events.StatusSubject("default", uids[id]) }
	for _, id := range []string{"damaged", "lost"} {
		w.eventually("the first status", func() bool { return w.lastOn(subject(id)).Data != nil })
	}
	// Of one candidate nothing readable is left.
	s, err := w.js.Stream(t.Context(), bus.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.GetLastMsgForSubject(t.Context(), subject("lost"))
	if err != nil {
		t.Fatal(err)
	}
	lost := w.forge(subject("lost"))
	if err := s.DeleteMsg(t.Context(), first.Sequence); err != nil {
		t.Fatal(err)
	}
	damaged := w.forge(subject("damaged"))

	// Of an operation that is still to come, too.
	op := ledger.OpOf("default", source, person(4))
	claim := w.forge(events.TypeClaimed + ".default." + op.ID)
	w.publish("doubtful", person(4))
	outcome := func(kind string) events.Event { return w.lastOn(kind + ".default." + op.ID) }
	w.eventually("the outcome of the doubtful one", func() bool { return outcome(events.TypeFailed).Data != nil })
	failed := outcome(events.TypeFailed).Data.(*events.Failed)
	if failed.Reason != events.ReasonInDoubt || !strings.Contains(failed.Message, fmt.Sprintf("entry %d ", claim)) || failed.DeadLetter == nil {
		t.Errorf("%+v", failed)
	}
	w.publish("after a look", person(4))
	w.eventually("a candidate after a person's look", func() bool { return outcome(events.TypeAccepted).Data != nil })

	r := w.fake.Recruiter("default")
	for _, uid := range uids {
		if err := r.SetStatus(uid, "On hold"); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"healthy", "damaged"} {
		w.eventually("the status of the "+id, func() bool {
			st, ok := w.lastOn(subject(id)).Data.(*events.StatusChanged)
			return ok && st.Status == "On hold" && st.Previous != nil && st.Operation != ""
		})
	}
	if w.lastOn(subject("lost")).Data != nil {
		t.Error("a status of a candidate of whom nothing is known")
	}
	w.eventually("a complete sweep", func() bool {
		return strings.Contains(w.logs.tail(1<<20), "the sweep could not read some followed candidates")
	})
	log := w.logs.tail(1 << 20)
	for _, seq := range []uint64{lost, damaged, claim} {
		if n := strings.Count(log, fmt.Sprintf(`"seq":%d,`, seq)); n != 1 {
			t.Errorf("entry %d is told %d times", seq, n)
		}
	}
	for _, wrong := range []string{"poll did not complete", "sweep did not complete", "event has no outcome yet"} {
		if strings.Contains(log, wrong) {
			t.Errorf("the log says %q", wrong)
		}
	}
}
