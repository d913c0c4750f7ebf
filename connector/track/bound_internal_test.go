package track

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// anyText is what a client may return as a text: short, long, of costly or invalid characters.
func anyText(t *rapid.T, name string) string {
	s := rapid.OneOf(
		rapid.SampledFrom([]string{"", "Hired", "In progress", "\x00", "<&>\u2028", "\xff\xfe", "日本", "é\u0301", "\u0085", " "}), rapid.String(),
	).Draw(t, name)
	return strings.Repeat(s, rapid.SampledFrom([]int{1, 1, 1, 60, 64 << 10 / max(len(s), 1)}).Draw(t, name+" times"))
}

func anyTime(t *rapid.T, name string) time.Time {
	return rapid.SampledFrom([]time.Time{
		{}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Hour),
	}).Draw(t, name)
}

func anySteps(t *rapid.T, name string) []comeet.Step {
	step := func() comeet.Step {
		return comeet.Step{
			Name: anyText(t, name+" name"), Type: anyText(t, name+" type"), PositionStepUID: anyText(t, name+" uid"),
			TimeScheduled: anyTime(t, name+" scheduled"), TimeCompleted: anyTime(t, name+" completed"),
		}
	}
	switch n := rapid.SampledFrom([]int{-1, 0, 1, 3, 64, 65, 850, 2000}).Draw(t, name+" count"); n {
	case -1:
		return nil
	case 0, 1, 3:
		out := make([]comeet.Step, n)
		for i := range out {
			out[i] = step()
		}
		return out
	default:
		return slices.Repeat([]comeet.Step{step()}, n)
	}
}

func anyCandidate(t *rapid.T, name string) *comeet.Candidate {
	c := &comeet.Candidate{
		UID: "CA.1", PersonUID: anyText(t, name+" person"), PositionUID: anyText(t, name+" position"),
		Deleted:      rapid.IntRange(0, 9).Draw(t, name+" deleted") == 0,
		CurrentSteps: anySteps(t, name+" current"), CompletedSteps: anySteps(t, name+" completed"), TimeLastStatusChanged: anyTime(t, name+" moved"),
	}
	if rapid.Bool().Draw(t, name+" has status") {
		c.Status, c.ProspectStatus = new(anyText(t, name+" status")), new(anyText(t, name+" prospect"))
	}
	if rapid.Bool().Draw(t, name+" has source") {
		c.Source = &comeet.Source{UID: anyText(t, name+" source"), Type: anyText(t, name+" source type")}
	}
	if rapid.Bool().Draw(t, name+" has reason") {
		c.DispositionReason = &comeet.DispositionReason{Reason: anyText(t, name+" reason")}
	}
	return c
}

// Whatever Comeet shows of a candidate, twice, the status event is read back as it was written, and fits into a message of the bus.
func TestWhatIsWrittenOfACandidateIsRead(t *testing.T) {
	t.Parallel()
	const most = 512 << 10
	rapid.Check(t, func(rt *rapid.T) {
		known := &events.StatusChanged{
			Account: "acme", Operation: "op", CandidateID: "c1", CandidateUID: "CA.1", Sourced: &events.SourcedRef{Source: "s", ID: "1"},
			// An earlier version took over whatever there was.
			State: events.State{Status: anyText(rt, "old status"), CompletedSteps: stepsOf(anySteps(rt, "old"))},
		}
		for _, name := range []string{"first", "second"} {
			next := statusOver(known, reading{uid: "CA.1", candidate: anyCandidate(rt, name), seen: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, nil)
			if next == nil {
				continue
			}
			if diff := cmp.Diff(next.State, bounded(next.State)); diff != "" {
				rt.Fatalf("bounded twice is another: %s", diff)
			}
			e := ledger.NewEvent("/connector", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), next, nil)
			e.SetSubject(next.CandidateUID)
			header, body, err := e.Encode()
			if err != nil {
				rt.Fatalf("%s: %v", name, err)
			}
			if len(body) > most {
				rt.Fatalf("%s: %d bytes", name, len(body))
			}
			read, err := events.Decode(header, body)
			if err != nil {
				rt.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(events.Data(next), read.Data, cmpopts.EquateEmpty()); diff != "" {
				rt.Fatalf("%s (-written +read):\n%s", name, diff)
			}
			known = next
		}
	})
}

// A text is cut where a character ends, and a uid that is too long is none: a part of it might be another's.
func TestBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxTextBytes)
	steps := make([]events.Step, maxSteps+5)
	for i := range steps {
		steps[i].Name = string(rune('a' + i%26))
	}
	got := bounded(events.State{Status: "x" + long, PositionUID: long, CurrentSteps: steps, Source: &events.CandidateSource{UID: "A.1"}})
	want := events.State{Status: "x" + long[:maxTextBytes-2], CurrentSteps: steps[5:], Source: &events.CandidateSource{UID: "A.1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
