package comeet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Response tells about the exchange of one call. A call returns it, beside its error too, whenever
// an answer came; else nil.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Date is Comeet's clock when it answered, in whole seconds; zero if the answer has no readable
	// Date.
	Date time.Time
	// Sent and Answered are local times: just before the request left, and when its answer was
	// read.
	Sent, Answered time.Time
	// NextPage continues a list: give it as Page. It is opaque; "" means that this was the last
	// page.
	NextPage string
}

// CallOption is a setting of one call.
type CallOption func(*callConfig)

type callConfig struct {
	permit      *Permit
	priority    Priority
	prioritySet bool
	traceparent string
	timeout     time.Duration
	setting     string
	realID      bool
}

// WithPermit gives the call a permit that is held already; the call consumes it, whatever comes of
// it. Without one (or with nil) the call waits for one from the client's gate.
func WithPermit(p *Permit) CallOption { return func(c *callConfig) { c.permit = p } }

// WithPriority sets with which priority the call asks for a permit. Defaults to Submit for
// CreateCandidate, else Poll.
func WithPriority(p Priority) CallOption {
	return func(c *callConfig) { c.priority, c.prioritySet = p, true }
}

// WithTraceparent sends the W3C trace context along, as header traceparent. A value that is not
// well formed is not sent.
func WithTraceparent(tp string) CallOption {
	return func(c *callConfig) {
		if wellFormedTraceparent(tp) {
			c.traceparent = tp
		}
	}
}

// WithTimeoutOf is [WithTimeout] for one call. Zero or less leaves the client's.
func WithTimeoutOf(d time.Duration) CallOption {
	return func(c *callConfig) {
		if d > 0 {
			c.timeout, c.setting = d, "WithTimeoutOf"
		}
	}
}

// ByRealID says that RetrieveCandidate's uid is the number of the candidate's page in the web app,
// as a 409 may give it. It sends the header IDENTIFIER_TYPE: REAL_ID. Other calls ignore it.
func ByRealID() CallOption { return func(c *callConfig) { c.realID = true } }

// Bounds of what is read of an answer, after decompression.
const (
	maxListBytes   = 8 << 20
	maxObjectBytes = 4 << 20
	maxErrorBytes  = 64 << 10
)

// call is one API method's request and how to read its answer.
type call struct {
	op       string
	method   string
	url      *url.URL
	body     []byte
	maxBytes int64
	operates Capability
	// decode reads a 2xx body and reports whether it has the documented form.
	decode func(body []byte, resp *Response) bool
	// look says that the path names one candidate: ByRealID counts, and the answer is no verdict on
	// the capability.
	look bool
	// refused ends the call before anything is sent: a request that cannot be built.
	refused *Error
}

func (rq *call) post() bool { return rq.method == http.MethodPost }

func (rq *call) fail(kind Kind, cause error) error { return &Error{Op: rq.op, Kind: kind, Err: cause} }

func (c *Client) do(ctx context.Context, rq *call, opts []CallOption) (*Response, error) {
	cfg := callConfig{priority: Poll, timeout: c.timeout, setting: "WithTimeout"}
	if rq.post() {
		cfg.priority = Submit
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	permit := cfg.permit
	if rq.refused != nil {
		if permit != nil {
			permit.Release()
		}
		rq.refused.Op = rq.op
		return nil, rq.refused
	}
	if permit == nil {
		p, err := c.gate.Acquire(ctx, cfg.priority, rq.operates)
		if err != nil {
			return nil, rq.fail(Canceled, endOf(ctx))
		}
		permit = p
	}
	// One deadline over both attempts: a caller that allots the timeout once (a claim's lease) must
	// not be held twice as long.
	limited, cancel := context.WithTimeoutCause(ctx, cfg.timeout, &timeoutError{cfg.setting, cfg.timeout})
	defer cancel()
	ex, err := c.attempt(ctx, limited, rq, &cfg, permit, true)
	if err == nil && ex.renew {
		// Refused for its token alone, so nothing was done: the repeat is a request like any other,
		// with its own slot.
		permit, err = c.gate.Acquire(limited, cfg.priority, rq.operates)
		if err != nil {
			return nil, c.unsent(ctx, limited, rq)
		}
		ex, err = c.attempt(ctx, limited, rq, &cfg, permit, false)
	}
	if err != nil {
		return nil, err
	}
	return ex.response(), ex.err(rq.op)
}

// unsent is the error of a call whose time ended before anything was sent.
func (c *Client) unsent(caller, limited context.Context, rq *call) error {
	if caller.Err() != nil {
		return rq.fail(Canceled, endOf(caller))
	}
	return rq.fail(Unavailable, context.Cause(limited))
}

// endOf tells why ctx ended, without its cause: that text is the caller's, and may hold anything.
func endOf(ctx context.Context) error { return ctx.Err() }

// exchange is what came of one request.
type exchange struct {
	outcome
	kind       Kind
	retryAfter time.Duration
	candidate  string // uid of a 409
	// renew says that the same request is to be sent once more, with a fresh token.
	renew bool
	cause error
	resp  Response
}

func (e *exchange) response() *Response {
	if e.status == 0 {
		return nil
	}
	return &e.resp
}

func (e *exchange) err(op string) error {
	if e.kind == 0 {
		return nil
	}
	err := &Error{Op: op, Kind: e.kind, Status: e.status, Code: e.code, Err: e.cause}
	switch e.kind {
	case Existing:
		err.CandidateUID = e.candidate
	case Throttled:
		err.RetryAfter = e.retryAfter
	}
	return err
}

// attempt makes one request with one permit. Its error means that nothing was tried; what came of a
// request is in the exchange.
func (c *Client) attempt(caller, limited context.Context, rq *call, cfg *callConfig, permit *Permit, first bool) (*exchange, error) {
	tok, tokenErr := c.tokens.get(limited)
	if limited.Err() != nil {
		permit.Release()
		return nil, c.unsent(caller, limited, rq)
	}
	if err := permit.begin(); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			err = e.Err
		}
		return nil, rq.fail(Unavailable, err)
	}
	if tokenErr != nil {
		// The gate counts it as a failure, though it is not Comeet's: so nothing is fetched or
		// tried in a hot loop until the credentials can be read.
		permit.end(report{kind: Unavailable, op: rq.operates, answered: time.Now()})
		return nil, rq.fail(Unavailable, tokenErr)
	}
	ex := &exchange{outcome: outcome{post: rq.post(), look: rq.look, form: noAnswer}}
	c.send(limited, rq, cfg, tok, ex)
	incomplete := ex.form == noAnswer || ex.form == broken
	ex.canceled = incomplete && caller.Err() != nil
	if ex.canceled {
		ex.cause = endOf(caller)
	}
	ex.kind = classify(ex.outcome)
	ex.renew = first && renewable(ex.outcome) && c.tokens.worthRenewing(tok)
	if stale(ex.outcome) {
		c.tokens.refuse(tok)
	} else if authenticated(ex.outcome) {
		c.tokens.accept(tok)
	}
	rep := report{
		kind: ex.kind, sent: ex.sent, op: rq.operates, status: ex.status, code: ex.code, answered: ex.resp.Answered,
	}
	switch {
	case ex.renew:
		// About the token, not about Comeet or a permission: the verdict is the repeat's.
		rep.kind = Canceled
	case rq.look && ex.kind == Denied:
		rep.kind = Hidden
	case ex.kind == Throttled:
		rep.retryAfter = ex.retryAfter
	}
	permit.end(rep)
	c.observe(Observation{Op: rq.op, Kind: ex.kind, Status: ex.status, Took: ex.resp.Answered.Sub(ex.resp.Sent)})
	return ex, nil
}

// bodies holds buffers for answers. Decoding copies what it keeps.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBytes keeps the buffer of one large list from staying for ever.
const maxPooledBytes = 1 << 20

func (c *Client) send(ctx context.Context, rq *call, cfg *callConfig, tok *token, ex *exchange) {
	deadline, _ := ctx.Deadline() // always there: do sets it
	f := newFlight(c.native, deadline)
	req := c.request(f.trace(ctx), rq, cfg, tok, f)
	ex.resp.Sent = time.Now()
	resp, err := c.transport.RoundTrip(req)
	ex.resp.Answered = time.Now()
	if err != nil {
		ex.sent = f.sent(err)
		ex.cause = c.causeOf(ctx, err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	ex.sent = true
	ex.status = resp.StatusCode
	ex.resp.Status = resp.StatusCode
	ex.resp.Date = parseDate(resp.Header)
	if !ex.resp.Date.IsZero() {
		c.clock.learn(ex.resp.Date, ex.resp.Sent, ex.resp.Answered)
	}
	if ex.status == http.StatusTooManyRequests {
		ex.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), ex.resp.Date, c.Now())
	}
	if ex.status == http.StatusSwitchingProtocols {
		ex.form = other // its body is the connection: it has no end
		return
	}
	limit := int64(maxErrorBytes)
	success := ex.status >= 200 && ex.status <= 299
	if success {
		limit = rq.maxBytes
	}
	buf := bodies.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= maxPooledBytes {
			bodies.Put(buf)
		}
	}()
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	ex.resp.Answered = time.Now()
	switch {
	case err != nil:
		ex.form, ex.cause = broken, c.causeOf(ctx, err)
	case n > limit:
		ex.form, ex.cause = broken, errTooLarge
	case success && rq.decode(buf.Bytes(), &ex.resp):
		ex.form = usable
	case success:
		ex.form, ex.cause = other, errUnexpectedAnswer
	default:
		ex.form = other
		if code, candidate, ok := parseError(buf.Bytes()); ok {
			ex.form, ex.code, ex.candidate, ex.uid = apiError, code, candidate, candidate != ""
		}
	}
}

func (c *Client) causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if t, ok := errors.AsType[*timeoutError](context.Cause(ctx)); ok {
			return t
		}
		return endOf(ctx)
	}
	return safeCause(c.base.Host, err)
}

func (c *Client) request(ctx context.Context, rq *call, cfg *callConfig, tok *token, f *flight) *http.Request {
	header := make(http.Header, 6)
	header["Authorization"] = []string{"Bearer " + tok.value}
	header["Accept"] = []string{"application/json"}
	header["User-Agent"] = []string{userAgent}
	if cfg.traceparent != "" {
		header["Traceparent"] = []string{cfg.traceparent}
	}
	if cfg.realID && rq.look {
		header.Set("IDENTIFIER_TYPE", "REAL_ID")
	}
	req := &http.Request{
		Method: rq.method, URL: rq.url, Host: rq.url.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	// An empty body that cannot be read again: without one net/http sends a read a second time by
	// itself when a kept-alive connection breaks, and Comeet counts both.
	req.Body = io.NopCloser(strings.NewReader(""))
	if rq.post() {
		header["Content-Type"] = []string{"application/json"}
		req.ContentLength = int64(len(rq.body))
		req.Body = io.NopCloser(bytes.NewReader(rq.body))
		if c.rewinds {
			req.GetBody = func() (io.ReadCloser, error) { return f.rewind(rq.body) }
		}
	}
	return req.WithContext(ctx)
}

// maxRetryAfter bounds what an Error says of a header.
const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads how long to wait; 0 if value says nothing, or a time that is past. A point
// in time is taken against the answer's own Date, else against the best guess at Comeet's clock, so
// the local clock does not matter.
func parseRetryAfter(value string, date, comeetNow time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if date.IsZero() {
		date = comeetNow
	}
	until, err := http.ParseTime(value)
	switch {
	case value == "":
		return 0
	case strings.Trim(value, "0123456789") == "":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return maxRetryAfter
		}
		if until = pointInTime(n); until.IsZero() {
			return time.Duration(min(n, int64(maxRetryAfter/time.Second))) * time.Second
		}
	case err != nil:
		if until = parseTime(value); until.IsZero() {
			return 0
		}
	}
	return min(max(until.Sub(date), 0), maxRetryAfter)
}

// pointInTime is the time that a number is which is too large for seconds to wait: as some servers
// send it, Unix time in seconds, or in a thousandth, millionth or billionth of them. It is zero for
// other numbers.
func pointInTime(n int64) time.Time {
	const least, most = 1_000_000_000, 100_000_000_000 // the years 2001 and 5138
	for n >= most {
		n /= 1000
	}
	if n < least {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// wellFormedTraceparent accepts version-traceid-parentid-flags of W3C Trace Context. Versions after
// 00 may append fields. Package events has the same rule, since this package imports nothing of
// ours; TestTraceparentIsCheckedBeforeItIsSent holds them together.
func wellFormedTraceparent(tp string) bool {
	if len(tp) < 55 || len(tp) > 512 || tp[2] != '-' || tp[35] != '-' || tp[52] != '-' {
		return false
	}
	for i, c := range []byte(tp[:55]) {
		if i != 2 && i != 35 && i != 52 && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	version, trace, parent, more := tp[:2], tp[3:35], tp[36:52], tp[55:]
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	if more != "" && (version == "00" || more[0] != '-' || strings.ContainsFunc(more, unprintable)) {
		return false
	}
	return version != "ff" && strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}
