//go:build !linux

package comeet

import "time"

// maxLateness is longer than any of these systems' kernels goes on with what a frozen process has
// left to it.
func maxLateness(time.Duration) time.Duration { return 10 * time.Minute }

// writeChunk bounds what is written without asking for the time.
const writeChunk = 16 << 10

func (c *conn) Write(b []byte) (n int, err error) {
	for {
		if left, bound := c.left(); bound && left <= 0 {
			return n, errTooLate
		}
		m, err := c.Conn.Write(b[n:min(n+writeChunk, len(b))])
		n += m
		if err != nil || n >= len(b) {
			return n, err
		}
	}
}
