package comeet

import (
	"slices"
	"sync"
	"time"
)

// strict is a server that counts a request when it arrives, which may be at any moment between our send and its answer.
type strict struct {
	mu       sync.Mutex
	arrivals []time.Time
}

func (s *strict) arrive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals = append(s.arrivals, time.Now())
}

// busiest is the highest number of arrivals in any window, both of its ends included.
func (s *strict) busiest(window time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.arrivals, time.Time.Compare)
	most, first := 0, 0
	for last := range s.arrivals {
		for s.arrivals[last].Sub(s.arrivals[first]) > window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func (s *strict) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrivals)
}

// exchange is one request as the client makes it: it arrives at part of its latency, in percent.
func (s *strict) exchange(p *Permit, latency time.Duration, percent int, r report) error {
	if err := p.begin(); err != nil {
		return err
	}
	first := latency * time.Duration(percent) / 100
	time.Sleep(first)
	if r.sent {
		s.arrive()
	}
	time.Sleep(latency - first)
	r.answered = time.Now()
	p.end(r)
	return nil
}
