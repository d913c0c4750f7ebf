package comeet_test

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// An answer of many rows that say nothing is small on its way, and must not be large in memory.
func TestAnswersOfManyRows(t *testing.T) {
	for _, row := range []string{`{}`, `0`, `null`, `{"uid":"1"}`, `[]`} {
		body := `[` + strings.Repeat(row+`,`, (7<<20)/(len(row)+1)) + row + `]`
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			name := "candidates"
			if strings.HasSuffix(r.URL.Path, "positions") {
				name = "positions"
			}
			return answer(r, 200, nil, `{"`+name+`":`+body+`}`), nil
		})))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, candidates := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
		_, _, positions := c.ListPositions(t.Context(), comeet.PositionQuery{})
		runtime.ReadMemStats(&after)
		if comeet.KindOf(candidates) != comeet.Unavailable || comeet.KindOf(positions) != comeet.Unavailable {
			t.Errorf("%s: %v, %v", row, candidates, positions)
		}
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 150 { // two bodies, read into buffers that grow
			t.Errorf("%s: %d MiB", row, n)
		}
	}
}

// A candidate of many steps loses the oldest and spoils nobody else's row.
func TestACandidateOfManySteps(t *testing.T) {
	t.Parallel()
	var steps []string
	for i := range 2000 {
		steps = append(steps, `{"name":"step `+strconv.Itoa(i)+`"}`)
	}
	body := `{"candidates":[{"uid":"A.1"},{"uid":"A.2","completed_steps":[` + strings.Join(steps, ",") + `]},{"uid":"A.3"}]}`
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) { return answer(r, 200, nil, body), nil })))
	rows, _, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if got := rows[1].CompletedSteps; len(got) != 200 || got[0].Name != "step 1800" || got[199].Name != "step 1999" {
		t.Errorf("%d steps", len(got))
	}
}

// What cannot be the subject of an event is no uid.
func TestUIDsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, uid := range []string{"", " ", "\u00a0", "\u3000", "a\u0085b", "a\u009fb", "a b", strings.Repeat("a", 257)} {
		body := `{"candidates":[{"uid":` + strconv.Quote(uid) + `},{"uid":"A.1"}]}`
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) { return answer(r, 200, nil, body), nil })))
		rows, _, err := c.ListCandidates(t.Context(), comeet.CandidateQuery{})
		if err != nil || len(rows) != 1 || rows[0].UID != "A.1" {
			t.Errorf("%q: %v, %v", uid, rows, err)
		}
	}
}

// A clock of another millennium is none: JSON has no years beyond 9999.
func TestAnAbsurdDateIsNone(t *testing.T) {
	t.Parallel()
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		return answer(r, 200, http.Header{"Date": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, `{"positions":[]}`), nil
	})))
	_, resp, err := c.ListPositions(t.Context(), comeet.PositionQuery{})
	if _, known := c.ClockOffset(); err != nil || known || !resp.Date.IsZero() || time.Until(c.Now()).Abs() > time.Minute {
		t.Errorf("%v, offset known %v, now %s", err, known, c.Now())
	}
}
