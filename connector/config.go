package connector

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// Config is everything that a connector is told. The zero value of every optional field means its
// default.
type Config struct {
	// NATSURL is the bus: one server or several separated by commas. Defaults to
	// nats://127.0.0.1:4222.
	NATSURL string
	// NATSCreds is the path of a credentials file. Empty means none.
	NATSCreds string
	// NATSServer joins a server in the same process instead of NATSURL.
	NATSServer bus.InProcess
	// Replicas of the assets that are created. 0 means three on a clustered bus, else one.
	Replicas int
	// EventsMaxBytes bounds the events stream when it is created, in bytes. Defaults to 4 GiB, room
	// for about a million operations. New claims stop at 95 % of what the stream has.
	EventsMaxBytes int64
	// RePublish also sends every stored event to core NATS under this prefix. Empty means off.
	RePublish string

	// Accounts are the Comeet accounts to serve, at least one, with different names.
	Accounts []Account
	// BaseURL is the Comeet API. Defaults to https://api.comeet.co. Plain http is refused except
	// for loopback.
	BaseURL string
	// PlainHTTP allows a plain-http BaseURL that is not loopback: tokens and personal data then
	// cross the network readably.
	PlainHTTP bool
	// Transport replaces the HTTP transport to Comeet; tests and the sandbox use it. nil means
	// comeet.NewTransport, of which all accounts share the connections.
	Transport http.RoundTripper

	// PollInterval is the time between two looks for status changes. Defaults to 5 minutes, at
	// least 50 ms.
	PollInterval time.Duration
	// PollOverlap is how far each look reaches back beyond the start of the last complete one. What
	// was seen longer ago than half of it is looked at anew before it is published, so it must be
	// well above what Comeet takes to answer. Defaults to 2 minutes.
	PollOverlap time.Duration
	// SweepInterval is within how long the slow sweep re-reads everything once, budget permitting.
	// Defaults to 7 days.
	SweepInterval time.Duration
	// PositionsInterval is the time between two readings of an account's positions. Defaults to 5
	// minutes.
	PositionsInterval time.Duration
	// RateLimit is the request budget of each account. The zero value means the documented 100 per
	// 60 s; for no limit set NoRateLimit.
	RateLimit comeet.Limit
	// NoRateLimit switches the budget off.
	NoRateLimit bool
	// Workers is how many events of one account are in hand at once. Defaults to 16; with more than
	// 256 accounts to their share of 4096, but at least 4: all may have a backlog at once, and each
	// event in hand takes memory.
	Workers int
	// RequestTimeout bounds one request to Comeet. Defaults to 30 s. A claim is left alone for 3 ×
	// RequestTimeout + ProxyHold + SettleDelay, so a crashed replica's events come back after that
	// time.
	RequestTimeout time.Duration
	// ProxyHold is how long a forward proxy on the way to Comeet may still deliver a request after
	// the connector has given it up. Defaults to 2 minutes if the environment names a proxy for an
	// account's BaseURL, else to none; below zero means none. (Linux goes on for about 100 s with
	// what a closed connection holds.)
	ProxyHold time.Duration
	// SettleDelay is how long an attempt of unknown fate rests before it is looked up. Defaults to
	// 5 s.
	SettleDelay time.Duration
	// DeniedRetry is how long a capability that Comeet denies rests before one request tries it
	// again; it doubles with each try, up to 15 times as much. Defaults to 1 minute.
	DeniedRetry time.Duration
	// DrainTimeout is how long work in hand may go on after the signal to stop. Defaults to
	// RequestTimeout + SettleDelay.
	DrainTimeout time.Duration
	// MemberTTL is how long a replica that fell silent is still taken for alive. Defaults to 10 s,
	// at least 1 s.
	MemberTTL time.Duration
	// PrivateFileURLs allows files to be read from private and loopback addresses.
	PrivateFileURLs bool

	// AdminAddr is where health and metrics are served. Defaults to 127.0.0.1:8080; "off" serves
	// nothing.
	AdminAddr string
	// Replica names this process among its like, for claims and logs. Defaults to the host's name
	// and a random part.
	Replica string
	// EventSource is the CloudEvents `source` of what the connector publishes. Defaults to
	// ledger.DefaultSource, /comeet-connector.
	EventSource string
	// Log receives everything that the connector has to say. The zero value is silent.
	Log zerolog.Logger
}

// Account is one customer company at Comeet.
type Account struct {
	// Name routes events, `^[a-z0-9][a-z0-9_-]{0,63}$`. "default" also gets events without an
	// account.
	Name string
	// Credentials yields the company's API key and the partner's secret, anew for each token.
	Credentials comeet.Credentials
	// BaseURL, RateLimit, PollInterval and Workers override the Config's where they are set.
	BaseURL      string
	RateLimit    comeet.Limit
	PollInterval time.Duration
	Workers      int
	// FallbackPosition is the uid of the position, such as a talent pool, for candidates whose own
	// is closed or missing. Empty means that these fail.
	FallbackPosition string
}

// WithDefaults returns a copy in which every optional field has its value.
func (c Config) WithDefaults() Config {
	set(&c.NATSURL, "nats://127.0.0.1:4222")
	set(&c.EventsMaxBytes, 4<<30)
	set(&c.BaseURL, comeet.DefaultBaseURL)
	set(&c.PollInterval, 5*time.Minute)
	set(&c.PollOverlap, 2*time.Minute)
	set(&c.SweepInterval, 7*24*time.Hour)
	set(&c.PositionsInterval, 5*time.Minute)
	set(&c.RateLimit, comeet.DefaultLimit)
	if c.NoRateLimit {
		c.RateLimit = comeet.Limit{}
	}
	set(&c.Workers, min(16, max(4, 4096/max(1, len(c.Accounts)))))
	set(&c.RequestTimeout, 30*time.Second)
	set(&c.SettleDelay, 5*time.Second)
	if c.ProxyHold == 0 && c.Transport == nil && c.isProxied() {
		c.ProxyHold = 2 * time.Minute
	}
	set(&c.DeniedRetry, time.Minute)
	if c.Transport == nil {
		c.Transport = comeet.NewTransport()
	}
	set(&c.DrainTimeout, c.RequestTimeout+c.SettleDelay)
	set(&c.MemberTTL, 10*time.Second)
	set(&c.AdminAddr, "127.0.0.1:8080")
	set(&c.EventSource, ledger.DefaultSource)
	if c.Replica == "" {
		c.Replica = replicaName()
	}
	accounts := make([]Account, len(c.Accounts))
	for i, a := range c.Accounts {
		set(&a.BaseURL, c.BaseURL)
		set(&a.RateLimit, c.RateLimit)
		set(&a.PollInterval, c.PollInterval)
		set(&a.Workers, c.Workers)
		accounts[i] = a
	}
	c.Accounts = accounts
	return c
}

// Validate reports everything that is wrong with a configuration that has its defaults, naming each
// field and rule.
func (c Config) Validate() error {
	var wrong []error
	refuse := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if len(c.Accounts) == 0 {
		refuse("no Comeet account: set COMEET_API_KEY and COMEET_API_SECRET, or accounts in the configuration file")
	}
	seen := map[string]bool{}
	for _, a := range c.Accounts {
		if err := events.CheckAccount(a.Name); err != nil {
			refuse("%w", err)
		}
		if seen[a.Name] {
			refuse("account %q is configured twice", a.Name)
		}
		seen[a.Name] = true
		if a.Credentials == nil {
			refuse("account %q has no API key or secret", a.Name)
		}
		if u, err := url.Parse(a.BaseURL); err == nil && u.Scheme == "http" && !c.PlainHTTP && !comeet.IsLoopback(u.Hostname()) {
			refuse("account %q: COMEET_BASE_URL is plain http: tokens and personal data would cross the network readably; use https, or set COMEET_PLAIN_HTTP if you must", a.Name)
		}
		if off := a.RateLimit == (comeet.Limit{}) && c.NoRateLimit; !off && a.RateLimit.Requests < 10 {
			refuse("account %q: RATE_LIMIT must allow at least 10 requests, or be off", a.Name)
		}
		if a.RateLimit.Requests > 0 && a.RateLimit.Window < time.Second {
			refuse("account %q: RATE_LIMIT's window must be at least 1s", a.Name)
		}
		if a.PollInterval < 50*time.Millisecond {
			refuse("account %q: POLL_INTERVAL must be at least 50ms", a.Name)
		}
		if a.Workers < 1 || a.Workers > 1024 {
			refuse("account %q: WORKERS must be between 1 and 1024", a.Name)
		}
	}
	for _, r := range []struct {
		broken bool
		rule   string
	}{
		{c.RequestTimeout < 100*time.Millisecond || c.RequestTimeout > 10*time.Minute, "REQUEST_TIMEOUT must be between 100ms and 10m"},
		{c.SettleDelay < 0 || c.SettleDelay > time.Hour, "SETTLE_DELAY must be between 0 and 1h"},
		{c.ProxyHold > time.Hour, "COMEET_PROXY_HOLD must be at most 1h"},
		{c.MemberTTL < time.Second, "MEMBER_TTL must be at least 1s"},
		{c.PollOverlap < 0, "POLL_OVERLAP must not be negative"},
		{c.SweepInterval < time.Second, "SWEEP_INTERVAL must be at least 1s"},
		{c.PositionsInterval < time.Second, "POSITIONS_INTERVAL must be at least 1s"},
		{c.DeniedRetry < 0, "DENIED_RETRY must not be negative"},
		{c.DrainTimeout < 0, "DRAIN_TIMEOUT must not be negative"},
		{c.EventsMaxBytes < 1<<20, "EVENTS_MAX_BYTES must be at least 1 MiB"},
		{c.Replicas < 0 || c.Replicas > 5, "NATS_REPLICAS must be between 0 and 5"},
	} {
		if r.broken {
			wrong = append(wrong, errors.New(r.rule))
		}
	}
	check := &events.Claimed{}
	if _, _, err := (events.Event{Event: events.New(c.EventSource, "check", check), Data: check}).Encode(); err != nil {
		refuse("EVENT_SOURCE must be a CloudEvents source: %w", err)
	}
	return errors.Join(wrong...)
}

// lease is how long a claim is left alone. After it nothing that was sent under the claim can still
// reach Comeet, whatever became of its worker: the worker begins to send within RequestTimeout,
// ends within another one, and its kernel has given up the rest MaxLateness later.
func (c Config) lease() time.Duration {
	return 2*c.RequestTimeout + comeet.MaxLateness(c.RequestTimeout) + c.settleDelay()
}

// settleDelay is how long an attempt rests that its worker has given up: for what is still under
// way in the network, or held back by a proxy.
func (c Config) settleDelay() time.Duration { return c.SettleDelay + max(c.ProxyHold, 0) }

// isProxied reports whether the environment names a proxy for any account's requests.
func (c Config) isProxied() bool {
	for _, a := range append([]Account{{BaseURL: c.BaseURL}}, c.Accounts...) {
		u, err := url.Parse(a.BaseURL)
		if err != nil || a.BaseURL == "" {
			continue
		}
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			return true
		}
	}
	return false
}

func (c Config) layout() bus.Layout {
	return bus.Layout{Replicas: c.Replicas, EventsMaxBytes: c.EventsMaxBytes, RePublish: c.RePublish}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
