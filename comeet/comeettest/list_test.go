package comeettest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// add enters n candidates of distinct people without the API.
func add(t testing.TB, s *comeettest.Server, n int) []string {
	t.Helper()
	uids := make([]string, n)
	for i := range uids {
		uid, err := s.Recruiter(comeettest.DefaultAccount).AddCandidate(comeettest.Candidate{
			PositionUID: comeettest.DefaultPositionUID, FirstName: "N", LastName: "L", Email: fmt.Sprintf("p%d@example.test", i)})
		must(t, err)
		uids[i] = uid
	}
	return uids
}

// follow reads a listing to its end; between is called after each page.
func follow(t testing.TB, c *client, path string, between func(page int)) [][]string {
	t.Helper()
	var pages [][]string
	for next := path; next != ""; {
		a := c.get(next)
		if a.status != 200 || len(pages) > 200 {
			t.Fatalf("page %d: %d %s", len(pages), a.status, a.raw)
		}
		if pages = append(pages, a.uids()); between != nil {
			between(len(pages))
		}
		next = a.next()
	}
	return pages
}

func zulu(at time.Time) string { return url.QueryEscape(at.UTC().Format("2006-01-02T15:04:05Z")) }

// Full shape of specification §3.1, with a completed, a current and a future step.
func TestFullCandidate(t *testing.T) {
	t.Parallel()
	eachDoor(t, nil, func(t *testing.T, s *comeettest.Server, c *client) {
		uid := c.created(noor("mobile_phone", "+46 555 0101", "linkedin_url", "https://www.linkedin.com/in/example-noor",
			"resume", map[string]any{"name": "noor.pdf", "file": ""}, "source_contact", map[string]any{"full_name": "Dana Reyes", "email": "dana@example.test"}))
		must(t, s.Recruiter(comeettest.DefaultAccount).MoveToStep(uid, "Technical interview"))
		can, _ := s.Candidate(comeettest.DefaultAccount, uid)
		at := func(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") }
		want := map[string]any{
			"uid": uid, "person_uid": can.PersonUID, "first_name": "Noor", "middle_name": nil, "last_name": "Lindqvist",
			"email": "noor@example.test", "phone": nil, "mobile_phone": "+46 555 0101", "id_number": nil,
			"linkedin_url": "https://www.linkedin.com/in/example-noor", "deleted": false, "position_uid": "87.405",
			"source_contact": map[string]any{"uid": can.SourceContact.UID, "first_name": "Dana", "last_name": "Reyes", "email": "dana@example.test"},
			"source":         map[string]any{"uid": "1F.2D", "name": "Example Sourcer", "type": "Sourcing"},
			"time_created":   at(can.TimeCreated), "URL": fmt.Sprintf("https://app.comeet.co/app/?goto_url=/can/%d", can.RealID),
			"completed_steps": []any{map[string]any{"name": "CV Screen", "type": "Go/No-go", "position_step_uid": "8B.442", "time_scheduled": nil,
				"time_completed": at(can.TimeHiringProcessUpdated)}},
			"current_steps": []any{map[string]any{"name": "Technical interview", "type": "In person Interview", "position_step_uid": "8B.443", "time_scheduled": nil}},
			"future_steps":  []any{map[string]any{"name": "Offer", "type": "Go/No-go", "position_step_uid": "8B.444", "time_scheduled": nil}},
			"status":        "In progress", "prospect_status": nil, "time_last_status_changed": at(can.TimeLastStatusChanged),
			"resume": map[string]any{"name": "noor.pdf", "url": "https://bucket.comeet.test/" + uid + "/resume?signature=presigned"},
			"tags":   []any{}, "custom_fields": map[string]any{},
		}
		if d := cmp.Diff(want, c.get("/candidates/"+uid).object()); d != "" {
			t.Error(d)
		}
		for _, path := range []string{"/candidates", "/positions/87.405/candidates"} {
			list := c.get(path).object()
			if d := cmp.Diff(map[string]any{"candidates": []any{want}, "next_page": nil}, list); d != "" {
				t.Errorf("%s: %s", path, d)
			}
		}
		assertNoViolations(t, s)
	})
}

func TestDeletedCandidates(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
	uids := add(t, s, 2)
	must(t, r.Delete(uids[0]))
	gone, here := "-"+uids[0], uids[1]
	for path, want := range map[string][]string{
		"/candidates":                  {gone, here},
		"/candidates?deleted=True":     {gone},
		"/candidates?deleted=False":    {here},
		"/positions/87.405/candidates": {gone, here},
	} {
		if d := cmp.Diff(want, c.get(path).uids()); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	stub := `{"uid":"` + uids[0] + `","deleted":true}`
	if a := c.get("/candidates/" + uids[0]); a.status != 200 || a.raw != stub {
		t.Errorf("read: %d %s", a.status, a.raw)
	}
	if a := c.get("/deleted-candidates"); a.raw != `["`+uids[0]+`"]` {
		t.Errorf("deleted-candidates: %s", a.raw)
	}
	hour := time.Hour
	if a := c.get("/deleted-candidates?time_deleted:after=" + zulu(s.Now().Add(hour))); a.raw != `[]` {
		t.Errorf("deleted later: %s", a.raw)
	}
	if a := c.get("/deleted-candidates?time_deleted:before=" + zulu(s.Now().Add(-hour))); a.raw != `[]` {
		t.Errorf("deleted before: %s", a.raw)
	}
	future := "/candidates?time_hiring_process_updated:after=" + zulu(s.Now().Add(hour))
	for stubs, want := range map[comeettest.StubFilter][]string{comeettest.StubsByTime: nil, comeettest.StubsAlways: {gone}, comeettest.StubsNever: nil} {
		s.Switch(func(sw *comeettest.Switches) { sw.Stubs = stubs })
		if d := cmp.Diff(want, c.get(future).uids()); d != "" {
			t.Errorf("stubs %d: %s", stubs, d)
		}
	}
	s.Switch(func(sw *comeettest.Switches) { sw.DeletedGetNotFound, sw.DeletedEnvelope = true, true })
	if a := c.get("/candidates/" + uids[0]); a.status != 404 {
		t.Errorf("read: %d %s", a.status, a.raw)
	}
	s.Switch(func(sw *comeettest.Switches) { sw.DeletedGetPage = 410 })
	if a := c.get("/candidates/" + uids[0]); a.status != 410 || !strings.HasPrefix(a.raw, "<!DOCTYPE html>") {
		t.Errorf("read: %d %s", a.status, a.raw)
	}
	if a := c.get("/deleted-candidates"); a.raw != `{"candidates":["`+uids[0]+`"],"next_page":null}` {
		t.Errorf("deleted-candidates: %s", a.raw)
	}
	if err := r.Reject(uids[0], ""); err == nil {
		t.Error("a deleted candidate can be rejected")
	}
	assertNoViolations(t, s)
}

func TestHiddenCandidateIsNotFoundOrForbidden(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	uid := c.created(noor())
	must(t, s.Recruiter(comeettest.DefaultAccount).Hide(uid))
	for sw, want := range map[int]string{0: `"error":"not_found"`, 404: `"error":"not_found"`, 403: `"error":"no_permission"`} {
		s.Switch(func(s *comeettest.Switches) { s.HiddenGetStatus = sw })
		if a := c.get("/candidates/" + uid); !strings.Contains(a.raw, want) {
			t.Errorf("switch %d: %d %s", sw, a.status, a.raw)
		}
	}
	assertNoViolations(t, s)
}

func TestMergedAway(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		sw            comeettest.Switches
		list, deleted func(loser string) []string
	}{
		{"neither", comeettest.Switches{}, func(string) []string { return nil }, func(string) []string { return []string{} }},
		{"listed", comeettest.Switches{MergedListed: true}, func(l string) []string { return []string{l} }, func(string) []string { return []string{} }},
		{"stub", comeettest.Switches{MergedStubbed: true}, func(l string) []string { return []string{"-" + l} }, func(string) []string { return []string{} }},
		{"deleted", comeettest.Switches{MergedInDeleted: true}, func(string) []string { return nil }, func(l string) []string { return []string{l} }},
	}
	for _, test := range tests {
		s := start(t, comeettest.WithSwitches(test.sw))
		c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
		uids := add(t, s, 2)
		must(t, r.Merge(uids[0], uids[1]))
		want := append(test.list(uids[0]), uids[1])
		for _, path := range []string{"/candidates", "/positions/87.405/candidates"} {
			if d := cmp.Diff(want, c.get(path).uids()); d != "" {
				t.Errorf("%s: %s: %s", test.name, path, d)
			}
		}
		var deleted []string
		must(t, json.Unmarshal([]byte(c.get("/deleted-candidates").raw), &deleted))
		if d := cmp.Diff(test.deleted(uids[0]), deleted); d != "" {
			t.Errorf("%s: deleted: %s", test.name, d)
		}
		a := c.get("/candidates/" + uids[0])
		if a.status != 401 || a.code() != "duplicate_candidate" || strings.Contains(a.raw, uids[1]) {
			t.Errorf("%s: read %d %s", test.name, a.status, a.raw)
		}
		if err := r.Merge(uids[0], uids[1]); err == nil {
			t.Errorf("%s: merged twice", test.name)
		}
		if err := r.Merge(uids[1], uids[1]); err == nil {
			t.Errorf("%s: merged into itself", test.name)
		}
	}
}

// Each filter, its bounds inclusive and exclusive, against a candidate whose four times all differ.
func TestFilters(t *testing.T) {
	t.Parallel()
	for _, exclusive := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, comeettest.WithSwitches(comeettest.Switches{BoundsExclusive: exclusive}))
			c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
			must(t, r.AddPosition(comeettest.Position{UID: "48.16A"}))
			uid := c.created(noor())
			time.Sleep(time.Hour)
			must(t, r.Reject(uid, "x"))
			time.Sleep(time.Hour)
			must(t, r.SetProspectStatus(uid, "Contacted"))
			time.Sleep(time.Hour)
			other := c.created(noor("position_uid", "48.16A")) // activity of the same person
			must(t, r.Hide(other))
			base := s.Now().Add(-3 * time.Hour)
			for name, hours := range map[string]int{
				"time_created": 0, "time_last_status_change": 1, "time_hiring_process_updated": 2, "time_person_last_activity": 3,
			} {
				at := base.Add(time.Duration(hours) * time.Hour)
				for _, end := range []string{"after", "before"} {
					outside := time.Second
					if end == "before" {
						outside = -outside
					}
					for shift, want := range map[time.Duration]bool{outside: false, 0: !exclusive, -outside: true} {
						got := c.get("/candidates?" + name + ":" + end + "=" + zulu(at.Add(shift))).uids()
						if (len(got) == 1) != want {
							t.Errorf("exclusive %v: %s:%s shifted by %v gave %v", exclusive, name, end, shift, got)
						}
					}
				}
			}
			for query, want := range map[string]int{
				"status=Rejected": 1, "status=In+progress,Rejected": 1, "status=Hired": 0,
				"status=Rejected&time_created:before=" + zulu(base.Add(-time.Hour)): 0,
			} {
				if got := c.get("/candidates?" + query).uids(); len(got) != want {
					t.Errorf("%s: %v", query, got)
				}
			}
			assertNoViolations(t, s)
		})
	}
}

func TestBadTimesAreNamed(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	offset := "/candidates?time_created:after=2031-02-03T04:05:06%2B02:00"
	if a := c.get(offset); a.status != 400 || a.code() != "invalid_datetime" {
		t.Errorf("answered %d %s", a.status, a.raw)
	}
	s.Switch(func(sw *comeettest.Switches) { sw.AcceptOffsets = true })
	if a := c.get(offset); a.status != 200 {
		t.Errorf("answered %d %s", a.status, a.raw)
	}
}

func TestStableOrderGivesEveryRowOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := start(t, comeettest.WithoutRateLimit(), comeettest.WithSwitches(comeettest.Switches{
			EmptyPages: rapid.Bool().Draw(rt, "empty pages"), OmitNextPage: rapid.Bool().Draw(rt, "omit"),
			NextPageBase: rapid.SampledFrom([]string{"", "/"}).Draw(rt, "base"), MaxPageSize: 7}))
		c := inMemory(t, s)
		uids := add(t, s, rapid.IntRange(0, 25).Draw(rt, "candidates"))
		limit := rapid.IntRange(1, 12).Draw(rt, "limit")
		path := rapid.SampledFrom([]string{"/candidates?deleted=False&", "/positions/87.405/candidates?"}).Draw(rt, "path")
		pages := follow(t, c, path+fmt.Sprintf("limit=%d", limit), func(int) {
			if len(uids) > 0 {
				uid := rapid.SampledFrom(uids).Draw(rt, "moved")
				must(t, s.Recruiter(comeettest.DefaultAccount).SetProspectStatus(uid, "Contacted"))
			}
		})
		for _, p := range pages {
			if len(p) > min(limit, 7) {
				rt.Fatalf("page of %d rows for limit %d", len(p), limit)
			}
		}
		if got := slices.Concat(pages...); !slices.Equal(got, uids) {
			rt.Fatalf("listed %v, want %v", got, uids)
		}
		assertNoViolations(t, s)
	})
}

func TestShiftingPages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		sw     comeettest.Switches
		change func(r comeettest.Recruiter, uids []string) error // after the first page
		want   string                                            // pages as indexes
	}{
		{"created", comeettest.Switches{}, nil, "01 23 4"},
		{"created by row, a row leaves", comeettest.Switches{Order: comeettest.OrderCreatedOffset},
			func(r comeettest.Recruiter, uids []string) error { return r.Reject(uids[0], "") }, "01 34"},
		{"newest first, one is added", comeettest.Switches{Order: comeettest.OrderNewestFirst},
			func(r comeettest.Recruiter, _ []string) error {
				_, err := r.AddCandidate(comeettest.Candidate{PositionUID: comeettest.DefaultPositionUID})
				return err
			}, "43 32 10"},
		{"updated, one moves to the end", comeettest.Switches{Order: comeettest.OrderUpdated},
			func(r comeettest.Recruiter, uids []string) error { return r.SetProspectStatus(uids[0], "x") }, "01 34 0"},
		{"updated newest first, one moves to the front", comeettest.Switches{Order: comeettest.OrderUpdatedNewestFirst},
			func(r comeettest.Recruiter, uids []string) error { return r.SetProspectStatus(uids[0], "x") }, "43 32 1"},
		{"repeat", comeettest.Switches{RepeatRows: 1}, nil, "01 12 23 34"},
		{"repeat is bounded", comeettest.Switches{RepeatRows: 9}, nil, "01 12 23 34"},
		{"skip", comeettest.Switches{SkipRows: 1}, nil, "01 34"},
		{"empty pages", comeettest.Switches{EmptyPages: true}, nil, "01  23  4"},
		{"dropped filters", comeettest.Switches{NextPageDropsFilters: true},
			func(r comeettest.Recruiter, uids []string) error { return r.Reject(uids[3], "") }, "01 23 4"},
	}
	for _, path := range []string{"/candidates?limit=2&status=In+progress", "/positions/87.405/candidates?limit=2"} {
		for _, test := range tests {
			if strings.Contains(path, "positions") && strings.Contains(test.name, "a row leaves") {
				continue // this listing has no filter that a row could leave
			}
			t.Run(test.name+" "+path, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := start(t, comeettest.WithSwitches(test.sw))
					var uids []string
					for range 5 {
						uids = append(uids, add(t, s, 1)[0])
						time.Sleep(time.Second)
					}
					pages := follow(t, inMemory(t, s), path, func(page int) {
						if page == 1 && test.change != nil {
							must(t, test.change(s.Recruiter(comeettest.DefaultAccount), uids))
						}
					})
					var got []string
					for _, p := range pages {
						text := ""
						for _, uid := range p {
							text += fmt.Sprint(slices.Index(uids, uid))
						}
						got = append(got, text)
					}
					if d := cmp.Diff(test.want, strings.Join(got, " ")); d != "" {
						t.Error(d)
					}
					assertNoViolations(t, s)
				})
			})
		}
	}
}

func TestNextPageIsAbsoluteAndItsHostASwitch(t *testing.T) {
	t.Parallel()
	eachDoor(t, nil, func(t *testing.T, s *comeettest.Server, c *client) {
		add(t, s, 2)
		if next := c.get("/candidates?limit=1").next(); !strings.HasPrefix(next, c.base+"/candidates?opaque=") {
			t.Errorf("next_page %q, base %q", next, c.base)
		}
		s.Switch(func(sw *comeettest.Switches) { sw.NextPageBase = "https://elsewhere.example" })
		if next := c.get("/candidates?limit=1").next(); !strings.HasPrefix(next, "https://elsewhere.example/candidates?opaque=") {
			t.Errorf("next_page %q", next)
		}
	})
}

func TestPositions(t *testing.T) {
	t.Parallel()
	eachDoor(t, []comeettest.Option{comeettest.WithAccount(comeettest.Account{Name: "a", APIKey: comeettest.DefaultAPIKey, Company: "Acme", Positions: []comeettest.Position{
		{UID: "10.100", Name: "One", InternalUseCustomID: "custom-1", Location: &comeettest.Location{Name: "Lund", Country: "SE"}}, {UID: "87.405"}, {UID: "48.16A"}}})},
		func(t *testing.T, s *comeettest.Server, c *client) {
			r := s.Recruiter("a")
			must(t, r.ClosePosition("87.405"))
			must(t, r.HoldPosition("48.16A"))
			for path, want := range map[string][]string{
				"/positions":                   {"10.100", "87.405", "48.16A"},
				"/positions?status=open":       {"10.100"},
				"/positions?status=closed":     {"87.405"},
				"/positions?status=on+hold":    {"48.16A"},
				"/positions?limit=500":         {"10.100", "87.405", "48.16A"},
				"/positions?limit=1&status=no": nil,
			} {
				if d := cmp.Diff(want, c.get(path).uids()); d != "" {
					t.Errorf("%s: %s", path, d)
				}
			}
			if d := cmp.Diff([][]string{{"10.100", "87.405"}, {"48.16A"}}, follow(t, c, "/positions?limit=2", nil)); d != "" {
				t.Error(d)
			}
			one := c.get("/positions/10.100").object()
			for key, want := range map[string]any{"uid": "10.100", "name": "One", "company_name": "Acme", "internal_use_custom_id": "custom-1",
				"url_comeet_hosted_page": "https://www.comeet.com/jobs/10.100", "url_recruit_hosted_page": nil} {
				if d := cmp.Diff(want, one[key]); d != "" {
					t.Errorf("%s: %s", key, d)
				}
			}
			s.Switch(func(sw *comeettest.Switches) { sw.RecruitNames = true })
			if one = c.get("/positions/10.100").object(); one["url_recruit_hosted_page"] == nil || one["url_comeet_hosted_page"] != nil {
				t.Errorf("recruit names: %v", one)
			}
			must(t, r.UnsharePosition("10.100"))
			for _, path := range []string{"/positions/10.100", "/positions/10.100/candidates", "/positions/none"} {
				if a := c.get(path); a.status != 404 || a.code() != "not_found" {
					t.Errorf("%s: %d %s", path, a.status, a.raw)
				}
			}
			must(t, r.SharePosition("10.100"))
			must(t, r.ReopenPosition("87.405"))
			if got := c.get("/positions?status=open").uids(); len(got) != 2 {
				t.Errorf("open: %v", got)
			}
			assertNoViolations(t, s)
		})
}

func TestVisibilityDelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, comeettest.WithSwitches(comeettest.Switches{VisibleInGetAfter: time.Second, VisibleInListAfter: 2 * time.Second, VisibleInPositionListAfter: 3 * time.Second}))
		c := inMemory(t, s)
		uid := c.created(noor())
		for second := range 4 {
			got := []bool{c.get("/candidates/"+uid).status == 200, len(c.get("/candidates").uids()) == 1, len(c.get("/positions/87.405/candidates").uids()) == 1}
			if d := cmp.Diff([]bool{second >= 1, second >= 2, second >= 3}, got); d != "" {
				t.Errorf("after %d s: %s", second, d)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestFindDuplicates(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	c.created(noor("phone", "+461"))
	for query, want := range map[string]int{"email=NOOR@example.test": 1, "phone_number=%2B461": 1, "first_name=noor&last_name=lindqvist": 1, "email=x@example.test": 0} {
		var rows []any
		must(t, json.Unmarshal([]byte(c.get("/sourcing/candidates/find_duplicates?"+query).raw), &rows))
		if len(rows) != want {
			t.Errorf("%s: %d rows, want %d", query, len(rows), want)
		}
	}
	if a := c.get("/sourcing/candidates/find_duplicates?first_name=Noor"); a.status != 400 {
		t.Errorf("too little: %d", a.status)
	}
}
