package connector

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// unservedPause is the time between two looks for events of accounts that nobody serves.
const unservedPause = 30 * time.Second

// watchUnserved tells of events that wait for an account which is not configured: a typo of a
// publisher's, or an account still to be added. They stay in their stream, up to its age limit, and
// are served when the account is configured.
func (c *Connector) watchUnserved(ctx context.Context, b *bus.Bus) {
	known := map[string]bool{}
	for _, a := range c.cfg.Accounts {
		known[events.SourcedSubject(a.Name)] = true
		if a.Name == events.DefaultAccount {
			known[events.SourcedSubject("")] = true
		}
	}
	told := map[string]uint64{}
	for {
		st, err := b.StreamState(ctx, bus.SourcedStream, events.TypeSourced+".>")
		var bare bus.StreamState
		if err == nil {
			bare, err = b.StreamState(ctx, bus.SourcedStream, events.TypeSourced)
		}
		if err == nil {
			maps.Copy(st.Subjects, bare.Subjects)
			var sum uint64
			now := map[string]uint64{}
			for _, subject := range slices.Sorted(maps.Keys(st.Subjects)) {
				if known[subject] {
					continue
				}
				n := st.Subjects[subject]
				sum += n
				now[subject] = n
				if told[subject] == n {
					continue
				}
				account, legal := events.AccountOfSubject(subject)
				if !legal {
					account = "(no legal account name)"
				}
				c.log.Error().Str("account", account).Uint64("events", n).
					Msg("events wait for an account that is not configured; add it, or correct the publisher's subject. They end with their stream's age limit")
			}
			c.metrics.unserved.Set(float64(sum))
			told = now
		} else if ctx.Err() == nil {
			c.log.Warn().Err(err).Msg("could not look for events of accounts that nobody serves")
		}
		if !bus.Sleep(ctx, unservedPause) {
			return
		}
	}
}
