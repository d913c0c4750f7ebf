package connector_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithBodies()), func(s *setup) { s.RequestTimeout = 30 * time.Second })
	const limit = 6 << 20
	resume, picture := bytes.Repeat([]byte{0, 1, 2, 255}, 300<<10), []byte("a picture")
	object := func(name string) *events.Object { return &events.Object{Name: name} }
	largest := bytes.Repeat([]byte("x"), limit)
	absent, lying := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	w.store(lying, []byte("something else"))
	cases := []struct {
		name string
		file events.File
		want string
	}{
		{"object", events.File{Object: object(w.store("", resume))}, "created"},
		{"content", events.File{Content: []byte("a small one")}, "created"},
		{"largest object", events.File{Object: object(w.store("", largest))}, "created"},
		{"too large an object", events.File{Object: object(w.store("", append(largest, 'y')))}, "file_refused"},
		{"no such object", events.File{Object: object(absent)}, "file_missing"},
		{"object that is not what its name says", events.File{Object: object(lying)}, "file_missing"},
		{"empty object", events.File{Object: object(w.store("", nil))}, "file_missing"},
		{"link to nothing", events.File{Object: object(w.describe(strings.Repeat("12", 32), `{"options":{"link":{"bucket":"`+bus.FilesStore+`","name":"nobody"}}}`))}, "file_missing"},
		{"object that cannot be read", events.File{Object: object(w.describe(strings.Repeat("34", 32), "{"))}, "file_missing"},
		{"address in a private network", events.File{URL: "https://127.0.0.1:1/" + keyMark}, "file_missing"},
		{"refused by Comeet", events.File{Content: []byte(comeettest.MaliciousMarker)}, "file_refused"},
	}
	for i, c := range cases {
		d := person(i)
		c.file.Name = personMark + ".pdf"
		d.Candidate.Resume = &c.file
		w.publish(fmt.Sprint("e", i), d)
	}
	all := person(100)
	all.Candidate.Resume = &events.File{Name: "cv.pdf", Content: []byte("cv")}
	all.Candidate.Picture = &events.File{Name: "face.png", Content: picture}
	all.Candidate.Files = []events.File{{Name: "a.txt", Content: []byte("a")}, {Name: "b.txt", Object: object(w.store("", []byte("b")))}}
	w.publish("all", all)
	many := person(102)
	for i := range 5 {
		many.Candidate.Files = append(many.Candidate.Files, events.File{Name: fmt.Sprint(i), Object: object(w.store("", largest))})
	}
	w.publish("many", many)
	broken := person(101)
	broken.Candidate.Files = []events.File{{Name: "a.txt", Content: []byte("a")}, {Name: "b.txt", Object: object(absent)}}
	w.publish("broken", broken)
	w.run()
	outcomes := w.settled().outcomes()
	for i, c := range cases {
		e := outcomes[source+fmt.Sprint(" e", i)][0]
		if got := outcomeOf(e); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if d, ok := e.Data.(*events.Failed); ok {
			w.checkLeaks(fmt.Sprintf("%+v", d))
		}
	}
	if d, ok := outcomes[source+" broken"][0].Data.(*events.Failed); !ok || !strings.Contains(d.Message, "/data/candidate/files/1") {
		t.Errorf("%+v does not point to the missing file", d)
	}
	if d, ok := outcomes[source+" many"][0].Data.(*events.Failed); !ok || d.Reason != events.ReasonFileRefused || !strings.Contains(d.Message, "24 MiB") {
		t.Errorf("%+v does not refuse what comes to more than 24 MiB", d)
	}

	type named struct {
		Name string
		File []byte
	}
	got := map[string]string{}
	for _, r := range w.fake.Requests() {
		var body struct {
			Resume, Picture *named
			Files           []named
		}
		if r.Route != comeettest.CreateCandidate || r.Status != 201 {
			continue
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		for _, f := range append(body.Files, *orEmpty(body.Resume), *orEmpty(body.Picture)) {
			sum := sha256.Sum256(f.File)
			got[string(sum[:])] = f.Name
		}
	}
	for content, name := range map[string]string{
		string(resume): personMark + ".pdf", string(largest): personMark + ".pdf", "cv": "cv.pdf", string(picture): "face.png", "a": "a.txt", "b": "b.txt",
	} {
		if sum := sha256.Sum256([]byte(content)); got[string(sum[:])] != name {
			t.Errorf("file %s did not come to Comeet as it was: %q", name, got[string(sum[:])])
		}
	}
	w.check()
}

// describe writes the entry of an object as it is given.
func (w *world) describe(name, entry string) string {
	w.Helper()
	subject := "$O." + bus.FilesStore + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
	if _, err := w.js.Publish(w.Context(), subject, []byte(entry)); err != nil {
		w.Fatal(err)
	}
	return name
}

func orEmpty[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

// However many events with files are in hand, as many are in memory as could be large, fewer of one account; and who has none goes on.
func TestFilesTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("a", "b", "c", "small"), func(s *setup) { s.RequestTimeout = time.Minute })
	object := events.Object{Name: w.store("", []byte("could be large"))}
	arrived, answer := make(chan string, 100), make(chan struct{})
	const n = 9
	for range n {
		w.fake.Control(comeettest.CreateCandidate, func(r comeettest.Request) (comeettest.Fault, bool) {
			if r.Account == "small" {
				return comeettest.Fault{}, false
			}
			arrived <- r.Account
			<-answer
			return comeettest.Delay(0), true
		})
	}
	w.run()
	for n := range n {
		d := person(n)
		for i := range 4 {
			d.Candidate.Files = append(d.Candidate.Files, events.File{Name: fmt.Sprint(i), Object: &object})
		}
		w.publishTo(w.Accounts[n%3], source, fmt.Sprint("files", n), d)
	}
	first, second := <-arrived, <-arrived
	for n := range 20 {
		w.publishTo("small", source, fmt.Sprint("small", n), person(100+n))
		w.outcome(fmt.Sprint("small", n))
	}
	if n := len(arrived); n > 0 || first == second {
		t.Errorf("%d POSTs with four files under way beside those of the accounts %s and %s, want one each of two accounts", n, first, second)
	}
	close(answer)
	w.check()
}

// A submission whose answer was lost is repeated with its files, which are read again; without them it stays in doubt.
func TestFilesOfARepetition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.store("", []byte("a résumé"))
	store, err := w.js.ObjectStore(t.Context(), bus.FilesStore)
	if err != nil {
		t.Fatal(err)
	}
	w.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
		if err := store.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
		return comeettest.Drop(), true
	})
	w.run()
	lost, kept := person(1), person(2)
	lost.Candidate.Resume = &events.File{Name: "cv.pdf", Object: &events.Object{Name: name}}
	w.publish("lost", lost)
	if got := outcomeOf(w.outcome("lost")); got != string(events.ReasonInDoubt) {
		t.Errorf("outcome %s, want in_doubt", got)
	}
	w.fake.Script(comeettest.CreateCandidate, comeettest.Drop())
	kept.Candidate.Resume = &events.File{Name: "cv.pdf", Object: &events.Object{Name: w.store("", []byte("another résumé"))}}
	w.publish("kept", kept)
	if got := outcomeOf(w.outcome("kept")); got != "created" {
		t.Errorf("outcome %s, want created", got)
	}
	w.check()
}
