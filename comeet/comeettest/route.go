package comeettest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Route is one endpoint: its verb and path.
type Route string

// The endpoints that the fake imitates.
const (
	ListPositions          Route = "GET /positions"
	RetrievePosition       Route = "GET /positions/{uid}"
	ListPositionCandidates Route = "GET /positions/{uid}/candidates"
	CreateCandidate        Route = "POST /candidates"
	ListCandidates         Route = "GET /candidates"
	RetrieveCandidate      Route = "GET /candidates/{uid}"
	ListDeletedCandidates  Route = "GET /deleted-candidates"
	FindDuplicates         Route = "GET /sourcing/candidates/find_duplicates"
)

// endpoint says what a route takes and who serves it.
type endpoint struct {
	route   Route
	query   []string     // parameters allowed
	needs   []Permission // of which one is enough
	handler func(*call) *reply
}

var readCandidates = []Permission{ReadOwnCandidates, ReadOtherCandidates}

// endpoints in the order of the specification, §2.0.
var endpoints = []endpoint{
	{ListPositions, []string{"status", "limit", pageParameter}, []Permission{ReadPositions}, (*call).listPositions},
	{RetrievePosition, nil, []Permission{ReadPositions}, (*call).retrievePosition},
	{ListPositionCandidates, []string{"limit", pageParameter}, readCandidates, (*call).listPositionCandidates},
	{CreateCandidate, nil, []Permission{CreateCandidates}, (*call).createCandidate},
	{ListCandidates, candidateFilters, readCandidates, (*call).listCandidates},
	{RetrieveCandidate, []string{"include"}, readCandidates, (*call).retrieveCandidate},
	{ListDeletedCandidates, []string{"time_deleted:after", "time_deleted:before"}, readCandidates, (*call).listDeleted},
	{FindDuplicates, []string{"email", "first_name", "last_name", "linkedin_url", "phone_number"}, readCandidates, (*call).findDuplicates},
}

// notImitated exist at Comeet (specification §2.0); the fake answers 501 and records a violation.
var notImitated = []Route{
	"POST /positions/", "PATCH /position/{uid}", "POST /positions/{uid}/clone",
	"PATCH /candidates/{uid}", "POST /candidates/{uid}/notes", "GET /candidates/{uid}/files", "POST /candidates/{uid}/files",
	"POST /candidates/{uid}/conversations", "POST /conversations/{uid}/messages",
	"DELETE /person/{uid}", "POST /person/{uid}/pseudonymize",
}

// Routes lists every Route.
func Routes() []Route {
	out := make([]Route, len(endpoints))
	for i, e := range endpoints {
		out[i] = e.route
	}
	return out
}

// matches compares a path with the route's, in which {uid} takes any one segment. Trailing slashes
// matter: they are kept as documented.
func (r Route) matches(segments []string) (method, uid string, ok bool) {
	method, path, _ := strings.Cut(string(r), " /")
	n := 0
	for want := range strings.SplitSeq(path, "/") {
		switch {
		case n == len(segments):
			return "", "", false
		case want == "{uid}" && segments[n] != "":
			uid = segments[n]
		case want != segments[n]:
			return "", "", false
		}
		n++
	}
	return method, uid, n == len(segments)
}

// inbound is a request at either door.
type inbound struct {
	method, path, rawQuery string
	base                   string // scheme and host by which the client came
	memory                 bool   // came by the in-memory door
	header                 http.Header
	read                   func() ([]byte, error)
	accepted               func() // called once it is clear that the connection is not refused; may be nil
}

// call is a request on its way to its handler.
type call struct {
	s         *Server
	sw        *Switches
	req       *Request
	in        *inbound
	endpoint  *endpoint
	uid       string // of the path
	malformed error  // of the query
	query     url.Values
	body      []byte
	account   *account
}

// serve takes a request from its arrival to its answer: travel, route, token, faults, rate limit,
// strictness, handler.
//
// Requests refused by the rate limit don't use up a scripted fault. Requests that a gateway fault
// keeps from their handler count against the limit all the same (UNKNOWN; the strict reading);
// refused connections don't.
func (s *Server) serve(ctx context.Context, in *inbound) *reply {
	var back time.Duration
	if s.config.latency != nil {
		var there time.Duration
		if there, back = s.config.latency(); !s.pause(ctx, there) {
			return &reply{fate: fateHang}
		}
	}
	c := &call{s: s, sw: s.switches.Load(), in: in, req: &Request{Base: in.base, Method: in.method, Path: in.path, Arrived: time.Now()}}
	rejected := c.resolve()
	c.account = s.peekAccount(in.header)
	if c.account != nil {
		c.req.Account = c.account.name
	}
	c.req.Traceparent = in.header.Get("Traceparent")
	s.record.begin(c.req)
	r := c.proceed(ctx, rejected)
	s.record.end(c.req, r.status)
	if r.fate == fateAnswer && !s.pause(ctx, back) {
		return &reply{fate: fateHang}
	}
	return r
}

// resolve finds the endpoint, or the answer for there being none: the marketing site's 404 for a
// wrong path [O], 405 for a wrong verb [O].
func (c *call) resolve() (rejected *rejection) {
	c.query, c.malformed = url.ParseQuery(c.in.rawQuery)
	c.req.Query = c.query
	if c.foreignHost() {
		return &rejection{htmlPage(http.StatusNotFound, "Page not found"), "host", "not the API's host: " + c.in.base}
	}
	path, inside := strings.CutPrefix(c.in.path, c.s.config.basePath+"/")
	if !inside {
		return &rejection{htmlPage(http.StatusNotFound, "Page not found"), "path", "outside the base path"}
	}
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		if plain, err := url.PathUnescape(seg); err == nil {
			segments[i] = plain
		}
	}
	known := false
	for i := range endpoints {
		method, uid, ok := endpoints[i].route.matches(segments)
		known = known || ok
		if ok && method == c.in.method {
			c.endpoint, c.uid, c.req.Route = &endpoints[i], uid, endpoints[i].route
			return nil
		}
	}
	for _, n := range notImitated {
		if method, _, ok := n.matches(segments); ok && method == c.in.method {
			return &rejection{apiError(http.StatusNotImplemented, "not_imitated", "comeettest does not imitate this endpoint"), "not_imitated", "no handler"}
		}
	}
	if known {
		return &rejection{apiError(http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed"), "method", "the path takes another verb"}
	}
	return &rejection{htmlPage(http.StatusNotFound, "Page not found"), "path", "no such path"}
}

// foreignHost catches at the in-memory door what must not be followed with a token: a next_page
// elsewhere (Switches.NextPageBase), redirects, links of positions and files.
func (c *call) foreignHost() bool {
	if !c.in.memory || c.in.base == InMemoryHost {
		return false
	}
	u, err := url.Parse(c.in.base)
	elsewhere, err2 := url.Parse(c.sw.NextPageBase)
	return err == nil && err2 == nil && (strings.HasSuffix(u.Host, ".comeet.test") || u.Host == elsewhere.Host)
}

// rejection is an answer to a request that breaks a rule.
type rejection struct {
	*reply
	rule, detail string
}

func (c *call) proceed(ctx context.Context, rejected *rejection) *reply {
	s := c.s
	body, err := c.in.read()
	if err != nil {
		return &reply{fate: fateDrop}
	}
	c.body = body
	seen := *c.req
	seen.Body = body
	fault, injured, requeue := s.faults.pick(seen)
	if injured && fault.fate == fateRefuse && !fault.act {
		return c.injured(ctx, fault, nil)
	}
	if c.in.accepted != nil {
		c.in.accepted()
	}
	if s.record.bodies {
		s.record.note(c.req, func(q *Request) { q.Body = body })
	}
	denied := c.authorize()
	if denied == nil && c.account != nil {
		if ok, wait := c.account.limit.admit(time.Now(), c.sw); !ok {
			requeue()
			s.record.throttled.Add(1)
			s.record.note(c.req, func(q *Request) { q.Throttled = true })
			if !c.sw.RetryAfter {
				wait = 0
			}
			return c.dated(throttled(wait, c.sw.ThrottleHTML))
		}
	}
	act := func() *reply {
		switch {
		case rejected != nil:
			return c.reject(rejected)
		case denied != nil:
			return c.reject(denied)
		}
		if bad := c.check(); bad != nil {
			return bad
		}
		s.record.acted.Add(1)
		s.record.note(c.req, func(q *Request) { q.Acted = true })
		if bad := c.permit(c.endpoint.needs...); bad != nil {
			return bad
		}
		return c.endpoint.handler(c)
	}
	if injured {
		return c.injured(ctx, fault, act)
	}
	return c.dated(act())
}

func (c *call) reject(r *rejection) *reply {
	c.s.record.violate(c.req, r.rule, "%s", r.detail)
	return r.reply
}

// injured lets a fault happen.
func (c *call) injured(ctx context.Context, f Fault, act func() *reply) *reply {
	s := c.s
	s.record.faulted.Add(1)
	s.record.note(c.req, func(q *Request) { q.Fault = f.name })
	if !s.pause(ctx, f.before) {
		return &reply{fate: fateHang}
	}
	r := &reply{}
	if f.act && act != nil {
		r = act()
	}
	if f.late > 0 && act != nil {
		s.later(f.late, act)
	}
	if !f.pass {
		r = &reply{status: f.status, header: f.header.Clone(), body: f.body}
	}
	if f.fate != fateAnswer {
		r = &reply{}
	}
	r.fate, r.chunk, r.cut = f.fate, f.chunk, f.cut
	if !s.pause(ctx, f.after) {
		return &reply{fate: fateHang}
	}
	if r.fate == fateHang {
		select {
		case <-ctx.Done():
		case <-s.done:
		}
	}
	if r.fate != fateAnswer {
		return r
	}
	return c.dated(r)
}

// later runs act after d, unless the server closes first.
func (s *Server) later(d time.Duration, act func() *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.late.Go(func() {
		if s.pause(context.Background(), d) {
			act()
		}
	})
}

// dated stamps an answer with Comeet's clock. Whether the header can be relied on is UNKNOWN:
// Switches.NoDate.
func (c *call) dated(r *reply) *reply {
	if r.header == nil {
		r.header = http.Header{}
	}
	if !c.sw.NoDate {
		r.header.Set("Date", c.s.Now().Format(http.TimeFormat))
	}
	return r
}

// check is the strictness that all endpoints share.
func (c *call) check() *reply {
	if c.in.header.Get("Idempotency-Key") != "" {
		// Not documented, and net/http resends a POST that carries it by itself.
		c.s.record.violate(c.req, "header", "Idempotency-Key is not documented")
	}
	if v := c.in.header.Values("Identifier_type"); len(v) > 0 && (c.req.Route != RetrieveCandidate || v[0] != "REAL_ID") {
		c.s.record.violate(c.req, "header", "IDENTIFIER_TYPE is documented for GET /candidates/{uid} with REAL_ID only")
	}
	if c.malformed != nil {
		c.s.record.violate(c.req, "query", "%v", c.malformed)
		return apiError(http.StatusBadRequest, "invalid_request", "Malformed query")
	}
	_, paged := c.query[pageParameter]
	for name, values := range c.query {
		switch {
		case !slices.Contains(c.endpoint.query, name):
			c.s.record.violate(c.req, "query", "parameter %q is not documented", name)
		case len(values) > 1 && name != "include":
			c.s.record.violate(c.req, "query", "parameter %q is repeated", name)
		case paged && len(c.query) > 1:
			c.s.record.violate(c.req, "query", "next_page must be followed verbatim")
		default:
			continue
		}
		if !c.sw.IgnoreUnknown {
			return apiError(http.StatusBadRequest, "invalid_request", "Unexpected parameter "+name)
		}
	}
	return nil
}
