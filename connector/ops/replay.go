package ops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// Verdict is what would become of a letter if it were replayed now.
type Verdict string

// The verdicts.
const (
	VerdictSubmit     Verdict = "submit"      // it would be sent to Comeet, for the position of Forecast.Position
	VerdictInvalid    Verdict = "invalid"     // it breaks the contract, whoever reads it: edit it
	VerdictPosition   Verdict = "position"    // its position takes no candidates, see Forecast.Reason
	VerdictUnmatched  Verdict = "unmatched"   // the account's positions are not known on the bus, so nobody can tell
	VerdictDuplicate  Verdict = "duplicate"   // another event of its operation was accepted: it would end as a duplicate of that
	VerdictInProgress Verdict = "in_progress" // another event of its operation is under way: it would wait for that
	VerdictErased     Verdict = "erased"      // its operation was erased on request: it would fail
	VerdictReplayed   Verdict = "replayed"    // it was replayed before
	VerdictNotFound   Verdict = "gone"        // there is no such letter
)

// Forecast is a verdict and its grounds, without any person's data.
type Forecast struct {
	Seq     uint64  `json:"seq"`
	Verdict Verdict `json:"verdict"`
	// Message says it in words for an operator.
	Message string `json:"message"`
	// PositionUID and MatchedBy are where the candidate would go and why, by the positions that the
	// connector knows.
	PositionUID string           `json:"position_uid,omitempty"`
	MatchedBy   events.MatchedBy `json:"matched_by,omitempty"`
	// Reason is why the position takes no candidates, or how an earlier replay failed.
	Reason     events.Reason      `json:"reason,omitempty"`
	Violations []events.Violation `json:"violations,omitempty"`
	// CandidateUID is Comeet's candidate of a duplicate, or of an earlier replay.
	CandidateUID string `json:"candidate_uid,omitempty"`
	Operation    string `json:"operation,omitempty"`
	// InDoubt warns that an attempt at the operation ended without a usable answer: if it landed
	// and a recruiter has moved the candidate on since, Comeet does not recognise it, and a replay
	// makes a second one.
	InDoubt bool `json:"in_doubt,omitempty"`
}

// ReplayOptions say how to replay.
type ReplayOptions struct {
	// DryRun sends nothing and removes nothing.
	DryRun bool
	// Sure also sends what is in doubt; see Forecast.InDoubt.
	Sure bool
	// Anyway also sends what would fail again for its position.
	Anyway bool
	// Every is the least time between two replays. 0 is no throttle.
	Every time.Duration
	// Edited is the whole event that is sent in the place of the one letter's, as Raw gives it and
	// an operator corrects it. nil sends the original.
	Edited []byte
}

// Replayed is what came of one letter.
type Replayed struct {
	Forecast
	// Sent is whether it was published; the letter is then archived. SourcedSeq is its sequence in
	// the sourced stream.
	Sent       bool   `json:"sent"`
	SourcedSeq uint64 `json:"sourced_seq,omitempty"`
	// Kept is why it was not, in words; empty if it was sent, was only forecast, or had been
	// replayed before.
	Kept string `json:"kept,omitempty"`
}

// Replay publishes letters again, each as a new event of its operation, and archives them. tell is
// called for each letter in turn. A letter that could only fail again stays, see ReplayOptions. The
// connector decides anew about what is sent; if it is refused once more, that makes a new letter.
//
// To replay a letter twice is harmless, whether this process died in the middle or two operators
// did it: the mark that makes it a new event hangs on the letter (and on the bytes of an edit), so
// both are the same event and get one outcome.
//
// Its error ends it; letters that were told of are done.
func (c *Client) Replay(ctx context.Context, seqs []uint64, o ReplayOptions, tell func(Replayed)) error {
	if o.Edited != nil && len(seqs) != 1 {
		return errors.New("an edited event replaces exactly one dead letter: name its sequence")
	}
	r := &replay{Client: c, o: o, known: map[string][]positions.Position{}}
	for _, seq := range seqs {
		out, err := r.one(ctx, seq)
		if err != nil {
			return err
		}
		tell(out)
	}
	return nil
}

// replay is one run over letters.
type replay struct {
	*Client
	o ReplayOptions
	// known are each account's positions, read once.
	known map[string][]positions.Position
	// next is when the throttle lets the next one pass.
	next time.Time
}

func (r *replay) one(ctx context.Context, seq uint64) (Replayed, error) {
	o, err := r.open(ctx, seq)
	if gone, ok := errors.AsType[*LetterNotFoundError](err); ok {
		return Replayed{Forecast: Forecast{Seq: seq, Verdict: VerdictNotFound, Message: gone.Error()}}, nil
	}
	if err != nil {
		return Replayed{}, err
	}
	w := r.rewrite(o)
	f, err := r.forecast(ctx, o, w)
	out := Replayed{Forecast: f}
	if err != nil || r.o.DryRun {
		return out, err
	}
	note := Note{Action: ActionReplayed, Replay: w.mark, ReplayOperation: w.event.Op.ID, Edited: r.o.Edited != nil}
	switch {
	case f.Verdict == VerdictReplayed:
		// The process that replayed it died before it was archived.
		return out, r.archive(ctx, o, note)
	case f.Verdict == VerdictInvalid:
		out.Kept = "it can only fail again; edit it"
		return out, nil
	case f.Verdict == VerdictErased:
		out.Kept = "it can only fail; erase it too, or edit it"
		return out, nil
	case f.Verdict == VerdictPosition && !r.o.Anyway:
		out.Kept = "it would fail again"
		return out, nil
	case f.InDoubt && !r.o.Sure:
		out.Kept = "look for the candidate at Comeet first; say that you are sure if it is not there"
		return out, nil
	}
	if wait := time.Until(r.next); wait > 0 && !bus.Sleep(ctx, wait) {
		return out, context.Cause(ctx)
	}
	r.next = time.Now().Add(r.o.Every)
	// One of unknown result is published again: the same event twice has one outcome.
	at, err := r.bus.Publish(ctx, bus.Write{Subject: events.SourcedSubject(o.Account), Header: w.header, Data: w.body})
	if errors.Is(err, bus.ErrTooLarge) {
		out.Kept = "with its mark it is larger than the bus takes: raise the server's max_payload, or edit it"
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("replay dead letter %d: %w", seq, err)
	}
	out.Sent, out.SourcedSeq, note.ReplaySeq = true, at, at
	return out, r.archive(ctx, o, note)
}

// rewritten is what is published in the place of a letter.
type rewritten struct {
	header  map[string][]string
	body    []byte
	mark    string
	event   *ledger.Sourced
	invalid *events.InvalidError
}

func (r *replay) rewrite(o *opened) rewritten {
	w := rewritten{mark: r.replayMark(o.Seq), header: o.header, body: o.body}
	if r.o.Edited != nil {
		sum := sha256.Sum256(r.o.Edited)
		w.mark += "-" + hex.EncodeToString(sum[:8])
		w.header, w.body = structuredHeader(o.header), r.o.Edited
	}
	kept := make(map[string][]string, len(w.header)+1)
	for name, values := range w.header {
		// The bus would obey them. What the original had of them is under other names.
		if !bus.ReservedHeader(name) {
			kept[name] = values
		}
	}
	kept[ledger.ReplayHeader] = []string{w.mark}
	w.header = kept
	w.event, w.invalid = ledger.ReadSourced(o.Account, w.header, w.body, ledger.Identity{Replay: w.mark})
	return w
}

// replayMark names a letter for ever: sequences alone begin anew with a new stream.
func (c *Client) replayMark(seq uint64) string {
	return strconv.FormatInt(c.lettersCreated.UnixNano(), 36) + "-" + strconv.FormatUint(seq, 10)
}

// letterOfMark is the sequence of the letter that a replay's mark names. ok is false for letters of
// another stream.
func (c *Client) letterOfMark(mark string) (seq uint64, ok bool) {
	parts := strings.Split(mark, "-")
	if len(parts) < 2 {
		return 0, false
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	return seq, err == nil && strings.HasPrefix(mark, c.replayMark(seq))
}

// forecast tells what would become of a letter now: the same rules as a worker's, by what the bus
// knows.
func (r *replay) forecast(ctx context.Context, o *opened, w rewritten) (Forecast, error) {
	f := Forecast{Seq: o.Seq, Operation: w.event.Op.ID, InDoubt: o.Reason == events.ReasonInDoubt}
	if w.invalid != nil {
		f.Verdict, f.Violations, f.InDoubt = VerdictInvalid, w.invalid.Violations, false
		f.Message = "breaks the contract: " + w.invalid.Error()
		return f, nil
	}
	history, err := r.records(ctx, events.SubmissionSubject("candidate.submission.*", w.event.Op.Account, w.event.Op.ID))
	if err != nil {
		return f, err
	}
	if n := len(history); n > 0 && isErased(history[n-1].event) {
		f.Verdict, f.InDoubt = VerdictErased, false
		f.Message = "its operation was erased on request, and nothing is submitted under it again; a new act needs a submission_id"
		return f, nil
	}
	own, err := r.ledger.Last(ctx, w.event.EventOp)
	if err != nil {
		return f, err
	}
	note, err := r.note(ctx, o.eventOp, string(ActionReplayed), o.Seq)
	if err != nil {
		return f, err
	}
	if own.Seq != 0 {
		history = append(history, record{own.Seq, own.Stored, "", own.Event})
	}
	if f.seenBefore(w, history, note) {
		return f, nil
	}
	if n := len(history); n > 0 {
		switch last := history[n-1].event.Data.(type) {
		case *events.Accepted:
			f.Verdict, f.CandidateUID, f.InDoubt = VerdictDuplicate, last.CandidateUID, false
			f.Message = fmt.Sprintf("duplicate of candidate %s, which event %s of %s made", last.CandidateUID, last.Sourced.ID, last.Sourced.Source)
			return f, nil
		case *events.Claimed:
			if last.State != events.StateReleased {
				f.Verdict = VerdictInProgress
				f.Message = fmt.Sprintf("waits for event %s of %s, which is under way at position %s", last.Sourced.ID, last.Sourced.Source, last.PositionUID)
				return f, nil
			}
		}
		for _, h := range history {
			if failed, ok := h.event.Data.(*events.Failed); ok && failed.Reason == events.ReasonInDoubt {
				f.InDoubt = true
			}
		}
	}
	if err := r.matchNow(ctx, &f, w.event); err != nil {
		return f, err
	}
	if f.Verdict == VerdictSubmit && r.o.Edited == nil && (o.Reason == events.ReasonRefused || o.Reason == events.ReasonFileRefused) {
		f.Message += "; Comeet refused the same data before"
	}
	if f.InDoubt {
		f.Message += "; IN DOUBT: an earlier attempt may have landed, and a replay may make a second candidate"
	}
	return f, nil
}

// seenBefore recognises a letter that was replayed before, by the outcome of that very event or by
// the note of it.
func (f *Forecast) seenBefore(w rewritten, history []record, note *Note) bool {
	for _, h := range history {
		switch d := h.event.Data.(type) {
		case *events.Accepted:
			duplicate := d.Outcome == events.OutcomeDuplicate
			if h.event.ID() == ledger.OutcomeID(w.event.Op, w.event.Identity, h.event.Type()) || duplicate && h.event.ID() == ledger.OutcomeID(w.event.EventOp, w.event.Identity, h.event.Type()) {
				f.Verdict, f.CandidateUID, f.InDoubt = VerdictReplayed, d.CandidateUID, false
				f.Message = fmt.Sprintf("replayed before: %s as candidate %s", d.Outcome, d.CandidateUID)
				return true
			}
		case *events.Failed:
			if h.event.ID() == ledger.OutcomeID(w.event.Op, w.event.Identity, h.event.Type()) {
				f.Verdict, f.Reason, f.InDoubt = VerdictReplayed, d.Reason, false
				f.Message = fmt.Sprintf("replayed before: failed again (%s)", d.Reason)
				if d.DeadLetter != nil {
					f.Message += fmt.Sprintf(" as dead letter %d", d.DeadLetter.Sequence)
				}
				return true
			}
		}
	}
	if note != nil && note.Replay == w.mark {
		f.Verdict, f.InDoubt, f.Message = VerdictReplayed, false, note.String()
		return true
	}
	return false
}

// matchNow looks for the event's position among those that the connector has put on the bus.
func (r *replay) matchNow(ctx context.Context, f *Forecast, s *ledger.Sourced) error {
	list, err := r.positionsOf(ctx, s.Op.Account)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		f.Verdict, f.Message = VerdictUnmatched, "would be matched: the positions of account "+s.Op.Account+" are not on the bus yet"
		return nil
	}
	to, no := positions.Find(list, s.Data.Position)
	if no != nil {
		to, no = positions.Fallback(list, r.cfg.Fallbacks[s.Op.Account], no)
	}
	if no != nil {
		f.Verdict, f.Reason, f.Message = VerdictPosition, no.Reason, "still "+string(no.Reason)+": "+no.Message
		return nil
	}
	f.Verdict, f.PositionUID, f.MatchedBy = VerdictSubmit, to.UID, to.By
	f.Message = fmt.Sprintf("would be submitted to position %s, matched by %s", to.UID, to.By)
	return nil
}

func (r *replay) positionsOf(ctx context.Context, account string) ([]positions.Position, error) {
	if list, ok := r.known[account]; ok {
		return list, nil
	}
	bucket, err := r.bus.Bucket(ctx, bus.PositionsBucket)
	if err != nil {
		return nil, err
	}
	list, err := positions.Read(ctx, bucket, account)
	if err != nil {
		return nil, err
	}
	r.known[account] = list
	return list, nil
}
