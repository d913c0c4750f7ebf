package comeet_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// reduced is what a POST answers by the documentation's example.
const reduced = `{"uid":"3C.7F2A1","position_uid":"5A.1B9","source_contact":{"full_name":"Dana Reyes","email":"dana@example.test"},
"time_created":"2031-02-03T04:05:06Z","time_last_status_changed":"2031-02-03T04:05:06Z",
"current_steps":[{"name":"Screen","type":"Go/No-go","time_scheduled":null}],"completed_steps":[],"status":"In progress"}`

// The whole of a submission on loopback; the server's share is in it, since both are one process.
func BenchmarkCreateCandidate(b *testing.B) {
	c := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, reduced)
	})
	n := noor()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.CreateCandidate(b.Context(), n); err != nil {
			b.Fatal(err)
		}
	}
}

// The client without net/http.
func BenchmarkCreateCandidateInMemory(b *testing.B) {
	c := newClient(b, comeet.WithTransport(always(http.StatusCreated, reduced)))
	n := noor()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.CreateCandidate(b.Context(), n); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateCandidateWithResume(b *testing.B) {
	c := newClient(b, comeet.WithTransport(always(http.StatusCreated, reduced)))
	n := noor()
	n.Resume = &comeet.File{Name: "cv.pdf", File: make([]byte, 6<<20)}
	b.SetBytes(6 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.CreateCandidate(b.Context(), n); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListCandidates(b *testing.B) {
	body := fmt.Sprintf(`{"candidates":[%s],"next_page":null}`, strings.TrimSuffix(strings.Repeat(fullCandidate+",", 500), ","))
	c := newClient(b, comeet.WithTransport(always(http.StatusOK, body)))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if rows, _, err := c.ListCandidates(b.Context(), comeet.CandidateQuery{}); err != nil || len(rows) != 500 {
			b.Fatal(len(rows), err)
		}
	}
}
