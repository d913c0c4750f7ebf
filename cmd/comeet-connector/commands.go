package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/events"
)

type runCommand struct{}

// Run serves until the context ends.
func (runCommand) Run(ctx context.Context, s *settings) error {
	cfg, err := s.connectorConfig()
	if err != nil {
		return err
	}
	c, err := connector.New(cfg)
	if err != nil {
		return err
	}
	// What lives with few accounts is some megabytes, and to collect whenever that has doubled
	// costs a tenth of the time under load. This counts as alive, so that much garbage more may
	// gather, with many accounts too. It is never written to, and so not resident, but GOMEMLIMIT
	// and the metrics of Go's memory count it.
	reserve := make([]byte, 32<<20)
	defer runtime.KeepAlive(reserve)
	return c.Run(ctx)
}

type setupCommand struct {
	Apply bool `help:"Create what is missing on the bus and check the rest, instead of printing."`
}

// Run prints or applies the layout. It needs no account.
func (c setupCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	cfg, err := s.busConfig()
	if err != nil {
		return err
	}
	if c.Apply {
		if err := connector.Setup(ctx, quietly(cfg)); err != nil {
			return err
		}
		fmt.Fprintln(out, "everything that the connector needs is on the bus")
		return nil
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(connector.Plan(cfg))
}

type answersCommand struct{}

// Run prints the classifier's table.
func (answersCommand) Run(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ANSWER\tFROM\tEVENT\tBREAKER\tCLAIM")
	for _, a := range comeet.Answers() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Result, a.From, a.Event, a.Breaker, a.Claim)
	}
	return w.Flush()
}

type schemaCommand struct {
	Type string `arg:"" optional:"" help:"Event type, e.g. candidate.sourced; none lists them."`
}

// Run prints one schema, or the event types.
func (c schemaCommand) Run(out io.Writer) error {
	if c.Type == "" {
		_, err := fmt.Fprintln(out, strings.Join(events.Types(), "\n"))
		return err
	}
	schema, ok := events.Schema(c.Type)
	if !ok {
		return fmt.Errorf("unknown event type %q; one of: %s", c.Type, strings.Join(events.Types(), ", "))
	}
	_, err := out.Write(schema)
	return err
}

type versionCommand struct{}

// Run prints what the build knows of itself.
func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, buildText())
	return err
}
