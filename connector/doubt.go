package connector

import "sync/atomic"

// postStats counts what an account's POSTs have come to, to tell an event that Comeet chokes on
// from a Comeet that is sick.
type postStats struct{ verdicts, doubts atomic.Int64 }

type tally struct {
	known            bool
	verdicts, doubts int64
}

func (p *postStats) verdict() { p.verdicts.Add(1) }
func (p *postStats) doubt()   { p.doubts.Add(1) }
func (p *postStats) now() tally {
	return tally{true, p.verdicts.Load(), p.doubts.Load()}
}

// noneSince reports whether no other POST came to an end of any kind since ours was sent.
func (p *postStats) noneSince(sent tally) bool {
	return p.verdicts.Load() == sent.verdicts && p.doubts.Load() <= sent.doubts+1
}

// countsAgainst reports whether a doubt counts against its event: since its POST was sent, at least
// as many of the account's other POSTs had a verdict as ended in doubt (the look-up has just
// succeeded, so Comeet is there).
func (p *postStats) countsAgainst(sent tally) bool {
	others := p.doubts.Load() - sent.doubts - 1
	return sent.known && p.verdicts.Load()-sent.verdicts >= others // guard: outage-blames-no-event
}
