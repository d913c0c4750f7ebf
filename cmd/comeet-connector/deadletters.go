package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// deadlettersCommand is what operators do with what was refused.
type deadlettersCommand struct {
	List    lettersListCommand    `cmd:"" help:"List dead letters, newest first."`
	Reasons lettersReasonsCommand `cmd:"" help:"Count dead letters by account and reason."`
	Show    lettersShowCommand    `cmd:"" help:"Show one dead letter, personal data masked."`
	Replay  lettersReplayCommand  `cmd:"" help:"Publish dead letters again, as they are or edited."`
	Discard lettersDiscardCommand `cmd:"" help:"Erase dead letters for good; a note with the reason stays."`
}

// letterFlags pick dead letters.
type letterFlags struct {
	Account   string `help:"Only of this account." placeholder:"NAME"`
	Reason    string `help:"Only refused for this reason, e.g. position_closed." placeholder:"REASON"`
	Source    string `help:"Only events of this CloudEvents source." placeholder:"SOURCE"`
	Candidate string `help:"Only of this candidate.id." placeholder:"ID"`
	Since     since  `help:"Only refused since then: an age such as 24h, or a time such as 2026-03-01T12:00:00Z." placeholder:"TIME"`
}

func (f letterFlags) filter() ops.LetterFilter {
	return ops.LetterFilter{Account: f.Account, Reason: events.Reason(f.Reason), Source: f.Source, CandidateID: f.Candidate, Since: time.Time(f.Since)}
}

type lettersListCommand struct {
	letterFlags
	JSON bool `name:"json" help:"Print JSON, one letter per line, with everything that is known."`
}

// Run lists the letters.
func (c lettersListCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	letters, err := listLetters(ctx, s, c.filter())
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(out, letters)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEQ\tREFUSED\tACCOUNT\tREASON\tCANDIDATE\tEVENT\tMESSAGE")
	for _, l := range letters {
		event := ""
		if l.Sourced != nil {
			event = l.Sourced.ID
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Seq, l.Stored.UTC().Format(time.RFC3339), l.Account, reasonOf(l.Reason), printable(l.CandidateID), printable(event), l.Message)
	}
	return w.Flush()
}

type lettersReasonsCommand struct {
	letterFlags
	JSON bool `name:"json" help:"Print JSON, one group per line."`
}

// Run counts the letters.
func (c lettersReasonsCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	letters, err := listLetters(ctx, s, c.filter())
	if err != nil {
		return err
	}
	groups := ops.GroupLetters(letters)
	if c.JSON {
		return jsonLines(out, groups)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COUNT\tACCOUNT\tREASON\tOLDEST\tNEWEST")
	for _, g := range groups {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", g.Count, g.Account, reasonOf(g.Reason), g.Oldest.UTC().Format(time.RFC3339), g.Newest.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

type lettersShowCommand struct {
	Seq    uint64 `arg:"" help:"The letter's sequence, from the list."`
	Unmask bool   `help:"Show the person's data."`
	Raw    bool   `help:"Print the event alone, unmasked, to edit it and to replay it with --edit."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run shows one letter.
func (c lettersShowCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.Raw {
		raw, err := client.Raw(ctx, c.Seq)
		if err != nil {
			return err
		}
		_, err = out.Write(raw)
		return err
	}
	l, err := client.Show(ctx, c.Seq, c.Unmask)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(out, []ops.ShownLetter{l})
	}
	return showLetter(out, l)
}

func showLetter(out io.Writer, l ops.ShownLetter) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("dead letter", fmt.Sprint(l.Seq))
	row("refused", l.Stored.UTC().Format(time.RFC3339))
	row("account", l.Account)
	row("reason", reasonOf(l.Reason))
	row("message", l.Message)
	for _, v := range l.Violations {
		row("violation", v.String())
	}
	if l.Comeet != nil {
		row("Comeet", strings.TrimSpace(fmt.Sprintf("%d %s", l.Comeet.Status, l.Comeet.Error)))
	}
	row("candidate", printable(l.CandidateID))
	if l.Sourced != nil {
		row("event", printable(l.Sourced.ID))
		row("source", printable(l.Sourced.Source))
	}
	row("operation", l.Operation)
	if l.Outcome > 0 {
		row("outcome", fmt.Sprintf("message %d of the events stream", l.Outcome))
	}
	row("replay", printable(l.Replay))
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		row("header", printable(name+": "+strings.Join(l.Header[name], ", ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if l.Content == nil {
		_, err := fmt.Fprintf(out, "\n%d bytes that are no JSON; --raw prints them\n", l.Bytes)
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", l.Content)
	return err
}

type lettersReplayCommand struct {
	Seqs []string `arg:"" optional:"" name:"seq" help:"Sequences of letters, or ranges such as 7-9; none with filters replays all that they pick."`
	letterFlags
	All    bool   `help:"Replay every dead letter."`
	DryRun bool   `name:"dry-run" help:"Say what would become of each letter now, and do nothing."`
	Edit   string `help:"Send the event of this file in the place of the one letter's; show --raw yields what to edit." type:"path" placeholder:"FILE"`
	Rate   pace   `help:"Letters per time." default:"5/s" placeholder:"RATE"`
	Sure   bool   `help:"Also replay what is in doubt: you looked, and the candidate is not at Comeet."`
	Anyway bool   `help:"Also replay what would fail again for its position."`
	JSON   bool   `name:"json" help:"Print JSON, one letter per line."`
}

// Run replays letters. Its error counts those that stay.
func (c lettersReplayCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	seqs, err := parseSeqs(c.Seqs)
	if err != nil {
		return err
	}
	filtered := c.filter() != ops.LetterFilter{}
	if n := len(seqs); n > 0 && (filtered || c.All) || n == 0 && !filtered && !c.All {
		return errors.New("say which letters: sequences, or filters such as --reason and --account, or --all")
	}
	o := ops.ReplayOptions{DryRun: c.DryRun, Sure: c.Sure, Anyway: c.Anyway, Every: time.Duration(c.Rate)}
	if c.Edit != "" {
		if o.Edited, err = os.ReadFile(c.Edit); err != nil {
			return err
		}
	}
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if len(seqs) == 0 {
		letters, err := client.List(ctx, c.filter())
		if err != nil {
			return err
		}
		// The oldest first, as they came.
		for _, l := range slices.Backward(letters) {
			seqs = append(seqs, l.Seq)
		}
	}
	stay := 0
	var broken error
	err = client.Replay(ctx, seqs, o, func(r ops.Replayed) {
		if r.Kept != "" || r.Verdict == ops.VerdictNotFound {
			stay++
		}
		if broken == nil {
			broken = c.print(out, r)
		}
	})
	if err = errors.Join(err, broken); err != nil {
		return err
	}
	if stay > 0 && !c.DryRun {
		return fmt.Errorf("%d of %d dead letters were not replayed", stay, len(seqs))
	}
	return nil
}

func (c lettersReplayCommand) print(out io.Writer, r ops.Replayed) error {
	if c.JSON {
		return jsonLines(out, []ops.Replayed{r})
	}
	done := ""
	switch {
	case r.Sent:
		done = fmt.Sprintf(" -> replayed as message %d of the sourced stream, operation %s", r.SourcedSeq, r.Operation)
	case r.Kept != "":
		done = " -> stays: " + r.Kept
	}
	_, err := fmt.Fprintf(out, "%d: %s%s\n", r.Seq, r.Message, done)
	return err
}

type lettersDiscardCommand struct {
	Seqs   []string `arg:"" name:"seq" help:"Sequences of letters, or ranges such as 7-9."`
	Reason string   `help:"Why, for whoever asks later. It is kept: no person's data." required:"" placeholder:"TEXT"`
}

// Run discards letters.
func (c lettersDiscardCommand) Run(ctx context.Context, s *settings, out io.Writer) error {
	seqs, err := parseSeqs(c.Seqs)
	if err != nil {
		return err
	}
	client, err := s.openOps(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Discard(ctx, c.Reason, seqs...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d dead letters discarded\n", len(seqs))
	return err
}

func listLetters(ctx context.Context, s *settings, f ops.LetterFilter) ([]ops.DeadLetter, error) {
	client, err := s.openOps(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.List(ctx, f)
}

func reasonOf(r events.Reason) string {
	if r == "" {
		return "(no outcome)"
	}
	return string(r)
}

// printable keeps what a stranger chose from steering the terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// parseSeqs reads sequences of letters, such as 12 or 7-9.
func parseSeqs(texts []string) ([]uint64, error) {
	const most = 100_000
	var out []uint64
	for _, t := range texts {
		first, last, isRange := strings.Cut(t, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 64)
		to, err2 := strconv.ParseUint(last, 10, 64)
		if err != nil || err2 != nil || from == 0 || to < from || to-from >= most {
			return nil, fmt.Errorf("%q names no dead letters: give sequences such as 12, or ranges such as 7-9", t)
		}
		for seq := from; seq <= to; seq++ {
			out = append(out, seq)
		}
	}
	return out, nil
}

func jsonLines[T any](out io.Writer, rows []T) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// since is a time, given as such or as an age.
type since time.Time

func (s *since) UnmarshalText(b []byte) error {
	if age, err := time.ParseDuration(string(b)); err == nil && age > 0 {
		*s = since(time.Now().Add(-age))
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return errors.New("must be an age such as 24h, or a time such as 2026-03-01T12:00:00Z")
	}
	*s = since(t)
	return nil
}

// pace is the time between two letters, given as a rate such as 5/s or 100/60s.
type pace time.Duration

func (p *pace) UnmarshalText(b []byte) error {
	count, window, ok := strings.Cut(string(b), "/")
	if window != "" && (window[0] < '0' || window[0] > '9') {
		window = "1" + window
	}
	n, err := strconv.Atoi(count)
	d, derr := time.ParseDuration(window)
	if !ok || err != nil || derr != nil || n < 1 || d <= 0 {
		return errors.New("must be like 5/s or 100/60s")
	}
	*p = pace(d / time.Duration(n))
	return nil
}
