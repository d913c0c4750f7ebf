// Package comeettest is a fake Comeet: real handlers over state in memory, built from the public
// documentation alone.
//
// It has two doors. Server.URL listens on loopback for whole-program tests and the sandbox.
// Server.Transport is an http.RoundTripper that calls the same handlers in the caller's goroutine,
// without sockets: inside testing/synctest its delays are driven by the bubble's clock. (Make the
// Server inside the bubble that uses it.)
//
// It is strict: a request that the documentation does not allow is answered as Comeet would, and is
// recorded as a Violation, so that a test can assert that there was none. Where the documentation
// is silent, a field of Switches picks one of the plausible behaviours. Faults are scripted
// (Script, Control), lasting (Outage) or random (Chaos).
//
// Marks in the handlers' comments: [D] documented, [O] observed in real clients, [I] inference,
// UNKNOWN a switch.
//
// All methods may be called concurrently. No lock is held while anything waits. The Server starts
// no goroutine but the socket door's, and those of DropThenAct; Close ends and awaits them all.
package comeettest

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a fake Comeet. Make it with New, end it with Close.
type Server struct {
	config   config
	offset   atomic.Int64
	switches atomic.Pointer[Switches]
	uids     atomic.Uint64
	faults   faults
	record   record
	tokens   tokens

	done chan struct{} // closed by Close: ends what hangs
	late sync.WaitGroup

	mu       sync.Mutex // guards what follows; secret and accounts are read through atomics
	closed   bool
	http     *httptest.Server
	listener *pausableListener
	secret   atomic.Pointer[string]
	accounts atomic.Pointer[accountSet]
}

// accountSet is replaced, never changed.
type accountSet struct{ byName, byKey map[string]*account }

// New makes a fake Comeet. Without options it has DefaultAccount with one open position, every
// permission, the documented rate limit, and the local clock. It opens no socket before URL or
// Listen is called. It panics when an option contradicts itself, because that is a mistake in the
// test.
func New(opts ...Option) *Server {
	c := config{secret: DefaultSecret, requests: 100, window: time.Minute, record: 10_000, history: true}
	for _, opt := range opts {
		if err := opt(&c); err != nil {
			panic("comeettest: " + err.Error())
		}
	}
	if len(c.accounts) == 0 {
		c.accounts = []Account{{Name: DefaultAccount, APIKey: DefaultAPIKey}}
	}
	s := &Server{config: c, done: make(chan struct{})}
	s.offset.Store(int64(c.offset))
	s.switches.Store(&c.switches)
	s.secret.Store(&c.secret)
	s.record.init(c.record, c.bodies)
	s.accounts.Store(&accountSet{})
	for _, a := range c.accounts {
		if err := s.AddAccount(a); err != nil {
			panic("comeettest: " + err.Error())
		}
	}
	return s
}

// AddAccount adds a company to a running server. It fails when its name or api-key is taken, or a
// position uid repeats.
func (s *Server) AddAccount(a Account) error {
	a.APIKey = orDefault(a.APIKey, "api-key-of-"+a.Name)
	a.Company = orDefault(a.Company, a.Name)
	if a.Positions == nil {
		a.Positions = []Position{{UID: DefaultPositionUID, Name: "Backend Engineer", Department: "R&D"}}
	}
	acc := s.newAccount(a)
	for _, p := range a.Positions {
		if err := acc.addPosition(p, s.Now()); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.accounts.Load()
	if old.byName[a.Name] != nil || old.byKey[a.APIKey] != nil {
		return fmt.Errorf("account %q: its name or api-key is taken", a.Name)
	}
	set := old.clone()
	set.byName[a.Name], set.byKey[a.APIKey] = acc, acc
	s.accounts.Store(set)
	return nil
}

// RotateAPIKey gives an account another api-key; tokens of the old one are refused from now on.
func (s *Server) RotateAPIKey(account, apiKey string) {
	acc := s.account(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.accounts.Load().clone()
	for k, v := range set.byKey {
		if v == acc {
			delete(set.byKey, k)
		}
	}
	set.byKey[apiKey] = acc
	s.accounts.Store(set)
}

// RotateSecret replaces the partner secret; tokens signed with the old one are refused from now on.
func (s *Server) RotateSecret(secret string) { s.secret.Store(&secret) }

func (o *accountSet) clone() *accountSet {
	n := &accountSet{byName: map[string]*account{}, byKey: map[string]*account{}}
	maps.Copy(n.byName, o.byName)
	maps.Copy(n.byKey, o.byKey)
	return n
}

// account panics on an unknown name: a typing error in a test should not look like an empty
// account.
func (s *Server) account(name string) *account {
	if a := s.accounts.Load().byName[name]; a != nil {
		return a
	}
	panic(fmt.Sprintf("comeettest: no account %q", name))
}

// Now is Comeet's clock.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.offset.Load())).UTC() }

// SetClockOffset moves Comeet's clock to this distance from the local one.
func (s *Server) SetClockOffset(d time.Duration) { s.offset.Store(int64(d)) }

// Switch changes switches of a running server; it holds for requests that arrive afterwards.
func (s *Server) Switch(change func(*Switches)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sw := *s.switches.Load()
	change(&sw)
	s.switches.Store(&sw)
}

// InMemoryURL is the base URL to use with Transport. Transport answers for other hosts too, but for
// those to which the fake itself points and where a token must not go: they are a violation of the
// rule host.
func (s *Server) InMemoryURL() string { return InMemoryHost + s.config.basePath }

// URL is the base URL of the socket door. Its first call opens the door on a free loopback port,
// unless Listen did.
func (s *Server) URL() string {
	if err := s.Listen("127.0.0.1:0"); err != nil {
		panic("comeettest: " + err.Error())
	}
	return s.http.URL + s.config.basePath
}

// Listen opens the socket door on a TCP address such as "127.0.0.1:8090". It does nothing when the
// door is open, and fails when the address can't be listened on or the server is closed.
func (s *Server) Listen(addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if s.http != nil {
		return nil
	}
	l, err := listenPausable(addr)
	if err != nil {
		return err
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(s.serveHTTP), ConnState: l.connState,
		ErrorLog: log.New(io.Discard, "", 0)}} // cut connections are on purpose
	if s.config.tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	s.http, s.listener = srv, l
	if s.faults.refusing() {
		l.pause()
	}
	return nil
}

// Certificate is the self-signed certificate of the socket door. It is nil without WithTLS and
// before the door is open.
func (s *Server) Certificate() *x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return nil
	}
	return s.http.Certificate()
}

// Close ends everything that hangs, closes the socket door and waits for the requests in flight. It
// may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	already, srv := s.closed, s.http
	s.closed = true
	s.mu.Unlock()
	if !already {
		close(s.done)
	}
	if srv != nil {
		srv.Close()
	}
	s.late.Wait()
}

// pause waits for d; it says false when the caller left or the server closed first.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}

// refuseSockets makes the socket door refuse connections for real, or accept them again.
func (s *Server) refuseSockets(refuse bool) {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	switch {
	case l == nil:
	case refuse:
		l.pause()
	default:
		l.resume()
	}
}
