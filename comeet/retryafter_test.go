package comeet_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const date = "Mon, 03 Feb 2031 04:05:06 GMT"
	for _, tt := range []struct {
		value string
		want  time.Duration
	}{
		{"", 0}, {"17", 17 * time.Second}, {" 17 ", 17 * time.Second}, {"0", 0}, {"-5", 0}, {"1.5", 0}, {"soon", 0},
		{"Mon, 03 Feb 2031 04:06:06 GMT", time.Minute}, {"Mon, 03 Feb 2031 04:05:00 GMT", 0},
		{"1927857966", time.Minute}, {"1927857966000", time.Minute}, {"1927857966000000000", time.Minute}, {"1927857000", 0}, {"999999999", 24 * time.Hour},
		{"2031-02-03T04:06:06Z", time.Minute}, {"2031-02-03T05:06:06+01:00", time.Minute},
		{"99999999999999999999999", 24 * time.Hour}, {"86401", 24 * time.Hour}, {"Mon, 03 Feb 2042 04:06:06 GMT", 24 * time.Hour},
	} {
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			return answer(r, 429, http.Header{"Date": {date}, "Retry-After": {tt.value}}, "<html>"), nil
		})))
		_, _, err := c.RetrieveCandidate(t.Context(), "x")
		e, ok := errors.AsType[*comeet.Error](err)
		if !ok || e.Kind != comeet.Throttled || e.RetryAfter != tt.want {
			t.Errorf("%q: %v, want %s", tt.value, err, tt.want)
		}
	}
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		return answer(r, 503, http.Header{"Retry-After": {"17"}}, ""), nil
	})))
	_, _, err := c.RetrieveCandidate(t.Context(), "x")
	if e, ok := errors.AsType[*comeet.Error](err); !ok || e.RetryAfter != 0 {
		t.Errorf("a Retry-After that is not of a 429: %v", err)
	}
}

// A point in time is one of Comeet's clock, also where the answer that has it does not tell the time.
func TestRetryAfterByAnotherClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour} {
		for name, write := range map[string]func(time.Time) string{
			"HTTP date":    func(at time.Time) string { return at.UTC().Format(http.TimeFormat) },
			"seconds":      func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) },
			"milliseconds": func(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) },
		} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(10 * 365 * 24 * time.Hour) // the bubble begins in 2000, when Unix time was not so large yet
				requests := 0
				c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
					theirs := time.Now().Add(skew)
					if requests++; requests == 1 {
						return answer(r, 200, http.Header{"Date": {theirs.UTC().Format(http.TimeFormat)}}, `{"positions":[]}`), nil
					}
					return answer(r, 429, http.Header{"Retry-After": {write(theirs.Add(10 * time.Minute))}}, ""), nil
				})))
				if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				_, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{})
				e, ok := errors.AsType[*comeet.Error](err)
				if !ok || (e.RetryAfter-10*time.Minute).Abs() > 2*time.Second {
					t.Errorf("%s, clock %s ahead: %v", name, skew, err)
				}
			})
		}
	}
}
