package connector_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/events"
)

// A connector in a process of its own is killed again and again under traffic of all kinds, while Comeet loses answers.
// Seen from the outside nothing may show of it.
func TestKilledUnderTraffic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t)
	w.fake.Chaos(rand.New(rand.NewPCG(3, 4)),
		comeettest.Weighted{Probability: 0.03, Route: comeettest.CreateCandidate, Fault: comeettest.DropAfter()},
		comeettest.Weighted{Probability: 0.02, Route: comeettest.CreateCandidate, Fault: comeettest.Drop()},
		comeettest.Weighted{Probability: 0.02, Route: comeettest.CreateCandidate, Fault: comeettest.ActThen(comeettest.HTMLPage(502))},
		comeettest.Weighted{Probability: 0.02, Route: comeettest.ListCandidates, Fault: comeettest.HTMLPage(503)},
	)
	const kills, perRound = 5, 60
	n := 0
	for range kills {
		p := w.spawn()
		for range perRound {
			n++
			w.publishAny(r, n)
		}
		some := w.fake.Counts().Created + 10
		w.eventually("some progress", func() bool { return w.fake.Counts().Created >= some || len(w.read().outcomes()) >= len(w.published) })
		p.kill()
		w.checkLeaks(p.logs.String())
	}
	w.run()
	w.settled()
	w.check()
	w.checkOutcomes()
}

// publishAny stores one event of any kind that a stranger may send.
func (w *world) publishAny(r *rand.Rand, n int) {
	w.Helper()
	d := person(n)
	id := fmt.Sprint("e", n)
	// Every second one on the subject that names no account.
	s := sent{identity: source + " " + id, account: []string{"default", ""}[n%2], want: "accepted", data: d}
	switch r.IntN(16) {
	case 0:
		d.Position = events.Position{UID: "99.999"}
		s.want = "position_not_found"
	case 1:
		d.Position = events.Position{CustomID: "TWIN"}
		s.want = "position_ambiguous"
	case 2:
		d.Position = events.Position{Name: "closed one"}
		s.want = "position_closed"
	case 3:
		d.Position = events.Position{CustomID: "DA-1"}
	case 4:
		d.Position = events.Position{Name: "Twin", Department: "b"}
	case 5:
		d.Candidate.Email = "not an address"
		s.want = "refused"
	case 6:
		// The same act once more: an event of its own, whose candidate exists.
		w.publish(id, d)
		w.mu.Lock()
		w.published[len(w.published)-1].want = "accepted"
		w.mu.Unlock()
		id += "-again"
		s.identity = source + " " + id
	case 7:
		d.Candidate.Resume = &events.File{Name: "cv.pdf", Content: []byte(strings.Repeat("résumé ", 2000))}
	case 8:
		d.Candidate.Resume = &events.File{Name: "cv.pdf", Object: &events.Object{Name: w.store("", fmt.Appendf(nil, "résumé %d", n))}}
	case 9:
		d.Candidate.Resume = &events.File{Name: "cv.pdf", Object: &events.Object{Name: fmt.Sprintf("%064x", n)}}
		s.want = "file_missing"
	case 10:
		d.Position = events.Position{CustomID: "OH-1"}
		s.want = "position_on_hold"
	}
	e := events.New(source, id, d)
	h, body, err := events.Encode(e)
	if err != nil {
		w.Fatal(err)
	}
	switch r.IntN(12) {
	case 0: // header-less structured
		h = nil
	case 1, 2: // binary
		data, err := json.Marshal(d)
		if err != nil {
			w.Fatal(err)
		}
		h = map[string][]string{
			"ce-specversion": {"1.0"}, "CE-ID": {url.PathEscape(id)}, "Ce-Source": {source}, "ce-type": {events.TypeSourced},
			"content-type": {"application/json"},
		}
		body = data
	case 3: // malformed
		switch r.IntN(4) {
		case 0:
			h, body = nil, []byte("{not json")
			s.identity = ""
		case 1:
			h, body = nil, []byte{0, 1, 2}
			s.identity = ""
		case 2:
			body = []byte(strings.Replace(string(body), `"first_name"`, `"forename"`, 1))
		case 3:
			d.Candidate.Resume = &events.File{Name: "big.bin"}
			raw, err := json.Marshal(d)
			if err != nil {
				w.Fatal(err)
			}
			big := base64.StdEncoding.EncodeToString(make([]byte, 700<<10))
			body = []byte(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":%q,"data":%s}`, id, source, events.TypeSourced,
				strings.Replace(string(raw), `"big.bin"`, `"big.bin","content":"`+big+`"`, 1)))
		}
		s.want = "invalid_event"
	case 4: // addressed to another account than its subject
		h = map[string][]string{
			"CE-SpecVersion": {"1.0"}, "CE-ID": {id}, "CE-Source": {source}, "CE-Type": {events.TypeSourced}, "CE-Account": {"other"},
		}
		data, err := json.Marshal(d)
		if err != nil {
			w.Fatal(err)
		}
		body, s.want = data, "invalid_event"
	case 5: // its publisher sends it twice, or the bus does
		h["Nats-Msg-Id"] = []string{id}
		w.publishRaw(s, h, body)
		w.mu.Lock()
		w.published = w.published[:len(w.published)-1]
		w.mu.Unlock()
		h["Nats-Msg-Id"] = []string{id + " again"}
	}
	w.publishRaw(s, h, body)
}

// checkOutcomes compares each event's outcome with what its publisher must expect.
func (w *world) checkOutcomes() {
	w.Helper()
	outcomes := w.read().outcomes()
	bySeq := map[uint64]string{}
	for _, es := range outcomes {
		for _, e := range es {
			if f, ok := e.Data.(*events.Failed); ok && f.Sourced == nil {
				bySeq[f.DeadLetter.Sequence] = string(f.Reason)
			}
		}
	}
	unreadable := 0
	for _, p := range w.published {
		if strings.HasPrefix(p.identity, "#") {
			unreadable++
			continue
		}
		got := "none"
		for _, e := range outcomes[p.identity] {
			switch d := e.Data.(type) {
			case *events.Accepted:
				got = "accepted"
			case *events.Failed:
				got = string(d.Reason)
			}
		}
		if got != p.want {
			w.Errorf("event %s: outcome %s, want %s", p.identity, got, p.want)
		}
	}
	if len(bySeq) != unreadable {
		w.Errorf("%d outcomes for %d unreadable events", len(bySeq), unreadable)
	}
}
