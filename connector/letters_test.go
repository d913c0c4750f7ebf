package connector_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// refusalCase is how a reason comes about, and how its cause is mended.
type refusalCase struct {
	reason events.Reason
	breaks func(*events.Sourced) // nil: nothing, but that an invalid event misspells a field
	answer *comeettest.Fault     // what Comeet answers to every POST until then
	mend   func(*world) error    // nil: nothing has to be mended, or the event
}

func refusalCases() []refusalCase {
	resume := []byte("a résumé")
	at := func(p events.Position) func(*events.Sourced) { return func(s *events.Sourced) { s.Position = p } }
	recruiter := func(do func(comeettest.Recruiter) error) func(*world) error {
		return func(w *world) error { return do(w.fake.Recruiter("default")) }
	}
	return []refusalCase{
		{reason: events.ReasonInvalidEvent},
		{reason: events.ReasonPositionNotFound, breaks: at(events.Position{UID: "99.999"}), mend: recruiter(func(r comeettest.Recruiter) error {
			return r.AddPosition(comeettest.Position{UID: "99.999", Name: "New", Status: "open"})
		})},
		{reason: events.ReasonPositionAmbiguous, breaks: at(events.Position{CustomID: "TWIN"}),
			mend: recruiter(func(r comeettest.Recruiter) error { return r.ClosePosition("11.112") })},
		{reason: events.ReasonPositionClosed, breaks: at(events.Position{UID: "22.0C1"}),
			mend: recruiter(func(r comeettest.Recruiter) error { return r.ReopenPosition("22.0C1") })},
		{reason: events.ReasonPositionOnHold, breaks: at(events.Position{UID: "22.0C2"}),
			mend: recruiter(func(r comeettest.Recruiter) error { return r.ReopenPosition("22.0C2") })},
		{reason: events.ReasonRefused, answer: new(comeettest.APIError(400, "invalid_email"))},
		{reason: events.ReasonFileRefused, answer: new(comeettest.APIError(403, "malicious_file"))},
		{reason: events.ReasonFileMissing,
			breaks: func(s *events.Sourced) {
				s.Candidate.Resume = &events.File{Name: personMark + ".pdf", Object: &events.Object{Name: fmt.Sprintf("%x", sha256.Sum256(resume))}}
			},
			mend: func(w *world) error { w.store("", resume); return nil }},
		{reason: events.ReasonInDoubt, answer: new(comeettest.Drop())},
	}
}

// happen publishes an event with that end, of the nth person, and waits for its letter.
func (c refusalCase) happen(w *world, d *ops.Client, n int) ops.DeadLetter {
	w.Helper()
	data, id := person(n), fmt.Sprint("e", n)
	if c.breaks != nil {
		c.breaks(data)
	}
	if c.answer != nil {
		w.fake.OutageOf(posts, *c.answer)
		defer w.fake.RecoverOf(posts)
	}
	if c.reason == events.ReasonInvalidEvent {
		w.publishInvalid(id, data)
	} else {
		w.publish(id, data)
	}
	return w.letterOf(d, id)
}

// Whatever was refused can be looked at without seeing a person, and replayed once its cause is mended.
func TestLetterFromRefusalToCandidate(t *testing.T) {
	t.Parallel()
	for _, c := range refusalCases() {
		t.Run(string(c.reason), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) { s.SettleDelay = 20 * time.Millisecond })
			w.run(oftenRead)
			d := w.operator()
			l := c.happen(w, d, 1)
			if l.Reason != c.reason || l.CandidateID != "src-1" || l.Sourced.ID != "e1" || l.Account != "default" || l.Message == "" {
				t.Errorf("letter %+v", l)
			}
			w.checkMasked(d, l.Seq)

			// What would become of it now, and that it stays if that is nothing good.
			want, o := ops.VerdictSubmit, ops.ReplayOptions{Sure: true}
			switch {
			case c.reason == events.ReasonInvalidEvent:
				want = ops.VerdictInvalid
				if len(l.Violations) != 1 || l.Violations[0].Pointer != "/data/candidate/last_name" {
					t.Errorf("violations: %v", l.Violations)
				}
				raw, err := d.Raw(t.Context(), l.Seq)
				if err != nil {
					t.Fatal(err)
				}
				o.Edited = bytes.Replace(raw, []byte("lastname"), []byte("last_name"), 1)
			case strings.HasPrefix(string(c.reason), "position_"):
				want = ops.VerdictPosition
			}
			before := w.forecast(d, l.Seq)
			if before.Verdict != want || before.Sent || before.InDoubt != (c.reason == events.ReasonInDoubt) {
				t.Errorf("forecast %+v, want %s", before, want)
			}
			if want == ops.VerdictPosition && before.Reason != c.reason {
				t.Errorf("forecast %+v", before)
			}
			if want != ops.VerdictSubmit || before.InDoubt {
				if kept := w.replay(d, ops.ReplayOptions{}, l.Seq)[0]; kept.Sent || kept.Kept == "" {
					t.Errorf("replayed although it can't succeed or may do harm: %+v", kept)
				}
			}

			if c.mend != nil {
				if err := c.mend(w); err != nil {
					t.Fatal(err)
				}
				w.eventually("the bus to know that it is mended", func() bool { return w.forecast(d, l.Seq).Verdict == ops.VerdictSubmit })
			}
			if r := w.replay(d, o, l.Seq)[0]; !r.Sent || r.SourcedSeq == 0 || r.Verdict != ops.VerdictSubmit {
				t.Errorf("%+v", r)
			}
			if diff := cmp.Diff([]string{string(c.reason), "created"}, w.accepted("e1")); diff != "" {
				t.Errorf("outcomes: %s", diff)
			}
			if left := w.list(d, ops.LetterFilter{}); len(left) != 0 {
				t.Errorf("left of the letters: %+v", left)
			}
			w.candidates(1)
		})
	}
}

// Letters are found by what an operator knows of them, the newest first.
func TestLettersAreFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.SettleDelay = 20 * time.Millisecond })
	w.run(oftenRead)
	d := w.operator()
	var oldest, newest []events.Reason
	cases := refusalCases()
	for n, c := range cases {
		oldest = append(oldest, c.happen(w, d, n).Reason)
	}
	letters := w.list(d, ops.LetterFilter{})
	for _, l := range slices.Backward(letters) {
		newest = append(newest, l.Reason)
	}
	if diff := cmp.Diff(oldest, newest); diff != "" {
		t.Errorf("the newest should come first: %s", diff)
	}
	if groups := ops.GroupLetters(letters); len(groups) != len(cases) || groups[0].Count != 1 || groups[0].Oldest.IsZero() {
		t.Errorf("groups: %+v", groups)
	}
	for name, f := range map[string]ops.LetterFilter{
		"account": {Account: "default", Since: letters[0].Stored}, "reason": {Reason: letters[0].Reason},
		"candidate": {CandidateID: letters[0].CandidateID, Source: source},
	} {
		if got := w.list(d, f); len(got) != 1 || got[0].Seq != letters[0].Seq {
			t.Errorf("by %s: %+v", name, got)
		}
	}
	for name, f := range map[string]ops.LetterFilter{
		"account": {Account: "other"}, "reason": {Reason: "none"}, "source": {Source: "/nobody"}, "since": {Since: time.Now().Add(time.Hour)},
	} {
		if got := w.list(d, f); len(got) != 0 {
			t.Errorf("by another %s: %+v", name, got)
		}
	}
}

// checkMasked looks at a letter both ways: masked, its structure is there and nothing of the person.
func (w *world) checkMasked(d *ops.Client, seq uint64) {
	w.Helper()
	masked, err := d.Show(w.Context(), seq, false)
	if err != nil {
		w.Fatal(err)
	}
	raw, err := json.Marshal(masked)
	if err != nil {
		w.Fatal(err)
	}
	w.checkLeaks(string(raw))
	for _, want := range []string{`"first_name":"•••"`, `"email":"•••"`, `"id":"src-`, `"position":{"`} {
		if !strings.Contains(string(raw), want) {
			w.Errorf("letter %d masked lacks %s: %s", seq, want, raw)
		}
	}
	open, err := d.Show(w.Context(), seq, true)
	if err != nil {
		w.Fatal(err)
	}
	for _, mark := range []string{personMark, mailMark, phoneMark} {
		if !bytes.Contains(open.Content, []byte(mark)) {
			w.Errorf("letter %d unmasked lacks %s", seq, mark)
		}
	}
}

// A letter of any shape can be listed, shown and discarded; none shows a person in its headers or keys.
func TestLettersOfEveryShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := []struct {
		name   string
		header map[string][]string
		body   string
		lacks  bool // Content
	}{
		{"empty", nil, "", true},
		{"bytes", map[string][]string{"X-" + mailMark: {personMark}}, "\x00\xff" + personMark, true},
		{"a string", nil, `"` + personMark + `"`, false},
		{"a list", nil, `[1, true, null, "` + mailMark + `"]`, false},
		{"a name as a key", nil, `{"` + personMark + ` Lindqvist": {"first_name": ["` + personMark + `"]}}`, false},
		{"an address as an id", nil, `{"data": {"candidate": {"id": "` + mailMark + `@example.test", "note": 5550199}}}`, false},
		{"binary", map[string][]string{"Ce-Id": {"b1"}, "ce-source": {source}, "ce-type": {events.TypeSourced}, "ce-specversion": {"1.0"},
			"ce-subject": {personMark}, "X-Name": {personMark}}, `{"candidate": {"id": "src-1", "first_name": "` + personMark + `"}}`, false},
	}
	for _, c := range cases {
		w.publishRaw(sent{account: "default"}, c.header, []byte(c.body))
	}
	w.run()
	d := w.operator()
	w.eventually("all letters", func() bool { return len(w.read()) == len(cases) })
	letters := w.list(d, ops.LetterFilter{Reason: events.ReasonInvalidEvent})
	if len(letters) != len(cases) {
		t.Fatalf("%d letters for %d events", len(letters), len(cases))
	}
	shown := map[string]ops.ShownLetter{}
	for _, l := range letters {
		raw, err := d.Raw(t.Context(), l.Seq)
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Show(t.Context(), l.Seq, false)
		if err != nil {
			t.Fatal(err)
		}
		all, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(all), "X-"+mailMark, "") // header names are a program's
		w.checkLeaks(text)
		shown[string(raw)] = s
		if f := w.forecast(d, l.Seq); f.Verdict != ops.VerdictInvalid || len(f.Violations) == 0 {
			t.Errorf("forecast of %q: %+v", raw, f)
		}
	}
	for _, c := range cases {
		s, ok := shown[c.body]
		if c.name == "binary" {
			for raw, one := range shown {
				if strings.Contains(raw, `"id": "b1"`) && strings.Contains(raw, `"subject": "`+personMark) {
					s, ok = one, slices.Equal(one.Header[strings.ToLower("Ce-Source")], []string{source})
				}
			}
		}
		if !ok || (s.Content == nil) != c.lacks || s.Bytes != len(c.body) {
			t.Errorf("%s: shown %v as %+v", c.name, ok, s)
		}
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(oftenRead)
	d := w.operator()
	bad := person(1)
	bad.Position.UID = "22.0C1"
	first := w.refused(d, "e1", bad)
	bad.Candidate.ID = "src-2"
	second := w.refused(d, "e2", bad)
	if err := d.Discard(t.Context(), " ", first.Seq); err == nil {
		t.Error("discarded without a reason")
	}
	gone, ok := errors.AsType[*ops.LetterNotFoundError](d.Discard(t.Context(), "position filled", 999, first.Seq))
	if !ok || gone.Seq != 999 || gone.Note != nil {
		t.Errorf("a letter that never was: %v", gone)
	}
	if left := w.list(d, ops.LetterFilter{}); len(left) != 1 || left[0].Seq != second.Seq {
		t.Errorf("left: %+v", left)
	}
	_, err := d.Show(t.Context(), first.Seq, false)
	gone, ok = errors.AsType[*ops.LetterNotFoundError](err)
	if !ok || gone.Note == nil || gone.Note.Action != ops.ActionDiscarded || gone.Note.Reason != "position filled" || gone.Note.Refused != events.ReasonPositionClosed {
		t.Fatalf("after the discard: %v", err)
	}
	if r := w.forecast(d, first.Seq); r.Verdict != ops.VerdictNotFound || !strings.Contains(r.Message, "position filled") {
		t.Errorf("replay of a discarded letter: %+v", r)
	}
	s := w.stream(bus.DeadLettersStream)
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		if m, err := s.GetMsg(t.Context(), seq); err == nil && seq != second.Seq {
			w.checkLeaks(m.Subject, string(m.Data))
		} else if err == nil == (seq == first.Seq) {
			t.Errorf("message %d: %v", seq, err)
		}
	}
}

// The dead-letter stream was made anew: its sequences begin again, and old outcomes are not those of new letters.
func TestLettersOfAStreamMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run()
	w.publishInvalid("e1", person(1))
	old := w.letterOf(w.operator(), "e1")
	r.stop(w)
	if err := w.js.DeleteStream(t.Context(), bus.DeadLettersStream); err != nil {
		t.Fatal(err)
	}
	w.setUp()
	if _, err := w.js.Publish(t.Context(), "deadletter.candidate.sourced.default.one", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if l := w.list(w.operator(), ops.LetterFilter{}); len(l) != 1 || l[0].Seq != old.Seq || l[0].Reason != "" {
		t.Errorf("%+v", l)
	}
}
