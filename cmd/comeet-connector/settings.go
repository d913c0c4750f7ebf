package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/events"
)

// The account default's secrets are settings without a flag: command lines are readable by everybody on a machine.
const (
	apiKey    = "COMEET_API_KEY"
	apiSecret = "COMEET_API_SECRET"
)

// settings are the flags that every command understands. Each is also a variable of the environment, in upper case with
// underscores, and a key of the file, in lower case; see resolver.
type settings struct {
	file   settingsFile
	getenv func(string) string
	stderr io.Writer

	Config string `help:"YAML file with the same settings, in lower case with underscores, and accounts." type:"path" placeholder:"FILE"`

	NATSURL        string `name:"nats-url" help:"The bus: one server or several separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	NATSCreds      string `name:"nats-creds" help:"Credentials file for the bus." type:"path" placeholder:"FILE"`
	NATSReplicas   int    `name:"nats-replicas" help:"Replicas of the streams that are created; 0 means 3 on a cluster, else 1." default:"0" placeholder:"N"`
	EventsMaxBytes size   `name:"events-max-bytes" help:"Size limit of the events stream when it is created." default:"4GiB" placeholder:"SIZE"`
	RePublish      string `name:"republish" help:"Also send every stored event to core NATS under this prefix." placeholder:"PREFIX"`

	ComeetBaseURL       string `name:"comeet-base-url" help:"The Comeet API." default:"https://api.comeet.co" placeholder:"URL"`
	ComeetPlainHTTP     bool   `name:"comeet-plain-http" help:"Allow a plain-http Comeet that is not loopback: tokens and personal data then cross the network readably."`
	ComeetAPISecretFile string `name:"comeet-api-secret-file" help:"File with the partner's secret." type:"path" placeholder:"FILE"`
	ComeetAPIKeyFile    string `name:"comeet-api-key-file" help:"File with the API key of the account default." type:"path" placeholder:"FILE"`
	ComeetProxyHold     span   `name:"comeet-proxy-hold" help:"How long a proxy on the way to Comeet may still deliver a request that was given up, or off; by default 2m if the environment names a proxy." placeholder:"DURATION"`
	FallbackPosition    string `name:"fallback-position" help:"Position of the account default for candidates whose own is closed or missing." placeholder:"UID"`

	PollInterval      duration `name:"poll-interval" help:"Time between two looks for status changes." default:"5m" placeholder:"DURATION"`
	PollOverlap       duration `name:"poll-overlap" help:"How far each look reaches back beyond the last." default:"2m" placeholder:"DURATION"`
	PositionsInterval duration `name:"positions-interval" help:"Time between two readings of the positions." default:"5m" placeholder:"DURATION"`
	RateLimit         rate     `name:"rate-limit" help:"Requests to Comeet per account, e.g. 100/60s, or off." default:"100/60s" placeholder:"RATE"`
	Workers           count    `name:"workers" help:"Events in hand at once per account; by default 16, fewer with more than 256 accounts." placeholder:"N"`
	RequestTimeout    duration `name:"request-timeout" help:"Time limit of one request to Comeet." default:"30s" placeholder:"DURATION"`
	SettleDelay       duration `name:"settle-delay" help:"Rest before a submission of unknown fate is looked up." default:"5s" placeholder:"DURATION"`
	SweepInterval     duration `name:"sweep-interval" help:"Within how long the slow sweep re-reads everything." default:"168h" placeholder:"DURATION"`
	DeniedRetry       duration `name:"denied-retry" help:"Rest before a denied capability is tried again; it doubles up to 15 times this." default:"1m" placeholder:"DURATION"`
	MemberTTL         duration `name:"member-ttl" help:"How long a replica that fell silent is still taken for alive." default:"10s" placeholder:"DURATION"`
	EventSource       string   `name:"event-source" help:"CloudEvents source of what the connector publishes." default:"/comeet-connector"`
	DrainTimeout      duration `name:"drain-timeout" help:"How long work in hand may go on after the signal to stop; by default REQUEST_TIMEOUT + SETTLE_DELAY." placeholder:"DURATION"`
	PrivateFileURLs   bool     `name:"private-file-urls" help:"Allow files to be read from private and loopback addresses."`

	AdminAddr string `name:"admin-addr" help:"Where health and metrics are served, or off." default:"127.0.0.1:8080" placeholder:"ADDR"`
	LogLevel  string `name:"log-level" help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL"`
	LogFormat string `name:"log-format" help:"json, text, or auto: text on a terminal." enum:"auto,json,text" default:"auto" placeholder:"FORMAT"`
}

// connectorConfig turns the settings into the connector's, accounts included.
func (s *settings) connectorConfig() (connector.Config, error) {
	cfg, err := s.busConfig()
	if err != nil {
		return connector.Config{}, err
	}
	if cfg.Accounts, err = s.accounts(); err != nil {
		return connector.Config{}, err
	}
	cfg.BaseURL, cfg.PlainHTTP, cfg.ProxyHold = s.ComeetBaseURL, s.ComeetPlainHTTP, time.Duration(s.ComeetProxyHold)
	cfg.PollInterval, cfg.PollOverlap = time.Duration(s.PollInterval), time.Duration(s.PollOverlap)
	cfg.PositionsInterval, cfg.SweepInterval = time.Duration(s.PositionsInterval), time.Duration(s.SweepInterval)
	cfg.DeniedRetry, cfg.MemberTTL, cfg.EventSource = time.Duration(s.DeniedRetry), time.Duration(s.MemberTTL), s.EventSource
	cfg.RateLimit, cfg.NoRateLimit, cfg.Workers = comeet.Limit(s.RateLimit), s.RateLimit.Requests == 0, int(s.Workers)
	cfg.RequestTimeout, cfg.SettleDelay = time.Duration(s.RequestTimeout), time.Duration(s.SettleDelay)
	cfg.DrainTimeout, cfg.PrivateFileURLs, cfg.AdminAddr = time.Duration(s.DrainTimeout), s.PrivateFileURLs, s.AdminAddr
	return cfg, nil
}

// busConfig is what a command needs that touches only the bus.
func (s *settings) busConfig() (connector.Config, error) {
	cfg := connector.Config{
		NATSURL: s.NATSURL, NATSCreds: s.NATSCreds, Replicas: s.NATSReplicas, EventsMaxBytes: int64(s.EventsMaxBytes),
		RePublish: s.RePublish, Log: s.logger(),
	}
	wrong := []error{s.file.err}
	for server := range strings.SplitSeq(s.NATSURL, ",") {
		// url.Parse quotes the URL, which may hold a password.
		if u, err := url.Parse(strings.TrimSpace(server)); err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Host == "" {
			wrong = append(wrong, errors.New("NATS_URL: must be like nats://host:4222, or several separated by commas"))
			break
		}
	}
	if s.NATSCreds != "" {
		if _, err := os.ReadFile(s.NATSCreds); err != nil {
			wrong = append(wrong, fmt.Errorf("NATS_CREDS: %w", err))
		}
	}
	return cfg, errors.Join(wrong...)
}

// accounts are the account default, if it has a key, and those of the file.
func (s *settings) accounts() ([]connector.Account, error) {
	secret := s.source(apiSecret, s.ComeetAPISecretFile)
	var out []connector.Account
	var wrong []error
	add := func(a fileAccount, key, secret source) {
		if err := errors.Join(key.check(), secret.check()); err != nil {
			wrong = append(wrong, fmt.Errorf("account %q: %w", a.name, err))
			return
		}
		out = append(out, connector.Account{
			Name: string(a.name), Credentials: credentials(key, secret), BaseURL: string(a.baseURL), RateLimit: comeet.Limit(a.rateLimit),
			PollInterval: time.Duration(a.pollInterval), Workers: int(a.workers), FallbackPosition: string(a.fallbackPosition),
		})
	}
	if key := s.source(apiKey, s.ComeetAPIKeyFile); key.given() {
		add(fileAccount{name: events.DefaultAccount, fallbackPosition: text(s.FallbackPosition)}, key, secret)
	}
	for _, a := range s.file.accounts {
		own := source{"api_secret", "api_secret_file", string(a.apiSecret), string(a.apiSecretFile)}
		if !own.given() {
			own = secret
		}
		add(a, source{"api_key", "api_key_file", string(a.apiKey), string(a.apiKeyFile)}, own)
	}
	return out, errors.Join(wrong...)
}

// source is where the secret of that name comes from: the environment, the configuration file, or a file of its own.
func (s *settings) source(name, file string) source {
	value := s.getenv(name)
	if value == "" {
		value = s.file.values[key(name)]
	}
	return source{name, name + "_FILE", value, file}
}

// logger writes JSON lines, or readable ones on a terminal.
func (s *settings) logger() zerolog.Logger {
	level, err := zerolog.ParseLevel(s.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel
	}
	out := s.stderr
	if s.LogFormat == "text" || s.LogFormat == "auto" && terminal(s.stderr) {
		out = zerolog.ConsoleWriter{Out: s.stderr, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
