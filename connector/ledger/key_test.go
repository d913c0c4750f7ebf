package ledger_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

var token = regexp.MustCompile(`^[a-z2-7]{26}$`)

// act is what makes an operation.
type act struct{ account, source, candidate, uid, customID, name, department, location, submission string }

func (a act) fields() []string {
	return []string{a.account, a.source, a.candidate, a.uid, a.customID, a.name, a.department, a.location, a.submission}
}

func actOf(f []string) act { return act{f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]} }

func (a act) op() ledger.Op {
	return ledger.OpOf(a.account, a.source, &events.Sourced{
		Candidate:    events.Candidate{ID: a.candidate},
		Position:     events.Position{UID: a.uid, CustomID: a.customID, Name: a.name, Department: a.department, Location: a.location},
		SubmissionID: a.submission,
	})
}

func drawAct(t *rapid.T) act {
	// Few letters, also the empty text: neighbours that run together would be seen at once.
	text := rapid.StringMatching(`[ab\x00-]{0,3}`)
	var f []string
	for range len(act{}.fields()) {
		f = append(f, text.Draw(t, "field"))
	}
	return actOf(f)
}

func TestOperationIsTheAct(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAct(t)
		o := a.op()
		if o.Account != a.account || !token.MatchString(o.ID) {
			t.Fatalf("operation is %+v", o)
		}
		if again := a.op(); again != o {
			t.Fatalf("%+v, then %+v", o, again)
		}
		if b := drawAct(t); (b == a) != (b.op() == o) {
			t.Fatalf("%+v and %+v: %s and %s", a, b, o.ID, b.op().ID)
		}
		// A part that moves over the border between two fields is another act.
		f := a.fields()
		i := rapid.IntRange(0, len(f)-2).Draw(t, "border")
		joined := f[i] + f[i+1]
		cut := rapid.IntRange(0, len(joined)).Draw(t, "cut")
		moved := slices.Clone(f)
		moved[i], moved[i+1] = joined[:cut], joined[cut:]
		if b := actOf(moved); (b == a) != (b.op().ID == o.ID) {
			t.Fatalf("%+v and %+v: %s and %s", a, b, o.ID, b.op().ID)
		}
	})
}

// The rest of an event says nothing about which act it asks for.
func TestOperationIgnoresTheRest(t *testing.T) {
	t.Parallel()
	d := &events.Sourced{Candidate: events.Candidate{ID: "c1"}, Position: events.Position{UID: "87.405"}}
	before := ledger.OpOf("acme", "/sourcing", d)
	d.Candidate.FirstName, d.Candidate.Email = "Noor", "noor@example.com"
	if after := ledger.OpOf("acme", "/sourcing", d); after != before {
		t.Errorf("%v became %v", before, after)
	}
}

func drawIdentity(t *rapid.T) ledger.Identity {
	text := rapid.StringMatching(`[ab]{0,2}`)
	return ledger.Identity{
		Source: text.Draw(t, "source"), ID: text.Draw(t, "id"), Stream: text.Draw(t, "stream"),
		Created: time.Unix(0, rapid.Int64Range(0, 3).Draw(t, "created")), Seq: rapid.Uint64Range(0, 3).Draw(t, "seq"),
		Replay: text.Draw(t, "replay"),
	}
}

// same is what the design says: source and id if both are readable, else the place.
func same(a, b ledger.Identity) bool {
	named := func(i ledger.Identity) bool { return i.Source != "" && i.ID != "" }
	switch {
	case named(a) != named(b), a.Replay != b.Replay:
		return false
	case named(a):
		return a.Source == b.Source && a.ID == b.ID
	}
	return a.Stream == b.Stream && a.Created.Equal(b.Created) && a.Seq == b.Seq
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawIdentity(t), drawIdentity(t)
		if rapid.Bool().Draw(t, "elsewhere") {
			// The same instant on another clock face is the same place.
			b = a
			b.Created = a.Created.In(time.FixedZone("east", 7200))
		}
		if got := op.Of(a) == op.Of(b); got != same(a, b) {
			t.Fatalf("%+v and %+v: same is %v", a, b, got)
		}
		if got := ledger.OutcomeID(op, a, events.TypeAccepted) == ledger.OutcomeID(op, b, events.TypeAccepted); got != same(a, b) {
			t.Fatalf("%+v and %+v: same outcome id is %v", a, b, got)
		}
	})
}

func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	who := ledger.Identity{Source: "/s", ID: "1"}
	other := ledger.Op{Account: "acme", ID: "other"}
	ids := map[string]string{
		"operation":             op.ID,
		"its event":             op.Of(who).ID,
		"event of another":      other.Of(who).ID,
		"event, other account":  ledger.Op{Account: "other", ID: op.ID}.Of(who).ID,
		"accepted":              ledger.OutcomeID(op, who, events.TypeAccepted),
		"failed":                ledger.OutcomeID(op, who, events.TypeFailed),
		"accepted, other":       ledger.OutcomeID(other, who, events.TypeAccepted),
		"status first":          ledger.StatusID("acme", "CA.1", 0),
		"status next":           ledger.StatusID("acme", "CA.1", 7),
		"status, other account": ledger.StatusID("other", "CA.1", 0),
		"status, other uid":     ledger.StatusID("acme", "CA.10", 0),
		"status, runs together": ledger.StatusID("acmeC", "A.1", 0),
		"new":                   ledger.NewID(),
		"new again":             ledger.NewID(),
	}
	seen := map[string]string{}
	for what, id := range ids {
		if !token.MatchString(id) {
			t.Errorf("%s: %q is no token", what, id)
		}
		if seen[id] != "" {
			t.Errorf("%s and %s are both %s", what, seen[id], id)
		}
		seen[id] = what
	}
}

func TestPartnerCandidateID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-c/.-]{1,4}`)
		s1, s2, c1, c2 := text.Draw(t, "s1"), text.Draw(t, "s2"), text.Draw(t, "c1"), text.Draw(t, "c2")
		one, two := ledger.PartnerCandidateID(s1, c1), ledger.PartnerCandidateID(s2, c2)
		if (one == two) != (s1 == s2 && c1 == c2) {
			t.Fatalf("%s of %s: %s, %s of %s: %s", c1, s1, one, c2, s2, two)
		}
		if head, tail, ok := strings.Cut(one, "-"); !ok || len(head) != 8 || tail != c1 {
			t.Fatalf("%s of %s is %s", c1, s1, one)
		}
	})
}

// Names that are stored must never change: an operation with another name would be submitted again.
func TestNamesAreStable(t *testing.T) {
	t.Parallel()
	named := ledger.Identity{Source: "/sourcing", ID: "e1"}
	placed := ledger.Identity{Stream: "CANDIDATES_SOURCED", Created: moment, Seq: 7}
	full := act{"acme", "/sourcing", "c1", "87.405", "custom", "Engineer", "R&D", "Malmö", "again"}
	for what, tt := range map[string][2]string{
		"operation":      {op.ID, "uft4rlbdor4dvf22mqb5wqe3sn"},
		"full operation": {full.op().ID, "dlb6eqx7sxoluxxupr5rgv24t4"},
		"named event":    {op.Of(named).ID, "gi3jeyppslmpfpmhn7gl6ysoap"},
		"placed event":   {op.Of(placed).ID, "f45zoz4f5v3rsfvb2lnhfzhbbs"},
		"outcome":        {ledger.OutcomeID(op, named, events.TypeAccepted), "r26drncxq7vjalfgm4rxo422fs"},
		"status":         {ledger.StatusID("acme", "CA.1", 3), "wxjo2zqzdbm46ryp4zjrtljyq4"},
		"partner id":     {ledger.PartnerCandidateID("/sourcing", "c1"), "dnshtnnb-c1"},
	} {
		if tt[0] != tt[1] {
			t.Errorf("%s is %s, was %s", what, tt[0], tt[1])
		}
	}
}
