package comeettest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// BenchmarkCreate is a POST at the in-memory door; to be under 50 µs.
func BenchmarkCreate(b *testing.B) {
	for _, record := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("recording=%d", record), func(b *testing.B) {
			s := start(b, comeettest.WithoutRateLimit(), comeettest.WithRecording(record))
			token := inMemory(b, s).token(jwt.MapClaims{"iss": comeettest.DefaultAPIKey, "exp": time.Now().Add(time.Hour).Unix()})
			door, url := s.Transport(), s.InMemoryURL()+"/candidates"
			var n atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					body := fmt.Appendf(nil, `{"position_uid":"87.405","partner_candidate_id":"src-%d","first_name":"N","last_name":"L","email":"n%d@example.test","mobile_phone":"+46 555 0101"}`, i, i)
					q, _ := http.NewRequest("POST", url, bytes.NewReader(body))
					q.Header.Set("Authorization", token)
					q.Header.Set("Content-Type", "application/json")
					resp, err := door.RoundTrip(q)
					if err != nil || resp.StatusCode != 201 {
						b.Fatal(err, resp.StatusCode)
					}
					resp.Body.Close()
				}
			})
		})
	}
}

// BenchmarkPoll lists what was active lately among a million candidates: nobody, or ten of them.
func BenchmarkPoll(b *testing.B) {
	s := start(b, comeettest.WithoutRateLimit(), comeettest.WithRecording(0), comeettest.WithoutHistory())
	uids := add(b, s, 1_000_000)
	s.SetClockOffset(time.Hour)
	for _, uid := range uids[:10] {
		must(b, s.Recruiter(comeettest.DefaultAccount).SetProspectStatus(uid, "Contacted"))
	}
	c := inMemory(b, s)
	c.now = s.Now
	for active, since := range map[int]time.Time{0: s.Now().Add(time.Hour), 10: s.Now().Add(-time.Minute)} {
		path := "/candidates?time_hiring_process_updated:after=" + zulu(since)
		b.Run(fmt.Sprintf("active=%d", active), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a := c.get(path); a.status != 200 || len(a.uids()) != active {
					b.Fatal(a.status, a.raw)
				}
			}
		})
	}
}
