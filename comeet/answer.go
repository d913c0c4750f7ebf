package comeet

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Answer is one row of the table that says which answer means what. The classifier uses these rows,
// and the first match wins. So [Answers] returns what the client does.
type Answer struct {
	// Result is the stable name: "created" and "read" for success, else Kind's name.
	Result string
	// Kind is what the caller gets; zero for success.
	Kind Kind
	// From says in words which answers the row matches: request, sent or not, status, codes.
	From string
	// Event, Breaker and Claim say what a connector does: with the event, with the account's
	// breaker ("success", "failure", "neither"), and with the claim on the operation ("-": there is
	// nothing to do).
	Event, Breaker, Claim string

	rule rule
}

// request is which calls a rule is about. A POST changes something at Comeet, a read does not. A
// look is the read of one candidate. Unlike the read of a list it shows whether this candidate may
// be read.
type request uint8

const (
	anyRequest request = iota
	post
	read
	look
)

// form is what the body of an answer turned out to be.
type form uint8

const (
	anyForm  form = iota
	noAnswer      // no status line came, or no request was sent
	broken        // a status came, but the body could not be read whole
	other         // not in the API's form: HTML, empty, other JSON, an unusable 2xx
	usable        // a 2xx in the documented form, with a uid where one is due
	apiError      // a JSON object with a machine code in `error`
)

// outcome is all that is known about one exchange.
type outcome struct {
	post     bool
	look     bool
	sent     bool // bytes may have left
	canceled bool // the caller's context ended before the answer was whole
	status   int
	form     form
	code     string
	uid      bool // a 409 named a candidate
}

type rule struct {
	request  request
	unsent   bool
	canceled bool
	from, to int // HTTP statuses, inclusive; 0 is any or none
	form     form
	codes    []string
	uid      bool
}

func (r rule) matches(o outcome) bool {
	switch {
	case r.request == post && !o.post, r.request == read && o.post, r.request == look && !o.look:
		return false
	case r.unsent && o.sent, r.canceled && !o.canceled, r.uid && !o.uid:
		return false
	case r.from != 0 && (o.status < r.from || o.status > r.to):
		return false
	case r.form != anyForm && r.form != o.form:
		return false
	}
	return len(r.codes) == 0 || slices.Contains(r.codes, o.code)
}

func (r rule) String() string {
	var b strings.Builder
	b.WriteString([...]string{"any request", "POST", "read", "read of one candidate"}[r.request])
	if r.unsent {
		b.WriteString(", nothing sent")
	}
	if r.canceled {
		b.WriteString(", caller's context ended first")
	}
	if r.from != 0 {
		b.WriteString(", " + strconv.Itoa(r.from))
		if r.to != r.from {
			b.WriteString("-" + strconv.Itoa(r.to))
		}
	}
	switch {
	case len(r.codes) > 0:
		b.WriteString(" " + strings.Join(r.codes, " or "))
	case r.form == apiError:
		b.WriteString(" with any other API code")
	case r.form == usable:
		b.WriteString(" in the documented form")
	case r.form == other:
		b.WriteString(" without an API code")
	}
	if r.uid {
		b.WriteString(" and a candidate_uid")
	}
	if r.from == 0 && !r.unsent && !r.canceled {
		b.WriteString(", whatever else comes or does not come")
	}
	return b.String()
}

const (
	codeDuplicate = "duplicate_candidate"
	codeConflict  = "candidate_post_conflict"
)

// answers is the table. A row about candidates asks for the API's own code, never for a status
// alone, because gateways answer 401, 403 and 404 too. An answer that the documentation does not
// name proves nothing about a POST, so the POST is in doubt.
var answers = []Answer{
	{Kind: Canceled, rule: rule{unsent: true, canceled: true}, Event: "waits", Breaker: "neither", Claim: "released"},
	{Kind: Unavailable, rule: rule{unsent: true}, Event: "waits", Breaker: "failure", Claim: "released"},
	{Kind: Canceled, rule: rule{request: read, canceled: true}, Event: "waits", Breaker: "neither", Claim: "-"},

	// A limiter, in front of the API or inside it, refuses before anything is done. So no body is
	// needed.
	{Kind: Throttled, rule: rule{from: 429, to: 429}, Event: "waits, the budget holds a window or Retry-After", Breaker: "neither", Claim: "released"},

	{Result: "created", rule: rule{request: post, from: 200, to: 299, form: usable}, Event: "accepted", Breaker: "success", Claim: "-"},
	{Result: "read", rule: rule{request: read, from: 200, to: 299, form: usable}, Event: "-", Breaker: "success", Claim: "-"},

	{Kind: Existing, rule: rule{request: post, from: 409, to: 409, form: apiError, codes: []string{codeConflict}, uid: true}, Event: "accepted (existing)", Breaker: "success", Claim: "-"},

	{Kind: Merged, rule: rule{request: read, from: 401, to: 401, form: apiError, codes: []string{codeDuplicate}}, Event: "status event merged, tracking ends", Breaker: "neither", Claim: "-"},
	// Comeet merged the candidate while it was posted. So it exists, and only a look-up can tell
	// where.
	{Kind: InDoubt, rule: rule{request: post, from: 401, to: 401, form: apiError, codes: []string{codeDuplicate}}, Event: "waits until settled", Breaker: "failure", Claim: "kept"},
	// The body of an authentication failure is not documented, so a read takes any. A POST takes
	// only the API's form, because a gateway in front of Comeet may answer 401 about itself after
	// Comeet has acted.
	{Kind: Denied, rule: rule{from: 401, to: 401, form: apiError}, Event: "waits, the capability pauses unless one candidate was read", Breaker: "neither", Claim: "released"},
	{Kind: Denied, rule: rule{request: read, from: 401, to: 401, form: other}, Event: "waits, the capability pauses unless one candidate was read", Breaker: "neither", Claim: "-"},

	{Kind: Invalid, rule: rule{from: 400, to: 400, form: apiError}, Event: "failed", Breaker: "neither", Claim: "-"}, // guard: gateway-page-is-no-verdict
	{Kind: Invalid, rule: rule{from: 403, to: 403, form: apiError, codes: []string{"file_size_limit", "malicious_file"}}, Event: "failed", Breaker: "neither", Claim: "-"},
	// The candidate may have left the view of this integration. Only a list tells whether the
	// permission to read is missing.
	{Kind: Hidden, rule: rule{request: look, from: 403, to: 403, form: apiError}, Event: "-", Breaker: "neither", Claim: "-"},
	{Kind: Denied, rule: rule{from: 403, to: 403, form: apiError}, Event: "waits, the capability pauses", Breaker: "neither", Claim: "released"},
	{Kind: NoPosition, rule: rule{from: 404, to: 404, form: apiError, codes: []string{"position_not_found"}}, Event: "matched once more with a fresh catalogue, then failed", Breaker: "neither", Claim: "released"},
	{Kind: NotFound, rule: rule{request: read, from: 404, to: 404, form: apiError, codes: []string{"not_found", "candidate_not_found"}}, Event: "-", Breaker: "neither", Claim: "-"},
	// The candidate is gone, or a gateway is confused. That says nothing about Comeet's health:
	// Comeet may answer so for each of many deleted candidates in a row.
	{Kind: Gone, rule: rule{request: look, from: 404, to: 404}, Event: "-", Breaker: "neither", Claim: "-"},
	{Kind: Gone, rule: rule{request: look, from: 410, to: 410}, Event: "-", Breaker: "neither", Claim: "-"},
	// These are not documented, but with the API's code they are about this request's size, type or
	// content.
	{Kind: Invalid, rule: rule{from: 413, to: 413, form: apiError}, Event: "failed", Breaker: "neither", Claim: "-"},
	{Kind: Invalid, rule: rule{from: 415, to: 415, form: apiError}, Event: "failed", Breaker: "neither", Claim: "-"},
	{Kind: Invalid, rule: rule{from: 422, to: 422, form: apiError}, Event: "failed", Breaker: "neither", Claim: "-"},

	{Kind: InDoubt, rule: rule{request: post}, Event: "waits until settled", Breaker: "failure", Claim: "kept"},
	{Kind: Unavailable, rule: rule{request: read}, Event: "waits", Breaker: "failure", Claim: "-"},
}

func init() {
	for i := range answers {
		a := &answers[i]
		if a.Result == "" {
			a.Result = a.Kind.String()
		}
		a.From = a.rule.String()
	}
}

// Answers returns the table "which answer means what". The first row that matches counts; the last
// two match everything else.
func Answers() []Answer { return slices.Clone(answers) }

func classify(o outcome) Kind {
	for i := range answers {
		if answers[i].rule.matches(o) {
			return answers[i].Kind
		}
	}
	return Unavailable // never reached, since the last two rows match everything
}

// renewable reports whether the same request shall be sent once more with a fresh token. A POST is
// repeated only if the API itself refused it.
func renewable(o outcome) bool {
	if o.status != http.StatusUnauthorized || o.code == codeDuplicate {
		return false
	}
	return o.form == apiError || (!o.post && o.form == other)
}

// stale reports whether an answer casts doubt on the token, even if the request may not be
// repeated.
func stale(o outcome) bool {
	return o.status == http.StatusUnauthorized && o.code != codeDuplicate
}

// authenticated reports whether an answer shows that Comeet accepted the token.
func authenticated(o outcome) bool {
	return o.form == usable || o.form == apiError && !stale(o) && o.status < 500 && o.status != http.StatusTooManyRequests
}
