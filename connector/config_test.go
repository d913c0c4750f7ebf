package connector_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector"
)

func validConfig() connector.Config {
	return connector.Config{
		Accounts:  []connector.Account{{Name: "default", Credentials: comeet.StaticCredentials("key", secret)}},
		AdminAddr: "off",
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	credentials := comeet.StaticCredentials("key", secret)
	cases := []struct {
		name   string
		change func(*connector.Config)
		says   []string // parts of the error; none means that it is valid
	}{
		{"defaults", func(*connector.Config) {}, nil},
		{"no account", func(c *connector.Config) { c.Accounts = nil }, []string{"no Comeet account", "COMEET_API_KEY"}},
		{"account without a name", func(c *connector.Config) { c.Accounts[0].Name = "" }, []string{"account name", "must match"}},
		{"account with a dot", func(c *connector.Config) { c.Accounts[0].Name = "a.b" }, []string{`"a.b"`, "must match"}},
		{"account in capitals", func(c *connector.Config) { c.Accounts[0].Name = "Acme" }, []string{"must match"}},
		{"account of 64 characters", func(c *connector.Config) { c.Accounts[0].Name = strings.Repeat("a", 64) }, nil},
		{"account of 65 characters", func(c *connector.Config) { c.Accounts[0].Name = strings.Repeat("a", 65) }, []string{"must match"}},
		{"account twice", func(c *connector.Config) { c.Accounts = append(c.Accounts, c.Accounts[0]) }, []string{"configured twice"}},
		{"account without credentials", func(c *connector.Config) { c.Accounts[0].Credentials = nil }, []string{"no API key"}},
		{"credentials that can't be read", func(c *connector.Config) {
			c.Accounts[0].Credentials = func() (string, string, error) { return "", "", errors.New("no such file") }
		}, []string{`account "default"`, "no such file"}},
		{"rate limit of 9", func(c *connector.Config) { c.RateLimit = comeet.Limit{Requests: 9, Window: time.Minute} }, []string{"RATE_LIMIT", "10 requests"}},
		{"rate limit of 10", func(c *connector.Config) { c.RateLimit = comeet.Limit{Requests: 10, Window: time.Minute} }, nil},
		{"rate limit without a number", func(c *connector.Config) { c.RateLimit = comeet.Limit{Window: time.Minute} }, []string{"RATE_LIMIT", "10 requests"}},
		{"rate limit without a window", func(c *connector.Config) { c.RateLimit = comeet.Limit{Requests: 100} }, []string{"RATE_LIMIT", "window"}},
		{"rate limit off", func(c *connector.Config) { c.NoRateLimit = true }, nil},
		{"rate limit of one account", func(c *connector.Config) {
			c.NoRateLimit, c.Accounts[0].RateLimit = true, comeet.Limit{Requests: 5, Window: time.Minute}
		}, []string{`"default"`, "RATE_LIMIT"}},
		{"poll interval", func(c *connector.Config) { c.PollInterval = 49 * time.Millisecond }, []string{"POLL_INTERVAL", "50ms"}},
		{"poll interval of one account", func(c *connector.Config) { c.Accounts[0].PollInterval = time.Millisecond }, []string{`"default"`, "POLL_INTERVAL"}},
		{"poll overlap", func(c *connector.Config) { c.PollOverlap = -1 }, []string{"POLL_OVERLAP"}},
		{"sweep interval", func(c *connector.Config) { c.SweepInterval = -1 }, []string{"SWEEP_INTERVAL"}},
		{"positions interval", func(c *connector.Config) { c.PositionsInterval = time.Millisecond }, []string{"POSITIONS_INTERVAL"}},
		{"workers", func(c *connector.Config) { c.Workers = -1 }, []string{"WORKERS", "1024"}},
		{"too many workers", func(c *connector.Config) { c.Accounts[0].Workers = 1025 }, []string{"WORKERS", "1024"}},
		{"request timeout", func(c *connector.Config) { c.RequestTimeout = time.Millisecond }, []string{"REQUEST_TIMEOUT"}},
		{"long request timeout", func(c *connector.Config) { c.RequestTimeout = time.Hour }, []string{"REQUEST_TIMEOUT"}},
		{"settle delay", func(c *connector.Config) { c.SettleDelay = -1 }, []string{"SETTLE_DELAY"}},
		{"long settle delay", func(c *connector.Config) { c.SettleDelay = 2 * time.Hour }, []string{"SETTLE_DELAY"}},
		{"denied retry", func(c *connector.Config) { c.DeniedRetry = -1 }, []string{"DENIED_RETRY"}},
		{"drain timeout", func(c *connector.Config) { c.DrainTimeout = -1 }, []string{"DRAIN_TIMEOUT"}},
		{"events max bytes", func(c *connector.Config) { c.EventsMaxBytes = 1000 }, []string{"EVENTS_MAX_BYTES"}},
		{"member TTL", func(c *connector.Config) { c.MemberTTL = time.Millisecond }, []string{"MEMBER_TTL", "1s"}},
		{"replicas", func(c *connector.Config) { c.Replicas = 6 }, []string{"NATS_REPLICAS"}},
		{"event source", func(c *connector.Config) { c.EventSource = "a\nb" }, []string{"EVENT_SOURCE"}},
		{"plain http", func(c *connector.Config) { c.BaseURL = "http://api.example.test" }, []string{`account "default"`, "plain http"}},
		{"plain http allowed", func(c *connector.Config) { c.BaseURL, c.PlainHTTP = "http://api.example.test", true }, nil},
		{"plain http on loopback", func(c *connector.Config) { c.BaseURL = "http://127.0.0.1:8090" }, nil},
		{"base URL with a password", func(c *connector.Config) { c.BaseURL = "https://u:" + secret + "@api.example.test" }, []string{"must not have a user"}},
		{"two accounts", func(c *connector.Config) {
			c.Accounts = append(c.Accounts, connector.Account{Name: "acme", Credentials: credentials, Workers: 4})
		}, nil},
		{"several things", func(c *connector.Config) { c.Workers, c.Replicas, c.SettleDelay = -1, -1, -1 }, []string{"WORKERS", "NATS_REPLICAS", "SETTLE_DELAY"}},
	}
	for _, c := range cases {
		cfg := validConfig()
		c.change(&cfg)
		_, err := connector.New(cfg)
		if (err == nil) != (c.says == nil) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not name %q", c.name, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the secret", c.name)
		}
	}
}

// An account's own settings win, and those it has not are the connector's.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	cfg := validConfig()
	cfg.Workers, cfg.NoRateLimit = 7, true
	cfg.Accounts = append(cfg.Accounts, connector.Account{Name: "own", Workers: 3, PollInterval: time.Hour, RateLimit: comeet.Limit{Requests: 50, Window: time.Minute}})
	given := cfg.Accounts[0]
	got := cfg.WithDefaults()
	if a := got.Accounts[0]; a.Workers != 7 || a.PollInterval != 5*time.Minute || a.RateLimit.Requests != 0 || a.BaseURL != comeet.DefaultBaseURL {
		t.Errorf("%+v", a)
	}
	if a := got.Accounts[1]; a.Workers != 3 || a.PollInterval != time.Hour || a.RateLimit.Requests != 50 {
		t.Errorf("%+v", a)
	}
	if cfg.Accounts[0].Workers != given.Workers {
		t.Error("the caller's configuration was changed")
	}
	for accounts, want := range map[int]int{1: 16, 256: 16, 257: 15, 1000: 4, 5000: 4} {
		if c := (connector.Config{Accounts: make([]connector.Account, accounts)}).WithDefaults(); c.Workers != want || c.Accounts[0].Workers != want {
			t.Errorf("%d accounts: %d workers each, want %d", accounts, c.Workers, want)
		}
	}
	if got.RequestTimeout != 30*time.Second || got.SettleDelay != 5*time.Second || got.DrainTimeout != 35*time.Second || got.Replica == "" {
		t.Errorf("%+v", got)
	}
}
