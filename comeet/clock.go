package comeet

import (
	"net/http"
	"sync/atomic"
	"time"
)

// slowExchange is the longest round trip whose Date replaces a known offset. The error of an offset
// is half the round trip.
const slowExchange = 5 * time.Second

// clock estimates Comeet's clock from the Date header of its answers.
type clock struct {
	// offset is Comeet's clock minus the local one, in nanoseconds. It is valid once known is set.
	offset atomic.Int64
	known  atomic.Bool
}

// learn takes the Date of an answer. Date is cut to seconds, so the estimate is up to a second
// early, never late. So a token never lives longer than allowed, and a poll never starts after a
// change that it has to see.
func (c *clock) learn(date, sent, answered time.Time) {
	trip := answered.Sub(sent)
	if trip > slowExchange && c.known.Load() {
		return
	}
	c.offset.Store(int64(date.Sub(answered.Add(-trip / 2).Round(0))))
	c.known.Store(true)
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// correction is what to add to the local clock in a token. It is 0 while the local clock is good
// enough or nothing is known.
func (c *clock) correction() time.Duration {
	if o := time.Duration(c.offset.Load()); o.Abs() > clockTolerance {
		return o
	}
	return 0
}

func parseDate(h http.Header) time.Time {
	// A cache's Date is as old as its Age.
	if age := h.Get("Age"); age != "" && age != "0" {
		return time.Time{}
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Year() > maxYear {
		return time.Time{}
	}
	return date
}

// maxYear keeps a clock that is learned from an absurd Date within what JSON can write: years to
// 9999.
const maxYear = 9000
