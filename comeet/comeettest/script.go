package comeettest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// ControlFunc looks at a request before it is served. With true the fault happens to it and the
// function is done; with false the request goes on and the function sees the next one. It may call
// the server and may wait.
type ControlFunc func(Request) (Fault, bool)

// Scope says which requests an outage hits; an empty field means all.
type Scope struct {
	Account string
	Route   Route
}

func (s Scope) covers(account string, route Route) bool {
	return (s.Account == "" || s.Account == account) && (s.Route == "" || s.Route == route)
}

// Weighted is a fault that happens to a share of the requests: Probability from 0 to 1. Route empty
// means all.
type Weighted struct {
	Probability float64
	Route       Route
	Fault       Fault
}

type outage struct {
	scope Scope
	fault Fault
}

type control struct {
	route Route
	f     ControlFunc
	gone  bool
}

type faults struct {
	armed atomic.Bool // anything below is set: lets the happy path skip the lock

	mu       sync.Mutex // guards what follows
	controls []*control
	scripts  map[Route][]Fault
	outages  []outage
	rand     *rand.Rand
	chaos    []Weighted
}

func (f *faults) rearm() {
	f.armed.Store(len(f.controls) > 0 || len(f.scripts) > 0 || len(f.outages) > 0 || len(f.chaos) > 0)
}

// Script queues faults for the next requests of a route, one each, first in first out. The empty
// Route takes any request. Outages and controls come first, then the script of the route, then that
// of the empty Route, then Chaos.
func (s *Server) Script(route Route, queue ...Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.scripts == nil {
		s.faults.scripts = map[Route][]Fault{}
	}
	s.faults.scripts[route] = append(s.faults.scripts[route], queue...)
	s.faults.rearm()
}

// Scripted counts the faults that wait in the queue of a route.
func (s *Server) Scripted(route Route) int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return len(s.faults.scripts[route])
}

// Control registers a function for a route (empty: all), see ControlFunc. The function returned
// removes it.
func (s *Server) Control(route Route, f ControlFunc) (remove func()) {
	c := &control{route: route, f: f}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.controls = append(s.faults.controls, c)
	s.faults.rearm()
	return func() { s.faults.drop(c) }
}

// drop removes a control; it says false if it was gone already.
func (f *faults) drop(c *control) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.gone {
		return false
	}
	c.gone = true
	kept := make([]*control, 0, len(f.controls))
	for _, o := range f.controls {
		if o != c {
			kept = append(kept, o)
		}
	}
	f.controls = kept
	f.rearm()
	return true
}

// Outage makes a fault happen to every request until Recover.
func (s *Server) Outage(f Fault) { s.OutageOf(Scope{}, f) }

// OutageOf makes a fault happen to every request of a scope until Recover or RecoverOf. The latest
// outage that covers a request wins.
func (s *Server) OutageOf(scope Scope, f Fault) {
	s.faults.change(func() { s.faults.outages = append(s.faults.outages, outage{scope, f}) })
	s.refuseSockets(s.faults.refusing())
}

// Recover ends all outages. Scripts, controls and chaos stay.
func (s *Server) Recover() {
	s.faults.change(func() { s.faults.outages = nil })
	s.refuseSockets(false)
}

// RecoverOf ends the outages of exactly this scope.
func (s *Server) RecoverOf(scope Scope) {
	s.faults.change(func() {
		var kept []outage
		for _, o := range s.faults.outages {
			if o.scope != scope {
				kept = append(kept, o)
			}
		}
		s.faults.outages = kept
	})
	s.refuseSockets(s.faults.refusing())
}

func (f *faults) change(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
	f.rearm()
}

// Chaos makes faults happen at random from now on; no weights end it. The generator is used under a
// lock, so a seed and an order of requests give the same faults. The probabilities of one request
// must not add up to more than 1.
func (s *Server) Chaos(r *rand.Rand, weights ...Weighted) {
	s.faults.change(func() { s.faults.rand, s.faults.chaos = r, weights })
}

// refusing: everything is refused, so the port should be closed.
func (f *faults) refusing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.outages)
	return n > 0 && f.outages[n-1].scope == Scope{} && f.outages[n-1].fault.fate == fateRefuse
}

// pick decides what happens to a request. requeue puts a scripted fault back that did not happen
// after all.
func (f *faults) pick(req Request) (fault Fault, ok bool, requeue func()) {
	requeue = func() {}
	if !f.armed.Load() {
		return Fault{}, false, requeue
	}
	if fault, ok = f.outage(req); ok {
		return fault, true, requeue
	}
	f.mu.Lock()
	controls := f.controls // replaced on change, never edited but by append under the lock
	controls = slices.Clip(controls)
	f.mu.Unlock()
	for _, c := range controls {
		if c.route != "" && c.route != req.Route {
			continue
		}
		if fault, ok = c.f(req); ok && f.drop(c) {
			return fault, true, requeue
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, route := range []Route{req.Route, ""} {
		if queue := f.scripts[route]; len(queue) > 0 {
			fault := queue[0]
			if f.scripts[route] = queue[1:]; len(queue) == 1 {
				delete(f.scripts, route)
			}
			f.rearm()
			return fault, true, func() {
				f.change(func() { f.scripts[route] = append([]Fault{fault}, f.scripts[route]...) })
			}
		}
	}
	return f.draw(req, requeue)
}

func (f *faults) outage(req Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range slices.Backward(f.outages) {
		if v.scope.covers(req.Account, req.Route) {
			return v.fault, true
		}
	}
	return Fault{}, false
}

func (f *faults) draw(req Request, requeue func()) (Fault, bool, func()) {
	if len(f.chaos) == 0 {
		return Fault{}, false, requeue
	}
	x := f.rand.Float64()
	for _, w := range f.chaos {
		if w.Route != "" && w.Route != req.Route {
			continue
		}
		if x < w.Probability {
			return w.Fault, true, requeue
		}
		x -= w.Probability
	}
	return Fault{}, false, requeue
}
