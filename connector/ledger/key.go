package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/events"
)

// Op names one operation, the business act of submitting one candidate to one position of one
// account.
type Op struct {
	// Account is the account's name, `^[a-z0-9][a-z0-9_-]{0,63}$`.
	Account string
	// ID is 26 base32 characters, see OpOf.
	ID string
}

// OpOf is the operation that a sourced event asks for: what the event states, before anything is
// matched or looked up, so that the same act has the same name whenever and wherever it is read.
func OpOf(account, source string, d *events.Sourced) Op {
	p := d.Position
	return Op{account, hash("operation", account, source, d.Candidate.ID, p.UID, p.CustomID, p.Name, p.Department, p.Location, d.SubmissionID)}
}

// Of is the operation under which one event's own outcome is kept, where the operation itself has
// another one already or the event is too broken to name any.
func (o Op) Of(event Identity) Op {
	return Op{o.Account, hash("event", o.Account, o.ID, event.key())}
}

// filter covers all entries of the operation. Every write to them is a compare-and-set over exactly
// this string, built here and nowhere else: the three kinds are siblings under one wildcard, else
// the condition would not see them all.
func (o Op) filter() string { return "candidate.submission.*." + o.Account + "." + o.ID }

// Has reports whether an entry with this subject is the operation's.
func (o Op) Has(subject string) bool { return strings.HasSuffix(subject, "."+o.Account+"."+o.ID) }

func (o Op) subject(eventType string) string { return eventType + "." + o.Account + "." + o.ID }

// Identity tells one sourced event from every other. The same identity again is the same event.
type Identity struct {
	// Source and ID are the CloudEvent's, if both were readable.
	Source, ID string
	// Stream, Created and Seq are where the message is stored and when that stream was made; they
	// stand in for an unreadable source or id.
	Stream  string
	Created time.Time
	Seq     uint64
	// Replay tells a replayed dead letter from its original: empty for the original.
	Replay string
}

// Ref is how our events point to the sourced one; nil if its source or id could not be read.
func (i Identity) Ref() *events.SourcedRef {
	if i.Source == "" || i.ID == "" {
		return nil
	}
	return &events.SourcedRef{Source: i.Source, ID: i.ID}
}

func (i Identity) key() string {
	if i.Source != "" && i.ID != "" {
		return hash("cloudevent", i.Source, i.ID, i.Replay)
	}
	return hash("message", i.Stream, i.Created.UTC().Format(time.RFC3339Nano), strconv.FormatUint(i.Seq, 10), i.Replay)
}

// OutcomeID is the CloudEvent id of an outcome: the same for every replica and every try, so
// readers can drop repeats for ever.
func OutcomeID(o Op, event Identity, eventType string) string {
	return hash("outcome", o.ID, event.key(), eventType)
}

// StatusID is the CloudEvent id of a status event. It hangs on the entry before it and not on the
// content, which may return to an earlier one.
func StatusID(account, uid string, before uint64) string {
	return hash("status", account, uid, strconv.FormatUint(before, 10))
}

// PartnerCandidateID is what Comeet knows a candidate by: the same for every position, and
// different for two sourcing services that count their candidates alike.
func PartnerCandidateID(source, candidateID string) string {
	return hash("source", source)[:8] + "-" + candidateID
}

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// hash is 26 lower-case base32 characters (130 bits) over parts that cannot run into each other.
func hash(parts ...string) string {
	buf := make([]byte, 0, 512)
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	var text [52]byte
	encoding.Encode(text[:], sum[:])
	return string(text[:26])
}

// NewID is a CloudEvent id that nobody has used: 26 base32 characters.
func NewID() string { return strings.ToLower(rand.Text()) }
