package ops

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// IDKind is what an id names.
type IDKind string

// The kinds of ids from which a history can be found, in the order in which one that is not named
// is tried. The first three are looked up; for the others all sourced events and outcomes on the
// bus are read.
const (
	KindLetter    IDKind = "letter"    // sequence of a dead letter
	KindOperation IDKind = "operation" // 26 characters, in every event about the operation
	KindUID       IDKind = "uid"       // candidate_uid: Comeet's id of the candidate
	KindEvent     IDKind = "event"     // CloudEvents id of the sourced event
	KindCandidate IDKind = "candidate" // candidate.id: the sourcing service's id of the candidate
)

// ErrUnknownID means that nothing on the bus is known by an id.
var ErrUnknownID = errors.New("nothing on the bus is known by this id; it may have aged out, or be of another kind")

var (
	isSeq       = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
	isOperation = regexp.MustCompile(`^[a-z2-7]{26}$`)
)

// collect finds the operations that an id names, and what belongs to them.
func (c *Client) collect(ctx context.Context, id string, o ExplainOptions) (*collector, error) {
	x := &collector{Client: c, o: o, id: id, ops: map[ledger.Op]*OperationState{}, seen: map[place]bool{}, searchTerms: map[string]bool{}, uids: map[[2]string]bool{}}
	for _, way := range []struct {
		kind IDKind
		open bool
		find func(context.Context) error
	}{
		{KindLetter, x.mayBe(KindLetter) && isSeq.MatchString(id), x.findLetter},
		{KindOperation, x.mayBe(KindOperation) && isOperation.MatchString(id), x.findOperation},
		{KindUID, x.mayBe(KindUID) && id != "", x.findUID},
		{o.Kind, (x.mayBe(KindUID) || x.mayBe(KindEvent) || x.mayBe(KindCandidate)) && id != "", x.findMentioned},
	} {
		if !way.open {
			continue
		}
		x.kind = way.kind
		if err := way.find(ctx); err != nil {
			return nil, err
		}
		if len(x.ops) > 0 {
			break
		}
	}
	if len(x.ops) == 0 {
		return nil, ErrUnknownID
	}
	return x, x.follow(ctx)
}

func (x *collector) mayBe(k IDKind) bool { return x.o.Kind == "" || x.o.Kind == k }

type place struct {
	stream string
	seq    uint64
}

// collector collects a history: from the operations that are known to belong to it, more of it is
// found, until nothing is new.
type collector struct {
	*Client
	o    ExplainOptions
	id   string
	kind IDKind
	// ops are the operations of the history; unread are those whose entries were not looked at yet.
	ops    map[ledger.Op]*OperationState
	unread []ledger.Op
	seen   map[place]bool
	// searchTerms are ids of which at least one is in every sourced event of the history that has
	// any.
	searchTerms map[string]bool
	stale       bool // searchTerms or operations are newer than the last scan for them
	// searchAll means that an operation was erased: no entry tells which ids its events have.
	searchAll bool
	uids      map[[2]string]bool
	entries   []HistoryEntry
}

func (x *collector) addOperation(op ledger.Op) {
	if op.ID != "" && x.ops[op] == nil {
		x.ops[op] = &OperationState{Account: op.Account, Operation: op.ID, State: "waiting"}
		x.unread = append(x.unread, op)
		x.stale = true
	}
}

func (x *collector) searchFor(ids ...string) {
	for _, id := range ids {
		if id != "" && !x.searchTerms[id] {
			x.searchTerms[id], x.stale = true, true
		}
	}
}

// addEntry adds an entry once; it reports whether it is new.
func (x *collector) addEntry(m HistoryEntry) bool {
	p := place{m.Stream, m.Seq}
	if x.seen[p] {
		return false
	}
	x.seen[p] = true
	x.entries = append(x.entries, m)
	return true
}

func (x *collector) findLetter(ctx context.Context) error {
	seq, err := strconv.ParseUint(x.id, 10, 64)
	if err != nil {
		return nil
	}
	o, err := x.open(ctx, seq)
	if gone, ok := errors.AsType[*LetterNotFoundError](err); ok {
		if gone.Note != nil {
			x.addOperation(ledger.Op{Account: gone.Note.Account, ID: gone.Note.Operation})
			return nil
		}
		return x.scan(ctx, bus.EventsStream, []string{events.SubmissionSubject(events.TypeFailed, "*", "*")}, func(m bus.Stored) {
			e, _ := events.Decode(m.Header, m.Data)
			if f, ok := e.Data.(*events.Failed); ok && f.DeadLetter != nil && f.DeadLetter.Sequence == seq {
				x.addOperation(ledger.Op{Account: f.Account, ID: f.Operation})
			}
		})
	}
	if err == nil {
		x.addOperation(ledger.Op{Account: o.Account, ID: o.Operation})
	}
	return err
}

func (x *collector) findOperation(ctx context.Context) error {
	found, err := x.records(ctx, events.SubmissionSubject("candidate.submission.*", "*", x.id))
	for _, r := range found {
		account, _ := events.AccountOfSubject(r.subject)
		op, _, _, _ := named(r.event)
		x.addOperation(ledger.Op{Account: account, ID: op})
	}
	return err
}

func (x *collector) findUID(ctx context.Context) error {
	found, err := x.records(ctx, events.StatusSubject("*", x.id))
	for _, r := range found {
		if s, ok := r.event.Data.(*events.StatusChanged); ok {
			x.addOperation(ledger.Op{Account: s.Account, ID: s.Operation})
		}
	}
	return err
}

// findMentioned reads all claims, outcomes and sourced events for those that have the id. A uid is
// found so whose first status is not stored yet.
func (x *collector) findMentioned(ctx context.Context) error {
	x.searchFor(x.id)
	err := x.scan(ctx, bus.EventsStream, []string{events.SubmissionSubject("candidate.submission.*", "*", "*")}, func(m bus.Stored) {
		if !x.mayMention(m) {
			return
		}
		e, err := events.Decode(m.Header, m.Data)
		if err != nil {
			return
		}
		op, sourced, candidate, uid := named(e)
		if account, ok := events.AccountOfSubject(m.Subject); ok && x.is(sourced, candidate, uid) {
			x.addOperation(ledger.Op{Account: account, ID: op})
		}
	})
	if err != nil {
		return err
	}
	return x.readSourcedStream(ctx)
}

// is reports whether the id that is asked for is this event's or this candidate's. The first answer
// settles its kind.
func (x *collector) is(event, candidate, uid string) bool {
	for _, as := range []struct {
		kind IDKind
		id   string
	}{{KindEvent, event}, {KindCandidate, candidate}, {KindUID, uid}} {
		if as.id == x.id && (x.kind == "" && x.mayBe(as.kind) || x.kind == as.kind) {
			x.kind = as.kind
			return true
		}
	}
	return false
}

// named is what an entry names: its operation, the sourced event's id, the sourcing service's and
// Comeet's id of the candidate.
func named(e events.Event) (op, sourced, candidate, uid string) {
	id := func(r *events.SourcedRef) string {
		if r == nil {
			return ""
		}
		return r.ID
	}
	switch d := e.Data.(type) {
	case *events.Claimed:
		if _, own, ok := strings.Cut(d.PartnerCandidateID, "-"); ok {
			candidate = own
		}
		return d.Operation, d.Sourced.ID, candidate, ""
	case *events.Accepted:
		return d.Operation, d.Sourced.ID, d.CandidateID, d.CandidateUID
	case *events.Failed:
		return d.Operation, id(d.Sourced), d.CandidateID, ""
	case *events.StatusChanged:
		return d.Operation, id(d.Sourced), d.CandidateID, d.CandidateUID
	}
	return "", "", "", ""
}

// follow reads on until nothing new belongs to the history.
func (x *collector) follow(ctx context.Context) error {
	for len(x.unread) > 0 || x.stale {
		for len(x.unread) > 0 {
			op := x.unread[0]
			x.unread = x.unread[1:]
			if err := x.readOperation(ctx, op); err != nil {
				return err
			}
		}
		if x.stale {
			if err := x.readSourcedStream(ctx); err != nil {
				return err
			}
		}
	}
	if x.o.Comeet == nil {
		return nil
	}
	for uid := range x.uids {
		if err := x.askComeet(ctx, uid[0], uid[1]); err != nil {
			return err
		}
	}
	return nil
}

// readOperation reads an operation's entries and what hangs on them.
func (x *collector) readOperation(ctx context.Context, op ledger.Op) error {
	entries, err := x.records(ctx, events.SubmissionSubject("candidate.submission.*", op.Account, op.ID))
	if err != nil {
		return err
	}
	for _, r := range entries {
		if err := x.readEntry(ctx, op, r); err != nil {
			return err
		}
		x.ops[op].apply(r.event)
	}
	return nil
}

func (x *collector) readEntry(ctx context.Context, op ledger.Op, r record) error {
	_, sourced, candidate, uid := named(r.event)
	x.searchFor(sourced, candidate)
	x.searchAll = x.searchAll || isErased(r.event)
	x.addEntry(HistoryEntry{Time: r.stored, Stream: bus.EventsStream, Seq: r.seq, Who: actor(r.event), What: describe(r.event), Operation: op.ID})
	if uid != "" && !x.uids[[2]string{op.Account, uid}] {
		x.uids[[2]string{op.Account, uid}] = true
		statuses, err := x.records(ctx, events.StatusSubject(op.Account, uid))
		if err != nil {
			return err
		}
		for _, s := range statuses {
			x.addEntry(HistoryEntry{Time: s.stored, Stream: bus.EventsStream, Seq: s.seq, Who: "Comeet", What: describe(s.event), Operation: op.ID})
		}
	}
	if f, ok := r.event.Data.(*events.Failed); ok && f.DeadLetter != nil {
		return x.readLetter(ctx, f)
	}
	return nil
}

// readLetter looks where the original of a refused event is.
func (x *collector) readLetter(ctx context.Context, f *events.Failed) error {
	stream, seq := bus.DeadLettersStream, f.DeadLetter.Sequence
	m, err := x.bus.Message(ctx, stream, seq)
	if err == nil {
		if l, ok := letterOf(m); ok {
			if l.setOutcome(f, 0); l.Operation != "" {
				x.addEntry(HistoryEntry{Time: m.Time, Stream: stream, Seq: seq, Who: "connector", What: fmt.Sprintf("the original was stored as dead letter %d, which is still there", seq), Operation: f.Operation})
			}
		}
	} else if !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	return x.readNotes(ctx, f.Account, seq)
}

// readNotes reads what an operator did with a letter, and goes on with what came of it.
func (x *collector) readNotes(ctx context.Context, account string, seq uint64) error {
	for _, action := range []Action{ActionReplayed, ActionDiscarded} {
		m, err := x.bus.Last(ctx, bus.DeadLettersStream, ledger.NoteSubject(ledger.Op{Account: account, ID: "*"}, string(action), seq))
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		n, err := noteOf(m)
		if err != nil {
			return err
		}
		x.addOperation(ledger.Op{Account: n.Account, ID: n.Operation})
		x.addOperation(ledger.Op{Account: n.Account, ID: n.ReplayOperation})
		x.addEntry(HistoryEntry{Time: m.Time, Stream: bus.DeadLettersStream, Seq: m.Seq, Who: "operator", What: fmt.Sprintf("dead letter %d was %s", n.Seq, n), Operation: n.Operation})
	}
	return nil
}

// readSourcedStream finds the sourced events of the history, and operations through them.
func (x *collector) readSourcedStream(ctx context.Context) error {
	x.stale = false
	type mark struct {
		account string
		seq     uint64
	}
	var marks []mark
	var owns []ledger.Op
	err := x.scan(ctx, bus.SourcedStream, nil, func(m bus.Stored) {
		account, ok := events.AccountOfSubject(m.Subject)
		if !ok {
			return
		}
		id := ledger.Identity{Stream: bus.SourcedStream, Created: x.sourcedCreated, Seq: m.Seq, Replay: ledger.ReplayOf(m.Header)}
		nameless := ledger.Op{Account: account}.Of(id)
		if x.ops[nameless] == nil && !x.mayMention(m) {
			return
		}
		s, invalid := ledger.ReadSourced(account, m.Header, m.Data, id)
		if x.ops[s.Op] == nil && !x.is(s.Identity.ID, s.CandidateID, "") {
			return
		}
		x.addOperation(s.Op)
		x.searchFor(s.Identity.ID, s.CandidateID)
		if seq, ok := x.letterOfMark(id.Replay); ok {
			marks = append(marks, mark{account, seq})
		}
		if s.EventOp != s.Op {
			owns = append(owns, s.EventOp)
		} else if x.ops[s.Op].State == string(events.StateErased) {
			owns = append(owns, s.Op.Of(s.Identity))
		}
		entry := HistoryEntry{Time: m.Time, Stream: bus.SourcedStream, Seq: m.Seq, Who: cmp.Or(s.Identity.Source, "unknown"), What: describeSourced(s, invalid), Operation: s.Op.ID}
		if id.Replay != "" {
			entry.Who = "operator"
		}
		if x.o.Unmask {
			entry.Content = json.RawMessage(maskJSON(m.Data, isBinary(m.Header), true))
		}
		x.addEntry(entry)
	})
	if err != nil {
		return err
	}
	for _, own := range owns {
		entries, err := x.records(ctx, events.SubmissionSubject("candidate.submission.*", own.Account, own.ID))
		if err != nil {
			return err
		}
		for _, r := range entries {
			op, _, _, _ := named(r.event)
			if err := x.readEntry(ctx, ledger.Op{Account: own.Account, ID: op}, r); err != nil {
				return err
			}
		}
	}
	for _, m := range marks {
		if err := x.readNotes(ctx, m.account, m.seq); err != nil {
			return err
		}
	}
	return nil
}

// progressEvery is how many messages are read between two words about it.
const progressEvery = 10_000

func (x *collector) scan(ctx context.Context, stream string, filters []string, visit func(bus.Stored)) error {
	read := 0
	return x.bus.Scan(ctx, bus.ScanSpec{Stream: stream, Filters: filters}, func(m bus.Stored) error {
		if read++; read%progressEvery == 0 && x.o.Progress != nil {
			x.o.Progress(stream, read)
		}
		visit(m)
		return nil
	})
}

// mayMention is false only for a message that has none of the searchTerms, so that few need to be
// decoded. An escape may hide one.
func (x *collector) mayMention(m bus.Stored) bool {
	if x.searchAll || bytes.IndexByte(m.Data, '\\') >= 0 {
		return true
	}
	for term := range x.searchTerms {
		if bytes.Contains(m.Data, []byte(term)) {
			return true
		}
	}
	for _, values := range m.Header {
		for _, v := range values {
			if x.searchTerms[v] || strings.Contains(v, "%") {
				return true
			}
		}
	}
	return false
}
