package connector_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// store puts an object under its own name, or another one.
func (w *world) store(name string, data []byte) string {
	w.Helper()
	store, err := w.js.ObjectStore(w.Context(), bus.DefaultNames.Files)
	if err != nil {
		w.Fatal(err)
	}
	if name == "" {
		sum := sha256.Sum256(data)
		name = hex.EncodeToString(sum[:])
	}
	if _, err := store.Put(w.Context(), jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: bus.ChunkBytes}}, bytes.NewReader(data)); err != nil {
		w.Fatal(err)
	}
	return name
}

func TestFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithBodies()), func(s *setup) { s.RequestTimeout = 10 * time.Second })
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

func orEmpty[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}
