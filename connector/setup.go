package connector

import (
	"context"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// Setup joins the bus, creates what is missing of the assets that cfg names, and checks the rest.
// It needs no account.
func Setup(ctx context.Context, cfg Config) error {
	cfg = cfg.WithDefaults()
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, Creds: cfg.NATSCreds, Server: cfg.NATSServer, Name: "comeet-connector setup", OnEvent: bus.LogEvents(cfg.Log)})
	if err != nil {
		return err
	}
	defer b.Close()
	return b.Ensure(ctx, cfg.layout())
}

// Plan describes the assets that cfg names, as stream configurations in JetStream's own words:
// buckets and the object store are streams too. Replicas 0 is shown as 1.
func Plan(cfg Config) []bus.StreamConfig {
	cfg = cfg.WithDefaults()
	return cfg.layout().Plan(max(1, cfg.Replicas))
}
