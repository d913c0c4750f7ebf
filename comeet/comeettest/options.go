package comeettest

import (
	"fmt"
	"strings"
	"time"
)

// What New serves when no Account is given.
const (
	// DefaultAccount is the name of the account.
	DefaultAccount = "default"
	// DefaultAPIKey is its api-key, the iss of its tokens.
	DefaultAPIKey = "comeettest-api-key"
	// DefaultSecret is the partner secret of every Server without WithSecret.
	DefaultSecret = "comeettest-partner-secret-of-32-bytes-or-more"
	// DefaultPositionUID is the one open position of an account that lists none.
	DefaultPositionUID = "87.405"
	// InMemoryHost is the host of the URL to use with Transport.
	InMemoryHost = "https://api.comeet.test"
)

// Account is one customer company.
type Account struct {
	// Name by which Server's methods know the account; required.
	Name string
	// APIKey is the iss of its tokens. Defaults to "api-key-of-" and Name.
	APIKey string
	// Company is company_name of its positions. Defaults to Name.
	Company string
	// Positions it shares. Defaults to one open position with DefaultPositionUID; an empty, non-nil
	// slice means none.
	Positions []Position
	// Denied permissions. Defaults to none: everything is granted.
	Denied []Permission
}

type config struct {
	secret   string
	accounts []Account
	basePath string
	tls      bool
	offset   time.Duration
	switches Switches
	requests int
	window   time.Duration
	record   int
	bodies   bool
	history  bool
	latency  func() (there, back time.Duration)
}

// Option configures New.
type Option func(*config) error

// WithAccount adds a company. The first one replaces the default account.
func WithAccount(a Account) Option {
	return func(c *config) error {
		if a.Name == "" {
			return fmt.Errorf("account without a name")
		}
		c.accounts = append(c.accounts, a)
		return nil
	}
}

// WithSecret sets the partner secret that signs every account's tokens. Defaults to DefaultSecret.
func WithSecret(secret string) Option {
	return func(c *config) error {
		if secret == "" {
			return fmt.Errorf("empty partner secret")
		}
		c.secret = secret
		return nil
	}
}

// WithBasePath serves the API under a path prefix such as "/comeet/eu"; anything outside is the
// marketing site's 404 and a violation. Defaults to the root.
func WithBasePath(path string) Option {
	return func(c *config) error {
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") {
			return fmt.Errorf("base path %q: must start with a slash and not end with one", path)
		}
		c.basePath = path
		return nil
	}
}

// WithTLS serves the socket door over TLS with a self-signed certificate, see Server.Certificate.
func WithTLS() Option { return func(c *config) error { c.tls = true; return nil } }

// WithClockOffset sets Comeet's clock this far ahead (or behind, if negative) of the local one.
func WithClockOffset(d time.Duration) Option {
	return func(c *config) error { c.offset = d; return nil }
}

// WithSwitches sets the behaviours that the specification leaves open.
func WithSwitches(sw Switches) Option {
	return func(c *config) error { c.switches = sw; return nil }
}

// WithRateLimit allows each api-key this many requests per window. Defaults to the documented 100
// per 60 s (Comeet API: error-responses).
func WithRateLimit(requests int, window time.Duration) Option {
	return func(c *config) error {
		if requests < 1 || window <= 0 {
			return fmt.Errorf("rate limit of %d per %v: both must be positive; use WithoutRateLimit for none", requests, window)
		}
		c.requests, c.window = requests, window
		return nil
	}
}

// WithoutRateLimit switches the rate limit off.
func WithoutRateLimit() Option { return func(c *config) error { c.requests = 0; return nil } }

// WithRecording keeps the newest n requests for Server.Requests; zero keeps none. Defaults to
// 10,000.
func WithRecording(n int) Option {
	return func(c *config) error {
		if n < 0 {
			return fmt.Errorf("recording of %d requests", n)
		}
		c.record = n
		return nil
	}
}

// WithBodies makes the recorded requests keep their bodies.
func WithBodies() Option { return func(c *config) error { c.bodies = true; return nil } }

// WithoutHistory forgets the earlier states of candidates: History then holds the present one only.
func WithoutHistory() Option { return func(c *config) error { c.history = false; return nil } }

// WithLatency makes every request travel: there before Comeet sees (and counts) it, back after
// Comeet answered. The function is called once per request, concurrently.
func WithLatency(f func() (there, back time.Duration)) Option {
	return func(c *config) error { c.latency = f; return nil }
}
