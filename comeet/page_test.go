package comeet_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
)

func TestNextPageStaysWhereTheTokenBelongs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		base, next string
		want       string // "" is: refused, nothing sent
	}{
		"absolute":             {"https://api.comeet.co", "https://api.comeet.co/candidates?p=2", "https://api.comeet.co/candidates?p=2"},
		"opaque query":         {"https://api.comeet.co", "https://api.comeet.co/candidates?a=%2f+b&time_created:after=1", "https://api.comeet.co/candidates?a=%2f+b&time_created:after=1"},
		"other case":           {"https://api.comeet.co", "HTTPS://API.Comeet.CO/candidates?p=2", "https://API.Comeet.CO/candidates?p=2"},
		"port written":         {"https://api.comeet.co", "https://api.comeet.co:443/candidates?p=2", "https://api.comeet.co:443/candidates?p=2"},
		"relative":             {"https://api.comeet.co", "/candidates?p=2", "https://api.comeet.co/candidates?p=2"},
		"query alone":          {"https://api.comeet.co", "?p=2", "https://api.comeet.co/candidates?p=2"},
		"relative to the path": {"https://api.comeet.co/x", "candidates?p=2", "https://api.comeet.co/x/candidates?p=2"},
		"prefix missing":       {"https://api.comeet.co/x", "/candidates?p=2", "https://api.comeet.co/x/candidates?p=2"},
		"prefix there":         {"https://api.comeet.co/x", "/x/candidates?p=2", "https://api.comeet.co/x/candidates?p=2"},
		"fragment":             {"https://api.comeet.co", "https://api.comeet.co/candidates?p=2#x", "https://api.comeet.co/candidates?p=2"},
		"other host":           {"https://api.comeet.co", "https://app.comeet.co/candidates?p=2", ""},
		"host as suffix":       {"https://api.comeet.co", "https://api.comeet.co.example.test/", ""},
		"other scheme":         {"https://api.comeet.co", "http://api.comeet.co/candidates?p=2", ""},
		"other port":           {"https://api.comeet.co", "https://api.comeet.co:8443/candidates", ""},
		"network path":         {"https://api.comeet.co", "//example.test/candidates", ""},
		"user as host":         {"https://api.comeet.co", "https://api.comeet.co@example.test/", ""},
		"user":                 {"https://api.comeet.co", "https://u:p@api.comeet.co/", ""},
		"opaque":               {"https://api.comeet.co", "https:api.comeet.co/candidates", ""},
		"script":               {"https://api.comeet.co", "javascript:alert(1)", ""},
		"no URL":               {"https://api.comeet.co", "https://api.comeet.co/%zz", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent []string
			c := newClient(t, comeet.WithBaseURL(tt.base), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r.URL.String())
				return answer(r, 200, nil, fmt.Sprintf(`{"candidates":[{"uid":"a"}],"next_page":%q}`, tt.next)), nil
			})))
			rows, resp, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
			if err != nil || len(rows) != 1 {
				t.Fatalf("the page that carries it: %v", err)
			}
			if resp.NextPage == "" {
				t.Fatal("the list ended: what was not read would look absent")
			}
			_, _, err = c.ListCandidates(t.Context(), comeet.CandidateQuery{Page: resp.NextPage, Limit: 5})
			if tt.want == "" {
				if !errors.Is(err, comeet.ErrForeignPage) || comeet.KindOf(err) != comeet.Unavailable || len(sent) != 1 {
					t.Errorf("%v, sent %q", err, sent)
				}
				return
			}
			if err != nil || len(sent) != 2 || sent[1] != tt.want {
				t.Errorf("%v, sent %q, want %q", err, sent, tt.want)
			}
		})
	}
}

// paged serves a listing by page number; next says which follows.
func paged(next func(page string) string) transport {
	return func(r *http.Request) (*http.Response, error) {
		page := r.URL.Query().Get("p")
		follow := next(page)
		body := fmt.Sprintf(`{"candidates":[{"uid":"c%s"}],"positions":[{"uid":"p%s"}],"next_page":null}`, page, page)
		if follow != "" {
			body = strings.Replace(body, "null", `"`+r.URL.Path+`?p=`+follow+`"`, 1)
		}
		return answer(r, 200, nil, body), nil
	}
}

func TestPagesEndComplete(t *testing.T) {
	t.Parallel()
	c := newClient(t, comeet.WithTransport(paged(func(p string) string { return map[string]string{"": "2", "2": "3"}[p] })))
	p, err := c.Gate().Acquire(t.Context(), comeet.Poll, comeet.CanPoll)
	if err != nil {
		t.Fatal(err)
	}
	var uids []string
	pages := c.CandidatePages(comeet.CandidateQuery{Limit: 1}, 3, comeet.WithPermit(p))
	if pages.Response() != nil || pages.Complete() {
		t.Error("before the first page")
	}
	for pages.Next(t.Context()) {
		for _, row := range pages.Items() {
			uids = append(uids, row.UID)
		}
		if pages.Response().Status != 200 {
			t.Errorf("%+v", pages.Response())
		}
	}
	if d := cmp.Diff([]string{"c", "c2", "c3"}, uids); d != "" || pages.Err() != nil || !pages.Complete() {
		t.Errorf("%v %v %s", pages.Err(), pages.Complete(), d)
	}
	if pages.Next(t.Context()) || len(pages.Items()) != 0 {
		t.Error("a page after the last")
	}
	positions := c.PositionPages(comeet.PositionQuery{Page: "https://api.comeet.co/positions?p=3"}, 0)
	if !positions.Next(t.Context()) || positions.Items()[0].UID != "p3" || !positions.Complete() {
		t.Errorf("%v", positions.Err())
	}
}

func TestPagesEndIncomplete(t *testing.T) {
	t.Parallel()
	failing := errors.New("failing")
	tests := map[string]struct {
		next  func(string) string
		list  func(context.Context, string) ([]string, *comeet.Response, error)
		pages int
		want  error
	}{
		"itself":      {next: func(string) string { return "2" }, pages: 2, want: comeet.ErrPageLoop},
		"a circle":    {next: func(p string) string { return map[string]string{"": "2", "2": "3", "3": "2"}[p] }, pages: 3, want: comeet.ErrPageLoop},
		"too many":    {next: func(p string) string { return p + "1" }, pages: 5, want: comeet.ErrTooManyPages},
		"list failed": {list: func(context.Context, string) ([]string, *comeet.Response, error) { return nil, nil, failing }, want: failing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := tt.list
			if list == nil {
				c := newClient(t, comeet.WithTransport(paged(tt.next)))
				list = func(ctx context.Context, page string) ([]string, *comeet.Response, error) {
					rows, resp, err := c.ListCandidates(ctx, comeet.CandidateQuery{Page: page})
					return make([]string, len(rows)), resp, err
				}
			}
			pages := comeet.ReadPages(5, list)
			read := 0
			for pages.Next(t.Context()) {
				read += len(pages.Items())
			}
			if read != tt.pages || !errors.Is(pages.Err(), tt.want) || pages.Complete() {
				t.Errorf("%d pages, %v, complete %v", read, pages.Err(), pages.Complete())
			}
			if pages.Next(t.Context()) {
				t.Error("goes on after its error")
			}
		})
	}
}

func TestDeletedPagesAreFollowed(t *testing.T) {
	t.Parallel()
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("p") == "2" {
			return answer(r, 200, nil, `["b"]`), nil
		}
		return answer(r, 200, nil, `{"deleted":["a"],"next_page":"?p=2"}`), nil
	})))
	pages := comeet.ReadPages(0, func(ctx context.Context, page string) ([]string, *comeet.Response, error) {
		return c.ListDeletedCandidates(ctx, time.Time{}, time.Time{}, page)
	})
	var uids []string
	for pages.Next(t.Context()) {
		uids = append(uids, pages.Items()...)
	}
	if d := cmp.Diff([]string{"a", "b"}, uids); d != "" || !pages.Complete() {
		t.Error(d, pages.Err())
	}
}
