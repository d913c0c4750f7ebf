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

// The account default's secrets are settings without a flag: command lines are readable by
// everybody on a machine.
const (
	apiKey    = "COMEET_API_KEY"
	apiSecret = "COMEET_API_SECRET"
)

// settings are the flags that every command understands. Each is also a variable of the
// environment, in upper case with underscores, and a key of the file, in lower case; see resolver.
// Hidden ones are for tests of the running program: an operator can use none of them well.
type settings struct {
	file   settingsFile
	env    environment
	stderr io.Writer
	// logs is stderr for lines that may be lost, but must not be waited for.
	logs io.Writer
	// misspelt and doubtful are the environment's variables that the connector does not know; see
	// environment.check.
	misspelt []error
	doubtful []string

	Config string `help:"YAML file of these settings and the accounts." type:"path" placeholder:"FILE"`

	NATSURL        string `name:"nats-url" help:"The bus: one server or several, with commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	NATSCreds      string `name:"nats-creds" help:"Credentials file for the bus." type:"path" placeholder:"FILE"`
	NATSReplicas   int    `name:"nats-replicas" help:"Replicas of new streams; 0: 3 on a cluster." default:"0" placeholder:"0"`
	EventsMaxBytes size   `name:"events-max-bytes" help:"Size of the events stream when it is made." default:"4GiB" placeholder:"4GiB"`
	RePublish      string `name:"republish" help:"Also send stored events to core NATS here." placeholder:"PREFIX"`

	ComeetBaseURL       string `name:"comeet-base-url" help:"The Comeet API." default:"https://api.comeet.co" placeholder:"URL"`
	ComeetPlainHTTP     bool   `name:"comeet-plain-http" help:"Allow plain http beyond loopback: readable."`
	ComeetAPISecretFile string `name:"comeet-api-secret-file" help:"File with the partner's secret." type:"path" placeholder:"FILE"`
	ComeetAPIKeyFile    string `name:"comeet-api-key-file" help:"File with the key of the account default." type:"path" placeholder:"FILE"`
	ComeetProxyHold     span   `name:"comeet-proxy-hold" help:"How long a proxy may deliver late, or off." placeholder:"2m"`
	FallbackPosition    string `name:"fallback-position" help:"For those whose own is closed or missing." placeholder:"UID"`

	PollInterval      duration `name:"poll-interval" help:"Time between two polls." default:"5m" placeholder:"5m"`
	PollOverlap       duration `name:"poll-overlap" hidden:"" help:"How far each look reaches back beyond the last." default:"2m" placeholder:"DURATION"`
	PositionsInterval duration `name:"positions-interval" hidden:"" help:"Time between two readings of the positions." default:"5m" placeholder:"DURATION"`
	RateLimit         rate     `name:"rate-limit" help:"Requests per account, or off." default:"100/60s" placeholder:"100/60s"`
	Workers           count    `name:"workers" help:"Events at once per account; 16, or fewer." placeholder:"16"`
	RequestTimeout    duration `name:"request-timeout" help:"Time limit of one request to Comeet." default:"30s" placeholder:"30s"`
	SettleDelay       duration `name:"settle-delay" hidden:"" help:"Rest before a submission of unknown fate is looked up." default:"5s" placeholder:"DURATION"`
	SweepInterval     duration `name:"sweep-interval" help:"Everybody is read again within this time." default:"168h" placeholder:"168h"`
	DeniedRetry       duration `name:"denied-retry" hidden:"" help:"Rest before a denied capability is tried again; it doubles up to 15 times this." default:"1m" placeholder:"DURATION"`
	MemberTTL         duration `name:"member-ttl" hidden:"" help:"How long a replica that fell silent is still taken for alive." default:"10s" placeholder:"DURATION"`
	EventSource       string   `name:"event-source" hidden:"" help:"CloudEvents source of what the connector publishes." default:"/comeet-connector"`
	DrainTimeout      duration `name:"drain-timeout" help:"How long work goes on after SIGTERM." placeholder:"35s"`
	PrivateFileURLs   bool     `name:"private-file-urls" help:"Allow files from private addresses."`

	AdminAddr addr  `name:"admin-addr" help:"Address of health and metrics, or off." default:"127.0.0.1:8080" placeholder:"ADDR"`
	LogLevel  level `name:"log-level" help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" placeholder:"info"`
	LogFormat word  `name:"log-format" help:"json, text, or auto: text on a terminal." enum:"auto,json,text" default:"auto" placeholder:"auto"`
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
	for _, sentence := range s.doubtful {
		cfg.Log.Warn().Msg(sentence)
	}
	cfg.BaseURL, cfg.PlainHTTP, cfg.ProxyHold = s.ComeetBaseURL, s.ComeetPlainHTTP, time.Duration(s.ComeetProxyHold)
	cfg.PollInterval, cfg.PollOverlap = time.Duration(s.PollInterval), time.Duration(s.PollOverlap)
	cfg.PositionsInterval, cfg.SweepInterval = time.Duration(s.PositionsInterval), time.Duration(s.SweepInterval)
	cfg.DeniedRetry, cfg.MemberTTL, cfg.EventSource = time.Duration(s.DeniedRetry), time.Duration(s.MemberTTL), s.EventSource
	cfg.RateLimit, cfg.NoRateLimit, cfg.Workers = comeet.Limit(s.RateLimit), s.RateLimit.Requests == 0, int(s.Workers)
	cfg.RequestTimeout, cfg.SettleDelay = time.Duration(s.RequestTimeout), time.Duration(s.SettleDelay)
	cfg.DrainTimeout, cfg.PrivateFileURLs, cfg.AdminAddr = time.Duration(s.DrainTimeout), s.PrivateFileURLs, string(s.AdminAddr)
	return cfg, nil
}

// busConfig is what a command needs that touches only the bus.
func (s *settings) busConfig() (connector.Config, error) {
	cfg := connector.Config{
		NATSURL: s.NATSURL, NATSCreds: s.NATSCreds, Replicas: s.NATSReplicas, EventsMaxBytes: int64(s.EventsMaxBytes),
		RePublish: s.RePublish, Log: s.logger(),
	}
	wrong := append([]error{s.file.err}, s.misspelt...)
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

// source is where the secret of that name comes from: the environment, the configuration file, or a
// file of its own.
func (s *settings) source(name, file string) source {
	value := s.env[name]
	if value == "" {
		value = s.file.values[key(name)]
	}
	return source{name, name + "_FILE", value, file}
}

// logger writes JSON lines, or readable ones on a terminal.
func (s *settings) logger() zerolog.Logger {
	level, err := zerolog.ParseLevel(string(s.LogLevel))
	if err != nil {
		level = zerolog.InfoLevel
	}
	out := s.logs
	if s.LogFormat == "text" || s.LogFormat == "auto" && terminal(s.stderr) {
		out = zerolog.ConsoleWriter{Out: s.logs, TimeFormat: "15:04:05.000"}
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
