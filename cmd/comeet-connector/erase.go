package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/comeet-connector/comeet-connector/connector/ops"
)

type eraseCommand struct {
	ID      string `arg:"" help:"Any id: candidate.id, CloudEvents id, candidate_uid, operation, or a dead letter's sequence."`
	Kind    string `help:"What the id is, if it could be several or is a number: letter, operation, uid, event or candidate." enum:",letter,operation,uid,event,candidate" default:"" placeholder:"KIND"`
	Account string `help:"Only in this account." placeholder:"NAME"`
	Source  string `help:"Only what events of this CloudEvents source asked for." placeholder:"SOURCE"`
	DryRun  bool   `name:"dry-run" help:"List what would be erased, and do nothing."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Run erases, and prints the operations also if it could not finish: by them it can.
func (c eraseCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	e, err := client.Erase(ctx, c.ID, ops.EraseOptions{
		Kind: ops.IDKind(c.Kind), Account: c.Account, Source: c.Source, DryRun: c.DryRun, Progress: s.progress,
	})
	if e == nil {
		return err
	}
	if err != nil {
		err = fmt.Errorf("%w; not all is erased: run it again, by the id or by each operation", err)
	}
	return errors.Join(c.print(out, e, err == nil), err)
}

func (c eraseCommand) print(out io.Writer, e *ops.Erasure, done bool) error {
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(e)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s, taken for: %s\n\n", printable(c.ID), e.Kind)
	fmt.Fprintln(w, "OPERATION\tACCOUNT\tSOURCE\tSTATE")
	for _, o := range e.Operations {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.Operation, o.Account, printable(o.Source), o.State)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nSTREAM\tSEQ\tOPERATION\tWHAT")
	for _, m := range e.Messages {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", m.Stream, m.Seq, m.Operation, m.What)
	}
	for _, name := range e.Files {
		fmt.Fprintf(w, "file\t\t\t%s\n", name)
	}
	for _, name := range e.Shared {
		fmt.Fprintf(w, "file\t\t\t%s stays: an event that is not erased names it too\n", name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	what := "would be erased"
	switch {
	case !done:
		what = "were to be erased"
	case !c.DryRun:
		what = "erased"
	}
	_, err := fmt.Fprintf(out, "\n%d messages and %d files %s\n", len(e.Messages), len(e.Files), what)
	return err
}
