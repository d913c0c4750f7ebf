package comeettest

import (
	"sync"
	"sync/atomic"
	"time"
)

// limiter imitates the documented limit of 100 requests per 60 s [D: error-responses], per api-key
// (scope UNKNOWN [I]). Sliding or fixed window, and whether refused requests count: Switches.
type limiter struct {
	refused atomic.Int64

	mu     sync.Mutex // guards what follows
	max    int        // 0: no limit
	window time.Duration
	ring   []time.Time // sliding: the last max counted requests
	head   int
	start  time.Time // fixed: begin of the window
	count  int
}

func (l *limiter) init(max int, window time.Duration) { l.max, l.window = max, window }

// admit counts a request; if it refuses it says after how long the next one would pass.
func (l *limiter) admit(now time.Time, sw *Switches) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max == 0 {
		return true, 0
	}
	if sw.FixedWindow {
		ok, wait = l.fixed(now, sw.CountRefused)
	} else {
		ok, wait = l.sliding(now, sw.CountRefused)
	}
	if !ok {
		l.refused.Add(1)
	}
	return ok, wait
}

func (l *limiter) sliding(now time.Time, countRefused bool) (bool, time.Duration) {
	if len(l.ring) < l.max {
		l.ring = append(l.ring, now)
		return true, 0
	}
	wait := l.ring[l.head].Add(l.window).Sub(now)
	if wait <= 0 || countRefused {
		l.ring[l.head] = now
		l.head = (l.head + 1) % l.max
	}
	if wait > 0 && countRefused {
		wait = l.ring[l.head].Add(l.window).Sub(now)
	}
	return wait <= 0, wait
}

func (l *limiter) fixed(now time.Time, countRefused bool) (bool, time.Duration) {
	if now.Sub(l.start) >= l.window {
		l.start, l.count = now, 0
	}
	if l.count >= l.max {
		if countRefused {
			l.start = now
		}
		return false, l.start.Add(l.window).Sub(now)
	}
	l.count++
	return true, 0
}

func (l *limiter) set(max int, window time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max, l.window, l.ring, l.head, l.count = max, window, nil, 0, 0
}

// SetRateLimit changes the limit of one account and forgets what was counted; zero requests means
// none.
func (s *Server) SetRateLimit(account string, requests int, window time.Duration) {
	s.account(account).limit.set(requests, window)
}
