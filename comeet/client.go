package comeet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultBaseURL is the public API.
	DefaultBaseURL = "https://api.comeet.co"
	// DefaultTimeout bounds a whole request, from the first byte of its sending to the last of its
	// answer.
	DefaultTimeout = 30 * time.Second
	// ProbeTimeout bounds [Client.Probe].
	ProbeTimeout = 2 * time.Second

	userAgent = "comeet-connector"
)

// Client calls the Comeet API for one account. It is safe for concurrent use, starts no goroutine
// and needs no closing. Make it with [NewClient]; the zero Client does not work.
type Client struct {
	base      *url.URL
	transport http.RoundTripper
	// native says that transport is an *http.Transport itself, whose hooks and resends are known;
	// see flight.
	native bool
	// rewinds says that net/http may ask for a POST's body again: it will, only after it wrote
	// nothing.
	rewinds   bool
	timeout   time.Duration
	plainHTTP bool
	gate      *Gate
	observe   func(Observation)
	clock     clock
	tokens    *tokens
}

// Option is a setting of NewClient.
type Option func(*Client) error

// WithBaseURL sets where the API is; a path in it is kept as a prefix of every call's path.
// Defaults to [DefaultBaseURL]. NewClient refuses a URL with a user, query or fragment, and plain
// http to anything but a loopback host (see [WithPlainHTTP]).
func WithBaseURL(base string) Option {
	return func(c *Client) error {
		// url.Parse quotes the URL, which may hold a password.
		u, err := url.Parse(base)
		switch {
		case err != nil:
			return errors.New("WithBaseURL: not a URL")
		case u.Scheme != "https" && u.Scheme != "http", u.Host == "" || u.Hostname() == "":
			return errors.New("WithBaseURL: must be https://host, with an optional port and path")
		case u.User != nil, u.RawQuery != "" || u.ForceQuery, u.Fragment != "":
			return errors.New("WithBaseURL: must not have a user, query or fragment")
		}
		u.Path = strings.TrimRight(u.Path, "/")
		u.RawPath = strings.TrimRight(u.RawPath, "/")
		c.base = u
		return nil
	}
}

// WithPlainHTTP allows a base URL of scheme http to any host. The token then travels in clear.
func WithPlainHTTP() Option {
	return func(c *Client) error {
		c.plainHTTP = true
		return nil
	}
}

// WithTransport replaces the HTTP transport. Defaults to a [NewTransport] of the client's own;
// clients that are given the same one share its connections.
//
// Whether a failed request was sent is known of an *http.Transport, also inside another
// RoundTripper that passes the request's context on. Of any other only errors that prove it (dial,
// DNS, certificates) count as "not sent"; everything else after a POST is InDoubt. A transport must
// not send a POST twice by itself.
func WithTransport(rt http.RoundTripper) Option {
	return func(c *Client) error {
		if rt == nil {
			return errors.New("WithTransport: nil")
		}
		c.transport = rt
		return nil
	}
}

// WithTimeout bounds each call once it has its permit: token, request, answer, and the one repeat
// with a new token. Waiting for a permit is bounded by the caller's context alone. Defaults to
// [DefaultTimeout].
func WithTimeout(d time.Duration) Option {
	return func(c *Client) error {
		if d <= 0 {
			return fmt.Errorf("WithTimeout: %s is not positive", d)
		}
		c.timeout = d
		return nil
	}
}

// WithGate sets the gate that admits requests. Accounts never share one; clients of one account
// must. Defaults to a new gate with [DefaultLimit].
func WithGate(g *Gate) Option {
	return func(c *Client) error {
		if g == nil {
			return errors.New("WithGate: nil")
		}
		c.gate = g
		return nil
	}
}

// Observation is one request, as a metric wants it: no person's data, no credentials.
type Observation struct {
	// Op is the call in words, as in [Error.Op].
	Op string
	// Kind is what its answer meant; zero is success.
	Kind Kind
	// Status is the HTTP status; 0 means that there was no answer.
	Status int
	// Took is from just before sending until the answer was read or the request had failed.
	Took time.Duration
}

// WithObserver has each request told after its end, the one repeat with a new token included. The
// function is called by the goroutine of the call and must not block. Defaults to nobody.
func WithObserver(observe func(Observation)) Option {
	return func(c *Client) error {
		if observe == nil {
			return errors.New("WithObserver: nil")
		}
		c.observe = observe
		return nil
	}
}

// NewClient returns a client of the account that creds are of. It reads no credentials and sends
// nothing yet.
func NewClient(creds Credentials, opts ...Option) (*Client, error) {
	if creds == nil {
		return nil, errors.New("comeet: NewClient: credentials are nil")
	}
	c := &Client{timeout: DefaultTimeout, observe: func(Observation) {}}
	if err := WithBaseURL(DefaultBaseURL)(c); err != nil {
		return nil, fmt.Errorf("comeet: %w", err)
	}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, fmt.Errorf("comeet: %w", err)
		}
	}
	if c.base.Scheme == "http" && !c.plainHTTP && !IsLoopback(c.base.Hostname()) {
		return nil, errors.New("comeet: WithBaseURL: plain http would send the token in clear; use https or WithPlainHTTP")
	}
	if c.transport == nil {
		c.transport = NewTransport()
	}
	if t, ok := c.transport.(*http.Transport); ok {
		c.native = true
		c.rewinds = t.Protocols == nil || !t.Protocols.UnencryptedHTTP2()
	}
	if c.gate == nil {
		c.gate = NewGate(GateConfig{Limit: DefaultLimit})
	}
	c.tokens = newTokens(creds, &c.clock)
	return c, nil
}

// NewTransport returns the transport that clients have by default: the proxy of the environment,
// time limits for making a connection, connections kept for 256 concurrent requests. Further
// requests get connections of their own, so one client can't hold up another.
//
// A request that the client gave up, or that it could not, since the process was killed or frozen,
// does not reach Comeet afterwards; see [MaxLateness]. A transport of another make has to see to
// that by itself.
//
// It speaks HTTP/1.1 only: there net/http proves that nothing was written before it sends a request
// again. HTTP/2 also resends after some resets from the server, and a budget of 100 requests a
// minute has no use for its streams.
func NewTransport() *http.Transport {
	h1 := new(http.Protocols)
	h1.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&dialer{net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}}).dial,
		TLSHandshakeTimeout:    10 * time.Second,
		Protocols:              h1,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      false,
	}
}

// IsLoopback reports whether host is this machine by name or address: then plain http leaves
// nothing readable on a network.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Gate returns the gate that admits this client's requests.
func (c *Client) Gate() *Gate { return c.gate }

// Now estimates the present time on Comeet's clock, learned from the Date of its latest answers:
// never late, and early by up to a second plus half a round trip. Until an answer told, it is the
// local time; see [Client.ClockOffset].
func (c *Client) Now() time.Time { return c.clock.now() }

// ClockOffset is Comeet's clock minus the local one, and whether an answer told it yet.
func (c *Client) ClockOffset() (offset time.Duration, known bool) {
	return time.Duration(c.clock.offset.Load()), c.clock.known.Load()
}

// String tells the API's host, and nothing of the credentials.
func (c *Client) String() string { return "comeet client of " + c.base.Host }

// GoString is String, so that %#v shows no field either.
func (c *Client) GoString() string { return c.String() }

// Probe asks for one position with permit p, within [ProbeTimeout]: the cheapest call that shows
// whether Comeet answers. Give it to [Gate.Run].
//
// Comeet API: GET /positions, https://developers.comeet.com/reference/list-all-positions
func (c *Client) Probe(ctx context.Context, p *Permit) error {
	_, _, err := c.ListPositions(ctx, PositionQuery{Limit: 1}, WithPermit(p), WithPriority(Probe), WithTimeoutOf(ProbeTimeout))
	return err
}
