package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// stateOver is what a candidate's state is by a look at it, over what was known. What Comeet does not tell stays as it was
// known: an absent block means "no permission" or a reduced answer as often as "no value", and a deleted candidate shows
// nothing but its uid. The feed gets what is named here and nothing else: no person.
func stateOver(known events.State, c *comeet.Candidate) events.State {
	known.Deleted, known.Merged = c.Deleted, false
	if c.Deleted {
		return known
	}
	if c.Status != nil {
		known.Status = *c.Status
	}
	if c.ProspectStatus != nil {
		known.ProspectStatus = *c.ProspectStatus
	}
	if c.CurrentSteps != nil {
		known.CurrentSteps = stepsOf(c.CurrentSteps)
	}
	if c.CompletedSteps != nil {
		known.CompletedSteps = stepsOf(c.CompletedSteps)
	}
	if c.PositionUID != "" {
		known.PositionUID = c.PositionUID
	}
	if c.PersonUID != "" {
		known.PersonUID = c.PersonUID
	}
	if told := sourceOf(c); told != nil {
		known.Source = told
	}
	switch {
	case c.DispositionReason != nil:
		known.DispositionReason = c.DispositionReason.Reason
	case c.PersonUID != "":
		// A whole answer. No permission guards the reason, so there is none: the candidate was reopened.
		known.DispositionReason = ""
	}
	return known
}

// sourceOf is the source that Comeet tells; nil if it tells none, by leaving it out or by null.
func sourceOf(c *comeet.Candidate) *events.CandidateSource {
	if c == nil || c.Source == nil || c.Source.UID == "" && c.Source.Type == "" {
		return nil
	}
	return &events.CandidateSource{UID: c.Source.UID, Type: c.Source.Type}
}

func stepsOf(steps []comeet.Step) []events.Step {
	out := make([]events.Step, 0, len(steps))
	for _, s := range steps {
		out = append(out, events.Step{
			Name: s.Name, Type: s.Type, PositionStepUID: s.PositionStepUID,
			TimeScheduled: timeText(s.TimeScheduled), TimeCompleted: timeText(s.TimeCompleted),
		})
	}
	return out
}

// timeText writes a time as Comeet does.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// changes names what differs between two states. Times of Comeet's are no content: they move without a visible change. Nor is
// it a change when something is told for the first time: Comeet's answer to a POST leaves out the person, the uids of steps,
// and the source, which is own, the source that this integration is to Comeet, until somebody changes it. A nil own is not
// known yet.
func changes(before, after events.State, own *events.CandidateSource) []events.Change {
	var out []events.Change
	note := func(c events.Change, differs bool) {
		if differs {
			out = append(out, c)
		}
	}
	note(events.ChangedStatus, !strings.EqualFold(before.Status, after.Status))
	note(events.ChangedSteps, !sameSteps(before.CurrentSteps, after.CurrentSteps) || !sameSteps(before.CompletedSteps, after.CompletedSteps))
	note(events.ChangedProspectStatus, !strings.EqualFold(before.ProspectStatus, after.ProspectStatus))
	note(events.ChangedPosition, before.PositionUID != after.PositionUID)
	if before.Source == nil {
		before.Source = own
	}
	note(events.ChangedSource, !sameSource(before.Source, after.Source))
	note(events.ChangedDispositionReason, before.DispositionReason != after.DispositionReason)
	note(events.ChangedPerson, before.PersonUID != after.PersonUID && before.PersonUID != "")
	note(events.ChangedDeleted, before.Deleted != after.Deleted)
	note(events.ChangedMerged, before.Merged != after.Merged)
	return out
}

func sameSteps(a, b []events.Step) bool {
	return slices.EqualFunc(a, b, func(x, y events.Step) bool {
		if x.PositionStepUID == "" || y.PositionStepUID == "" {
			x.PositionStepUID, y.PositionStepUID = "", ""
		}
		return x == y
	})
}

// sameSource compares two sources; one that is not known differs from none.
func sameSource(a, b *events.CandidateSource) bool {
	return a == nil || b == nil || a.UID == b.UID && strings.EqualFold(a.Type, b.Type)
}

// sighting is one look at a candidate.
type sighting struct {
	uid string
	// candidate is what Comeet showed; nil if it said that the candidate was merged into another one.
	candidate *comeet.Candidate
	// seen is when Comeet showed it, by Comeet's clock, in whole seconds.
	seen time.Time
	// asked is when Comeet was asked for it, by Comeet's clock, in whole seconds and never too late: what was shown is no
	// older. Zero means not known.
	asked time.Time
	// sent is the same by our own clock. Zero means not known: the look is too old to be published.
	sent time.Time
	// after is the last entry that was known before Comeet was asked, so that the look is surely newer; 0 if the look may be
	// older than what is published by now.
	after uint64
	// runs is how many complete polls could not read the candidate.
	runs int
}

func (a *account) sightingOf(uid string, c *comeet.Candidate, r *comeet.Response) sighting {
	return sighting{uid: uid, candidate: c, seen: a.seenAt(r.Date), asked: askedAt(r), sent: r.Sent}
}

// askedAt is when a request was sent, by Comeet's clock and never too late; by ours, if Comeet does not tell its time, with
// a margin for how wrong ours may be. The Date of an answer itself is too late: the answer may have been ready long before.
func askedAt(r *comeet.Response) time.Time {
	if r.Date.IsZero() {
		return r.Sent.Add(-clockMargin).UTC().Truncate(time.Second)
	}
	return r.Date.Add(-r.Answered.Sub(r.Sent)).UTC().Truncate(time.Second)
}

// observe publishes what a look at a candidate shows and the last status event does not. Candidates without a status entry
// are not ours, or not yet: the submission writes the first one. A merged one has ended, whatever lists still show.
//
// The look may be older than what somebody else has published since. Comeet's own clock tells, to the second; where it
// cannot, the candidate is read anew: what is asked for after its memory was read can't be older than that. So is one that
// a list calls deleted, since it may have been merged, which only a look at the candidate itself tells.
//
// Nothing is published late. While this process was frozen or without the bus, the candidate may have returned to the state
// before, which no other poller found worth an event, and nobody would correct what came after. So a look that is too old is
// taken anew, and a write has to be over while the look is fresh: every poller's next run reaches back further, and would see
// what came in between.
func (a *account) observe(ctx context.Context, s sighting) error {
	for stale := 0; stale <= maxStale; {
		last, err := a.ledger.LastStatus(ctx, a.name, s.uid)
		if err != nil {
			return err
		}
		known := last.Status()
		if known == nil || known.Merged {
			return nil
		}
		if s.candidate != nil && comeet.IsRealID(s.uid) && s.candidate.UID != s.uid {
			if err := a.followAs(ctx, s, known, last.Event.Extensions()); err != nil {
				return err
			}
			s.candidate = nil
		}
		state := known.State
		if s.candidate != nil {
			state = stateOver(known.State, s.candidate)
		} else {
			state.Merged = true
		}
		own := a.ours.source(a.firstTold(known, s))
		changed := changes(known.State, state, own)
		if len(changed) == 0 {
			return nil
		}
		late := a.isLate(s)
		if late {
			stale++
		}
		deletion := state.Deleted && !known.Deleted
		if late || s.after != last.Seq && (deletion || !s.asked.After(known.SeenAt)) {
			again, shown, err := a.lookAfter(ctx, s, last.Seq)
			if err != nil || !shown {
				return err
			}
			s = again
			continue
		}
		previous := known.State
		st := events.StatusChanged{
			Account: a.name, Operation: known.Operation, CandidateID: known.CandidateID, CandidateUID: s.uid, Sourced: known.Sourced, Changed: changed,
			State: state, Previous: &previous, TimeLastStatusChanged: known.TimeLastStatusChanged, SeenAt: a.seenAt(s.seen),
		}
		if s.candidate != nil && !s.candidate.TimeLastStatusChanged.IsZero() {
			st.TimeLastStatusChanged = timeText(s.candidate.TimeLastStatusChanged)
		}
		write, cancel := context.WithDeadline(ctx, s.sent.Add(a.freshness()))
		_, won, err := a.ledger.PutStatus(write, a.name, s.uid, last.Seq, a.statusEvent(st, last.Seq, last.Event.Extensions()))
		expired := err != nil && write.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && !expired {
			return fmt.Errorf("publish the status of candidate_uid %s: %w", s.uid, err)
		}
		if won {
			a.metrics.statuses.Inc()
			a.log.Info().Str("candidate_id", st.CandidateID).Str("candidate_uid", s.uid).Str("status", state.Status).
				Interface("changed", changed).Msg("candidate status changed")
		}
		switch {
		case won && !a.isLate(s):
			return nil
		case !won && !expired:
			continue
		}
		// Late, or it may be stored for all we know. What Comeet shows from now on is told over it.
		stale++
		again, shown, err := a.lookAfter(ctx, s, 0)
		if err != nil || !shown {
			return err
		}
		s = again
	}
	return fmt.Errorf("publish the status of candidate_uid %s: what Comeet showed was older than %v each time, POLL_OVERLAP / 2; Comeet or the bus is slow", s.uid, a.freshness())
}

// followAs follows a candidate by its uid from now on, which was known by the number that Comeet's conflict answer gave: lists
// don't show that number. Nobody has told what it did before, hence the second look.
func (a *account) followAs(ctx context.Context, s sighting, known *events.StatusChanged, trace map[string]any) error {
	c := s.candidate
	st := events.StatusChanged{
		Account: a.name, Operation: known.Operation, CandidateID: known.CandidateID, CandidateUID: c.UID, Sourced: known.Sourced,
		Changed: []events.Change{events.ChangedFirstSeen}, State: stateOver(known.State, c),
		TimeLastStatusChanged: timeText(c.TimeLastStatusChanged), SeenAt: a.seenAt(s.seen),
	}
	_, won, err := a.ledger.PutStatus(ctx, a.name, c.UID, 0, a.statusEvent(st, 0, trace))
	if err != nil {
		return fmt.Errorf("write the first status of candidate_uid %s: %w", c.UID, err)
	}
	if won {
		a.metrics.statuses.Inc()
		a.log.Info().Str("candidate_id", st.CandidateID).Str("candidate_uid", c.UID).Str("known_as", known.CandidateUID).
			Msg("candidate is followed by its uid, no longer by its number")
	}
	again, shown, err := a.look(ctx, c.UID, comeet.Poll)
	if err != nil || !shown {
		return err
	}
	return a.observe(ctx, again)
}

// maxStale is how many looks at one candidate in a row may be too old to be published.
const maxStale = 5

// freshness is how old a look may be when it is published.
func (a *account) freshness() time.Duration { return max(a.cfg.PollOverlap/2, 100*time.Millisecond) }

// isLate reports whether a look is too old to be published. The wall clock is asked too, since the monotonic one stands still
// while a virtual machine is suspended.
func (a *account) isLate(s sighting) bool {
	return time.Since(s.sent) > a.freshness() || time.Now().Round(0).Sub(s.sent.Round(0)) > a.freshness()
}

// lookAfter reads a candidate anew after its memory was read. shown is false if Comeet hides it, which changes nothing, unless
// a list has called it deleted: a deleted candidate may be answered with "not found", or with a page that says nothing, which
// counts only when it has done so for long.
func (a *account) lookAfter(ctx context.Context, s sighting, memory uint64) (again sighting, shown bool, err error) {
	again, shown, err = a.look(ctx, s.uid, comeet.Poll)
	called := s.candidate != nil && s.candidate.Deleted
	if called && (err == nil && !shown || comeet.KindOf(err) == comeet.Gone && s.runs >= goneAfter) {
		again.candidate, shown, err = s.candidate, true, nil
	}
	again.after, again.runs = memory, s.runs
	return again, shown, err
}

// look reads one candidate for what it is now. shown is false if Comeet hides it from this account. A uid of digits only is
// Comeet's other kind of id; what is shown then has another uid.
func (a *account) look(ctx context.Context, uid string, p comeet.Priority) (s sighting, shown bool, err error) {
	opts := []comeet.CallOption{comeet.WithPriority(p)}
	if comeet.IsRealID(uid) {
		opts = append(opts, comeet.ByRealID())
	}
	c, answer, err := a.comeet.RetrieveCandidate(ctx, uid, opts...)
	switch kind := comeet.KindOf(err); {
	case err == nil:
		return a.sightingOf(uid, c, answer), true, nil
	case kind == comeet.Merged:
		return a.sightingOf(uid, nil, answer), true, nil
	case kind == comeet.NotFound, kind == comeet.Hidden:
		return a.sightingOf(uid, nil, answer), false, nil
	}
	if answer != nil {
		s = a.sightingOf(uid, nil, answer)
	}
	return s, false, fmt.Errorf("read candidate_uid %s: %w", uid, err)
}

// ownSource is what this integration is to Comeet as a candidate's source. Nothing tells it but the candidates themselves: the
// first source that is told of a new one is taken for it, and kept with the poll cursor.
type ownSource struct {
	mu    sync.Mutex // guards known
	known *events.CandidateSource
}

// source is our own one, learned from told if it is not known yet; nil while nothing was told.
func (o *ownSource) source(told *events.CandidateSource) *events.CandidateSource {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = told
	}
	return o.known
}

// firstTold is the source of a candidate that we know by Comeet's answer to the POST alone, at the first poll after it; else
// nil. Its age is by the clock that dated both looks, which is ours where Comeet does not tell its own. A source that is told of an older one may have been changed, and taking it for our own would
// make a change of source of every other candidate.
func (a *account) firstTold(known *events.StatusChanged, s sighting) *events.CandidateSource {
	if s.candidate == nil || known.Source != nil || !slices.Contains(known.Changed, events.ChangedFirstSeen) ||
		s.seen.Sub(known.SeenAt) > a.cfg.PollInterval+a.cfg.PollOverlap {
		return nil
	}
	return sourceOf(s.candidate)
}

// statusEvent is the CloudEvent of a status, with the trace of the candidate's sourced event.
func (a *account) statusEvent(st events.StatusChanged, before uint64, trace map[string]any) events.Event {
	e := a.eventOf(&st)
	e.SetID(ledger.StatusID(a.name, st.CandidateUID, before))
	e.SetSubject(st.CandidateUID)
	carryTrace(&e, trace)
	return e
}

// seenAt is Comeet's time of an answer, or the best guess at it.
func (a *account) seenAt(date time.Time) time.Time {
	if date.IsZero() {
		date = a.comeetNow()
	}
	return date.UTC().Truncate(time.Second)
}

func carryTrace(e *events.Event, from map[string]any) {
	for _, k := range []string{events.ExtTraceparent, events.ExtTracestate} {
		if v, ok := from[k].(string); ok && v != "" {
			e.SetExtension(k, v)
		}
	}
}
