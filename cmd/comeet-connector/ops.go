package main

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// openOps joins the bus for an operator's command, without its everyday messages. It works where
// there are no credentials of Comeet.
func (s *settings) openOps(ctx context.Context) (*ops.Client, error) {
	cfg, err := s.busConfig()
	if err != nil {
		return nil, err
	}
	fallbacks := map[string]string{events.DefaultAccount: s.FallbackPosition}
	for _, a := range s.file.accounts {
		fallbacks[string(a.name)] = string(a.fallbackPosition)
	}
	return ops.Open(ctx, ops.Config{NATSURL: cfg.NATSURL, NATSCreds: cfg.NATSCreds, Fallbacks: fallbacks, EventSource: s.EventSource, Log: quietly(cfg).Log})
}

// progress tells how far a long reading has come.
func (s *settings) progress(stream string, read int) {
	fmt.Fprintf(s.stderr, "reading %s: %d messages\n", stream, read)
}

// comeetClients yields the client of each account that has credentials, nil for any other.
func (s *settings) comeetClients() (func(account string) (*comeet.Client, error), error) {
	cfg, err := s.connectorConfig()
	cfg = cfg.WithDefaults()
	return func(account string) (*comeet.Client, error) {
		for _, a := range cfg.Accounts {
			if a.Name != account {
				continue
			}
			opts := []comeet.Option{comeet.WithBaseURL(a.BaseURL), comeet.WithTimeout(cfg.RequestTimeout), comeet.WithTransport(cfg.Transport)}
			if cfg.PlainHTTP {
				opts = append(opts, comeet.WithPlainHTTP())
			}
			return comeet.NewClient(a.Credentials, opts...)
		}
		return nil, nil
	}, err
}

// quietly leaves out what the connection logs every day.
func quietly(cfg connector.Config) connector.Config {
	if cfg.Log.GetLevel() == zerolog.InfoLevel {
		cfg.Log = cfg.Log.Level(zerolog.WarnLevel)
	}
	return cfg
}
