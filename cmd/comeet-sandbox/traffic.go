package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/events"
)

// sources are the sourcing services, as CloudEvents sources.
var sources = []string{"https://sourcing.example/scout", "/sourcing/magpie", "urn:example:sourcing:beacon"}

// Names of people who do not exist.
var (
	firstNames = []string{"Testa", "Mocko", "Fabia", "Samplis", "Fiktor", "Invena", "Dummina", "Placido"}
	lastNames  = []string{"Fictionsson", "Madeupski", "Nobodyová", "Examplestein", "Sandboxer", "Imaginari", "Pretendson"}
)

// kind is what a sourced event is made to show.
type kind int

const (
	ordinary      kind = iota
	resumeInline       // with a small résumé in the event
	resumeObject       // with one in the object store
	sameEvent          // published again by a publisher who missed the acknowledgement
	sameAct            // the same candidate for the same position, in another event
	otherPosition      // a candidate who was sourced before, for another position
	refusedFile        // with a file that Comeet does not take
	refusedField       // with a field that the company does not have
	noLastName         // breaks the schema
	notJSON            // breaks everything
	unknownPosition
	closedPosition
	heldPosition
	ambiguousPosition
)

// deck is what a stretch of traffic holds; it is shuffled and dealt anew for ever.
var deck = []kind{
	ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary, ordinary,
	resumeInline, resumeObject, sameEvent, sameAct, otherPosition,
	refusedFile, refusedField, noLastName, notJSON, unknownPosition, closedPosition, heldPosition, ambiguousPosition,
}

// traffic publishes sourced events.
type traffic struct {
	js    jetstream.JetStream
	files jetstream.ObjectStore
	view  *view
	rand  *rand.Rand
	rate  float64
	// number counts events up from what earlier runs have stored, so that theirs are never named
	// again.
	number uint64
	dealt  []kind
	// sent are the last events that were good.
	sent []sent
	// lastSeq is the last stored message's sequence.
	lastSeq uint64
}

// sent is an event that was published.
type sent struct {
	source, id string
	encoding   encoding
	data       *events.Sourced
	msg        *nats.Msg
}

func newTraffic(ctx context.Context, js jetstream.JetStream, v *view, s settings, after uint64) (*traffic, error) {
	files, err := js.ObjectStore(context.WithoutCancel(ctx), "CANDIDATE_FILES")
	if err != nil {
		return nil, fmt.Errorf("open the object store: %w", err)
	}
	return &traffic{js: js, files: files, view: v, rand: rand.New(rand.NewPCG(s.Seed, 1)), rate: s.Rate, number: after, lastSeq: after}, nil
}

// run publishes until ctx ends.
func (t *traffic) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := t.publishNext(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		rest(ctx, time.Duration(float64(time.Second)/t.rate*(0.5+t.rand.Float64())))
	}
	return nil
}

func (t *traffic) publishNext(ctx context.Context) error {
	if len(t.dealt) == 0 {
		t.dealt = append(t.dealt, deck...)
		t.rand.Shuffle(len(t.dealt), func(i, j int) { t.dealt[i], t.dealt[j] = t.dealt[j], t.dealt[i] })
	}
	k := t.dealt[0]
	t.dealt = t.dealt[1:]
	if len(t.sent) == 0 && (k == sameEvent || k == sameAct || k == otherPosition) {
		k = ordinary
	}
	e, note, err := t.make(ctx, k)
	if err != nil {
		return err
	}
	candidate, detail := "", note
	if e.data != nil {
		candidate = e.data.Candidate.ID
		detail = position(e.data.Position) + ", " + string(e.encoding)
		if note != "" {
			detail += ": " + note
		}
	}
	t.view.line(short(e.source), "sourced", candidate, "", detail, plain)
	publish, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ack, err := t.js.PublishMsg(publish, e.msg)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	t.lastSeq = ack.Sequence
	if k == ordinary || k == resumeInline || k == resumeObject {
		t.sent = append(t.sent, e)
		t.sent = t.sent[max(0, len(t.sent)-20):]
	}
	return nil
}

// make builds one event; note says what is special about it.
func (t *traffic) make(ctx context.Context, k kind) (e sent, note string, err error) {
	t.number++
	e.source = sources[t.rand.IntN(len(sources))]
	e.encoding = encodings[t.rand.IntN(len(encodings))]
	e.id = fmt.Sprintf("%s-event-%d", short(e.source), t.number)
	e.data = t.person(short(e.source))
	switch k {
	case resumeInline:
		e.data.Candidate.Resume = &events.File{Name: "cv.pdf", Content: resume(t.number)}
		note = "with a résumé"
	case resumeObject:
		name, err := t.store(ctx, resume(t.number))
		if err != nil {
			return e, "", err
		}
		e.data.Candidate.Resume = &events.File{Name: "cv.pdf", Object: &events.Object{Name: name}}
		note = "résumé in CANDIDATE_FILES"
	case refusedFile:
		e.data.Candidate.Resume = &events.File{Name: "cv.exe", Content: resume(t.number)}
		note = "résumé of a type that Comeet refuses"
	case refusedField:
		e.data.Candidate.CustomFields = map[string]any{"Favourite color": "green"}
		note = "custom field that the company lacks"
	case sameEvent:
		return t.earlier(), "the very same event again", nil
	case sameAct, otherPosition:
		earlier := t.earlier()
		e.source, e.id = earlier.source, fmt.Sprintf("%s-event-%d", short(earlier.source), t.number)
		data := *earlier.data
		e.data, note = &data, "same act as an earlier event"
		if k == otherPosition {
			e.data.Position, note = events.Position{UID: supportSouth.UID}, "a known candidate for another position"
		}
	case noLastName:
		e.data.Candidate.LastName = ""
		note = "a required field is missing"
	case notJSON:
		e.data = nil
		e.msg = &nats.Msg{Subject: events.SourcedSubject(""), Data: []byte(`{"specversion":"1.0","id":`)}
		return e, "not even JSON", nil
	case unknownPosition:
		e.data.Position = events.Position{UID: "00.000"}
	case closedPosition:
		e.data.Position = events.Position{CustomID: closed.InternalUseCustomID}
	case heldPosition:
		e.data.Position = events.Position{UID: onHold.UID}
	case ambiguousPosition:
		e.data.Position = events.Position{Name: supportNorth.Name}
	}
	e.msg, err = e.encode(k != noLastName)
	return e, note, err
}

// earlier is one of the older events that were good: one whose first submission is still under way
// would make the connector wait for that with patience, and a viewer without.
func (t *traffic) earlier() sent { return t.sent[t.rand.IntN((len(t.sent)+1)/2)] }

// person invents a candidate for an open position.
func (t *traffic) person(service string) *events.Sourced {
	id := fmt.Sprintf("%s-%d", service, t.number)
	d := &events.Sourced{Candidate: events.Candidate{
		ID: id, FirstName: firstNames[t.rand.IntN(len(firstNames))], LastName: lastNames[t.rand.IntN(len(lastNames))],
		Email: id + "@candidates.example.test", ProspectStatus: "Sourced",
		Links: []events.Link{{URL: "https://profiles.example.test/" + id}},
	}}
	switch t.rand.IntN(4) {
	case 0:
		d.Position = events.Position{UID: backend.UID}
	case 1:
		d.Position = events.Position{CustomID: analyst.InternalUseCustomID}
	case 2:
		d.Position = events.Position{Name: designer.Name}
	default:
		d.Position = events.Position{Name: supportNorth.Name, Department: supportNorth.Department}
	}
	if t.rand.IntN(3) == 0 {
		d.SourceContact = &events.SourceContact{FullName: "Agenta Invento", Email: service + "@agents.example.test"}
	}
	return d
}

func resume(n uint64) []byte {
	return fmt.Appendf(nil, "Résumé number %d of somebody who does not exist.\n", n)
}

// store puts a file into the object store, under its SHA-256 and only if it is not there.
func (t *traffic) store(ctx context.Context, file []byte) (name string, err error) {
	sum := sha256.Sum256(file)
	name = hex.EncodeToString(sum[:])
	if _, err := t.files.GetInfo(ctx, name); !errors.Is(err, jetstream.ErrObjectNotFound) {
		return name, err
	}
	if _, err := t.files.Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(file)); err != nil {
		return "", fmt.Errorf("store a file: %w", err)
	}
	return name, nil
}

// encoding is how a CloudEvent becomes a message.
type encoding string

const (
	structured encoding = "structured" // as package events writes it
	binary     encoding = "binary"     // attributes in headers
	headerless encoding = "header-less"
)

var encodings = []encoding{structured, binary, headerless}

// encode writes the event. Package events refuses to write an invalid one, as it should; that is
// then written by hand.
func (e sent) encode(valid bool) (*nats.Msg, error) {
	msg := &nats.Msg{Subject: events.SourcedSubject(""), Header: nats.Header{}}
	if e.encoding == structured {
		msg.Subject = events.SourcedSubject(events.DefaultAccount)
	}
	now := time.Now().UTC()
	if e.encoding == binary {
		for name, value := range map[string]string{
			"specversion": "1.0", "id": e.id, "source": e.source, "type": events.TypeSourced, "time": now.Format(time.RFC3339Nano),
		} {
			msg.Header.Set("ce-"+name, value)
		}
		msg.Header.Set(events.HeaderContentType, "application/json")
		var err error
		msg.Data, err = json.Marshal(e.data)
		return msg, err
	}
	if !valid {
		body, err := json.Marshal(map[string]any{
			"specversion": "1.0", "id": e.id, "source": e.source, "type": events.TypeSourced, "time": now, "data": e.data,
		})
		msg.Data = body
		return msg, err
	}
	event := events.New(e.source, e.id, e.data)
	event.SetTime(now)
	header, body, err := events.Encode(event)
	if err != nil {
		return nil, err
	}
	msg.Data = body
	if e.encoding == structured {
		msg.Header = nats.Header(header)
	}
	return msg, nil
}

// position is how an event names its position.
func position(p events.Position) string {
	switch {
	case p.UID != "":
		return "uid " + p.UID
	case p.CustomID != "":
		return "custom_id " + p.CustomID
	case p.Department != "":
		return fmt.Sprintf("%q in %s", p.Name, p.Department)
	}
	return fmt.Sprintf("%q", p.Name)
}
