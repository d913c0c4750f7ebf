package comeettest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Fault is something that goes wrong with one request. Make it with the functions below. A fault
// does not act (the request changes nothing at Comeet) unless its name says so.
type Fault struct {
	name   string
	fate   fate
	act    bool          // run the handler before answering
	pass   bool          // answer what the handler answered
	before time.Duration // before acting
	after  time.Duration // after acting
	late   time.Duration // act this long after the connection was dropped
	status int
	header http.Header
	body   []byte
	chunk  time.Duration
	cut    bool
}

// String names the fault as in Request.Fault.
func (f Fault) String() string { return f.name }

type fate uint8

const (
	fateAnswer fate = iota
	fateRefuse
	fateDrop
	fateHang
)

// Refuse fails like a refused connection, before anything is read: a *net.OpError with Op "dial" at
// Transport. Scripted at the socket door, where the connection exists already, it is reset
// unanswered; an Outage(Refuse()) of everything closes the port for real.
func Refuse() Fault { return Fault{name: "refuse", fate: fateRefuse} }

// Drop cuts the connection after the request was read and before it acts. (net/http's own Transport
// may then resend a GET by itself on the socket door.)
func Drop() Fault { return Fault{name: "drop", fate: fateDrop} }

// DropAfter acts and then cuts the connection instead of answering.
func DropAfter() Fault { return ActThen(Drop()) }

// DropThenAct cuts the connection at once; the request acts d later, when the client has long been
// told that it failed. Close abandons what did not act by then.
func DropThenAct(d time.Duration) Fault {
	return Fault{name: "drop_then_act", fate: fateDrop, late: d}
}

// Hang answers nothing until the client leaves or the server closes.
func Hang() Fault { return Fault{name: "hang", fate: fateHang} }

// Delay serves the request normally, d late. A client that leaves before is not served.
func Delay(d time.Duration) Fault {
	return Fault{name: "delay", act: true, pass: true, before: d}
}

// DelayAnswer acts at once and answers d late.
func DelayAnswer(d time.Duration) Fault {
	return Fault{name: "delay_answer", act: true, pass: true, after: d}
}

// Answer gives any status with any JSON body.
func Answer(status int, body string) Fault {
	return Fault{name: "answer_" + strconv.Itoa(status), status: status, body: []byte(body), header: http.Header{"Content-Type": {"application/json"}}}
}

// APIError answers with an error body of the documented form (Comeet API: error-responses).
func APIError(status int, code string) Fault {
	r := apiError(status, code, "Injected: "+code)
	return Fault{name: "api_" + strconv.Itoa(status) + "_" + code, status: status, body: r.body, header: r.header}
}

// HTMLPage answers with a gateway's page: 502, 503, 504, 403, 404, or 200.
func HTMLPage(status int) Fault {
	r := htmlPage(status, fmt.Sprintf("%d %s", status, http.StatusText(status)))
	return Fault{name: "html_" + strconv.Itoa(status), status: status, body: r.body, header: r.header}
}

// Empty answers 200 with no body.
func Empty() Fault { return Fault{name: "empty", status: http.StatusOK, header: http.Header{}} }

// Redirect answers 302 to a splash page on another host [O].
func Redirect() Fault {
	return Fault{name: "redirect", status: http.StatusFound, body: []byte("<html><body>Moved</body></html>"),
		header: http.Header{"Location": {"https://www.comeet.test/splash"}, "Content-Type": {"text/html; charset=utf-8"}}}
}

// Throttle answers 429 too_many_requests with Retry-After in whole seconds; zero leaves the header
// out.
func Throttle(retryAfter time.Duration) Fault {
	r := throttled(retryAfter, false)
	return Fault{name: "throttle", status: r.status, body: r.body, header: r.header}
}

// ThrottleHTML is Throttle as a gateway's page.
func ThrottleHTML(retryAfter time.Duration) Fault {
	r := throttled(retryAfter, true)
	return Fault{name: "throttle_html", status: r.status, body: r.body, header: r.header}
}

// WrongJSON answers 200 with valid JSON of another shape.
func WrongJSON() Fault {
	f := Answer(http.StatusOK, `["unexpected",{"uid":17}]`)
	f.name = "wrong_json"
	return f
}

// Truncated acts and answers, but the connection breaks in the middle of the body.
func Truncated() Fault { return Fault{name: "truncated", act: true, pass: true, cut: true} }

// SlowBody acts and answers, in about ten pieces with this long before each.
func SlowBody(perPiece time.Duration) Fault {
	return Fault{name: "slow_body", act: true, pass: true, chunk: perPiece}
}

// ActThen acts and then fails as f does: ActThen(HTMLPage(502)), ActThen(Redirect()),
// ActThen(Hang()), ActThen(Empty()).
func ActThen(f Fault) Fault {
	f.name, f.act = "act_then_"+f.name, true
	return f
}

// After lets a fault happen d later.
func After(d time.Duration, f Fault) Fault {
	f.before += d
	return f
}
