package positions_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// Few values, so that they collide.
var (
	someNames    = []string{"Backend Engineer", "backend  engineer", "Data Analyst", "Twin", ""}
	someStatuses = []string{"open", "Open", "closed", "CLOSED", "on hold", "On_Hold", "onhold", "paused", ""}
)

func genPositions(t *rapid.T) []positions.Position {
	n := rapid.IntRange(0, 8).Draw(t, "n")
	out := make([]positions.Position, n)
	for i := range out {
		out[i] = positions.Position{
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
		known, ref := genPositions(t), genRef(t)
		same := func(a, b string) bool {
			return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
		}
		exactly := slices.ContainsFunc(known, func(p positions.Position) bool { return p.CustomID == ref.CustomID })
		count := map[string]int{}
		var only string
		var answering []positions.Position
		for _, p := range known {
			answers := ref.UID != "" && p.UID == ref.UID || ref.CustomID != "" && (p.CustomID == ref.CustomID || !exactly && same(p.CustomID, ref.CustomID)) ||
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

		check := func(list []positions.Position) {
			got, why := positions.Find(list, ref)
			if want == "" {
				if why != nil || got.UID != only {
					t.Fatalf("matched %+v (%+v), want %s", got, why, only)
				}
				return
			}
			if why == nil || why.Reason != want {
				t.Fatalf("refusal %+v, want %s", why, want)
			}
			if why.Message == "" || strings.Contains(why.Message, "ngineer") {
				t.Fatalf("message %q must say what to do and quote no name", why.Message)
			}
		}
		check(known)
		check(answering)
		reversed := slices.Clone(known)
		slices.Reverse(reversed)
		check(reversed)
	})
}

// Positions are found as people and machines spell them, and no further.
func TestFindSpellings(t *testing.T) {
	t.Parallel()
	list := []positions.Position{
		{UID: "1.1", Name: "Cafe\u0301 Manager", CustomID: "ENG-1 "}, {UID: "1.2", Name: "R&amp;D Engineer", CustomID: "eng-2"},
		{UID: "1.3", Name: "Senior\u00a0 Engineer\u200b", CustomID: "00017"}, {UID: "1.4", Name: "Twin", CustomID: "T-1"},
		{UID: "1.5", Name: "Twin", CustomID: "t-1", Location: "Z\u00fcrich"}, {UID: "C0.FFE", Name: "Ing\u00e9nieur logiciel"},
	}
	for uid, refs := range map[string][]events.Position{
		"1.1":    {{Name: "Caf\u00e9 Manager"}, {Name: "CAFE\u0301 manager"}, {CustomID: "ENG-1"}, {CustomID: "eng-1\n"}, {UID: "1.1\n"}, {UID: "\ufeff1.1"}},
		"1.2":    {{Name: "R&D Engineer"}, {Name: "r&amp;d engineer"}, {CustomID: "ENG-2"}},
		"1.3":    {{Name: "Senior Engineer"}, {CustomID: " 00017"}},
		"1.4":    {{CustomID: "T-1"}},
		"1.5":    {{CustomID: "t-1"}, {Name: "twin", Location: "Zu\u0308rich"}},
		"C0.FFE": {{Name: "Inge\u0301nieur logiciel"}},
		"":       {{CustomID: "17"}, {UID: "c0.ffe"}, {UID: "1. 1"}, {Name: "Cafe Manager"}, {Name: "Twin"}},
	} {
		for _, ref := range refs {
			got, why := positions.Find(list, ref)
			if got.UID != uid || (why == nil) != (uid != "") {
				t.Errorf("%+q: %q, %+v, want %q", ref, got.UID, why, uid)
			}
		}
	}
}

// The fallback is for a candidate whose own position can't take it, never for one whose position nobody can tell.
func TestFallback(t *testing.T) {
	t.Parallel()
	list := []positions.Position{{UID: "1", Status: "open"}, {UID: "2", Status: "closed"}}
	for _, tt := range []struct {
		name, uid string
		reason    events.Reason
		takes     bool
		says      string // what the refusal adds
	}{
		{"none", "", events.ReasonPositionClosed, false, ""},
		{"open", "1", events.ReasonPositionClosed, true, ""},
		{"closed itself", "2", events.ReasonPositionNotFound, false, "nor can the account's fallback position take it: the position is closed"},
		{"unknown itself", "3", events.ReasonPositionOnHold, false, "fallback position"},
		{"for an ambiguous reference", "1", events.ReasonPositionAmbiguous, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, why := positions.Fallback(list, tt.uid, &positions.Refusal{Reason: tt.reason, Message: "the first reason"})
			if tt.takes {
				if why != nil || got != (positions.Match{UID: tt.uid, By: events.MatchedByFallback}) {
					t.Errorf("matched %+v (%+v)", got, why)
				}
				return
			}
			if why == nil || why.Reason != tt.reason || !strings.HasPrefix(why.Message, "the first reason") || !strings.Contains(why.Message, tt.says) {
				t.Fatalf("refusal %+v", why)
			}
			if tt.says == "" && why.Message != "the first reason" {
				t.Errorf("refusal %+v", why)
			}
		})
	}
}
