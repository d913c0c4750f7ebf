package connector_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// check proves the promises from the outside: one outcome per event, at most one candidate per act, no breach of the API,
// no secret and no person in what was written for operators.
func (w *world) check() {
	w.Helper()
	f := w.settled()
	outcomes := f.outcomes()
	for _, p := range w.published {
		if strings.HasPrefix(p.identity, "#") {
			continue
		}
		if got := len(outcomes[p.identity]); got != 1 {
			w.Errorf("event %s has %d outcomes", p.identity, got)
		}
	}
	for _, name := range w.Accounts {
		if dup := w.fake.Duplicates(name); len(dup) > 0 {
			w.Errorf("account %s: duplicates at Comeet: %v", name, dup)
		}
	}
	for _, v := range w.fake.Violations() {
		w.Errorf("breach of the API: %v", v)
	}
	w.checkLeaks(w.logs.String())
}

// checkLeaks looks for marks of persons and secrets.
func (w *world) checkLeaks(texts ...string) {
	w.Helper()
	for _, text := range texts {
		for _, mark := range []string{secret, keyMark, personMark, mailMark, phoneMark, "eyJ"} {
			if i := strings.Index(text, mark); i >= 0 {
				w.Errorf("%q leaked: …%s…", mark, text[max(0, i-200):min(len(text), i+60)])
			}
		}
	}
}

// candidates proves how many candidates there are, each at most once.
func (w *world) candidates(want int) {
	w.Helper()
	w.noneOutstanding("default")
	if got := len(w.fake.Candidates("default")); got != want {
		w.Errorf("%d candidates at Comeet, want %d", got, want)
	}
	if dup := w.fake.Duplicates("default"); len(dup) > 0 {
		w.Errorf("duplicates: %v", dup)
	}
	w.checkLeaks(w.logs.String())
}

// accepted waits until one of an event's outcomes is that it was accepted, and returns all of them.
func (w *world) accepted(id string) []string {
	w.Helper()
	var out []string
	w.eventually(id+" to be accepted", func() bool {
		out = nil
		for _, e := range w.read().outcomes()[source+" "+id] {
			out = append(out, outcomeOf(e))
		}
		return slices.ContainsFunc(out, func(o string) bool {
			return slices.Contains([]string{"created", "existing", "recovered", "duplicate"}, o)
		})
	})
	return out
}

// eventuallyKept waits until an event has these outcomes.
func (w *world) eventuallyKept(id string, want ...string) {
	w.Helper()
	w.eventually(fmt.Sprintf("%s of %s", want, id), func() bool { return slices.Equal(w.keptOf(id), want) })
}

// marks are where something is still to be found on the bus, and on its disk.
func (w *world) marks(of ...string) []string {
	w.Helper()
	var out []string
	for stream, all := range w.stored() {
		for seq, m := range all {
			text := m.Subject + fmt.Sprint(m.Header) + string(m.Data)
			for _, mark := range of {
				if strings.Contains(text, mark) {
					out = append(out, fmt.Sprintf("%s in message %d of %s (%s)", mark, seq, stream, m.Subject))
				}
			}
		}
	}
	err := filepath.WalkDir(w.nats.(embedded).StoreDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, mark := range of {
			if bytes.Contains(raw, []byte(mark)) {
				out = append(out, mark+" on the disk in "+path)
			}
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// eventuallyTrue waits until the feed ends in what Comeet shows of a candidate, if it shows it.
func (w *world) eventuallyTrue(uid string) { w.Helper(); w.eventuallyTrueOf("default", uid) }

func (w *world) eventuallyTrueOf(account, uid string) {
	w.Helper()
	c := w.truth(account, uid)
	if c.Hidden {
		return
	}
	diff := ""
	defer func() {
		if diff != "" {
			w.Logf("candidate %s, truth (-) against feed (+): %s", uid, diff)
		}
	}()
	w.eventually("the feed to end in the truth about "+uid, func() bool {
		diff = "nothing is told of it yet"
		if told := w.read().statuses(account)[uid]; len(told) > 0 {
			diff = difference(told[len(told)-1].State, c)
		}
		return diff == ""
	})
}

// difference says in what a state of the feed is not what Comeet shows; "" if it is. What was never told stays open.
func difference(got events.State, c comeettest.Candidate) string {
	want := events.State{
		Status: c.Status, ProspectStatus: c.ProspectStatus, PositionUID: c.PositionUID, DispositionReason: c.DispositionReason,
		CurrentSteps: steps(c.CurrentSteps), CompletedSteps: steps(c.CompletedSteps),
		Source: &events.CandidateSource{UID: c.Source.UID, Type: c.Source.Type}, Deleted: c.Deleted, Merged: c.MergedInto != "",
	}
	if c.Deleted || c.MergedInto != "" {
		got, want = events.State{Deleted: got.Deleted, Merged: got.Merged}, events.State{Deleted: want.Deleted, Merged: want.Merged}
		return cmp.Diff(want, got)
	}
	if got.Source == nil {
		got.Source = &events.CandidateSource{UID: comeettest.AppSource.UID, Type: comeettest.AppSource.Type}
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(events.State{}, "PersonUID"), untoldStepUIDs)
}

// untoldStepUIDs lets a step without a uid equal the same step with one: a POST's answer has none.
var untoldStepUIDs = cmp.Comparer(func(x, y events.Step) bool {
	if x.PositionStepUID == "" || y.PositionStepUID == "" {
		x.PositionStepUID, y.PositionStepUID = "", ""
	}
	return x == y
})

func steps(list []comeettest.StepState) []events.Step {
	text := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	var out []events.Step
	for _, s := range list {
		out = append(out, events.Step{Name: s.Name, Type: s.Type, PositionStepUID: s.PositionStepUID, TimeScheduled: text(s.TimeScheduled), TimeCompleted: text(s.TimeCompleted)})
	}
	return out
}

// inOrder proves of one candidate's feed that it never repeats itself, tells the states in the order in which they were
// Comeet's, and says of each what changed.
func (w *world) inOrder(uid string) { w.Helper(); w.inOrderOf("default", uid) }

func (w *world) inOrderOf(account, uid string) {
	w.Helper()
	told, history := w.read().statuses(account)[uid], w.fake.History(account, uid)
	at := 0
	for i, st := range told {
		if i > 0 {
			before := told[i-1].State
			if st.Previous == nil || cmp.Diff(before, *st.Previous) != "" {
				w.Errorf("candidate %s, event %d: previous is not the state before", uid, i)
			}
			if cmp.Equal(before, st.State, untoldStepUIDs, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(events.State{}, "PersonUID")) {
				w.Errorf("candidate %s, event %d (%v) repeats the state before", uid, i, st.Changed)
			}
		}
		if st.PositionUID == "" {
			w.Errorf("candidate %s, event %d (%v) names no position", uid, i, st.Changed)
		}
		if i == 0 && st.Status == "" {
			continue // Comeet did not show it when it was recovered
		}
		for at < len(history) && difference(st.State, history[at].Candidate) != "" {
			at++
		}
		if at == len(history) {
			w.Errorf("candidate %s, event %d (%v) of %d is no state that Comeet had since the one before: %+v", uid, i, st.Changed, len(told), st.State)
			return
		}
		at++
	}
}

// tells checks that a history has entries with these words, in this order.
func tells(t *testing.T, history *ops.History, words ...string) {
	t.Helper()
	var lines []string
	next := 0
	for _, m := range history.Entries {
		line := fmt.Sprintf("%s %d %s: %s", m.Stream, m.Seq, m.Who, m.What)
		if next < len(words) && strings.Contains(line, words[next]) {
			next++
		}
		lines = append(lines, line)
	}
	if next < len(words) {
		t.Errorf("%q is not told in its place:\n%s", words[next], strings.Join(lines, "\n"))
	}
}
