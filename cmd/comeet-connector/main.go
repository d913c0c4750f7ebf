// Command comeet-connector is the sidecar: it submits sourced candidates from NATS JetStream to
// Comeet and publishes what becomes of them. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
)

// cli is the command line. Its commands hold no logic: they read settings, call the packages and
// print.
type cli struct {
	settings

	Run         runCommand         `cmd:"" help:"Serve the configured accounts until told to stop."`
	Setup       setupCommand       `cmd:"" help:"Print the streams, buckets and object store that the connector needs, or create them."`
	Accounts    accountsCommand    `cmd:"" help:"Pause and resume accounts."`
	Deadletters deadlettersCommand `cmd:"" help:"Work on what was refused: list, show, replay, discard."`
	Explain     explainCommand     `cmd:"" help:"Tell the whole history of a candidate or an event, from any of its ids."`
	Erase       eraseCommand       `cmd:"" help:"Erase all that the bus holds about a candidate or an event, from any of its ids."`
	Answers     answersCommand     `cmd:"" help:"Print what each answer of Comeet means to the connector."`
	Schema      schemaCommand      `cmd:"" help:"Print the JSON Schema of an event type."`
	Version     versionCommand     `cmd:"" help:"Print the version and the revision that it was built from."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version and the revision, and end."`
}

func main() {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.DurationFieldFormat = zerolog.DurationFormatString
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; a second one kills.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], environ(os.Environ()), os.Stdout, os.Stderr))
}

// run is main without the process; an empty variable of the environment counts as unset. Whatever
// goes wrong ends in lines that say what to do, never in a stack trace, and in exit code 1.
func run(ctx context.Context, args []string, env environment, stdout, stderr io.Writer) int {
	logs := newLogWriter(stderr)
	defer logs.Close(time.Second)
	c := &cli{settings: settings{env: env, stderr: stderr, logs: logs}}
	command, printed, err := c.parse(ctx, args, stdout)
	if err == nil && !printed {
		err = command.Run(&c.settings)
	}
	if err != nil {
		return complain(logs, err)
	}
	return 0
}

// parse fills in the settings and picks the command. printed is true if help was asked for and
// given.
func (c *cli) parse(ctx context.Context, args []string, stdout io.Writer) (command *kong.Context, printed bool, err error) {
	in := &resolver{env: c.env, file: &c.file}
	parser, err := kong.New(c,
		kong.Name("comeet-connector"),
		kong.Description("Submits sourced candidates from NATS JetStream to Comeet and publishes what becomes of them.\n\n"+
			"A setting comes from its flag, such as --nats-url, else from the environment (NATS_URL), else from the --config file "+
			"(nats_url). Secrets have no flags: they come from COMEET_API_SECRET and COMEET_API_KEY, or better from files."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		// The variable of a flag is its name; see the description.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }),
		kong.Writers(stdout, c.stderr),
		kong.Vars{"version": buildText()},
		kong.Exit(func(int) { printed = true }),
		kong.Resolvers(in),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		return nil, false, err
	}
	in.learn(parser.Model)
	c.misspelt, c.doubtful = c.env.check(in.variables())
	command, err = parser.Parse(args)
	if printed {
		// kong went on after the help, to complain about a missing command.
		return nil, true, nil
	}
	return command, false, in.explain(err)
}

// complain prints each joined error on a line of its own and returns the exit code.
func complain(w io.Writer, err error) int {
	for _, e := range parts(err) {
		fmt.Fprintln(w, "comeet-connector:", strings.ReplaceAll(e.Error(), "\n", "; "))
	}
	return 1
}

// parts are the errors that are joined in err. One that says more than its parts stays whole: the
// rest of it would be lost.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, parts(e)...)
	}
	return out
}
