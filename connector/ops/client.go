// Package ops is the operators' side of the connector: it lists, shows, replays and discards dead
// letters, tells the whole history of a candidate, and erases what the bus holds of a person.
//
// It runs in another process than the connector, may run as another user, and needs the bus alone:
// no credentials of Comeet, unless Explain is to ask Comeet too. Nothing that it returns holds a
// person's data, unless that is asked for by name. All methods of a Client block until the bus has
// answered or their context ends, and are safe for concurrent use by any number of processes.
package ops

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
)

// Config is what operators' commands are told. The zero value of every field means its default.
type Config struct {
	// NATSURL is the bus: one server or several separated by commas. Defaults to
	// nats://127.0.0.1:4222.
	NATSURL string
	// NATSCreds is the path of a credentials file. Empty means none.
	NATSCreds string
	// NATSServer joins a server in the same process instead of NATSURL.
	NATSServer bus.InProcess
	// Fallbacks are the uids of the accounts' fallback positions by the accounts' names, as the
	// connector has them: a dry run asks for them.
	Fallbacks map[string]string
	// EventSource is the CloudEvents `source` of the entries that Erase writes. Defaults to
	// ledger.DefaultSource.
	EventSource string
	// Log receives what happens to the connection. The zero value is silent.
	Log zerolog.Logger
}

// Client does operators' work on one bus.
//
// A letter that was replayed or discarded is archived: its bytes are erased, and a note without any
// person's data stays in the dead-letter stream for as long as letters do.
type Client struct {
	cfg    Config
	bus    *bus.Bus
	ledger *ledger.Ledger
	// lettersCreated and sourcedCreated are when the streams were made; with a sequence they name a
	// message for ever.
	lettersCreated, sourcedCreated time.Time
}

// Open joins the bus. It waits for a bus that is not up, until ctx ends. It fails if the
// connector's streams are not there.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg.EventSource = cmp.Or(cfg.EventSource, ledger.DefaultSource)
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, Creds: cfg.NATSCreds, Server: cfg.NATSServer, Name: "comeet-connector ops", OnEvent: bus.LogEvents(cfg.Log)})
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, bus: b, ledger: ledger.New(b)}
	for name, created := range map[string]*time.Time{bus.DeadLettersStream: &c.lettersCreated, bus.SourcedStream: &c.sourcedCreated} {
		st, err := b.StreamState(ctx, name, "")
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("look for the connector's streams: %w; `setup --apply` makes what is missing", err)
		}
		*created = st.Created
	}
	return c, nil
}

// Close leaves the bus.
func (c *Client) Close() { c.bus.Close() }
