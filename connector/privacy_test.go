package connector_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// whole has a mark in every personal field.
func whole(n int) *events.Sourced {
	d := person(n)
	c := &d.Candidate
	c.MiddleName, c.LastName = personMark, fmt.Sprint(personMark, n)
	c.MobilePhone, c.NationalID = phoneMark, personMark
	c.LinkedInURL = fmt.Sprintf("https://www.linkedin.com/in/%s-%d", mailMark, n)
	c.SalaryExpectations, c.Note = personMark, personMark+" "+mailMark
	c.Address = &events.Address{Country: "SE", City: personMark, State: personMark, Zip: phoneMark, Street: personMark}
	c.Links = []events.Link{{URL: "https://" + mailMark + ".example.test/"}}
	c.Resume = &events.File{Name: personMark + ".pdf", Content: []byte(personMark)}
	c.Files = []events.File{{Name: mailMark + ".txt", Content: []byte(mailMark)}}
	d.SourceContact = &events.SourceContact{FullName: personMark, Email: mailMark + "@example.test", Phone: phoneMark}
	return d
}

// Everything that can go wrong goes wrong with people whose every field is marked, and Comeet quotes them in its answers.
// None of it, and no key or token, may be seen in logs, metrics, or what we publish.
func TestNobodyIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("default", "denied"), fakeWith(comeettest.WithSwitches(comeettest.Switches{MaxPageSize: 3, ThrottleHTML: true})),
		func(s *setup) { s.RateLimit = comeet.Limit{Requests: 500, Window: time.Second} })
	quoting := fmt.Sprintf(`"message":"%s <%s@example.test> %s %s"`, personMark, mailMark, phoneMark, apiKeyOf("default"))
	says := func(status int, code string) comeettest.Fault {
		return comeettest.Answer(status, fmt.Sprintf(`{"status":%d,"error":%q,%s}`, status, code, quoting))
	}
	w.fake.Script(comeettest.CreateCandidate,
		says(400, "invalid_email"), says(400, personMark), says(401, "unauthorized"), says(403, "malicious_file"), says(404, "position_not_found"),
		says(409, "conflict"), says(422, "odd"), says(500, "internal"), says(200, "none"), says(302, "moved"),
		comeettest.ActThen(says(500, "internal")), comeettest.ActThen(comeettest.HTMLPage(502)), comeettest.Truncated(), comeettest.DropAfter(), comeettest.Hang(),
		comeettest.ThrottleHTML(time.Second))
	w.fake.Script(comeettest.ListCandidates, says(500, "internal"), says(200, "none"), comeettest.WrongJSON(), comeettest.HTMLPage(403))
	w.fake.Script(comeettest.ListPositions, says(500, "internal"))
	w.fake.Script(comeettest.RetrieveCandidate, says(404, "odd"), says(500, "internal"))
	w.fake.Recruiter("denied").Revoke()

	n := 0
	send := func(change func(*events.Sourced)) {
		n++
		d := whole(n)
		change(d)
		w.publish(fmt.Sprint("e", n), d)
	}
	for range 20 {
		send(func(*events.Sourced) {})
	}
	send(func(d *events.Sourced) { d.Position = events.Position{Name: personMark} })
	send(func(d *events.Sourced) { d.Position = events.Position{CustomID: mailMark} })
	send(func(d *events.Sourced) { d.Candidate.Email = mailMark })
	send(func(d *events.Sourced) {
		d.Candidate.Resume = &events.File{Name: personMark, URL: "https://127.0.0.1:1/" + keyMark}
	})
	send(func(d *events.Sourced) {
		d.Candidate.Resume = &events.File{Name: personMark, Object: &events.Object{Name: strings.Repeat("ab", 32)}}
	})
	send(func(d *events.Sourced) { d.Candidate.CustomFields = map[string]any{mailMark: personMark} })
	data, err := json.Marshal(whole(1000))
	if err != nil {
		t.Fatal(err)
	}
	event := func(id, data string) []byte {
		return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":%q,"type":%q,%s"data":%s}`, id, source, events.TypeSourced, "", data)
	}
	bad := [][]byte{
		data, []byte(personMark + mailMark), event("x1", strings.Replace(string(data), `"first_name"`, `"`+personMark+`"`, 1)),
		event("x2", strings.Replace(string(data), `"SE"`, `"`+personMark+`"`, 1)), event("x3", `"`+mailMark+`"`),
		event("x4", strings.Replace(string(data), `"src-1000"`, `"`+personMark+`"`, 1)),
		event("x5", strings.Replace(string(data), `"https://`+mailMark, `"`+mailMark, 1)),
	}
	for i, body := range bad {
		s := sent{account: "default"}
		if i > 1 {
			s.identity = fmt.Sprint(source, " x", i-1)
		}
		w.publishRaw(s, map[string][]string{"X-" + mailMark: {personMark}}, body)
	}
	w.publishTo("denied", source, "d1", whole(2000))

	p := w.spawn()
	w.eventually("some outcomes of a process of its own", func() bool { return len(w.read().outcomes()) >= 5 })
	p.kill()
	r := w.run(func(c *connector.Config) { c.AdminAddr, c.DeniedRetry = "127.0.0.1:0", 300*time.Millisecond })
	w.eventually("all but the denied account's outcome", func() bool { return len(w.read().outcomes()) >= len(w.published)-1 })

	// The way back: people in steps, sources and reasons of theirs.
	recruiter := w.fake.Recruiter("default")
	moved := 0
	for _, c := range w.fake.Candidates("default") {
		if recruiter.MoveToStep(c.UID, "Technical interview") == nil && recruiter.SetProspectStatus(c.UID, "Contacted") == nil {
			moved++
		}
	}
	w.eventually("status changes", func() bool {
		changed := 0
		for _, states := range w.read().statuses("default") {
			if len(states) > 1 {
				changed++
			}
		}
		return changed == moved
	})
	w.fake.Recruiter("denied").Allow()
	f := w.settled()

	w.checkLeaks(w.logs.String(), p.logs.String(), metrics(t, r))
	for _, e := range f {
		m := w.message(bus.EventsStream, e.seq)
		w.checkLeaks(m.Subject, fmt.Sprint(m.Header), string(m.Data))
	}
	for _, m := range w.letters() {
		w.checkLeaks(m.Subject)
		for name := range m.Header {
			if !strings.HasPrefix(name, "X-") && name != "Content-Type" && !strings.HasPrefix(name, "Ce-") && name != "traceparent" {
				t.Errorf("a dead letter has the header %s, which its original had not", name)
			}
		}
	}
	for _, v := range w.fake.Violations() {
		t.Errorf("breach of the API: %v", v)
	}
}
