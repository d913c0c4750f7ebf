package connector_test

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/events"
)

// checkAll proves the promises from the outside, once all is quiet.
func (c *campaign) checkAll() {
	c.Helper()
	c.check()
	c.checkOutcome()
	for _, account := range c.Accounts {
		c.noneOutstanding(account)
		for uid := range c.read().statuses(account) {
			c.eventuallyTrueOf(account, uid)
			c.inOrderOf(account, uid)
			c.nothingMissed(account, uid)
		}
		if n := c.fake.Throttled(account); n != 0 {
			c.Errorf("account %s: %d requests refused as too many", account, n)
		}
	}
	for _, r := range c.replicas {
		if r.runs() && r.admin != "" {
			c.checkLeaks(metricsAt(c.TB, r.admin))
		}
		if r.process != nil {
			c.checkLeaks(r.process.logs.String())
		}
	}
	for _, r := range c.replicas {
		if r.process != nil && r.runs() {
			c.eventually(r.name+" to be ready", func() bool { return strings.Contains(r.process.logs.String(), `"message":"ready"`) })
			r.process.stop()
			if code := r.process.cmd.ProcessState.ExitCode(); code != 0 {
				c.Errorf("%s ended with code %d", r.name, code)
			}
		}
	}
}

// checkOutcome proves that each event came to what its publisher must expect: the right candidate on the right position, or a refusal
// for its own fault. Only three POSTs in doubt, while others succeeded, may end an event otherwise.
func (c *campaign) checkOutcome() {
	c.Helper()
	f := c.read()
	doubts := map[string]int{}
	for _, e := range f {
		if d, ok := e.Data.(*events.Claimed); ok && d.State == events.StateInDoubt {
			doubts[d.Operation]++
		}
	}
	outcomes, letters := f.outcomes(), c.letters()
	unreadable := map[uint64]bool{}
	for _, es := range outcomes {
		for _, e := range es {
			d, ok := e.Data.(*events.Failed)
			if !ok {
				continue
			}
			if d.DeadLetter == nil || letters[d.DeadLetter.Sequence] == nil {
				c.Errorf("the original of operation %s, which failed, is not kept", d.Operation)
			} else if d.Sourced == nil {
				unreadable[d.DeadLetter.Sequence] = true
			}
		}
	}
	want := 0
	for _, p := range c.published {
		if strings.HasPrefix(p.identity, "#") {
			want++
			continue
		}
		for _, e := range outcomes[p.identity] {
			switch d := e.Data.(type) {
			case *events.Accepted:
				if p.want != "accepted" {
					c.Errorf("event %s was accepted, want %s", p.identity, p.want)
				}
				c.checkAccepted(p, d)
			case *events.Failed:
				if string(d.Reason) == p.want {
					continue
				}
				if d.Reason != events.ReasonInDoubt || doubts[d.Operation] < 3 {
					c.Errorf("event %s failed after %d doubts: %s: %s; want %s", p.identity, doubts[d.Operation], d.Reason, d.Message, p.want)
				}
			}
		}
	}
	if len(unreadable) != want {
		c.Errorf("%d outcomes for %d unreadable events", len(unreadable), want)
	}
}

// checkAccepted proves that an accepted event's candidate is its own, on the position that it asked for.
func (c *campaign) checkAccepted(p sent, d *events.Accepted) {
	c.Helper()
	position := wantedPosition(p.data.Position)
	history := c.fake.History(p.account, d.CandidateUID)
	if len(history) == 0 {
		c.Errorf("event %s: Comeet of account %s has no candidate %s", p.identity, p.account, d.CandidateUID)
		return
	}
	first := history[0]
	if d.PositionUID != position || first.PositionUID != position {
		c.Errorf("event %s: position %s in its outcome, %s at Comeet, want %s", p.identity, d.PositionUID, first.PositionUID, position)
	}
	if first.Email != p.data.Candidate.Email || !strings.HasSuffix(first.PartnerCandidateID, "-"+p.data.Candidate.ID) {
		c.Errorf("event %s: its candidate %s is another person's", p.identity, d.CandidateUID)
	}
}

// wantedPosition is the uid of the open position that an event names.
func wantedPosition(p events.Position) string {
	for _, have := range positions() {
		if have.Status == "open" && (p.UID == have.UID || p.CustomID != "" && p.CustomID == have.InternalUseCustomID ||
			strings.EqualFold(p.Name, have.Name) && strings.EqualFold(p.Department, have.Department)) {
			return have.UID
		}
	}
	return ""
}

// nothingMissed proves that every state that was Comeet's during the whole of a complete poll is told.
func (c *campaign) nothingMissed(account, uid string) {
	c.Helper()
	sw := c.switches
	if sw.NoDate || sw.MaxPageSize < 1000 || sw.RepeatRows > 0 || sw.EmptyPages || sw.VisibleInListAfter > 0 || c.jumps > 0 {
		return // a poll may take several pages, which need not show it, or nobody can tell when it began
	}
	f := c.read()
	told := f.statuses(account)[uid]
	var known time.Time
	for _, e := range f {
		if d, ok := e.Data.(*events.StatusChanged); ok && d.Account == account && d.CandidateUID == uid {
			known = e.Time()
			break
		}
	}
	history := c.fake.History(account, uid)
	for i := 0; i < len(history); {
		s, from := history[i], history[i].At
		for i++; i < len(history) && history[i].VisibleEqual(s); i++ {
		}
		if i == len(history) || s.Deleted || s.Hidden || s.MergedInto != "" {
			continue // the end is checked elsewhere
		}
		if from.Before(known) {
			from = known
		}
		if slices.ContainsFunc(c.polls.of(account), func(r pollRun) bool { return r.started.Add(-c.offset).After(from) && r.done.Before(history[i].At) }) &&
			!slices.ContainsFunc(told, func(st *events.StatusChanged) bool { return difference(st.State, s.Candidate) == "" }) {
			c.Errorf("candidate %s: the state from %s to %s was there during a whole poll and was not told: %+v",
				uid, from.Format("05.000"), history[i].At.Format("05.000"), s.Status)
		}
	}
}

// startedOf reads a poll's start out of what it keeps.
func startedOf(kept []byte) time.Time {
	var cursor struct{ Started time.Time }
	if json.Unmarshal(kept, &cursor) != nil {
		return time.Time{}
	}
	return cursor.Started
}
