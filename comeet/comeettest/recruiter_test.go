package comeettest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// What each act shows at the API, and which of the two times it moves.
func TestActsOfTheRecruiter(t *testing.T) {
	t.Parallel()
	type act = func(comeettest.Recruiter, string) error
	setStatus := func(status string) act {
		return func(r comeettest.Recruiter, uid string) error { return r.SetStatus(uid, status) }
	}
	tests := []struct {
		name             string
		sw               comeettest.Switches
		act              act
		status, activity bool // moved
		want             map[string]any
		current          []string
	}{
		{"move", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.MoveToStep(uid, "Offer") }, false, true, nil, []string{"Offer"}},
		{"move touching the status time", comeettest.Switches{StepMoveTouchesStatusTime: true},
			func(r comeettest.Recruiter, uid string) error { return r.MoveToStep(uid, "Offer") }, true, true, nil, []string{"Offer"}},
		{"several current steps", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.MoveToStep(uid, "Offer", "Reference call") },
			false, true, nil, []string{"Offer", "Reference call"}},
		{"schedule", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.ScheduleStep(uid, time.Now()) }, false, true, nil, []string{"CV Screen"}},
		{"reject", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.Reject(uid, "too far") }, true, true,
			map[string]any{"status": "Rejected", "disposition_reason": map[string]any{"reason": "too far"}, "future_steps": []any{}}, nil},
		{"reject, steps kept", comeettest.Switches{KeepCurrentSteps: true}, func(r comeettest.Recruiter, uid string) error { return r.Reject(uid, "") }, true, true,
			map[string]any{"status": "Rejected"}, []string{"CV Screen"}},
		{"withdraw", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.Withdraw(uid) }, true, true, map[string]any{"status": "Withdrawn"}, nil},
		{"hire", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.Hire(uid) }, true, true,
			map[string]any{"status": "Hired"}, nil},
		{"hold", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.PutOnHold(uid) }, true, true, map[string]any{"status": "On hold"}, nil},
		{"blank", comeettest.Switches{}, setStatus(""), true, true, map[string]any{"status": ""}, nil},
		{"unknown", comeettest.Switches{}, setStatus("Pondered"), true, true, map[string]any{"status": "Pondered"}, nil},
		{"reopen", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error {
			if err := r.Reject(uid, "x"); err != nil {
				return err
			}
			return r.Reopen(uid)
		}, true, true, map[string]any{"status": "In progress", "disposition_reason": nil}, []string{"CV Screen"}},
		{"prospect", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.SetProspectStatus(uid, "Contacted") }, false, true,
			map[string]any{"prospect_status": "Contacted"}, []string{"CV Screen"}},
		{"source", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error {
			return r.ChangeSource(uid, comeettest.Source{UID: "2", Name: "Agent", Type: "Agency"})
		}, false, true,
			map[string]any{"source": map[string]any{"uid": "2", "name": "Agent", "type": "Agency"}}, []string{"CV Screen"}},
		{"position", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error {
			if err := r.AddPosition(comeettest.Position{UID: "48.16A"}); err != nil {
				return err
			}
			return r.MoveToPosition(uid, "48.16A")
		}, false, true, map[string]any{"position_uid": "48.16A"}, []string{"CV Screen"}},
		{"pseudonymize", comeettest.Switches{}, func(r comeettest.Recruiter, uid string) error { return r.Pseudonymize(uid) }, false, true,
			map[string]any{"first_name": nil, "email": nil, "deleted": false}, []string{"CV Screen"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := start(t, comeettest.WithSwitches(test.sw))
				c := inMemory(t, s)
				uid := c.created(noor())
				before, _ := s.Candidate(comeettest.DefaultAccount, uid)
				time.Sleep(time.Minute)
				must(t, test.act(s.Recruiter(comeettest.DefaultAccount), uid))
				after, _ := s.Candidate(comeettest.DefaultAccount, uid)
				if got := !after.TimeLastStatusChanged.Equal(before.TimeLastStatusChanged); got != test.status {
					t.Errorf("status time moved: %v", got)
				}
				if got := !after.TimeHiringProcessUpdated.Equal(before.TimeHiringProcessUpdated); got != test.activity {
					t.Errorf("activity moved: %v", got)
				}
				got := c.get("/candidates/" + uid).object()
				for key, want := range test.want {
					if d := cmp.Diff(want, got[key]); d != "" {
						t.Errorf("%s: %s", key, d)
					}
				}
				var current []string
				for _, step := range got["current_steps"].([]any) {
					current = append(current, step.(map[string]any)["name"].(string))
				}
				if d := cmp.Diff(test.current, current); d != "" {
					t.Errorf("current steps: %s", d)
				}
				if (got["opening"] != nil) != (test.name == "hire") {
					t.Errorf("opening: %v", got["opening"])
				}
			})
		})
	}
}

func TestMovedCandidatesAreListedWhereTheyAre(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
	must(t, r.AddPosition(comeettest.Position{UID: "48.16A"}))
	uids := add(t, s, 2)
	must(t, r.MoveToPosition(uids[0], "48.16A"))
	for position, want := range map[string]string{"87.405": uids[1], "48.16A": uids[0]} {
		if got := c.get("/positions/" + position + "/candidates").uids(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v, want %s", position, got, want)
		}
	}
	if err := r.MoveToPosition(uids[0], "none"); err == nil {
		t.Error("moved to a position that does not exist")
	}
	if err := r.AddPosition(comeettest.Position{UID: "48.16A"}); err == nil {
		t.Error("a position uid twice")
	}
}

func TestSourceChangeHidesFromASourcingApp(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
	r.Deny(comeettest.ReadOtherCandidates)
	uid := c.created(noor())
	must(t, r.ChangeSource(uid, comeettest.Source{UID: "2", Name: "Agent", Type: "Agency"}))
	if a := c.get("/candidates/" + uid); a.status != 404 || len(c.get("/candidates").uids()) != 0 {
		t.Errorf("still visible: %d", a.status)
	}
}

func TestHistoryIsEveryState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, comeettest.WithClockOffset(time.Hour))
		c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
		c.now = s.Now
		begin := time.Now()
		uid := c.created(noor())
		acts := []func() error{
			func() error { return r.MoveToStep(uid, "Offer") },
			func() error { return r.Hide(uid) },
			func() error { return r.Show(uid) },
			func() error { return r.Hire(uid) },
			func() error { return r.Delete(uid) },
		}
		for _, act := range acts {
			time.Sleep(time.Minute)
			must(t, act())
		}
		states := s.History(comeettest.DefaultAccount, uid)
		if len(states) != 6 {
			t.Fatalf("%d states, want 6", len(states))
		}
		for i, state := range states {
			if d := state.At.Sub(begin); d != time.Duration(i)*time.Minute {
				t.Errorf("state %d began after %v", i, d)
			}
			if i > 0 && state.VisibleEqual(states[i-1]) {
				t.Errorf("state %d equals the one before", i)
			}
		}
		if !states[1].VisibleEqual(states[3]) || !states[2].Hidden || states[4].Status != comeettest.Hired || !states[5].Deleted {
			t.Errorf("states %+v", states)
		}
		if s.History(comeettest.DefaultAccount, "none") != nil {
			t.Error("an unknown candidate has a history")
		}
	})
	s := start(t, comeettest.WithoutHistory())
	uid := inMemory(t, s).created(noor())
	must(t, s.Recruiter(comeettest.DefaultAccount).Hire(uid))
	if states := s.History(comeettest.DefaultAccount, uid); len(states) != 1 || states[0].Status != comeettest.Hired {
		t.Errorf("states %+v", states)
	}
}

// The index behind "updated since" agrees with a look at everybody, whatever the clock did meanwhile.
func TestUpdatedSinceFindsExactlyTheActive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := start(t, comeettest.WithoutRateLimit(), comeettest.WithSwitches(comeettest.Switches{
			MaxPageSize: 5000, Order: comeettest.Order(rapid.IntRange(0, 4).Draw(rt, "order"))}))
		c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
		c.now = s.Now
		uids := add(t, s, 60)
		for range rapid.IntRange(0, 40).Draw(rt, "acts") {
			s.SetClockOffset(time.Duration(rapid.IntRange(-300, 300).Draw(rt, "clock")) * time.Second)
			for range rapid.SampledFrom([]int{1, 40}).Draw(rt, "repeats") {
				must(t, r.SetProspectStatus(rapid.SampledFrom(uids).Draw(rt, "who"), "x"))
			}
		}
		since := s.Now().Add(time.Duration(rapid.IntRange(-300, 300).Draw(rt, "since")) * time.Second).Truncate(time.Second)
		var want []string
		for _, can := range s.Candidates(comeettest.DefaultAccount) {
			if !can.TimeHiringProcessUpdated.Before(since) {
				want = append(want, can.UID)
			}
		}
		got := c.get("/candidates?limit=5000&time_hiring_process_updated:after=" + zulu(since)).uids()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("listed %v, want %v", got, want)
		}
	})
}

func TestConcurrentPostsOfOneIDCreateOneUnlessTheyRace(t *testing.T) {
	t.Parallel()
	for _, race := range []time.Duration{0, time.Hour} {
		s := start(t, comeettest.WithSwitches(comeettest.Switches{RaceWindow: race}))
		c := inMemory(t, s)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { c.post(noor()) })
		}
		wg.Wait()
		groups := s.Duplicates(comeettest.DefaultAccount)
		if (len(groups) == 0) != (race == 0) || race > 0 && len(groups[0]) != 8 {
			t.Errorf("race window %v: %d groups", race, len(groups))
		}
	}
}

func TestOptionsThatContradictThemselves(t *testing.T) {
	t.Parallel()
	same := comeettest.Account{Name: "a"}
	for name, opts := range map[string][]comeettest.Option{
		"account without name": {comeettest.WithAccount(comeettest.Account{})},
		"account twice":        {comeettest.WithAccount(same), comeettest.WithAccount(same)},
		"position twice":       {comeettest.WithAccount(comeettest.Account{Name: "a", Positions: []comeettest.Position{{UID: "1"}, {UID: "1"}}})},
		"empty secret":         {comeettest.WithSecret("")},
		"base path":            {comeettest.WithBasePath("api")},
		"base path with end":   {comeettest.WithBasePath("/api/")},
		"rate limit":           {comeettest.WithRateLimit(0, time.Minute)},
		"recording":            {comeettest.WithRecording(-1)},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			comeettest.New(opts...)
		}()
	}
}

func ExampleServer() {
	s := comeettest.New()
	defer s.Close()
	r := s.Recruiter(comeettest.DefaultAccount)
	uid, _ := r.AddCandidate(comeettest.Candidate{PositionUID: comeettest.DefaultPositionUID, FirstName: "Noor", LastName: "Lindqvist"})
	_ = r.MoveToStep(uid, "Technical interview")
	_ = r.Reject(uid, "Not this time")
	for _, state := range s.History(comeettest.DefaultAccount, uid) {
		fmt.Println(state.Status, len(state.CurrentSteps), len(state.CompletedSteps))
	}
	// Output:
	// In progress 1 0
	// In progress 1 1
	// Rejected 0 1
}
