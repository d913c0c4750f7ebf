// Package track is the way back: it reads what becomes of submitted candidates at Comeet, and
// publishes every change of their status.
//
// Comeet has no webhook for candidates. So Poll reads what has moved since the last complete run,
// and Sweep re-reads everything now and then, for what polls cannot see. Both observe: they compare
// a reading with the last status event of that candidate, which is the only memory, and publish
// what differs as a compare-and-set over it. So every replica may poll at any time, and a crash
// loses nothing: the cursor moves only after a complete run.
//
// A candidate is followed from its first status event on, which the submission writes with First.
// The package knows nothing else of submissions.
package track

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	// pageSize is what is asked for per page; Comeet may give less.
	pageSize = 500
	// maxPages only ends a listing that never would.
	maxPages = 100_000
	// clockMargin is by how much this host's clock and Comeet's may differ.
	clockMargin = 10 * time.Minute
)

// Config is what a Tracker works with. All fields are required.
type Config struct {
	// Account is the account's name, Comeet its client.
	Account string
	Comeet  *comeet.Client
	// Bus holds the stream Events, of which Ledger writes the entries, and Cursors, the bucket of
	// how far polls and sweeps have come.
	Bus     *bus.Bus
	Events  string
	Ledger  *ledger.Ledger
	Cursors *bus.Bucket
	// Source is the CloudEvents `source` of the status events.
	Source string
	// PollInterval is the time between two polls, PollOverlap how far each reaches back beyond the
	// start of the last complete one. A reading is published within half of PollOverlap.
	PollInterval, PollOverlap time.Duration
	// SweepInterval is within how long every candidate is read once, budget permitting.
	SweepInterval time.Duration
	// StrayAfter is how long a submission in doubt may rest, and be looked up, before its candidate
	// has an operation.
	StrayAfter time.Duration
	// WaitForCapacity blocks while the events stream is too full for what a poll may find.
	WaitForCapacity func(context.Context) error
	Metrics         Metrics
	Log             zerolog.Logger
}

// Metrics counts what a Tracker does. Its methods must not block.
type Metrics interface {
	// StatusPublished counts a status event of a change.
	StatusPublished()
	// Overtaken counts a candidate of a submission that had been given up.
	Overtaken()
	// PollCompleted counts a complete poll, which left unread candidates to later ones.
	PollCompleted(unread int)
	// PollFailed counts a poll that was not complete.
	PollFailed()
	// SweepCompleted counts a complete pass of the sweep, which could not read unread candidates.
	SweepCompleted(unread int)
	// SweepFailed counts a pass that was not complete.
	SweepFailed()
	// EntryUnreadable counts a ledger entry that cannot be read.
	EntryUnreadable()
}

// Tracker follows the candidates of one account. Its methods are safe for concurrent use, but for
// Poll, which runs once.
type Tracker struct {
	cfg    Config
	source integrationSource
	strays []stray // of Poll
	damage damage
}

// New returns a Tracker that does nothing by itself; Poll and Sweep are its loops.
func New(cfg Config) *Tracker { return &Tracker{cfg: cfg} }

// First is what is known of a candidate when its status is published for the first time.
type First struct {
	// Operation submitted the candidate, on behalf of the event Sourced about CandidateID.
	Operation, CandidateID string
	Sourced                *events.SourcedRef
	// CandidateUID is Comeet's.
	CandidateUID string
	// Known is the state as far as it is known from elsewhere.
	Known events.State
	// Candidate is what Comeet showed, nil if it did not show the candidate. Date is when, by
	// Comeet's clock; zero if that is not known.
	Candidate *comeet.Candidate
	Date      time.Time
	// Trace are the extensions of the sourced event, of which the event carries the trace on.
	Trace map[string]any
}

// First publishes the first status of a candidate, from which on it is followed. If the candidate
// has a status already, First changes nothing: it returns that one, and that it has not won.
func (t *Tracker) First(ctx context.Context, f First) (entry ledger.Entry, won bool, err error) {
	st := &events.StatusChanged{
		Account: t.cfg.Account, Operation: f.Operation, CandidateID: f.CandidateID, CandidateUID: f.CandidateUID,
		Sourced: f.Sourced, Changed: []events.Change{events.ChangedFirstSeen}, SeenAt: t.seenAt(f.Date), State: bounded(f.Known),
	}
	if f.Candidate != nil {
		st.State = stateOver(f.Known, f.Candidate)
		st.TimeLastStatusChanged = timeText(f.Candidate.TimeLastStatusChanged)
	}
	entry, won, err = t.put(ctx, st, 0, f.Trace)
	if bad, ok := errors.AsType[*ledger.UnreadableError](err); ok {
		// What nobody can read is no status, unless there is a readable one before it.
		if entry, err = t.lastStatus(ctx, f.CandidateUID); ledger.IsUnreadable(err) {
			entry, won, err = t.put(ctx, st, bad.Seq, f.Trace)
		}
	}
	if err != nil {
		return entry, false, fmt.Errorf("write the first status of candidate_uid %s: %w", f.CandidateUID, err)
	}
	return entry, won, nil
}

// put writes a status event over the entry before, with the trace of the candidate's sourced event.
func (t *Tracker) put(ctx context.Context, st *events.StatusChanged, before uint64, trace map[string]any) (ledger.Entry, bool, error) {
	e := ledger.NewEvent(t.cfg.Source, t.cfg.Bus.Now(), st, trace)
	e.SetID(ledger.StatusID(t.cfg.Account, st.CandidateUID, before))
	e.SetSubject(st.CandidateUID)
	return t.cfg.Ledger.PutStatus(ctx, t.cfg.Account, st.CandidateUID, before, e)
}

// statusFilter covers the status events of all candidates of the account.
func (t *Tracker) statusFilter() string { return events.TypeStatusChanged + "." + t.cfg.Account + ".*" }

// comeetNow is the best guess at Comeet's clock.
func (t *Tracker) comeetNow() time.Time { return t.cfg.Comeet.Now().UTC().Truncate(time.Second) }

// loadState reads what saveState stored under a name; the zero value if nothing readable was.
func loadState[T any](ctx context.Context, t *Tracker, name string) (state T, err error) {
	key := name + "." + t.cfg.Account
	raw, _, err := t.cfg.Cursors.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return state, nil
	}
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		t.cfg.Log.Error().Str("key", key).Msg("what was kept in the cursors bucket is unreadable; starting anew, nothing is lost")
		return *new(T), nil
	}
	return state, nil
}

// saveState stores a value in the cursors bucket for loadState.
func (t *Tracker) saveState(ctx context.Context, name string, state any) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return t.cfg.Cursors.Put(ctx, name+"."+t.cfg.Account, raw)
}
