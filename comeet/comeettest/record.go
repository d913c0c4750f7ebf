package comeettest

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Request is what the server saw and did.
type Request struct {
	// ID counts requests from 1, in order of arrival.
	ID uint64
	// Route is empty for paths that the API does not have.
	Route Route
	// Base is the scheme and host by which the request came.
	Base string
	// Method and Path as sent, the base path included; Query decoded.
	Method, Path string
	Query        url.Values
	// Account is the name of the company that the token named; empty if it named none.
	Account string
	// Traceparent is the header of that name.
	Traceparent string
	// Status answered; 0 while in flight, and when no answer was given.
	Status int
	// Acted: the request reached its handler, whatever answer was given afterwards.
	Acted bool
	// CandidateUID that a POST created; empty otherwise.
	CandidateUID string
	// Fault that was injected; empty if none.
	Fault string
	// Throttled: refused by the rate limit.
	Throttled bool
	// Arrived and Answered are local times: after the travel there, before the travel back.
	// Answered is zero while in flight.
	Arrived, Answered time.Time
	// Body is kept only WithBodies.
	Body []byte
}

// Violation is something that a correct client does not send.
type Violation struct {
	// Rule is one of: host, path, method, query, datetime, header, content_type, json, body_field,
	// base64, token, not_imitated.
	Rule string
	// Request that broke it, without what happened afterwards.
	Request Request
	// Detail names what was wrong; never a token.
	Detail string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s %s: %s", v.Rule, v.Request.Method, v.Request.Path, v.Detail)
}

// Counts of everything since the start, kept also when recording is off.
type Counts struct {
	// Requests that arrived, Ended with or without an answer, Acted: reached their handler, Faults
	// injected, Throttled by the rate limit.
	Requests, Ended, Acted, Faults, Throttled int64
	// Created candidates through POST, Conflicts answered 409.
	Created, Conflicts int64
	// ByRoute counts the requests that arrived.
	ByRoute map[Route]int64
}

const maxViolations = 1000

type record struct {
	bodies                                                       bool
	next                                                         atomic.Uint64
	requests, done, acted, faulted, throttled, created, conflict atomic.Int64
	byRoute                                                      map[Route]*atomic.Int64 // keys never change

	mu         sync.Mutex // guards what follows
	ring       []*Request
	head       int
	size       int
	violations []Violation
	waiting    int
	ended      chan struct{} // closed and replaced when a request ends while somebody waits
}

func (r *record) init(size int, bodies bool) {
	r.size, r.bodies = size, bodies
	r.byRoute = map[Route]*atomic.Int64{}
	for _, route := range append(Routes(), "") {
		r.byRoute[route] = new(atomic.Int64)
	}
}

func (r *record) begin(req *Request) {
	req.ID = r.next.Add(1)
	r.requests.Add(1)
	r.byRoute[req.Route].Add(1)
	if r.size == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < r.size {
		r.ring = append(r.ring, req)
		return
	}
	r.ring[r.head] = req
	r.head = (r.head + 1) % r.size
}

// note changes a request under the lock under which Requests copies it.
func (r *record) note(req *Request, f func(*Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(req)
}

func (r *record) end(req *Request, status int) {
	now := time.Now()
	r.note(req, func(q *Request) { q.Status, q.Answered = status, now })
	r.done.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting > 0 {
		close(r.ended)
		r.ended = make(chan struct{})
	}
}

// Await waits until the counts satisfy a condition, which is looked at now and whenever a request
// ends. The error is the context's.
func (s *Server) Await(ctx context.Context, satisfied func(Counts) bool) error {
	r := &s.record
	r.mu.Lock()
	if r.waiting++; r.ended == nil {
		r.ended = make(chan struct{})
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.waiting--
		r.mu.Unlock()
	}()
	for {
		r.mu.Lock()
		ended := r.ended
		r.mu.Unlock()
		if satisfied(s.Counts()) {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *record) violate(req *Request, rule, detail string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.violations) < maxViolations {
		r.violations = append(r.violations, Violation{Rule: rule, Request: *req, Detail: fmt.Sprintf(detail, args...)})
	}
}

// Requests are the newest requests, oldest first, those in flight included.
func (s *Server) Requests() []Request {
	r := &s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Request, 0, len(r.ring))
	for i := range r.ring {
		q := *r.ring[(r.head+i)%len(r.ring)]
		q.Query = maps.Clone(q.Query)
		out = append(out, q)
	}
	return out
}

// ForgetRequests drops the recorded requests and violations; Counts go on.
func (s *Server) ForgetRequests() {
	r := &s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring, r.head, r.violations = nil, 0, nil
}

// Violations are the first 1,000, oldest first.
func (s *Server) Violations() []Violation {
	r := &s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.violations)
}

// Counts of everything since the start.
func (s *Server) Counts() Counts {
	r := &s.record
	c := Counts{
		Requests: r.requests.Load(), Ended: r.done.Load(), Acted: r.acted.Load(), Faults: r.faulted.Load(), Throttled: r.throttled.Load(),
		Created: r.created.Load(), Conflicts: r.conflict.Load(), ByRoute: map[Route]int64{},
	}
	for route, n := range r.byRoute {
		if v := n.Load(); v > 0 {
			c.ByRoute[route] = v
		}
	}
	return c
}

// Throttled counts the requests of an account that the rate limit refused: the 429s that the client
// provoked.
func (s *Server) Throttled(account string) int64 { return s.account(account).limit.refused.Load() }
