package connector

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/events"
)

// Few values, so that they collide.
var (
	someNames    = []string{"Backend Engineer", "backend  engineer", "Data Analyst", "Twin", ""}
	someStatuses = []string{"open", "Open", "closed", "CLOSED", "on hold", "On_Hold", "onhold", "paused", ""}
)

func genPositions(t *rapid.T) []position {
	n := rapid.IntRange(0, 8).Draw(t, "n")
	out := make([]position, n)
	for i := range out {
		out[i] = position{
			UID: fmt.Sprintf("4%d.16A", i), Name: rapid.SampledFrom(someNames).Draw(t, "name"),
			CustomID:   rapid.SampledFrom([]string{"", "BE-1", "be-1", "X"}).Draw(t, "custom_id"),
			Department: rapid.SampledFrom([]string{"", "R&D", "r&d", "BI"}).Draw(t, "department"),
			Location:   rapid.SampledFrom([]string{"", "Oslo", "oslo "}).Draw(t, "location"),
			Status:     rapid.SampledFrom(someStatuses).Draw(t, "status"),
		}
	}
	return out
}

func genRef(t *rapid.T) events.Position {
	switch rapid.IntRange(0, 2).Draw(t, "by") {
	case 0:
		return events.Position{UID: fmt.Sprintf("4%d.16A", rapid.IntRange(0, 9).Draw(t, "uid"))}
	case 1:
		return events.Position{CustomID: rapid.SampledFrom([]string{"BE-1", "be-1", "X", "none"}).Draw(t, "custom_id")}
	}
	return events.Position{
		Name:       rapid.SampledFrom([]string{"BACKEND ENGINEER", "Data Analyst ", "Twin", "none"}).Draw(t, "name"),
		Department: rapid.SampledFrom([]string{"", "R&D", "BI"}).Draw(t, "department"),
		Location:   rapid.SampledFrom([]string{"", "OSLO"}).Draw(t, "location"),
	}
}

// A match is the one open position that answers to the reference; a refusal says truly why there is none. The order of the
// catalogue, and positions that do not answer, make no difference.
func TestFind(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		positions, ref := genPositions(t), genRef(t)
		same := func(a, b string) bool {
			return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
		}
		count := map[string]int{}
		var only string
		var answering []position
		for _, p := range positions {
			answers := ref.UID != "" && p.UID == ref.UID || ref.CustomID != "" && p.CustomID == ref.CustomID ||
				ref.Name != "" && same(p.Name, ref.Name) && (ref.Department == "" || same(p.Department, ref.Department)) &&
					(ref.Location == "" || same(p.Location, ref.Location))
			if !answers {
				continue
			}
			answering = append(answering, p)
			switch strings.ToLower(p.Status) {
			case "closed":
				count["closed"]++
			case "on hold", "on_hold", "onhold":
				count["held"]++
			default:
				count["open"]++
				only = p.UID
			}
		}
		want := events.Reason("")
		switch {
		case count["open"] > 1:
			want = events.ReasonPositionAmbiguous
		case count["open"] == 1:
		case count["held"] > 0:
			want = events.ReasonPositionOnHold
		case count["closed"] > 0:
			want = events.ReasonPositionClosed
		default:
			want = events.ReasonPositionNotFound
		}

		check := func(list []position) {
			got, why := find(list, ref)
			if want == "" {
				if why != nil || got.uid != only {
					t.Fatalf("matched %+v (%+v), want %s", got, why, only)
				}
				return
			}
			if why == nil || why.reason != want {
				t.Fatalf("refusal %+v, want %s", why, want)
			}
			if why.message == "" || strings.Contains(why.message, "ngineer") {
				t.Fatalf("message %q must say what to do and quote no name", why.message)
			}
		}
		check(positions)
		check(answering)
		reversed := slices.Clone(positions)
		slices.Reverse(reversed)
		check(reversed)
	})
}
