package comeet_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// bodies that an answer may have, whatever its status.
var bodies = map[string]string{
	"html":             `<html><body>502 <b>error</b></body></html>`,
	"empty":            ``,
	"null":             `null`,
	"list":             `[]`,
	"object":           `{}`,
	"prose":            `{"status":400,"error":"Bad Request","message":"x"}`,
	"nested":           `{"error":{"code":"invalid_email"}}`,
	"numeric":          `{"error":400}`,
	"truncated":        `{"error":"invalid_email"`,
	"unknown code":     `{"status":418,"error":"brand_new_code","message":"x"}`,
	"conflict, no uid": `{"status":409,"error":"candidate_post_conflict"}`,
	"candidate":        `{"uid":"3C.7F2A1"}`,
	"uid empty":        `{"uid":""}`,
	"uid null":         `{"uid":null}`,
	"uid list":         `{"uid":["3C.7F2A1"]}`,
	"other object":     `{"positions":[],"next_page":null}`,
}

var codes = []string{
	"required_field", "string_size_limit", "invalid_email", "invalid_linkedin_url", "invalid_url", "invalid_datetime",
	"source_contact_conflict", "incorrect_country_code", "invalid_custom_candidate_field", "person_has_pending_interviews",
	"duplicate_candidate", "file_size_limit", "malicious_file", "no_permission", "position_not_found", "not_found",
	"candidate_not_found", "message_not_found", "candidate_post_conflict", "too_many_requests",
}

func init() {
	for _, code := range codes {
		// The body's status disagrees with most of the HTTP statuses that it meets: it counts for nothing.
		bodies["code "+code] = fmt.Sprintf(`{"status":400,"error":%q,"message":"marker-message","candidate_uid":5555}`, code)
	}
}

// expected is the design's table, written down a second time by hand. The call is a "post", a "list" or a "look" at one candidate.
func expected(call string, status int, name string) comeet.Kind {
	post := call == "post"
	code, api := strings.CutPrefix(name, "code ")
	switch name {
	case "unknown code":
		code, api = "brand_new_code", true
	case "conflict, no uid":
		code, api = "candidate_post_conflict", true
	}
	lost := comeet.Unavailable
	if post {
		lost = comeet.InDoubt
	}
	if status == 429 {
		return comeet.Throttled
	}
	if status >= 200 && status < 300 {
		if name == "candidate" && call != "list" {
			return 0
		}
		return lost
	}
	if call == "look" && (status == 410 || status == 404 && code != "position_not_found" && code != "not_found" && code != "candidate_not_found") {
		return comeet.Gone
	}
	if !api {
		if status == 401 && !post {
			return comeet.Denied
		}
		return lost
	}
	switch status {
	case 400, 413, 415, 422:
		return comeet.Invalid
	case 401:
		if code == "duplicate_candidate" {
			if post {
				return comeet.InDoubt
			}
			return comeet.Merged
		}
		return comeet.Denied
	case 403:
		if code == "file_size_limit" || code == "malicious_file" {
			return comeet.Invalid
		}
		if call == "look" {
			return comeet.Hidden
		}
		return comeet.Denied
	case 404:
		switch {
		case code == "position_not_found":
			return comeet.NoPosition
		case !post && (code == "not_found" || code == "candidate_not_found"):
			return comeet.NotFound
		}
	case 409:
		if post && name == "code candidate_post_conflict" {
			return comeet.Existing
		}
	}
	return lost
}

func TestEveryStatusWithEveryBody(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"post", "list", "look"} {
		for name, body := range bodies {
			t.Run(call+"/"+name, func(t *testing.T) {
				t.Parallel()
				for status := 100; status <= 599; status++ {
					requests := 0
					c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
						requests++
						return answer(r, status, nil, body), nil
					})))
					var err error
					var resp *comeet.Response
					switch call {
					case "post":
						_, resp, err = c.CreateCandidate(t.Context(), noor())
					case "list":
						_, resp, err = c.ListCandidates(t.Context(), comeet.CandidateQuery{})
					case "look":
						_, resp, err = c.RetrieveCandidate(t.Context(), "3C.7F2A1")
					}
					want := expected(call, status, name)
					if got := comeet.KindOf(err); got != want || (err == nil) != (want == 0) {
						t.Errorf("%d: %v, want %v", status, err, want)
						continue
					}
					if resp == nil || resp.Status != status {
						t.Errorf("%d: response %+v", status, resp)
					}
					wantRequests := 1
					if want == comeet.Denied && status == 401 {
						wantRequests = 2
					}
					if requests != wantRequests {
						t.Errorf("%d: %d requests, want %d", status, requests, wantRequests)
					}
					if e, ok := errors.AsType[*comeet.Error](err); ok {
						checkFields(t, e, status, name)
					}
				}
			})
		}
	}
}

func checkFields(t *testing.T, e *comeet.Error, status int, body string) {
	t.Helper()
	if e.Status != status || e.Op == "" {
		t.Errorf("%d: %+v", status, e)
	}
	if code, ok := strings.CutPrefix(body, "code "); ok && status >= 300 && e.Code != code {
		t.Errorf("%d: code %q, want %q", status, e.Code, code)
	}
	if (e.CandidateUID == "5555") != (e.Kind == comeet.Existing) {
		t.Errorf("%d: candidate uid %q with kind %v", status, e.CandidateUID, e.Kind)
	}
	if strings.Contains(e.Error(), "marker") {
		t.Errorf("%d: %v", status, e)
	}
}

// What one candidate's address says neither denies reading nor allows it again: only a list does.
func TestOneCandidateIsNoVerdictOnReading(t *testing.T) {
	t.Parallel()
	status, body := 0, ""
	gate := comeet.NewGate(comeet.GateConfig{DeniedMin: time.Millisecond})
	c := newClient(t, comeet.WithGate(gate), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		return answer(r, status, nil, body), nil
	})))
	for _, step := range []struct {
		status int
		body   string
		list   bool
		denied bool
	}{
		{403, `{"error":"no_permission"}`, false, false},
		{401, `{"error":"unauthorized"}`, false, false},
		{401, `<html>`, false, false},
		{403, `{"error":"no_permission"}`, true, true},
		{403, `{"error":"no_permission"}`, false, true}, // a denied capability's trial
		{401, `{"error":"unauthorized"}`, false, true},
		{200, `{"candidates":[]}`, true, false},
	} {
		status, body = step.status, step.body
		if step.list {
			_, _, _ = c.ListCandidates(t.Context(), comeet.CandidateQuery{})
		} else if _, _, err := c.RetrieveCandidate(t.Context(), "3C.7F2A1"); err == nil {
			t.Errorf("%+v: no error", step)
		}
		if got := gate.Denied(comeet.CanPoll); got != step.denied {
			t.Errorf("after %+v denied is %v", step, got)
		}
	}
}

func TestConflictNamesTheCandidate(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`5555`: "5555", `"5555"`: "5555", `"3C.7F2A1"`: "3C.7F2A1", `41.264`: "41.264", `"41.264"`: "41.264",
		`123456789012345678901234567890`: "123456789012345678901234567890",
		`null`:                           "", `""`: "", `[5555]`: "", `{"uid":"x"}`: "", `true`: "", `"a b"`: "",
	} {
		c := newClient(t, comeet.WithTransport(always(409, `{"status":409,"error":"candidate_post_conflict","candidate_uid":`+raw+`}`)))
		_, _, err := c.CreateCandidate(t.Context(), noor())
		e, ok := errors.AsType[*comeet.Error](err)
		if !ok {
			t.Fatal(err)
		}
		wantKind := comeet.Existing
		if want == "" {
			wantKind = comeet.InDoubt // it exists, but who it is must be looked up
		}
		if e.Kind != wantKind || e.CandidateUID != want {
			t.Errorf("%s: %v %q, want %v %q", raw, e.Kind, e.CandidateUID, wantKind, want)
		}
	}
}

func TestIsRealID(t *testing.T) {
	t.Parallel()
	for uid, want := range map[string]bool{
		"5555": true, "0": true, "123456789012345678901234567890": true,
		"": false, "41.264": false, "3C.7F2A1": false, "-1": false, "1e5": false, " 5555": false, "٤٢": false,
	} {
		if got := comeet.IsRealID(uid); got != want {
			t.Errorf("%q: %v", uid, got)
		}
	}
}

func TestAnswersIsTheWholeTable(t *testing.T) {
	t.Parallel()
	table := comeet.Answers()
	seen := map[comeet.Kind]bool{}
	breaker := map[comeet.Kind]string{}
	for _, a := range table {
		seen[a.Kind] = true
		if a.From == "" || a.Event == "" || a.Breaker == "" || a.Claim == "" {
			t.Errorf("a cell is empty: %+v", a)
		}
		if a.Kind != 0 && a.Result != a.Kind.String() {
			t.Errorf("result %q of kind %v", a.Result, a.Kind)
		}
		if before, ok := breaker[a.Kind]; ok && before != a.Breaker {
			t.Errorf("kind %v counts as %s and as %s: a gate is told the kind only", a.Kind, before, a.Breaker)
		}
		breaker[a.Kind] = a.Breaker
	}
	for k := comeet.Unavailable; k <= comeet.Canceled; k++ {
		if !seen[k] {
			t.Errorf("no row gives %v", k)
		}
	}
	table[0].Result = "changed"
	if comeet.Answers()[0].Result == "changed" {
		t.Error("callers share the table")
	}
}

func TestKindNamesAreStable(t *testing.T) {
	t.Parallel()
	want := []string{"unavailable", "in_doubt", "invalid", "no_position", "not_found", "gone", "hidden", "denied", "throttled", "existing", "merged", "canceled"}
	for i, name := range want {
		if got := (comeet.Unavailable + comeet.Kind(i)).String(); got != name {
			t.Errorf("%d is %s, want %s", i+1, got, name)
		}
	}
	if got := (comeet.Canceled + 1).String(); got != "unknown" {
		t.Errorf("a kind after the last is %s", got)
	}
	if got := comeet.Kind(200).String(); got != "unknown" {
		t.Error(got)
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for k := comeet.Unavailable; k <= comeet.Canceled; k++ {
		err := fmt.Errorf("wrapped: %w", &comeet.Error{Op: "create candidate", Kind: k, Status: 400, Code: "x"})
		if comeet.KindOf(err) != k {
			t.Errorf("KindOf(%v)", err)
		}
	}
	if comeet.KindOf(nil) != 0 || comeet.KindOf(errors.New("x")) != 0 {
		t.Error("KindOf a foreign error")
	}
}
