package connector_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// answerCase is what Comeet answers to the POSTs of one event, and what must become of it.
type answerCase struct {
	name string
	// faults happen to the first POSTs, one each; always happens to every one.
	faults []comeettest.Fault
	always *comeettest.Fault
	// want is the outcome, or the reason of the refusal.
	want              string
	posts, candidates int
}

// answerCases is every class of answer to a POST. Each case starts from an event that Comeet would take.
func answerCases() []answerCase {
	const (
		created, recovered   = string(events.OutcomeCreated), string(events.OutcomeRecovered)
		refused, fileRefused = string(events.ReasonRefused), string(events.ReasonFileRefused)
		notFound, inDoubt    = string(events.ReasonPositionNotFound), string(events.ReasonInDoubt)
	)
	one := func(name string, f comeettest.Fault, want string, posts, candidates int) answerCase {
		return answerCase{name: name, faults: []comeettest.Fault{f}, want: want, posts: posts, candidates: candidates}
	}
	code := func(status int, code string) comeettest.Fault { return comeettest.APIError(status, code) }
	cases := []answerCase{
		{name: "created", want: created, posts: 1, candidates: 1},
		one("slow answer", comeettest.SlowBody(5*time.Millisecond), created, 1, 1),
		one("late answer", comeettest.DelayAnswer(200*time.Millisecond), created, 1, 1),

		one("cut before acting", comeettest.Drop(), created, 2, 1),
		one("cut after acting", comeettest.DropAfter(), recovered, 1, 1),
		one("cut, acts before it is looked up", comeettest.DropThenAct(10*time.Millisecond), recovered, 1, 1),
		one("cut, acts after it was looked up", comeettest.DropThenAct(20*time.Second), created, 2, 1),
		one("no answer, not acted", comeettest.Hang(), created, 2, 1),
		one("no answer, acted", comeettest.ActThen(comeettest.Hang()), recovered, 1, 1),
		one("answer breaks off", comeettest.Truncated(), recovered, 1, 1),
		one("redirect, not acted", comeettest.Redirect(), created, 2, 1),
		one("redirect, acted", comeettest.ActThen(comeettest.Redirect()), recovered, 1, 1),
		one("200 without a body, not acted", comeettest.Empty(), created, 2, 1),
		one("200 without a body, acted", comeettest.ActThen(comeettest.Empty()), recovered, 1, 1),
		one("200 of another shape, not acted", comeettest.WrongJSON(), created, 2, 1),
		one("200 of another shape, acted", comeettest.ActThen(comeettest.WrongJSON()), recovered, 1, 1),
		one("201 with an empty object", comeettest.Answer(201, "{}"), created, 2, 1),
		one("200 with an array", comeettest.Answer(200, "[]"), created, 2, 1),
		one("200 with half an object", comeettest.ActThen(comeettest.Answer(200, `{"uid":`)), recovered, 1, 1),
		one("500 without a body", comeettest.Answer(500, ""), created, 2, 1),
		one("400 without a body", comeettest.Answer(400, ""), created, 2, 1),
		one("400 whose error is no code", comeettest.Answer(400, `{"status":400,"error":{"a":1}}`), created, 2, 1),

		one("throttled", comeettest.Throttle(0), created, 2, 1),
		one("throttled, says for how long", comeettest.Throttle(time.Second), created, 2, 1),
		one("throttled by a page", comeettest.ThrottleHTML(0), created, 2, 1),

		one("401 once", code(401, "unauthorized"), created, 2, 1),
		{name: "401 twice", faults: []comeettest.Fault{code(401, "unauthorized"), code(401, "unauthorized")}, want: created, posts: 3, candidates: 1},
		one("401 duplicate_candidate", code(401, "duplicate_candidate"), created, 2, 1),
		one("403 no_permission", code(403, "no_permission"), created, 2, 1),
		one("403 file_size_limit", code(403, "file_size_limit"), fileRefused, 1, 0),
		one("403 malicious_file", code(403, "malicious_file"), fileRefused, 1, 0),
		one("404 not_found", code(404, "not_found"), created, 2, 1),
		one("404 position_not_found once", code(404, "position_not_found"), created, 2, 1),
		{name: "404 position_not_found twice", faults: []comeettest.Fault{code(404, "position_not_found"), code(404, "position_not_found")},
			want: notFound, posts: 2, candidates: 0},
		{name: "in doubt, then 404 position_not_found", faults: []comeettest.Fault{comeettest.Drop(), code(404, "position_not_found")},
			want: notFound, posts: 2, candidates: 0},
		one("409 without a uid", code(409, "candidate_post_conflict"), created, 2, 1),
		one("409 by another name", code(409, "conflict"), created, 2, 1),

		{name: "in doubt, then throttled", faults: []comeettest.Fault{comeettest.Drop(), comeettest.Throttle(0)}, want: created, posts: 3, candidates: 1},
		{name: "in doubt, then denied", faults: []comeettest.Fault{comeettest.Drop(), code(403, "no_permission")}, want: created, posts: 3, candidates: 1},
		{name: "in doubt, then refused", faults: []comeettest.Fault{comeettest.Drop(), code(400, "invalid_email")}, want: refused, posts: 2, candidates: 0},
		{name: "in doubt twice, landed the second time", faults: []comeettest.Fault{comeettest.HTMLPage(502), comeettest.DropAfter()},
			want: recovered, posts: 2, candidates: 1},
		{name: "always 500", always: new(code(500, "internal_error")), want: inDoubt, posts: 6, candidates: 0},
		{name: "always a page", always: new(comeettest.HTMLPage(403)), want: inDoubt, posts: 6, candidates: 0},
		{name: "always cut", always: new(comeettest.Drop()), want: inDoubt, posts: 6, candidates: 0},
	}
	for _, c := range []string{
		"required_field", "string_size_limit", "invalid_email", "invalid_linkedin_url", "invalid_url", "source_contact_conflict",
		"incorrect_country_code", "invalid_custom_candidate_field", "something_new",
	} {
		cases = append(cases, one("400 "+c, code(400, c), refused, 1, 0))
	}
	for _, status := range []int{
		202, 204, 300, 301, 307, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 415, 418, 422, 423, 425, 431, 451,
		500, 501, 502, 503, 504, 505, 520, 522, 530, 599,
	} {
		if status != 204 {
			cases = append(cases, one(fmt.Sprintf("page %d, not acted", status), comeettest.HTMLPage(status), created, 2, 1))
		}
		cases = append(cases, one(fmt.Sprintf("page %d, acted", status), comeettest.ActThen(comeettest.HTMLPage(status)), recovered, 1, 1))
		switch status {
		case 202, 204, 400, 401, 403: // has no body, or is above
		case 413, 415, 422:
			cases = append(cases, one(fmt.Sprintf("%d something_new", status), code(status, "something_new"), refused, 1, 0))
		default:
			cases = append(cases, one(fmt.Sprintf("%d something_new", status), code(status, "something_new"), created, 2, 1))
		}
	}
	return cases
}

// Each case has an account of its own, all in one connector: what one account's Comeet does must not touch another's.
func TestEveryAnswerToAPost(t *testing.T) {
	t.Parallel()
	cases := answerCases()
	names := make([]string, len(cases))
	for i := range cases {
		names[i] = fmt.Sprint("a", i)
	}
	w := newWorld(t, accounts(names...), func(s *setup) {
		s.RateLimit = comeet.Limit{Requests: 1000, Window: time.Second}
		s.RequestTimeout, s.MemberTTL = bustest.Stretch(500*time.Millisecond), bustest.Stretch(2*time.Second)
		s.PollInterval, s.Workers = time.Hour, 2
	}, fakeWith(comeettest.WithRecording(100_000)))
	w.run(func(c *connector.Config) { c.DeniedRetry = 300 * time.Millisecond })
	t.Cleanup(w.check)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, account := w.in(t), names[i]
			for _, f := range c.faults {
				w.fake.Control(comeettest.CreateCandidate, func(r comeettest.Request) (comeettest.Fault, bool) { return f, r.Account == account })
			}
			if c.always != nil {
				w.fake.OutageOf(comeettest.Scope{Account: account, Route: comeettest.CreateCandidate}, *c.always)
			}
			w.publishTo(account, source, account, person(i))
			if got := outcomeOf(w.outcome(account)); got != c.want {
				t.Errorf("outcome %s, want %s", got, c.want)
			}
			if n := w.posts(account); n != c.posts {
				for line := range strings.Lines(w.logs.String()) {
					if strings.Contains(line, `"`+account+`"`) {
						t.Log(line)
					}
				}
				t.Errorf("%d POSTs, want %d", n, c.posts)
			}
			if n := len(w.fake.Candidates(account)); n != c.candidates {
				t.Errorf("%d candidates, want %d", n, c.candidates)
			}
		})
	}
}

// A refusal tells Comeet's code and nothing of what Comeet says in words.
func TestRefusalTellsTheCodeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(comeettest.CreateCandidate, comeettest.Answer(http.StatusBadRequest,
		`{"status":400,"error":"invalid_email","message":"`+personMark+` has no address `+mailMark+`"}`))
	w.run()
	w.publish("e1", person(1))
	d, ok := w.outcome("e1").Data.(*events.Failed)
	if !ok || d.Reason != events.ReasonRefused || d.Comeet == nil || *d.Comeet != (events.ComeetAnswer{Status: 400, Error: "invalid_email"}) {
		t.Fatalf("outcome %+v", d)
	}
	if !strings.Contains(d.Message, "invalid_email") {
		t.Errorf("message %q does not name the code", d.Message)
	}
	w.checkLeaks(fmt.Sprintf("%+v", d))
	w.check()
}
