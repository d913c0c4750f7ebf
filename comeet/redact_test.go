package comeet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// printed is all that a careless program may print of v, with its whole chain of causes.
func printed(v any) string {
	var b strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&b, format+"\n", v)
	}
	if err, ok := v.(error); ok {
		for err = errors.Unwrap(err); err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&b, "%v\n%+v\n%#v\n", err, err, err)
		}
	}
	return b.String()
}

// Everything that must not show is marked: the credentials in their names, a person, the query, bodies, and Comeet's message.
func TestNothingSecretOrPersonalIsPrinted(t *testing.T) {
	t.Parallel()
	const marked = `{"status":%d,"error":%q,"message":"marker-message","candidate_uid":"3C.7","x":"marker-body"}`
	var bearers []string
	failures := map[string]func(*http.Request) (*http.Response, error){
		"html":     func(r *http.Request) (*http.Response, error) { return answer(r, 502, nil, "marker-body"), nil },
		"not JSON": func(r *http.Request) (*http.Response, error) { return answer(r, 200, nil, "marker-body"), nil },
		"odd JSON": func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, nil, `{"uid":["marker-body"]}`), nil
		},
		"bad code": func(r *http.Request) (*http.Response, error) {
			return answer(r, 400, nil, `{"error":"marker-body!"}`), nil
		},
		"redirect": func(r *http.Request) (*http.Response, error) {
			return answer(r, 302, http.Header{"Location": {"https://marker-query.test/?marker"}}, ""), nil
		},
		"throttled": func(r *http.Request) (*http.Response, error) {
			return answer(r, 429, http.Header{"Retry-After": {"marker"}}, "marker-body"), nil
		},
		"quoting": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("sent %s with %s to %s: marker-body", r.Method, r.Header.Get("Authorization"), r.URL)
		},
		"url error": func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String() + "?marker", Err: io.EOF}
		},
		"broken body": func(r *http.Request) (*http.Response, error) {
			resp := answer(r, 200, nil, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"uid":"marker`), failing{errors.New("marker-body")}))
			return resp, nil
		},
	}
	for _, status := range []int{400, 401, 403, 404, 409, 422, 500} {
		for _, code := range codes {
			failures[fmt.Sprintf("%d %s", status, code)] = func(r *http.Request) (*http.Response, error) {
				return answer(r, status, nil, fmt.Sprintf(marked, status, code)), nil
			}
		}
	}
	for name, fail := range failures {
		// A client per call: a denied or throttled one admits no second call.
		client := func() *comeet.Client {
			return newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				bearers = append(bearers, bearer(r))
				return fail(r)
			})))
		}
		n := noor()
		n.FirstName, n.Email, n.Note = "marker-first", "marker@example.test", "marker-note"
		n.Resume = &comeet.File{Name: "marker.pdf", File: []byte("marker")}
		c := client()
		_, resp, err1 := c.CreateCandidate(t.Context(), n)
		_, _, err2 := client().ListCandidates(t.Context(), comeet.CandidateQuery{Status: []string{"marker-query"}, TimeCreatedAfter: time.Now()})
		_, _, err3 := client().ListCandidates(t.Context(), comeet.CandidateQuery{Page: "https://api.comeet.co/candidates?marker-query"})
		_, _, err4 := client().ListPositions(t.Context(), comeet.PositionQuery{Page: "https://elsewhere.test/?marker-query"})
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("marker-cause"))
		_, _, err5 := client().RetrieveCandidate(ctx, "marker-uid")
		all := printed(c) + printed(n) + printed(resp)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if err == nil {
				t.Fatalf("%s: a call passed", name)
			}
			all += printed(err)
		}
		if i := strings.Index(all, "marker"); i >= 0 {
			t.Errorf("%s: %s", name, all[max(0, i-100):min(len(all), i+100)])
		}
		for _, b := range bearers {
			if strings.Contains(all, b) || strings.Contains(all, strings.Split(b, ".")[1]) {
				t.Errorf("%s: a token is printed", name)
			}
		}
		bearers = bearers[:0]
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestCredentialsArePrintedAsAnAddressAtMost(t *testing.T) {
	t.Parallel()
	if s := printed(comeet.StaticCredentials(testKey, testSecret)); strings.Contains(s, "marker") {
		t.Error(s)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]*comeet.Error{
		"comeet: create candidate: invalid (400 invalid_email): the request can never succeed as it is":  {Op: "create candidate", Kind: comeet.Invalid, Status: 400, Code: "invalid_email"},
		"comeet: list positions: throttled (429): the request budget is spent; wait 1m0s":                {Op: "list positions", Kind: comeet.Throttled, Status: 429, RetryAfter: time.Minute},
		"comeet: in_doubt: it was sent and its fate is unknown; look it up before sending it again: EOF": {Kind: comeet.InDoubt, Err: io.EOF},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
