package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/events"
)

// color is the number of a terminal's colour; plain is none.
type color int

const (
	plain  color = 0
	red    color = 31
	green  color = 32
	yellow color = 33
	blue   color = 34
	cyan   color = 36
	grey   color = 90
)

// view prints, one line at a time. Lines hold ids, uids, positions, statuses and reasons, never a
// person.
type view struct {
	quiet   bool
	colored bool
	began   time.Time

	mu sync.Mutex // guards w
	w  io.Writer
}

func newView(w io.Writer, quiet bool) *view {
	v := &view{quiet: quiet, began: time.Now(), w: w}
	if f, ok := w.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		if st, err := f.Stat(); err == nil {
			v.colored = st.Mode()&os.ModeCharDevice != 0
		}
	}
	return v
}

// line tells what happens to one candidate.
func (v *view) line(who, what, candidate, uid, detail string, c color) {
	if !v.quiet {
		v.write(c, "%-9s  %-11s  %-12s  %-7s  %s", who, what, candidate, uid, detail)
	}
}

// notice tells what concerns everybody; it is shown in any case.
func (v *view) notice(who, what, detail string, c color) {
	v.write(c, "%-9s  %-11s  %s", who, what, detail)
}

func (v *view) write(c color, format string, args ...any) {
	v.text("%7.2f  %s", time.Since(v.began).Seconds(), v.paint(c, strings.TrimRight(fmt.Sprintf(format, args...), " ")))
}

func (v *view) paint(c color, s string) string {
	if !v.colored || c == plain {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, s)
}

func (v *view) text(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.w, format+"\n", args...)
}

type headerFacts struct {
	nats, comeet, admin, dir, log string
	budget                        comeet.Limit
	kept                          bool
	earlier                       uint64
}

func (v *view) header(s settings, f headerFacts) {
	until := "until Ctrl-C"
	if s.For > 0 {
		until = "for about " + s.For.String()
	}
	data := f.dir + " (temporary, removed at the end)"
	if f.kept {
		data = f.dir + " (kept)"
	}
	v.text("%s", v.paint(cyan, "comeet-sandbox: sourcing services → NATS JetStream → connector → Comeet, and back. Everybody in it is invented."))
	v.text("")
	v.text("  NATS     %s", f.nats)
	v.text("  Comeet   %s (a fake; takes %d requests per %v, and the connector keeps to that)", f.comeet, f.budget.Requests, f.budget.Window)
	v.text("  admin    http://%s/metrics and /readyz of the connector", f.admin)
	v.text("  data     %s; the connector's log is %s in it", data, filepath.Base(f.log))
	if f.earlier > 0 {
		v.text("           goes on over %d stored events of earlier runs, which the totals count too; Comeet starts empty", f.earlier)
	}
	v.text("  runs     %s, %g events per second, seed %d; polls every %v (in production every 5 minutes)", until, s.Rate, s.Seed, pollInterval)
	v.text("")
	v.text("  Join in from another terminal:")
	for _, command := range []string{
		"sub 'candidate.status.changed.>'",
		"stream view CANDIDATE_EVENTS",
		"stream view CANDIDATES_DEADLETTER",
		"kv watch COMEET_POSITIONS",
		`pub candidate.sourced '{"specversion":"1.0","type":"candidate.sourced","source":"/me","id":"{{ID}}","data":{"position":{"uid":"` +
			backend.UID + `"},"candidate":{"id":"me-1","first_name":"Nemo","last_name":"Nobody"}}}'`,
	} {
		v.text("    nats -s %s %s", f.nats, command)
	}
	v.text("")
	v.text("  Below, a feed line is what any reader of CANDIDATE_EVENTS sees. Left out: first claims and first statuses.")
	v.text("")
	v.text("%s", v.paint(grey, fmt.Sprintf("%7s  %-9s  %-11s  %-12s  %-7s", "seconds", "who", "what", "candidate", "uid")))
}

// event shows an entry of the feed.
func (v *view) event(e events.Event) {
	switch d := e.Data.(type) {
	case *events.Claimed:
		switch {
		case d.State == events.StateInDoubt:
			v.line("feed", "in doubt", e.Subject(), "", "no usable answer; will be looked up at Comeet", yellow)
		case d.State == events.StateReleased:
			v.line("feed", "released", e.Subject(), "", "nothing was sent; comes again", yellow)
		case d.State == events.StateErased:
			v.line("feed", "erased", "", "", "operation "+d.Operation+", on request", yellow)
		case d.Attempt > 1:
			v.line("feed", "sent again", e.Subject(), "", fmt.Sprintf("attempt %d, after the last one was settled", d.Attempt), yellow)
		}
	case *events.Accepted:
		v.line("feed", "accepted", d.CandidateID, d.CandidateUID, fmt.Sprintf("%s, position %s by %s", d.Outcome, d.PositionUID, d.MatchedBy), green)
	case *events.Failed:
		v.line("feed", "failed", d.CandidateID, "", why(d), red)
	case *events.StatusChanged:
		if d.Previous != nil {
			v.line("feed", "status", d.CandidateID, d.CandidateUID, changeOf(d), cyan)
		}
	}
}

// why is the short form of a refusal.
func why(d *events.Failed) string {
	if len(d.Violations) > 0 {
		return string(d.Reason) + ": " + d.Violations[0].String()
	}
	message, _, _ := strings.Cut(d.Message, "; ")
	return string(d.Reason) + ": " + message
}

// changeOf is the short form of a status event.
func changeOf(d *events.StatusChanged) string {
	before, after := stage(*d.Previous), stage(d.State)
	if before == after {
		return fmt.Sprint("changed: ", d.Changed)
	}
	return before + " → " + after
}

// stage is where a candidate stands, in a few words.
func stage(s events.State) string {
	var steps []string
	for _, step := range s.CurrentSteps {
		steps = append(steps, step.Name)
	}
	switch {
	case s.Merged:
		return "merged into another candidate"
	case s.Deleted:
		return "deleted"
	case len(steps) > 0 && s.Status == comeettest.InProgress:
		return strings.Join(steps, " + ")
	case s.DispositionReason != "" && s.Status == comeettest.Rejected:
		return s.Status + " (" + s.DispositionReason + ")"
	}
	return s.Status
}

// totalsEvery is the time between two lines of totals.
const totalsEvery = 5 * time.Second

// totals prints running totals until the returned function is called, which may be repeated.
func (v *view) totals(t *tally, fake *comeettest.Server, budget comeet.Limit) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for rest(ctx, totalsEvery) {
			n := t.totals()
			since := time.Now().Add(-budget.Window)
			used := 0
			for _, r := range fake.Requests() {
				if r.Arrived.After(since) {
					used++
				}
			}
			v.notice("totals", fmt.Sprintf("%d sourced", n.sourced), fmt.Sprintf(
				"= %d accepted + %d failed + %d waiting │ %d status events │ %d requests in the last %v, of %d",
				n.accepted, n.failed, n.waiting, n.statuses, used, budget.Window, budget.Requests), grey)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// watching is an ordinary reader of the bus.
type watching []jetstream.ConsumeContext

// watch reads the sourced events and the feed as they come, counts them all and shows those of this
// run's feed.
func watch(ctx context.Context, js jetstream.JetStream, t *tally, before before, v *view, r *recruiter) (watching, error) {
	var w watching
	follow := func(stream string, handle jetstream.MessageHandler) error {
		c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		cc, err := c.Consume(handle)
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		w = append(w, cc)
		return nil
	}
	err := follow(sourcedStream, func(m jetstream.Msg) { t.addSourced(m) })
	if err == nil {
		err = follow(eventsStream, func(m jetstream.Msg) {
			seq, e, ok := t.addEvent(m)
			if !ok || seq <= before.events.LastSeq {
				return
			}
			v.event(e)
			if a, ok := e.Data.(*events.Accepted); ok && a.Account == events.DefaultAccount && a.Outcome != events.OutcomeDuplicate {
				r.arrives(a.CandidateID, a.CandidateUID)
			}
		})
	}
	if err != nil {
		w.stop()
	}
	return w, err
}

// stop ends the reading and waits until it has ended; it may be repeated.
func (w watching) stop() {
	for _, cc := range w {
		cc.Stop()
		<-cc.Closed()
	}
}

// logLines shows those lines of the connector's log that concern no candidate; what does is on the
// feed.
type logLines struct{ v *view }

func (l logLines) Write(raw []byte) (int, error) {
	var entry struct {
		Level, Message, Error string
		CandidateID           *string `json:"candidate_id"`
		UID                   string  `json:"candidate_uid"`
	}
	if json.Unmarshal(raw, &entry) != nil || entry.CandidateID != nil || entry.UID != "" {
		return len(raw), nil
	}
	c, detail := grey, entry.Message
	switch entry.Level {
	case "warn":
		c = yellow
	case "error":
		c = red
		if entry.Error != "" {
			detail += ": " + entry.Error
		}
	}
	l.v.notice("connector", entry.Level, detail, c)
	return len(raw), nil
}
