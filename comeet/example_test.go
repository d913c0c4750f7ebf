package comeet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// recruiting is a Comeet of two routes, enough for the examples.
func recruiting() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /positions", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "" {
			_, _ = io.WriteString(w, `{"positions":[{"uid":"5A.1B9","name":"Engineer","status":"open"}],"next_page":"/positions?page=2"}`)
			return
		}
		_, _ = io.WriteString(w, `{"positions":[{"uid":"41.264","name":"Designer","status":"open"}],"next_page":null}`)
	})
	mux.HandleFunc("POST /candidates", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"status":409,"error":"candidate_post_conflict","candidate_uid":"3C.7F2A1"}`)
	})
	return httptest.NewServer(mux)
}

// Every outcome of a submission, and what to do about it.
func ExampleClient_CreateCandidate() {
	server := recruiting()
	defer server.Close()
	client, err := comeet.NewClient(comeet.StaticCredentials("api-key", "secret"), comeet.WithBaseURL(server.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	candidate, _, err := client.CreateCandidate(ctx, &comeet.NewCandidate{
		PositionUID: "5A.1B9", PartnerCandidateID: "src-10293", FirstName: "Noor", LastName: "Lindqvist",
	})
	switch comeet.KindOf(err) {
	case 0:
		fmt.Println("created", candidate.UID)
	case comeet.Existing:
		if e, ok := errors.AsType[*comeet.Error](err); ok {
			fmt.Println("Comeet had it as", e.CandidateUID)
		}
	case comeet.Invalid, comeet.NoPosition:
		fmt.Println("never as it is:", err)
	case comeet.InDoubt:
		fmt.Println("look it up before anything is sent again:", err)
	default:
		fmt.Println("nothing happened, try later:", err)
	}
	// Output: Comeet had it as 3C.7F2A1
}

// A listing is complete only if it says so: until then a missing row proves nothing.
func ExampleClient_PositionPages() {
	server := recruiting()
	defer server.Close()
	client, err := comeet.NewClient(comeet.StaticCredentials("api-key", "secret"), comeet.WithBaseURL(server.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	pages := client.PositionPages(comeet.PositionQuery{Status: "open"}, 0)
	for pages.Next(context.Background()) {
		for _, p := range pages.Items() {
			fmt.Println(p.UID, p.Name)
		}
	}
	fmt.Println(pages.Complete(), pages.Err())
	// Output:
	// 5A.1B9 Engineer
	// 41.264 Designer
	// true <nil>
}

// The table by which answers are classified.
func ExampleAnswers() {
	for _, a := range comeet.Answers()[:4] {
		fmt.Printf("%-12s %s -> event %s\n", a.Result, a.From, a.Event)
	}
	// Output:
	// canceled     any request, nothing sent, caller's context ended first -> event waits
	// unavailable  any request, nothing sent -> event waits
	// canceled     read, caller's context ended first -> event waits
	// throttled    any request, 429 -> event waits, the budget holds a window or Retry-After
}
