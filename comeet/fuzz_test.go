package comeet_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// What is accepted has uids, and reads the same after it was written.
func FuzzCandidateList(f *testing.F) {
	f.Add(`{"candidates":[` + fullCandidate + `,null],"next_page":"https://api.comeet.co/candidates?p=2"}`)
	f.Add(`{"candidates":[{"uid":41.264,"deleted":"True"}],"next_page":7}`)
	f.Add(`{"candidates":null}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		c := newClient(t, comeet.WithTransport(always(200, body)))
		rows, resp, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
		if err != nil {
			if comeet.KindOf(err) != comeet.Unavailable || rows != nil {
				t.Fatalf("%v %v", rows, err)
			}
			return
		}
		if !json.Valid([]byte(body)) || !strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") {
			t.Fatalf("accepted %q", body)
		}
		for _, row := range rows {
			if row.UID == "" {
				t.Fatal("a row without uid")
			}
			raw, err := json.Marshal(row)
			if err != nil {
				continue // a year that RFC 3339 cannot write
			}
			var again comeet.Candidate
			if err := json.Unmarshal(raw, &again); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(row, again); d != "" {
				t.Fatal(d)
			}
		}
		_ = resp.NextPage
	})
}

func FuzzDeletedList(f *testing.F) {
	f.Add(`["3C.7",41.264,{"uid":"x"}]`)
	f.Add(`{"uids":["a"],"next_page":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		c := newClient(t, comeet.WithTransport(always(200, body)))
		uids, _, err := c.ListDeletedCandidates(t.Context(), time.Time{}, time.Time{}, "")
		if err == nil && !json.Valid([]byte(body)) {
			t.Fatalf("accepted %q", body)
		}
		for _, uid := range uids {
			if strings.TrimSpace(uid) == "" {
				t.Fatalf("%q", uids)
			}
		}
	})
}

// Whatever a body is, it changes nothing but by the API's own form, and none of its text shows.
func FuzzErrorBody(f *testing.F) {
	f.Add(uint16(400), `{"status":400,"error":"invalid_email","message":"m"}`)
	f.Add(uint16(409), `{"error":"candidate_post_conflict","candidate_uid":5555}`)
	f.Add(uint16(404), `<html>`)
	f.Fuzz(func(t *testing.T, status uint16, body string) {
		status = 300 + status%300
		c := newClient(t, comeet.WithTransport(always(int(status), body)))
		_, _, err := c.CreateCandidate(t.Context(), noor())
		e, ok := errors.AsType[*comeet.Error](err)
		if !ok {
			t.Fatal(err)
		}
		if e.Kind == comeet.Existing && e.CandidateUID == "" {
			t.Fatal("existing, but who")
		}
		if strings.Trim(e.Code, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || len(e.Code) > 64 {
			t.Fatalf("code %q", e.Code)
		}
		if e.Kind != comeet.Throttled && e.Kind != comeet.InDoubt && (e.Code == "" || !json.Valid([]byte(body))) {
			t.Fatalf("a verdict %v on %q", e.Kind, body)
		}
		for _, k := range []comeet.Kind{comeet.Unavailable, comeet.Canceled, comeet.NotFound, comeet.Merged} {
			if e.Kind == k {
				t.Fatalf("%v of a POST that was answered", k)
			}
		}
	})
}

func FuzzNextPage(f *testing.F) {
	for _, s := range []string{"https://api.comeet.co/candidates?p=2", "//example.test", "/x", "?p=2", "https://api.comeet.co:443@x", "https:/\\x", "\\\\x", "http://api.comeet.co"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		raw, err := json.Marshal(map[string]any{"candidates": []any{}, "next_page": next})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" || !strings.EqualFold(r.URL.Hostname(), "api.comeet.co") || (r.URL.Port() != "" && r.URL.Port() != "443") || r.URL.User != nil {
				t.Errorf("a token went to %s", r.URL)
			}
			if r.Host != r.URL.Host {
				t.Errorf("host %q of %s", r.Host, r.URL)
			}
			return answer(r, 200, nil, string(raw)), nil
		})))
		_, resp, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if (resp.NextPage == "") != (strings.TrimSpace(next) == "") {
			t.Fatalf("next page %q of %q", resp.NextPage, next)
		}
		for _, page := range []string{resp.NextPage, next} {
			if _, _, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{Page: page}); err != nil && !errors.Is(err, comeet.ErrForeignPage) {
				t.Fatal(err)
			}
		}
		if u, err := url.Parse(resp.NextPage); err == nil && resp.NextPage != "" && !u.IsAbs() {
			t.Fatalf("%q is not absolute", resp.NextPage)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("17", "Mon, 03 Feb 2031 04:05:06 GMT")
	f.Add("Mon, 03 Feb 2031 04:05:06 GMT", "")
	f.Add("-1", "x")
	f.Fuzz(func(t *testing.T, value, date string) {
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			return answer(r, 429, http.Header{"Retry-After": {value}, "Date": {date}}, ""), nil
		})))
		_, _, err := c.RetrieveCandidate(t.Context(), "x")
		e, ok := errors.AsType[*comeet.Error](err)
		if !ok || e.Kind != comeet.Throttled || e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
			t.Fatalf("%v", err)
		}
	})
}
