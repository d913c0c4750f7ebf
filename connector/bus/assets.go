package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The assets' names on the bus.
const (
	SourcedStream     = "CANDIDATES_SOURCED"
	EventsStream      = "CANDIDATE_EVENTS"
	DeadLettersStream = "CANDIDATES_DEADLETTER"
	PositionsBucket   = "COMEET_POSITIONS"
	AccountsBucket    = "COMEET_ACCOUNTS"
	MembersBucket     = "COMEET_MEMBERS"
	CursorsBucket     = "COMEET_CURSORS"
	FilesStore        = "CANDIDATE_FILES"
)

// Layout is everything that the connector needs on the bus.
type Layout struct {
	// Replicas of every asset that is created; 0 means 3 on a clustered bus, else 1.
	Replicas int
	// EventsMaxBytes bounds the events stream, in bytes. Required.
	EventsMaxBytes int64
	// RePublish also sends every stored event to core NATS under this prefix, e.g. "live"; empty
	// means off.
	RePublish string
}

const day = 24 * time.Hour

// MaxHistory is how many messages the events stream keeps per subject.
const MaxHistory = 64

// rule is one setting that a promise depends on. An asset that breaks it is refused, whoever made
// it.
type rule struct {
	setting string
	holds   func(have, want jetstream.StreamConfig) bool
	why     string
}

type asset struct {
	want  jetstream.StreamConfig
	rules []rule
}

var (
	limits = rule{"retention must be limits", func(have, _ jetstream.StreamConfig) bool {
		return have.Retention == jetstream.LimitsPolicy
	}, "other policies remove messages that still wait for their outcome or are the ledger"}
	onFile = rule{"storage must be file", func(have, _ jetstream.StreamConfig) bool {
		return have.Storage == jetstream.FileStorage
	}, "memory forgets candidates at a restart"}
	confirmed = rule{"no_ack must be off and persist_mode default", func(have, _ jetstream.StreamConfig) bool {
		return !have.NoAck && have.PersistMode == jetstream.DefaultPersistMode
	}, "a write counts only when it is stored"}
	writable = rule{"it must not be sealed, a mirror or have a subject transform", func(have, _ jetstream.StreamConfig) bool {
		return !have.Sealed && have.Mirror == nil && have.SubjectTransform == nil
	}, "the connector writes and reads it by its own subjects"}
	covers = rule{"subjects must cover what the connector uses", func(have, want jetstream.StreamConfig) bool {
		for _, w := range want.Subjects {
			if !slices.ContainsFunc(have.Subjects, func(h string) bool { return subsumes(h, w) }) {
				return false
			}
		}
		return true
	}, "events under a missing subject would be lost"}
	keepsNew = rule{"discard must be new where a limit is set", func(have, _ jetstream.StreamConfig) bool {
		return have.Discard == jetstream.DiscardNew || have.MaxBytes <= 0 && have.MaxMsgs <= 0
	}, "discard old drops candidates silently when the stream is full"}
	allSubjects = rule{"max_msgs_per_subject must not be set without discard_new_per_subject", func(have, _ jetstream.StreamConfig) bool {
		return have.MaxMsgsPerSubject <= 0 || have.DiscardNewPerSubject && have.Discard == jetstream.DiscardNew
	}, "a newer event would push out an older one that still waits"}
	noRollup = rule{"allow_rollup_hdrs must be off", func(have, _ jetstream.StreamConfig) bool { return !have.AllowRollup },
		"one message with a roll-up header would remove all others"}
	erasable = rule{"deny_delete and deny_purge must be off", func(have, _ jetstream.StreamConfig) bool { return !have.DenyDelete && !have.DenyPurge },
		"a person's data must be erasable on request"}
	anySize = rule{"max_msg_size must not be set", func(have, _ jetstream.StreamConfig) bool { return have.MaxMsgSize <= 0 },
		"an outcome or an original that does not fit could never be stored"}
	bounded = rule{"max_bytes must be set and discard must be new", func(have, _ jetstream.StreamConfig) bool {
		return have.MaxBytes > 0 && have.Discard == jetstream.DiscardNew
	}, "a full ledger must refuse new claims, never forget old ones"}
	ageless = rule{"max_age must be 0", func(have, _ jetstream.StreamConfig) bool { return have.MaxAge == 0 },
		"the ledger's entries carry their own age limits; statuses have none"}
	expires = rule{"allow_msg_ttl must be on", func(have, _ jetstream.StreamConfig) bool { return have.AllowMsgTTL },
		"claims and outcomes are written with a time to live; `nats stream edit` switches it on where an older server made the stream without"}
	historic = rule{fmt.Sprintf("max_msgs_per_subject must be between 16 and %d and discard_new_per_subject off", MaxHistory),
		func(have, _ jetstream.StreamConfig) bool {
			return have.MaxMsgsPerSubject >= 16 && have.MaxMsgsPerSubject <= MaxHistory && !have.DiscardNewPerSubject
		}, "the last message of a subject is its state and must always be writable, and a slow reader must not miss the ones before"}
	once = rule{"max_msgs_per_subject must be 1 with discard_new_per_subject on", func(have, _ jetstream.StreamConfig) bool {
		return have.MaxMsgsPerSubject == 1 && have.DiscardNewPerSubject && have.Discard == jetstream.DiscardNew
	}, "a dead letter is stored once, however often its event comes back"}
)

// assets lists the streams, buckets and the object store in the order in which they are made.
// Buckets and object stores are streams too; they are described by their stream settings, so that
// one check serves all.
func (l Layout) assets(replicas int) []asset {
	stream := func(name, about string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: "comeet-connector: " + about, Subjects: subjects, Retention: jetstream.LimitsPolicy,
			Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, Replicas: replicas, MaxConsumers: -1,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1,
		}
	}
	sourced := stream(SourcedStream, "candidates that sourcing services found", "candidate.sourced", "candidate.sourced.*")
	sourced.MaxAge = 30 * day
	sourced.MaxConsumers = MaxConsumers

	events := stream(EventsStream, "what became of each candidate: ledger, memory and feed in one",
		"candidate.submission.*.*.*", "candidate.status.changed.*.*")
	events.MaxConsumers = MaxConsumers
	events.MaxBytes, events.MaxMsgsPerSubject, events.AllowMsgTTL = l.EventsMaxBytes, MaxHistory, true
	if l.RePublish != "" {
		events.RePublish = &jetstream.RePublish{Source: ">", Destination: l.RePublish + ".>"}
	}

	dead := stream(DeadLettersStream, "originals of sourced candidates that failed", "deadletter.candidate.sourced.>")
	dead.MaxAge, dead.MaxMsgsPerSubject, dead.DiscardNewPerSubject = 90*day, 1, true

	bucket := func(name, about string) jetstream.StreamConfig {
		c := stream("KV_"+name, about, "$KV."+name+".>")
		c.MaxMsgsPerSubject, c.AllowRollup, c.DenyDelete, c.AllowDirect = 1, true, true, true
		return c
	}
	members := bucket(MembersBucket, "live replicas")
	members.AllowMsgTTL, members.SubjectDeleteMarkerTTL = true, time.Second

	files := stream("OBJ_"+FilesStore, "résumés and files by their SHA-256", "$O."+FilesStore+".C.>", "$O."+FilesStore+".M.>")
	files.MaxAge, files.AllowRollup, files.AllowDirect, files.MaxMsgsPerSubject = 30*day, true, true, -1

	whole := []rule{limits, confirmed, writable, covers, keepsNew}
	kept := []rule{limits, onFile, confirmed, writable, covers}
	return []asset{
		// First the one for which the server needs room: where it has none, nothing is made.
		{events, append(slices.Clone(kept), bounded, ageless, expires, historic, noRollup, erasable, anySize)},
		{sourced, append(slices.Clone(kept), keepsNew, allSubjects, noRollup, erasable)},
		{dead, append(slices.Clone(kept), once, noRollup, erasable, anySize)},
		{bucket(PositionsBucket, "positions and whether they are open"), whole},
		{bucket(AccountsBucket, "accounts that operators have paused"), append(slices.Clone(whole), onFile)},
		{members, append(slices.Clone(whole), expires)},
		{bucket(CursorsBucket, "how far polls and budgets have come"), append(slices.Clone(whole), onFile)},
		{files, append(slices.Clone(whole), erasable)},
	}
}

// MaxConsumers is set on the sourced stream, for one consumer per account, and on the events
// stream, for its readers; the server's default stops at 1,000.
const MaxConsumers = 100_000

// ContradictionError is a setting on the bus that breaks a promise.
type ContradictionError struct{ Asset, Setting, Why string }

func (c ContradictionError) Error() string {
	return fmt.Sprintf("stream %s: %s: %s", c.Asset, c.Setting, c.Why)
}

// Ensure creates what is missing of the layout and checks what exists. It changes nothing that
// exists. It waits for a bus that does not answer, and refuses a server that is too old or has too
// little room before it makes anything; its error joins every ContradictionError found.
func (b *Bus) Ensure(ctx context.Context, l Layout) error {
	if err := b.checkServer(ctx); err != nil {
		return err
	}
	replicas := l.Replicas
	if replicas == 0 {
		replicas = 1
		if b.Clustered() {
			replicas = 3
		}
	}
	var wrong []error
	for _, a := range l.assets(replicas) {
		have, err := b.ensure(ctx, a.want)
		if err != nil {
			return fmt.Errorf("create stream %s: %w", a.want.Name, b.noRoom(ctx, a.want, err))
		}
		for _, r := range a.rules {
			if !r.holds(have, a.want) {
				wrong = append(wrong, ContradictionError{Asset: a.want.Name, Setting: r.setting, Why: r.why})
			}
		}
	}
	return errors.Join(wrong...)
}

func (b *Bus) ensure(ctx context.Context, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	var have jetstream.StreamConfig
	err := b.try(ctx, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			// Another replica may make it in this very moment with other settings; then look again.
			if s, err = b.js.CreateStream(ctx, want); errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				err = errAgain
			}
		}
		if err != nil {
			return err
		}
		have = s.CachedInfo().Config
		return nil
	})
	return have, err
}

// StreamConfig is a stream in JetStream's own words.
type StreamConfig = jetstream.StreamConfig

// Plan describes the layout for a person who makes or reviews the assets by hand.
func (l Layout) Plan(replicas int) []StreamConfig {
	var out []StreamConfig
	for _, a := range l.assets(replicas) {
		out = append(out, a.want)
	}
	return out
}

// subsumes reports whether every subject that matches the pattern b also matches the pattern a.
func subsumes(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i, t := range as {
		if t == ">" {
			return len(bs) > i
		}
		if i >= len(bs) || bs[i] == ">" || t != bs[i] && t != "*" {
			return false
		}
	}
	return len(as) == len(bs)
}
