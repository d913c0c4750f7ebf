package comeet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet"
)

var (
	at0 = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	at1 = time.Date(2031, 2, 4, 10, 0, 0, 0, time.UTC)
)

const fullCandidate = `{
  "uid": "3C.7F2A1", "person_uid": "9D.11C04", "first_name": "Noor", "middle_name": null, "last_name": "Lindqvist",
  "email": "noor@example.test", "phone": null, "mobile_phone": "+46 555 0101", "id_number": null,
  "linkedin_url": "https://www.linkedin.com/in/example-noor", "deleted": false, "position_uid": "5A.1B9",
  "source_contact": {"uid": "71.0C2", "first_name": "Dana", "last_name": "Reyes", "email": "dana@example.test"},
  "source": {"uid": "1F.2D", "name": "Example Sourcer", "type": "Sourcing"},
  "time_created": "2031-02-03T04:05:06Z", "URL": "https://app.comeet.co/app/?goto_url=/can/70000001",
  "completed_steps": [{"name": "CV Screen", "type": "Go/No-go", "position_step_uid": "8B.442",
     "time_scheduled": "2031-02-03T04:05:06Z", "time_completed": "2031-02-04T10:00:00Z",
     "assignees": [{"email": "marker@example.test"}]}],
  "current_steps": [{"name": "Technical interview", "type": "In person Interview", "position_step_uid": "8B.443", "time_scheduled": null}],
  "future_steps": [], "status": "In progress", "prospect_status": null, "time_last_status_changed": "2031-02-04T10:00:00Z",
  "resume": {"name": "noor.pdf", "url": "https://bucket.example.test/presigned"}, "tags": [], "custom_fields": {},
  "disposition_reason": {"reason": "Salary"}, "opening": {"uid": "0F.1", "time_start_to_work": "2031-03-01"}
}`

func wholeCandidate() comeet.Candidate {
	return comeet.Candidate{
		UID: "3C.7F2A1", PersonUID: "9D.11C04", FirstName: "Noor", LastName: "Lindqvist", Email: "noor@example.test",
		MobilePhone: "+46 555 0101", LinkedInURL: "https://www.linkedin.com/in/example-noor", PositionUID: "5A.1B9",
		SourceContact: &comeet.SourceContact{UID: "71.0C2", FirstName: "Dana", LastName: "Reyes", Email: "dana@example.test"},
		Source:        &comeet.Source{UID: "1F.2D", Name: "Example Sourcer", Type: "Sourcing"},
		TimeCreated:   at0,
		CompletedSteps: []comeet.Step{{
			Name: "CV Screen", Type: "Go/No-go", PositionStepUID: "8B.442", TimeScheduled: at0, TimeCompleted: at1,
		}},
		CurrentSteps: []comeet.Step{{Name: "Technical interview", Type: "In person Interview", PositionStepUID: "8B.443"}},
		FutureSteps:  []comeet.Step{}, Status: new("In progress"), ProspectStatus: new(""), TimeLastStatusChanged: at1,
		DispositionReason: &comeet.DispositionReason{Reason: "Salary"}, Opening: &comeet.Opening{UID: "0F.1"},
	}
}

func decodeCandidate(t testing.TB, raw string) comeet.Candidate {
	t.Helper()
	var c comeet.Candidate
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return c
}

func TestCandidateOfTheDocumentation(t *testing.T) {
	t.Parallel()
	if d := cmp.Diff(wholeCandidate(), decodeCandidate(t, fullCandidate)); d != "" {
		t.Error(d)
	}
	raw, err := json.Marshal(wholeCandidate())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wholeCandidate(), decodeCandidate(t, string(raw))); d != "" {
		t.Errorf("written and read again: %s", d)
	}
}

func TestCandidateTolerates(t *testing.T) {
	t.Parallel()
	type candidate = comeet.Candidate
	tests := map[string]struct {
		raw  string
		want candidate
	}{
		"a deleted stub": {`{"uid":"A0.3D2","deleted":true}`, candidate{UID: "A0.3D2", Deleted: true}},
		"null blocks are known to be empty": {
			`{"uid":"u","source":null,"source_contact":null,"status":null,"prospect_status":null,"current_steps":null,"opening":null,"disposition_reason":null}`,
			candidate{UID: "u", Source: &comeet.Source{}, SourceContact: &comeet.SourceContact{}, Status: new(""), ProspectStatus: new(""),
				CurrentSteps: []comeet.Step{}, Opening: &comeet.Opening{}, DispositionReason: &comeet.DispositionReason{}},
		},
		"the other contact shape": {
			`{"uid":"u","source_contact":{"full_name":"Dana Reyes","email":"d@example.test","phone":"1"}}`,
			candidate{UID: "u", SourceContact: &comeet.SourceContact{FullName: "Dana Reyes", Email: "d@example.test", Phone: "1"}},
		},
		"numbers where texts are due": {
			`{"uid":41.264,"person_uid":12345678901234567890,"position_uid":1e5,"phone":15550100,"status":7,"prospect_status":7,"source":{"uid":41.0}}`,
			candidate{UID: "41.264", PersonUID: "12345678901234567890", PositionUID: "1e5", Phone: "15550100",
				Status: new("7"), ProspectStatus: new("7"), Source: &comeet.Source{UID: "41.0"}},
		},
		"wrong types count as absent": {
			`{"uid":"u","status":["x"],"email":{"a":1},"phone":true,"source":"x","source_contact":[],"prospect_status":{},
			  "current_steps":"x","completed_steps":{},"future_steps":7,"opening":"x","disposition_reason":"x","time_created":{},"person_uid":"p"}`,
			candidate{UID: "u", PersonUID: "p"},
		},
		"odd steps among good ones": {
			`{"uid":"u","current_steps":[null,"x",7,[],{},{"name":"A","time_scheduled":7,"type":{}},{"name":"B"}]}`,
			candidate{UID: "u", CurrentSteps: []comeet.Step{{Name: "A"}, {Name: "B"}}},
		},
		"a blank status":     {`{"uid":"u","status":""}`, candidate{UID: "u", Status: new("")}},
		"deleted as text":    {`{"uid":"u","deleted":"True"}`, candidate{UID: "u", Deleted: true}},
		"deleted as number":  {`{"uid":"u","deleted":1}`, candidate{UID: "u", Deleted: true}},
		"deleted is no text": {`{"uid":"u","deleted":"no"}`, candidate{UID: "u"}},
		"escapes":            {`{"uid":"u","first_name":"J\u00fcrgen \"J\" \ud83d\ude00"}`, candidate{UID: "u", FirstName: "Jürgen \"J\" 😀"}},
		"null uid":           {`{"uid":null}`, candidate{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tt.want, decodeCandidate(t, tt.raw)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTimesInEveryPlausibleForm(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]time.Time{
		`"2031-02-03T04:05:06Z"`:          at0,
		`"2031-02-03T06:05:06+02:00"`:     at0,
		`"2031-02-03T06:05:06+0200"`:      at0,
		`"2031-02-03T04:05:06.000Z"`:      at0,
		`"2031-02-03T04:05:06.5Z"`:        at0.Add(500 * time.Millisecond),
		`"2031-02-03T04:05:06"`:           at0,
		`"2031-02-03 04:05:06"`:           at0,
		`" 2031-02-03T04:05:06Z "`:        at0,
		`"2031-02-03"`:                    time.Date(2031, 2, 3, 0, 0, 0, 0, time.UTC),
		`null`:                            {},
		`""`:                              {},
		`"soon"`:                          {},
		`7`:                               {},
		`{}`:                              {},
		`["2031-02-03T04:05:06Z"]`:        {},
		`"2031-02-30T04:05:06Z"`:          {},
		`"\u0032031-02-03T04:05:06Z"`:     at0,
		`"2031-02-03T04:05:06Z and more"`: {},
	} {
		c := decodeCandidate(t, `{"uid":"u","time_created":`+raw+`,"status":"Hired"}`)
		if c.TimeCreated != want || c.Status == nil || *c.Status != "Hired" {
			t.Errorf("%s: %v, want %v", raw, c.TimeCreated, want)
		}
	}
}

func TestPositionTolerates(t *testing.T) {
	t.Parallel()
	type position = comeet.Position
	tests := map[string]struct {
		raw  string
		want position
	}{
		"whole": {
			`{"uid":"87.405","name":"Engineer","internal_name":"Eng 7","status":"open","is_published":true,"is_talent_pool":"false",
			  "is_template":"true","department":"R&D","internal_use_custom_id":"REQ-7","time_updated":"2031-02-03T04:05:06Z",
			  "workplace_type":"Hybrid","employment_type":"Full-time","url_comeet_hosted_page":"https://example.test/7",
			  "location":{"uid":"1.2","name":"HQ","country":"SE","city":"Malmö","state":"M","is_remote":false}}`,
			position{UID: "87.405", Name: "Engineer", InternalName: "Eng 7", Status: "open", IsPublished: true, IsTemplate: true,
				Department: "R&D", CustomID: "REQ-7", TimeUpdated: at0, WorkplaceType: "Hybrid", EmploymentType: "Full-time",
				HostedPage: "https://example.test/7",
				Location:   &comeet.Location{UID: "1.2", Name: "HQ", Country: "SE", City: "Malmö", State: "M"}},
		},
		"new name wins":            {`{"uid":"u","url_recruit_hosted_page":"n","url_comeet_hosted_page":"o"}`, position{UID: "u", HostedPage: "n"}},
		"no location":              {`{"uid":"u","location":null}`, position{UID: "u"}},
		"location is a text":       {`{"uid":"u","location":"HQ","name":"n"}`, position{UID: "u", Name: "n"}},
		"country on top":           {`{"uid":"u","country":"SE"}`, position{UID: "u", Location: &comeet.Location{Country: "SE"}}},
		"country on top, object":   {`{"uid":"u","country":{"name":"Sweden","code":"SE"}}`, position{UID: "u", Location: &comeet.Location{Country: "SE"}}},
		"country within, object":   {`{"uid":"u","location":{"country":{"name":"Sweden"}}}`, position{UID: "u", Location: &comeet.Location{Country: "Sweden"}}},
		"the location's own first": {`{"uid":"u","country":"NO","location":{"country":"SE"}}`, position{UID: "u", Location: &comeet.Location{Country: "SE"}}},
		"custom id is a number":    {`{"uid":87.405,"internal_use_custom_id":71}`, position{UID: "87.405", CustomID: "71"}},
		"custom id null":           {`{"uid":87.405,"internal_use_custom_id":null}`, position{UID: "87.405"}},
		"wrong types":              {`{"uid":"u","name":{},"status":7,"is_published":[],"location":[],"country":[]}`, position{UID: "u", Status: "7"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got position
			if err := json.Unmarshal([]byte(tt.raw), &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestModelsRefuseWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	var c comeet.Candidate
	var p comeet.Position
	if c.UnmarshalJSON([]byte(`{"uid":`)) == nil || p.UnmarshalJSON([]byte(`{"uid":`)) == nil {
		t.Error("no error")
	}
}

func TestListsKeepEveryGoodRow(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		candidates string
		want       []string // nil: no usable answer
		next       string
	}{
		"rows":              {`{"candidates":[{"uid":"a"},null,{"uid":""},{},7,"x",[],{"uid":"b","status":{}},{"uid":7.5},{"uid":{}}],"next_page":null}`, []string{"a", "b", "7.5"}, ""},
		"no next_page":      {`{"candidates":[{"uid":"a"}]}`, []string{"a"}, ""},
		"next_page empty":   {`{"candidates":[{"uid":"a"}],"next_page":""}`, []string{"a"}, ""},
		"next_page false":   {`{"candidates":[{"uid":"a"}],"next_page":false}`, []string{"a"}, ""},
		"empty with next":   {`{"candidates":[],"next_page":"/candidates?p=2"}`, []string{}, "https://api.comeet.co/candidates?p=2"},
		"null list":         {`{"candidates":null}`, []string{}, ""},
		"no list":           {`{"next_page":null}`, nil, ""},
		"list is an object": {`{"candidates":{"uid":"a"}}`, nil, ""},
		"bare":              {`[{"uid":"a"}]`, nil, ""},
		"next_page odd":     {`{"candidates":[{"uid":"a"}],"next_page":{"page":2}}`, nil, ""},
		"next_page true":    {`{"candidates":[{"uid":"a"}],"next_page":true}`, nil, ""},
		"html":              {`<html>`, nil, ""},
		"empty":             {``, nil, ""},
		"truncated":         {`{"candidates":[{"uid":"a"}`, nil, ""},
		"more after it":     {`{"candidates":[{"uid":"a"}]} x`, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := func(what string, uids []string, resp *comeet.Response, err error) {
				if tt.want == nil {
					if comeet.KindOf(err) != comeet.Unavailable || uids != nil {
						t.Errorf("%s: %v %v", what, uids, err)
					}
					return
				}
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if d := cmp.Diff(tt.want, uids); d != "" || !strings.EqualFold(resp.NextPage, tt.next) {
					t.Errorf("%s: next %q %s", what, resp.NextPage, d)
				}
			}
			var uids []string
			c := newClient(t, comeet.WithTransport(always(200, tt.candidates)))
			candidates, resp, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
			if err == nil {
				uids = []string{}
			}
			for _, c := range candidates {
				uids = append(uids, c.UID)
			}
			check("candidates", uids, resp, err)

			uids = nil
			c = newClient(t, comeet.WithTransport(always(200, strings.Replace(tt.candidates, `"candidates"`, `"positions"`, 1))))
			positions, resp, err := c.ListPositions(t.Context(), comeet.PositionQuery{})
			if err == nil {
				uids = []string{}
			}
			for _, p := range positions {
				uids = append(uids, p.UID)
			}
			check("positions", uids, resp, err)
		})
	}
}

// No text is so long that it costs more than itself.
func TestTooLongATextIsAbsent(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	long := text(64<<10 + 1)
	c := newClient(t, comeet.WithTransport(always(200, `{"candidates":[{"uid":`+long+`},
		{"uid":"a","email":`+long+`,"status":`+long+`,"current_steps":[{"name":`+long+`},{"name":`+text(64<<10)+`}],"phone":"1"},
		{"uid":"b"}]}`)))
	got, _, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
	want := []comeet.Candidate{
		{UID: "a", Phone: "1", CurrentSteps: []comeet.Step{{Name: strings.Repeat("x", 64<<10)}}},
		{UID: "b"},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
}

func TestDeletedCandidatesInEveryPlausibleShape(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`["3C.7","41.264"]`:                            {"3C.7", "41.264"},
		`[3.70,41.264,null,"",{},{"uid":"x"},[],true]`: {"3.70", "41.264", "x"},
		`[]`: {},
		`{"deleted_candidates":["a"],"next_page":null}`: {"a"},
		`{"candidates":[{"uid":"a","deleted":true}]}`:   {"a"},
		`{"status":200,"uids":[]}`:                      {},
		`{"a":["x"],"b":["y"]}`:                         nil,
		`{}`:                                            nil,
		`{"uids":{}}`:                                   nil,
		`{"uids":["a"],"next_page":{}}`:                 nil,
		`null`:                                          nil,
		`"a"`:                                           nil,
		`<html>`:                                        nil,
		`{"candidates":["a"],"next_page":"/deleted-candidates?p=2"}`: {"a"},
	} {
		c := newClient(t, comeet.WithTransport(always(200, body)))
		got, resp, err := c.ListDeletedCandidates(t.Context(), at0, at1, "")
		if want == nil {
			if comeet.KindOf(err) != comeet.Unavailable {
				t.Errorf("%s: %v %v", body, got, err)
			}
			continue
		}
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", body, err, d)
			continue
		}
		if more := strings.Contains(body, "p=2"); more != (resp.NextPage == "https://api.comeet.co/deleted-candidates?p=2") {
			t.Errorf("%s: next %q", body, resp.NextPage)
		}
	}
}

func TestPeopleAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := decodeCandidate(t, fullCandidate)
	n := noor()
	n.Resume = &comeet.File{Name: "Noor.pdf", File: []byte("Noor")}
	for _, v := range []any{c, &c, []comeet.Candidate{c}, *n, n} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(format, v); strings.Contains(s, "Noor") || strings.Contains(s, "example.test") {
				t.Errorf("%s of %T: %s", format, v, s)
			}
		}
	}
}

// Whatever single field of a row turns into another type, the row keeps all its other fields, and the page its other rows.
func TestOneOddFieldLosesNothingElse(t *testing.T) {
	t.Parallel()
	var whole map[string]json.RawMessage
	if err := json.Unmarshal([]byte(fullCandidate), &whole); err != nil {
		t.Fatal(err)
	}
	keys := make([]string, 0, len(whole))
	for k := range whole {
		keys = append(keys, k)
	}
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SampledFrom(keys).Draw(t, "key")
		value := rapid.SampledFrom([]string{`null`, `7`, `7.5`, `"x"`, `""`, `true`, `{}`, `[]`, `[[]]`, `{"uid":{}}`, `[7,null,{}]`}).Draw(t, "value")
		row := map[string]json.RawMessage{}
		maps.Copy(row, whole)
		row[odd] = json.RawMessage(value)
		raw, err := json.Marshal(map[string]any{"candidates": []any{json.RawMessage(fullCandidate), row, json.RawMessage(fullCandidate)}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := comeet.NewClient(comeet.StaticCredentials(testKey, testSecret), comeet.WithTransport(always(http.StatusOK, string(raw))))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := c.ListCandidates(context.Background(), comeet.CandidateQuery{})
		if err != nil {
			t.Fatal(err)
		}
		first, last := got[0], got[len(got)-1]
		if d := cmp.Diff(wholeCandidate(), first) + cmp.Diff(wholeCandidate(), last); d != "" {
			t.Fatal(d)
		}
		if odd == "uid" {
			return
		}
		// Compared as JSON, without the odd field.
		if d := cmp.Diff(without(t, first, odd), without(t, got[1], odd)); d != "" {
			t.Fatal(d)
		}
	})
}

func without(t *rapid.T, c comeet.Candidate, key string) map[string]any {
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, key)
	return m
}
