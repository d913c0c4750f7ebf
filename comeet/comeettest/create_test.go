package comeettest_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

func TestCreateAnswersTheDocumentedExample(t *testing.T) {
	t.Parallel()
	eachDoor(t, nil, func(t *testing.T, s *comeettest.Server, c *client) {
		a := c.post(noor("source_contact", map[string]any{"full_name": "Dana Reyes", "email": "dana@example.test", "phone": "+1 555 0100"}))
		if a.status != http.StatusCreated || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("answered %d %v", a.status, a.header)
		}
		got := a.object()
		can := s.Candidates(comeettest.DefaultAccount)[0]
		now := can.TimeCreated.Format("2006-01-02T15:04:05Z")
		want := map[string]any{
			"uid": can.UID, "position_uid": "87.405", "time_created": now, "time_last_status_changed": now, "status": "In progress",
			"source_contact":  map[string]any{"full_name": "Dana Reyes", "email": "dana@example.test", "phone": "+1 555 0100"},
			"current_steps":   []any{map[string]any{"name": "CV Screen", "type": "Go/No-go", "time_scheduled": nil}},
			"completed_steps": []any{},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if can.PartnerCandidateID != "src-1" || can.Email != "noor@example.test" {
			t.Errorf("stored %+v", can)
		}
		assertNoViolations(t, s)
	})
}

func TestCreateBodyAndStatusAreSwitches(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{CreateStatus: 200, FullCreateBody: true}))
	a := inMemory(t, s).post(noor())
	if a.status != 200 || a.object()["person_uid"] == nil {
		t.Errorf("answered %d %s", a.status, a.raw)
	}
	if strings.Contains(a.raw, "src-1") {
		t.Error("the answer echoes partner_candidate_id")
	}
}

func TestCreateValidates(t *testing.T) {
	t.Parallel()
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	upload := func(name, content string) map[string]any {
		return map[string]any{"name": name, "file": encode(content)}
	}
	tests := []struct {
		name    string
		changes []any
		status  int
		code    string
	}{
		{"valid", nil, 201, ""},
		{"every field", []any{"middle_name", "A", "phone", "+46 1", "mobile_phone", "+46 2", "national_id", "n", "salary_expectations", "much",
			"linkedin_url", "https://www.linkedin.com/in/noor", "prospect_status", "Sourced", "note", "plain", "links", []any{map[string]any{"url": "https://example.test/x"}},
			"address", map[string]any{"country": "SE", "city": "Lund", "state": "", "zip": "1", "street": "s"}, "custom_fields", map[string]any{"team": "x"},
			"resume", upload("cv.PDF", "pdf"), "picture", upload("me.png", "png"), "files", []any{upload("a.zip", "zip")}}, 201, ""},
		{"no partner id", []any{"partner_candidate_id", nil}, 201, ""},
		{"no position", []any{"position_uid", nil}, 400, "required_field"},
		{"no first name", []any{"first_name", nil}, 400, "required_field"},
		{"blank last name", []any{"last_name", " "}, 400, "required_field"},
		{"source contact without e-mail", []any{"source_contact", map[string]any{"full_name": "D"}}, 400, "required_field"},
		{"e-mail", []any{"email", "noor at example"}, 400, "invalid_email"},
		{"source contact's e-mail", []any{"source_contact", map[string]any{"email": "x"}}, 400, "invalid_email"},
		{"taken source contact", []any{"source_contact", map[string]any{"email": "Taken@example.test"}}, 400, "source_contact_conflict"},
		{"linkedin", []any{"linkedin_url", "https://example.test/in/noor"}, 400, "invalid_linkedin_url"},
		{"link", []any{"links", []any{map[string]any{"url": "ftp//x"}}}, 400, "invalid_url"},
		{"country", []any{"address", map[string]any{"country": "Sweden"}}, 400, "incorrect_country_code"},
		{"country of two letters", []any{"address", map[string]any{"country": "XX"}}, 400, "incorrect_country_code"},
		{"custom field", []any{"custom_fields", map[string]any{"nobody": "x"}}, 400, "invalid_custom_candidate_field"},
		{"long name", []any{"first_name", strings.Repeat("å", 51)}, 400, "string_size_limit"},
		{"name at the limit", []any{"first_name", strings.Repeat("å", 50)}, 201, ""},
		{"long note", []any{"note", strings.Repeat("n", 101)}, 400, "string_size_limit"},
		{"resume at the limit", []any{"resume", upload("cv.pdf", strings.Repeat("x", 90))}, 201, ""},
		{"resume too big", []any{"resume", upload("cv.pdf", strings.Repeat("x", 91))}, 403, "file_size_limit"},
		{"resume of a foreign type", []any{"resume", upload("cv.exe", "x")}, 403, "malicious_file"},
		{"malware", []any{"files", []any{upload("a.txt", "$"+comeettest.MaliciousMarker+"!")}}, 403, "malicious_file"},
		{"unknown position", []any{"position_uid", "00.000"}, 404, "position_not_found"},
		{"other account's position", []any{"position_uid", "OT.HER"}, 404, "position_not_found"},
		{"unshared position", []any{"position_uid", "UN.SHA"}, 404, "position_not_found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t,
				comeettest.WithSwitches(comeettest.Switches{MaxStringRunes: 50, MaxNoteRunes: 100, MaxFileBytes: 90, CustomFields: []string{"team"}}),
				comeettest.WithAccount(comeettest.Account{Name: "a", APIKey: comeettest.DefaultAPIKey, Positions: []comeettest.Position{{UID: comeettest.DefaultPositionUID}, {UID: "UN.SHA", Unshared: true}}}),
				comeettest.WithAccount(comeettest.Account{Name: "b", Positions: []comeettest.Position{{UID: "OT.HER"}}}))
			s.Recruiter("a").ReserveSourceContact("taken@example.test")
			a := inMemory(t, s).post(noor(test.changes...))
			if a.status != test.status || a.code() != test.code {
				t.Errorf("answered %d %q, want %d %q: %s", a.status, a.code(), test.status, test.code, a.raw)
			}
			if test.code != "" {
				keys := slices.Sorted(maps.Keys(a.object()))
				if d := cmp.Diff([]string{"error", "message", "status"}, keys); d != "" || a.object()["status"] != float64(a.status) {
					t.Errorf("error body: %s", a.raw)
				}
			}
			if n := len(s.Candidates("a")); n != map[bool]int{true: 1}[test.status == 201] {
				t.Errorf("%d candidates", n)
			}
			assertNoViolations(t, s)
		})
	}
}

func TestPartnerIDIsRequiredInOlderVersions(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{RequirePartnerCandidateID: true}))
	if a := inMemory(t, s).post(noor("partner_candidate_id", nil)); a.code() != "required_field" {
		t.Errorf("answered %s", a.raw)
	}
}

func TestFileLimitMayMeasureTheEncodedText(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{MaxFileBytes: 10, FileLimitEncoded: true}))
	file := map[string]any{"name": "cv.pdf", "file": base64.StdEncoding.EncodeToString([]byte("nine byte"))}
	if a := inMemory(t, s).post(noor("resume", file)); a.code() != "file_size_limit" {
		t.Errorf("answered %s", a.raw)
	}
}

// The documented rule, whole: every status of the existing candidate, and every way in which a POST can differ.
func TestConflictIsOnlyForTheSameIDAndPositionInProgress(t *testing.T) {
	t.Parallel()
	const other = "48.16A"
	type act = func(comeettest.Recruiter, string) error
	tests := []struct {
		name     string
		first    act
		second   []any
		conflict bool
	}{
		{"in progress", nil, nil, true},
		{"moved to another step", func(r comeettest.Recruiter, uid string) error { return r.MoveToStep(uid, "Offer") }, nil, true},
		{"rejected", func(r comeettest.Recruiter, uid string) error { return r.Reject(uid, "x") }, nil, false},
		{"withdrawn", func(r comeettest.Recruiter, uid string) error { return r.Withdraw(uid) }, nil, false},
		{"hired", func(r comeettest.Recruiter, uid string) error { return r.Hire(uid) }, nil, false},
		{"on hold", func(r comeettest.Recruiter, uid string) error { return r.PutOnHold(uid) }, nil, false},
		{"awaiting decision", func(r comeettest.Recruiter, uid string) error { return r.SetStatus(uid, comeettest.AwaitingDecision) }, nil, false},
		{"deleted", func(r comeettest.Recruiter, uid string) error { return r.Delete(uid) }, nil, false},
		{"moved to another position", func(r comeettest.Recruiter, uid string) error { return r.MoveToPosition(uid, other) }, nil, false},
		{"other position", nil, []any{"position_uid", other}, false},
		{"other partner id, same e-mail", nil, []any{"partner_candidate_id", "src-2"}, false},
		{"no partner id", nil, []any{"partner_candidate_id", nil}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, comeettest.WithAccount(comeettest.Account{Name: "a", APIKey: comeettest.DefaultAPIKey,
				Positions: []comeettest.Position{{UID: comeettest.DefaultPositionUID}, {UID: other}}}))
			c := inMemory(t, s)
			uid := c.created(noor())
			if test.first != nil {
				must(t, test.first(s.Recruiter("a"), uid))
			}
			a := c.post(noor(test.second...))
			if got := a.status == http.StatusConflict; got != test.conflict {
				t.Fatalf("answered %d %s", a.status, a.raw)
			}
			if !test.conflict {
				if n := len(s.Candidates("a")); n != 2 {
					t.Errorf("%d candidates, want 2", n)
				}
				return
			}
			if a.code() != "candidate_post_conflict" || s.Counts().Conflicts != 1 {
				t.Errorf("answered %s", a.raw)
			}
		})
	}
}

func TestConflictNamesTheCandidateAsNumberOrUID(t *testing.T) {
	t.Parallel()
	for _, asUID := range []bool{false, true} {
		s := start(t, comeettest.WithSwitches(comeettest.Switches{ConflictUIDString: asUID}))
		c := inMemory(t, s)
		uid := c.created(noor())
		var body struct {
			CandidateUID json.RawMessage `json:"candidate_uid"`
		}
		must(t, json.Unmarshal([]byte(c.post(noor()).raw), &body))
		if asUID {
			if string(body.CandidateUID) != `"`+uid+`"` {
				t.Errorf("candidate_uid %s, want %q", body.CandidateUID, uid)
			}
			continue
		}
		number := string(body.CandidateUID)
		if a := c.get("/candidates/" + number); a.status != 404 || a.code() != "not_found" {
			t.Errorf("numeric id without the header: %d %s", a.status, a.raw)
		}
		q := c.request(t.Context(), "GET", "/candidates/"+number, "")
		q.Header["IDENTIFIER_TYPE"] = []string{"REAL_ID"}
		if a := c.send(q); a.uid() != uid {
			t.Errorf("numeric id with the header: %d %s", a.status, a.raw)
		}
		assertNoViolations(t, s)
	}
}

func TestAutoResolve(t *testing.T) {
	t.Parallel()
	const other = "48.16A"
	tests := []struct {
		name     string
		setting  comeettest.AutoResolve
		oldUID   bool
		position string
		merged   bool
	}{
		{"off", comeettest.AutoResolveOff, false, comeettest.DefaultPositionUID, false},
		{"same position", comeettest.AutoResolveSamePosition, false, comeettest.DefaultPositionUID, true},
		{"same position, answers the old uid", comeettest.AutoResolveSamePosition, true, comeettest.DefaultPositionUID, true},
		{"same position, posted on another", comeettest.AutoResolveSamePosition, false, other, false},
		{"any position, posted on another", comeettest.AutoResolveAnyPosition, true, other, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, comeettest.WithSwitches(comeettest.Switches{AutoResolve: test.setting, AutoResolveOldUID: test.oldUID}))
			must(t, s.Recruiter(comeettest.DefaultAccount).AddPosition(comeettest.Position{UID: other}))
			c := inMemory(t, s)
			first := c.created(noor())
			second := c.post(noor("partner_candidate_id", "src-2", "position_uid", test.position))
			if second.status != 201 || (second.uid() == first) != test.oldUID {
				t.Fatalf("answered %d %s", second.status, second.raw)
			}
			created := s.Candidates(comeettest.DefaultAccount)[1]
			if (created.MergedInto == first) != test.merged {
				t.Errorf("merged into %q", created.MergedInto)
			}
			if a := c.get("/candidates/" + created.UID); (a.code() == "duplicate_candidate" && a.status == 401) != test.merged {
				t.Errorf("reading it: %d %s", a.status, a.raw)
			}
		})
	}
}

func TestClosedPositionsMayBeRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	must(t, s.Recruiter(comeettest.DefaultAccount).ClosePosition(comeettest.DefaultPositionUID))
	c.created(noor())
	s.Switch(func(sw *comeettest.Switches) { sw.RefuseClosedPositions = true })
	if a := c.post(noor("partner_candidate_id", "src-2")); a.code() != "position_not_found" {
		t.Errorf("answered %s", a.raw)
	}
}

func TestDuplicatesFindsWhatWasCreatedTwice(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{RaceWindow: 1 << 40}))
	c := inMemory(t, s)
	c.created(noor("partner_candidate_id", "alone", "email", "alone@example.test"))
	one := c.created(noor())
	two := c.created(noor()) // the race: both were created
	three := c.created(noor("partner_candidate_id", "src-3", "email", "NOOR@example.test"))
	must(t, s.Recruiter(comeettest.DefaultAccount).Delete(two))
	var got [][]string
	for _, g := range s.Duplicates(comeettest.DefaultAccount) {
		var uids []string
		for _, can := range g {
			uids = append(uids, can.UID)
		}
		got = append(got, uids)
	}
	if d := cmp.Diff([][]string{{one, two, three}}, got); d != "" {
		t.Error(d)
	}
}
