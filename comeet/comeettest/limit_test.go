package comeettest_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

func TestRateLimit(t *testing.T) {
	t.Parallel()
	at := func(seconds ...int) []int { return seconds }
	tests := []struct {
		name string
		sw   comeettest.Switches
		// requests at these seconds; limit 3 per 60 s
		at, want []int
		retry    string // Retry-After of the last one
	}{
		{"sliding", comeettest.Switches{}, at(0, 10, 20, 30, 59, 60, 61, 70), []int{200, 200, 200, 429, 429, 200, 429, 200}, ""},
		{"sliding with a hint", comeettest.Switches{RetryAfter: true}, at(0, 10, 20, 30), []int{200, 200, 200, 429}, "30"},
		{"refused ones count", comeettest.Switches{CountRefused: true, RetryAfter: true}, at(0, 10, 20, 30, 60, 130), []int{200, 200, 200, 429, 429, 200}, ""},
		{"fixed window", comeettest.Switches{FixedWindow: true}, at(0, 58, 59, 59, 60, 61, 62, 63), []int{200, 200, 200, 429, 200, 200, 200, 429}, ""},
		{"fixed window, refused ones count", comeettest.Switches{FixedWindow: true, CountRefused: true}, at(0, 1, 2, 50, 70, 130), []int{200, 200, 200, 429, 429, 200}, ""},
		{"HTML", comeettest.Switches{ThrottleHTML: true, RetryAfter: true}, at(0, 0, 0, 1), []int{200, 200, 200, 429}, "59"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := start(t, comeettest.WithRateLimit(3, time.Minute), comeettest.WithSwitches(test.sw))
				c := inMemory(t, s)
				begin := time.Now()
				var got []int
				var last answer
				refused := int64(0)
				for _, second := range test.at {
					time.Sleep(time.Until(begin.Add(time.Duration(second) * time.Second)))
					last = c.get("/positions")
					if got = append(got, last.status); last.status == 429 {
						refused++
					}
				}
				if d := cmp.Diff(test.want, got); d != "" {
					t.Error(d)
				}
				if h := last.header.Get("Retry-After"); h != test.retry {
					t.Errorf("Retry-After %q, want %q", h, test.retry)
				}
				if last.status == 429 && (last.code() == "too_many_requests") == test.sw.ThrottleHTML {
					t.Errorf("body %s", last.raw)
				}
				if n := s.Throttled(comeettest.DefaultAccount); n != refused || s.Counts().Throttled != refused {
					t.Errorf("counted %d refusals, want %d", n, refused)
				}
				assertNoViolations(t, s)
			})
		})
	}
}

// In no 60 s are more requests admitted than the limit, and a request is refused only when the limit is used.
func TestSlidingWindowIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		gaps := rapid.SliceOfN(rapid.IntRange(0, 20), 1, 80).Draw(rt, "gaps")
		limit := rapid.IntRange(1, 6).Draw(rt, "limit")
		synctest.Test(t, func(t *testing.T) {
			s := start(t, comeettest.WithRateLimit(limit, time.Minute))
			c := inMemory(t, s)
			var admitted []time.Time
			for _, gap := range gaps {
				time.Sleep(time.Duration(gap) * time.Second)
				now, used := time.Now(), 0
				for _, at := range admitted {
					if now.Sub(at) < time.Minute {
						used++
					}
				}
				ok := c.get("/positions").status == 200
				if ok != (used < limit) {
					t.Fatalf("admitted %v with %d of %d used", ok, used, limit)
				}
				if ok {
					admitted = append(admitted, now)
				}
			}
		})
	})
}

// A slot reckoned from the sending is too early when the next request travels faster: the reason for latency.
func TestLatencyMovesWhatIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := true
		s := start(t, comeettest.WithRateLimit(1, time.Minute), comeettest.WithLatency(func() (there, back time.Duration) {
			if slow {
				return time.Second, 2 * time.Second
			}
			return 0, 0
		}))
		c := inMemory(t, s)
		begin := time.Now()
		c.get("/positions")
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
		q := s.Requests()[0]
		if q.Arrived.Sub(begin) != time.Second || q.Answered.Sub(begin) != time.Second {
			t.Errorf("arrived after %v, answered after %v", q.Arrived.Sub(begin), q.Answered.Sub(begin))
		}
		slow = false
		time.Sleep(time.Until(begin.Add(time.Minute)))
		if a := c.get("/positions"); a.status != 429 {
			t.Errorf("60 s after the sending: %d", a.status)
		}
		time.Sleep(time.Second)
		if a := c.get("/positions"); a.status != 200 {
			t.Errorf("60 s after the arrival: %d", a.status)
		}
	})
}

func TestDefaultLimitIsTheDocumentedOnePerAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, comeettest.WithAccount(comeettest.Account{Name: "a"}), comeettest.WithAccount(comeettest.Account{Name: "b"}))
		a, b := inMemory(t, s), inMemory(t, s)
		a.apiKey, b.apiKey = "api-key-of-a", "api-key-of-b"
		for i := range 101 {
			if got, want := a.get("/positions").status == 200, i < 100; got != want {
				t.Fatalf("request %d: admitted %v", i+1, got)
			}
		}
		if got := b.get("/positions").status; got != 200 {
			t.Errorf("the other account: %d", got)
		}
		s.SetRateLimit("a", 0, 0)
		if got := a.get("/positions").status; got != 200 {
			t.Errorf("without limit: %d", got)
		}
	})
}

func TestThrottledRequestsKeepTheScript(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, comeettest.WithRateLimit(1, time.Minute))
		c := inMemory(t, s)
		c.get("/positions")
		s.Script(comeettest.ListPositions, comeettest.HTMLPage(502), comeettest.HTMLPage(503))
		c.get("/positions")
		if n := s.Scripted(comeettest.ListPositions); n != 2 {
			t.Errorf("%d scripted faults are left, want 2", n)
		}
		time.Sleep(time.Minute)
		if a := c.get("/positions"); a.status != 502 {
			t.Errorf("answered %d, want 502", a.status)
		}
	})
}

func TestRequestsAreRecordedWithinBounds(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithRecording(3), comeettest.WithBodies())
	c := inMemory(t, s)
	for range 5 {
		c.get("/candidates?status=Hired")
	}
	c.created(noor())
	got := s.Requests()
	if len(got) != 3 || got[0].ID != 4 || got[2].ID != 6 || got[0].Query.Get("status") != "Hired" || got[0].Status != 200 {
		t.Errorf("recorded %+v", got)
	}
	last := got[2]
	if last.Account != comeettest.DefaultAccount || last.CandidateUID == "" || !last.Acted || len(last.Body) == 0 || last.Answered.Before(last.Arrived) {
		t.Errorf("recorded %+v", last)
	}
	n := s.Counts()
	if n.Requests != 6 || n.Ended != 6 || n.Created != 1 || n.ByRoute[comeettest.ListCandidates] != 5 {
		t.Errorf("counts %+v", n)
	}
	s.ForgetRequests()
	if len(s.Requests()) != 0 {
		t.Error("not forgotten")
	}
	off := start(t, comeettest.WithRecording(0))
	inMemory(t, off).get("/positions")
	if len(off.Requests()) != 0 || off.Counts().Requests != 1 {
		t.Error("recording is not off")
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 5 {
			c.get("/positions")
		}
	})
	must(t, s.Await(t.Context(), func(n comeettest.Counts) bool { return n.Ended >= 5 }))
	wg.Wait()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := start(t).Await(ctx, func(comeettest.Counts) bool { return false }); err == nil {
			t.Error("never satisfied, and no error")
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	eachDoor(t, []comeettest.Option{comeettest.WithClockOffset(-5 * time.Minute)}, func(t *testing.T, s *comeettest.Server, c *client) {
		date := func() time.Duration {
			at, err := time.Parse(time.RFC1123, c.get("/positions").header.Get("Date"))
			must(t, err)
			return time.Until(at).Round(time.Minute)
		}
		if d := date(); d != -5*time.Minute {
			t.Errorf("Date is %v from now", d)
		}
		s.SetClockOffset(time.Hour)
		c.now = s.Now
		if d := date(); d != time.Hour {
			t.Errorf("Date is %v from now", d)
		}
		s.Switch(func(sw *comeettest.Switches) { sw.NoDate = true })
		if h := c.get("/positions").header; h.Get("Date") != "" {
			t.Errorf("Date %q", h.Get("Date"))
		}
	})
}
