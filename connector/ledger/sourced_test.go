package ledger_test

import (
	"strings"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestReadSourced(t *testing.T) {
	t.Parallel()
	data := &events.Sourced{
		Candidate: events.Candidate{ID: "c1", FirstName: "Noor", LastName: "Lindqvist", Email: "noor@example.com"},
		Position:  events.Position{UID: "87.405"},
	}
	good := events.New("/sourcing", "e1", data)
	strange := good.Clone()
	strange.SetExtension(events.ExtAccount, "other")
	claim := claimed("e1", "r1").Event
	claim.SetSource("/sourcing")
	place := ledger.Identity{Stream: "S", Created: moment, Seq: 7, Replay: "mark"}
	named := place
	named.Source, named.ID = "/sourcing", "e1"
	alone := ledger.Op{Account: "acme"}
	for _, tt := range []struct {
		name    string
		event   ce.Event
		spoil   func(string) string
		op      ledger.Op
		under   ledger.Op
		id      ledger.Identity
		who     string
		pointer string
	}{
		{name: "an event", event: good, op: op, under: op.Of(named), id: named, who: "c1"},
		{name: "an event of another account", event: strange, op: alone.Of(named), under: alone.Of(named), id: named, who: "c1", pointer: "/account"},
		{name: "an event of another type", event: claim, op: alone.Of(named), under: alone.Of(named), id: named, pointer: "/type"},
		{name: "a misspelled field", event: good, spoil: func(s string) string { return strings.Replace(s, "last_name", "lastname", 1) },
			op: alone.Of(named), under: alone.Of(named), id: named, who: "c1", pointer: "/data/candidate/last_name"},
		{name: "data of its own under another type", event: good, spoil: func(s string) string {
			return strings.Replace(s, `"candidate.sourced"`, `"candidate.status.changed"`, 1)
		},
			op: alone.Of(named), under: alone.Of(named), id: named, pointer: "/type"},
		{name: "an unknown type and more", event: good, spoil: func(s string) string {
			return strings.NewReplacer(`"candidate.sourced"`, `"Candidate.Sourced"`, `"1.0"`, `"0.3"`).Replace(s)
		}, op: alone.Of(named), under: alone.Of(named), id: named, who: "c1", pointer: "/type"},
		{name: "no JSON", event: good, spoil: func(string) string { return "{" }, op: alone.Of(place), under: alone.Of(place), id: place, pointer: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, body, err := events.Encode(tt.event)
			if err != nil {
				t.Fatal(err)
			}
			if tt.spoil != nil {
				body = []byte(tt.spoil(string(body)))
			}
			s, invalid := ledger.ReadSourced("acme", h, body, place)
			if s.Op != tt.op || s.EventOp != tt.under || s.CandidateID != tt.who {
				t.Errorf("%+v asks for %v, want %v; own outcomes under %v, want %v", s, s.Op, tt.op, s.EventOp, tt.under)
			}
			if diff := cmp.Diff(tt.id, s.Identity); diff != "" {
				t.Error(diff)
			}
			if valid := tt.op == op; valid != (invalid == nil) {
				t.Fatalf("violations: %v", invalid)
			}
			if invalid != nil && (len(invalid.Violations) == 0 || invalid.Violations[0].Pointer != tt.pointer) {
				t.Errorf("violations: %v, want one at %q", invalid, tt.pointer)
			}
			if ref := s.Identity.Ref(); (ref == nil) != (tt.id.ID == "") {
				t.Errorf("it is pointed to by %v", ref)
			}
		})
	}
}

func TestReplayOf(t *testing.T) {
	t.Parallel()
	if got := ledger.ReplayOf(map[string][]string{ledger.ReplayHeader: {"one", "two"}}); got != "one" {
		t.Errorf("replay is %q", got)
	}
	if got := ledger.ReplayOf(map[string][]string{ledger.ReplayHeader: nil}); got != "" {
		t.Errorf("an original is the replay %q", got)
	}
}

// Letters and notes lie in one stream, and each is taken for what it is.
func TestSubjectsOfLettersAndNotes(t *testing.T) {
	t.Parallel()
	letter, note := ledger.LetterSubject(op), ledger.NoteSubject(op, "replayed", 7)
	if want := "deadletter.candidate.sourced.acme." + op.ID; letter != want || note != want+".replayed.7" {
		t.Errorf("%s and %s", letter, note)
	}
	if got, ok := ledger.EventOfLetter(letter); !ok || got != op {
		t.Errorf("%s is the letter of %v, %v", letter, got, ok)
	}
	for _, other := range []string{note, "deadletter.candidate.sourced.acme", "candidate.sourced.acme", ""} {
		if got, ok := ledger.EventOfLetter(other); ok {
			t.Errorf("%q is the letter of %v", other, got)
		}
	}
}
