package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// accountsCommand holds accounts back and lets them go on, whichever replica serves them.
type accountsCommand struct {
	Paused pausedCommand `cmd:"" help:"List the accounts that operators have paused."`
	Pause  pauseCommand  `cmd:"" help:"Fetch and send nothing for an account until it is resumed. Nothing is lost."`
	Resume resumeCommand `cmd:"" help:"End a pause."`
}

type pausedCommand struct{}

// Run lists the pauses.
func (pausedCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	c, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	held, err := c.PausedAccounts(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tSINCE\tREASON")
	for _, p := range held {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Account, p.Since.Format(time.RFC3339), p.Reason)
	}
	return w.Flush()
}

type pauseCommand struct {
	Account string `arg:"" help:"The account's name."`
	Reason  string `help:"Why, for whoever looks next." required:""`
}

// Run pauses.
func (c pauseCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.PauseAccount(ctx, c.Account, c.Reason); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "account %s is paused\n", c.Account)
	return err
}

type resumeCommand struct {
	Account string `arg:"" help:"The account's name."`
}

// Run resumes.
func (c resumeCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	paused, err := client.ResumeAccount(ctx, c.Account)
	if err != nil {
		return err
	}
	now := "goes on"
	if !paused {
		now = "was not paused"
	}
	_, err = fmt.Fprintf(out, "account %s %s\n", c.Account, now)
	return err
}
