package ops

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// EraseOptions say what to erase. The zero value erases everything about the operations that the id
// names.
type EraseOptions struct {
	// Kind is what the id is. Empty tries all kinds until one fits; a number needs it.
	Kind IDKind
	// Account and Source, the CloudEvents source of the sourced events, pick from what the id
	// names. Two services, or one for two accounts, may have given the same id to different people:
	// without them Erase refuses such an id. Empty picks all.
	Account, Source string
	// DryRun erases nothing.
	DryRun bool
	// Progress is told now and then how many messages of a stream have been read. nil means nobody.
	Progress func(stream string, read int)
}

// Erasure is what was erased, or would be, without any person's data.
type Erasure struct {
	// Kind is what the id was taken for.
	Kind       IDKind            `json:"kind"`
	Operations []ErasedOperation `json:"operations"`
	// Messages are in the order in which they go.
	Messages []ErasedMessage `json:"messages"`
	// Files are the names of the objects. Shared are those that stay, because an event which is not
	// erased names them too.
	Files  []string `json:"files,omitempty"`
	Shared []string `json:"shared,omitempty"`
}

// ErasedOperation is an operation that keeps no more than an entry which says that it was erased.
type ErasedOperation struct {
	Account   string `json:"account"`
	Operation string `json:"operation"`
	// Source is the sourcing service; empty if nothing tells it any more.
	Source string `json:"source,omitempty"`
	// State is where it stood; see OperationState.
	State string `json:"state"`
}

// ErasedMessage is a message by its place.
type ErasedMessage struct {
	Stream    string `json:"stream"`
	Seq       uint64 `json:"seq"`
	Operation string `json:"operation"`
	// What is "sourced event", "dead letter", "note on a dead letter", "status", "claim" or
	// "outcome".
	What string `json:"what"`
}

// ErrInFlight means that an operation is not at its end: an event of it has no outcome yet. Nothing
// was erased.
var ErrInFlight = errors.New("wait until it has its outcome, which the connector gives it, then erase again")

// Erase removes all that the bus holds about the operations that an id names, and overwrites its
// place: sourced events and their files, dead letters and the notes on them, statuses, claims and
// outcomes. Before that each operation gets an entry that says that it was erased, and nothing
// else. It stays for ledger.KeepOutcomes, so that nothing is submitted under the operation again:
// an event that comes anyway ends as failed, for events.ReasonErased.
//
// Repeating it is harmless, and finishes what one that died or failed has begun; by the operations'
// names it always finds the rest. An event that is published while it runs may stay. Errors:
// ErrUnknownID; ErrInFlight; that the id names people of several services or accounts, or may be of
// several kinds; the bus's, the context's. If something was erased before the error, the Erasure
// says what was to be.
func (c *Client) Erase(ctx context.Context, id string, o EraseOptions) (*Erasure, error) {
	if o.Kind == "" && isSeq.MatchString(id) {
		return nil, fmt.Errorf("erase %s: a number may be a dead letter's or anybody's own: say which kind of id it is", id)
	}
	x, err := c.collect(ctx, id, ExplainOptions{Kind: o.Kind, Progress: o.Progress})
	if err != nil {
		return nil, fmt.Errorf("erase %s: %w", id, err)
	}
	e := &eraser{collector: x, targets: map[ledger.Op]*target{}, outcomes: map[string]bool{}, sharedFiles: map[string]bool{}}
	for op := range x.ops {
		e.targets[op] = &target{op: op, uids: map[string]bool{}}
	}
	begun, err := e.erase(ctx, o)
	if err != nil {
		err = fmt.Errorf("erase %s: %w", id, err)
	}
	if !begun {
		return nil, err
	}
	return e.result(), err
}

// target is an operation to erase, with all that the bus holds about it.
type target struct {
	op     ledger.Op
	source string
	// last is the entry that is the operation's state.
	last ledger.Entry
	// events are its sourced events.
	events []*sourcedAt
	// letters are its dead letters and the notes on them, statuses those of its candidates, whose
	// uids are in uids.
	letters, statuses []ErasedMessage
	uids              map[string]bool
	// named are the claims and outcomes that have the id by which all this was found, entries are
	// the others.
	entries, named []ErasedMessage
	files          []string
}

type sourcedAt struct {
	ErasedMessage
	*ledger.Sourced
}

// eraser gathers what there is about some operations. Unlike explain it relies on no id: it reads
// all that the streams hold.
type eraser struct {
	*collector
	targets map[ledger.Op]*target
	// outcomes are the CloudEvents ids of the targets' claims and outcomes.
	outcomes map[string]bool
	// sharedFiles are the files of other events.
	sharedFiles map[string]bool
}

// erase does it. begun is whether anything may have been changed, or would be: before that, there
// is nothing to tell.
func (e *eraser) erase(ctx context.Context, o EraseOptions) (begun bool, err error) {
	// In this order: an outcome that is read has its event in the sourced stream, and its letter
	// was stored before it.
	for _, read := range []func(context.Context) error{e.readEvents, e.readSourced, e.readLetters} {
		if err := read(ctx); err != nil {
			return false, err
		}
	}
	if err := e.filter(o); err != nil {
		return false, err
	}
	for _, a := range e.sorted() {
		if err := e.atItsEnd(ctx, a); err != nil {
			return false, err
		}
	}
	if o.DryRun {
		return true, nil
	}
	if err := e.writeErased(ctx); err != nil {
		return false, err
	}
	return true, e.remove(ctx)
}

// readEvents finds claims, outcomes and statuses.
func (e *eraser) readEvents(ctx context.Context) error {
	return e.scan(ctx, bus.EventsStream, nil, func(m bus.Stored) {
		account, ok := events.AccountOfSubject(m.Subject)
		if !ok {
			return
		}
		a := e.targets[ledger.Op{Account: account, ID: m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]}]
		if a == nil && !e.mentions(m.Data) {
			return
		}
		entry := ledger.Entry{Seq: m.Seq, Stored: m.Time}
		entry.Event, _ = events.Decode(m.Header, m.Data) // what nobody can read goes by its subject
		id, sourced, candidate, uid := named(entry.Event)
		if a != nil {
			a.last = entry
		} else if a = e.targets[ledger.Op{Account: account, ID: id}]; a == nil {
			return
		}
		e.outcomes[entry.Event.ID()] = true
		about := ErasedMessage{Stream: bus.EventsStream, Seq: m.Seq, Operation: a.op.ID, What: "outcome"}
		letter := ""
		switch d := entry.Event.Data.(type) {
		case *events.StatusChanged:
			about.What, a.uids[uid] = "status", true
			a.statuses = append(a.statuses, about)
			return
		case *events.Claimed:
			about.What = "claim"
			a.cameFrom(&d.Sourced)
		case *events.Accepted:
			a.uids[uid] = true
			a.cameFrom(&d.Sourced)
		case *events.Failed:
			a.cameFrom(d.Sourced)
			if d.DeadLetter != nil {
				letter = fmt.Sprint(d.DeadLetter.Sequence)
			}
		}
		if slices.Contains([]string{sourced, candidate, uid, letter}, e.id) {
			a.named = append(a.named, about)
		} else {
			a.entries = append(a.entries, about)
		}
	})
}

// mentions is false only for an event of ours that is about none of the operations.
func (e *eraser) mentions(body []byte) bool {
	for op := range e.targets {
		if bytes.Contains(body, []byte(op.ID)) {
			return true
		}
	}
	return false
}

func (a *target) cameFrom(ref *events.SourcedRef) {
	if ref != nil && ref.Source != "" {
		a.source = ref.Source
	}
}

// readSourced finds the sourced events.
func (e *eraser) readSourced(ctx context.Context) error {
	stream := bus.SourcedStream
	return e.scan(ctx, stream, nil, func(m bus.Stored) {
		account, ok := events.AccountOfSubject(m.Subject)
		if !ok {
			return
		}
		s, _ := ledger.ReadSourced(account, m.Header, m.Data, ledger.Identity{Stream: stream, Created: e.sourcedCreated, Seq: m.Seq, Replay: ledger.ReplayOf(m.Header)})
		a := e.targets[s.Op]
		e.readFiles(a, m, s)
		if a != nil {
			a.cameFrom(s.Identity.Ref())
			a.events = append(a.events, &sourcedAt{ErasedMessage{stream, m.Seq, a.op.ID, "sourced event"}, s})
		}
	})
}

// readLetters finds the dead letters and the notes on them.
func (e *eraser) readLetters(ctx context.Context) error {
	stream := bus.DeadLettersStream
	return e.scan(ctx, stream, nil, func(m bus.Stored) {
		l, ok := letterOf(m)
		if !ok {
			n, err := noteOf(m)
			if err != nil {
				return
			}
			for _, op := range []string{n.Operation, n.ReplayOperation} {
				if a := e.targets[ledger.Op{Account: n.Account, ID: op}]; a != nil {
					a.cameFrom(n.Sourced)
					a.letters = append(a.letters, ErasedMessage{stream, m.Seq, op, "note on a dead letter"})
					return
				}
			}
			return
		}
		s, invalid := ledger.ReadSourced(l.Account, m.Header, m.Data, ledger.Identity{Replay: l.Replay})
		op := s.Op
		if invalid != nil {
			op = l.eventOp
		}
		a := e.targets[op]
		e.readFiles(a, m, s)
		if a != nil {
			a.cameFrom(s.Identity.Ref())
			a.letters = append(a.letters, ErasedMessage{stream, m.Seq, a.op.ID, "dead letter"})
		}
	})
}

// isObject is what the contract lets an object be called.
var isObject = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readFiles notes the objects that an event names, also one that breaks the contract elsewhere. A
// nil target is somebody else's.
func (e *eraser) readFiles(a *target, m bus.Stored, s *ledger.Sourced) {
	type file struct{ Object events.Object }
	type data struct {
		Candidate struct {
			Resume, Picture file
			Files           []file
		}
	}
	var event struct{ Data data }
	d := &event.Data
	switch {
	case s.Data != nil:
		for _, f := range s.Data.Candidate.AllFiles() {
			if f.Object != nil {
				d.Candidate.Files = append(d.Candidate.Files, file{*f.Object})
			}
		}
	case isBinary(m.Header):
		_ = json.Unmarshal(m.Data, d) // as much as can be read
	default:
		_ = json.Unmarshal(m.Data, &event)
	}
	for _, f := range append(d.Candidate.Files, d.Candidate.Resume, d.Candidate.Picture) {
		switch {
		case !isObject.MatchString(f.Object.Name):
		case a == nil:
			e.sharedFiles[f.Object.Name] = true
		default:
			a.files = append(a.files, f.Object.Name)
		}
	}
}

// filter leaves out what the options do, and refuses an id that names people of several services or
// accounts.
func (e *eraser) filter(o EraseOptions) error {
	var from []string
	for op, a := range e.targets {
		if o.Account != "" && op.Account != o.Account || o.Source != "" && a.source != "" && a.source != o.Source {
			for _, name := range a.files {
				e.sharedFiles[name] = true
			}
			delete(e.targets, op)
		} else if a.source != "" {
			from = append(from, fmt.Sprintf("account %s, source %s", op.Account, a.source))
		}
	}
	if len(e.targets) == 0 {
		return ErrUnknownID
	}
	slices.Sort(from)
	if from = slices.Compact(from); len(from) > 1 {
		return fmt.Errorf("it names candidates of several services or accounts, who need not be the same person: say which, by account and source: %s", strings.Join(from, "; "))
	}
	return nil
}

func (e *eraser) sorted() []*target {
	var out []*target
	for _, a := range e.targets {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *target) int {
		return cmp.Or(strings.Compare(a.op.Account, b.op.Account), strings.Compare(a.op.ID, b.op.ID))
	})
	return out
}

// atItsEnd refuses an operation that somebody works on, or will. Who is accepted has to be followed
// first: a first status that is written later would bring the candidate back.
func (e *eraser) atItsEnd(ctx context.Context, a *target) error {
	for _, s := range a.events {
		done := false
		for _, under := range []ledger.Op{a.op, s.EventOp, a.op.Of(s.Identity)} {
			for _, t := range []string{events.TypeAccepted, events.TypeFailed} {
				done = done || e.outcomes[ledger.OutcomeID(under, s.Identity, t)]
			}
		}
		if !done {
			state := "waits"
			if c := a.last.Claimed(); c != nil && (c.State == events.StateClaimed || c.State == events.StateInDoubt) {
				state = "is in flight (" + string(c.State) + ")"
			}
			return fmt.Errorf("operation %s of account %s %s: message %d of %s has no outcome: %w", a.op.ID, a.op.Account, state, s.Seq, s.Stream, ErrInFlight)
		}
	}
	accepted := a.last.Accepted()
	if accepted == nil || len(a.events) == 0 {
		return nil
	}
	first, err := e.ledger.LastStatus(ctx, a.op.Account, accepted.CandidateUID)
	if err == nil && first.Seq == 0 {
		return fmt.Errorf("operation %s of account %s is accepted, and its first status is not stored yet: %w", a.op.ID, a.op.Account, ErrInFlight)
	}
	return err
}

// writeErased writes the entries that stay. From then on nothing is submitted under these
// operations.
func (e *eraser) writeErased(ctx context.Context) error {
	for _, a := range e.sorted() {
		if a.last.Erased() {
			continue
		}
		erased := &events.Claimed{Account: a.op.Account, Operation: a.op.ID, State: events.StateErased}
		_, won, err := e.ledger.Put(ctx, a.op, a.last.Seq, ledger.NewEvent(e.cfg.EventSource, e.bus.Now(), erased, nil))
		if err != nil {
			return err
		}
		if !won {
			return fmt.Errorf("operation %s of account %s has moved on meanwhile: %w", a.op.ID, a.op.Account, ErrInFlight)
		}
	}
	return nil
}

// remove erases. By what goes last the rest can be found again: files by their events, letters by
// their outcomes, and everything by the outcomes that have the id. Events go before their outcomes,
// since one without looks as if it waited.
func (e *eraser) remove(ctx context.Context) error {
	out := e.result()
	if len(out.Files) > 0 {
		files, err := e.bus.Objects(ctx, bus.FilesStore)
		if errors.Is(err, bus.ErrAssetDeleted) {
			out.Files, err = nil, nil
		}
		if err != nil {
			return err
		}
		for _, name := range out.Files {
			if err := files.Erase(ctx, name); err != nil {
				return err
			}
		}
	}
	n := slices.IndexFunc(out.Messages, func(m ErasedMessage) bool { return m.What == "claim" || m.What == "outcome" })
	if n < 0 {
		n = len(out.Messages)
	}
	if err := e.removeEach(ctx, out.Messages[:n]); err != nil {
		return err
	}
	if err := e.forget(ctx); err != nil {
		return err
	}
	return e.removeEach(ctx, out.Messages[n:])
}

func (e *eraser) removeEach(ctx context.Context, messages []ErasedMessage) error {
	for _, m := range messages {
		if err := e.bus.Erase(ctx, m.Stream, m.Seq); err != nil {
			return err
		}
	}
	return nil
}

// forget erases the statuses that came since they were read, such as a poll's.
func (e *eraser) forget(ctx context.Context) error {
	for _, a := range e.sorted() {
		for uid := range a.uids {
			last, err := e.ledger.LastStatus(ctx, a.op.Account, uid)
			if err != nil {
				return err
			}
			if st := last.Status(); st == nil || e.targets[ledger.Op{Account: a.op.Account, ID: st.Operation}] == nil {
				continue // there is none, or it is that of an operation that stays and has the same candidate
			}
			if err := e.ledger.Forget(ctx, a.op.Account, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// result tells what goes, in its order.
func (e *eraser) result() *Erasure {
	out := &Erasure{Kind: e.kind}
	var letters, statuses, entries, named []ErasedMessage
	for _, a := range e.sorted() {
		state := OperationState{State: "waiting"}
		if a.last.Seq > 0 {
			state.apply(a.last.Event)
		}
		out.Operations = append(out.Operations, ErasedOperation{a.op.Account, a.op.ID, a.source, state.State})
		for _, s := range a.events {
			out.Messages = append(out.Messages, s.ErasedMessage)
		}
		letters, statuses, named = append(letters, a.letters...), append(statuses, a.statuses...), append(named, a.named...)
		for _, m := range a.entries {
			if m.Seq != a.last.Seq || !a.last.Erased() {
				entries = append(entries, m)
			}
		}
		for _, name := range a.files {
			if e.sharedFiles[name] {
				out.Shared = append(out.Shared, name)
			} else {
				out.Files = append(out.Files, name)
			}
		}
	}
	out.Messages = slices.Concat(out.Messages, letters, statuses, entries, named)
	for _, names := range []*[]string{&out.Files, &out.Shared} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return out
}
