package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/ops"
)

type explainCommand struct {
	ID     string `arg:"" help:"Any id: CloudEvents id, candidate.id, candidate_uid, operation, or a dead letter's sequence."`
	Kind   string `help:"What the id is, if it could be several: letter, operation, uid, event or candidate." enum:",letter,operation,uid,event,candidate" default:"" placeholder:"KIND"`
	Comeet bool   `help:"Also ask Comeet for the candidate as it is now; needs the account's credentials."`
	Unmask bool   `help:"Also print the events and what Comeet shows: the person's data."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run tells a history.
func (c explainCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	o := ops.ExplainOptions{Kind: ops.IDKind(c.Kind), Unmask: c.Unmask, Progress: s.progress}
	if c.Comeet {
		var err error
		if o.Comeet, err = s.comeetClients(); err != nil {
			return err
		}
	}
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	history, err := client.Explain(ctx, c.ID, o)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(history)
	}
	return printHistory(out, c.ID, history)
}

func printHistory(out io.Writer, id string, history *ops.History) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s, taken for: %s\n\n", printable(id), history.Kind)
	fmt.Fprintln(w, "OPERATION\tACCOUNT\tSTATE\tCANDIDATE\tCANDIDATE_UID")
	for _, o := range history.Operations {
		state := o.State
		if o.Reason != "" {
			state += ": " + string(o.Reason)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Operation, o.Account, state, printable(o.CandidateID), printable(o.CandidateUID))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nTIME\tWHERE\tWHO\tWHAT")
	for _, m := range history.Entries {
		where := "Comeet"
		if m.Stream != "" {
			where = fmt.Sprintf("%s %d", m.Stream, m.Seq)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Time.UTC().Format(time.RFC3339), where, printable(m.Who), printable(m.What))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, m := range history.Entries {
		if m.Content == nil {
			continue
		}
		where := "Comeet"
		if m.Stream != "" {
			where = fmt.Sprintf("%s %d", m.Stream, m.Seq)
		}
		if _, err := fmt.Fprintf(out, "\n%s:\n%s\n", where, m.Content); err != nil {
			return err
		}
	}
	return nil
}
