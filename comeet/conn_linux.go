package comeet

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func maxLateness(timeout time.Duration) time.Duration { return timeout }

// Write asks for the time before each single write of the kernel's, and gives the kernel what is
// left of it. The standard library's own loop would go on without asking where a process was frozen
// in the middle.
func (c *conn) Write(b []byte) (n int, err error) {
	var failed error
	err = c.raw.Write(func(fd uintptr) (done bool) {
		for n < len(b) {
			if left, bound := c.left(); bound && left > 0 { // guard: kernel-gives-up
				ms := int(max(left/time.Millisecond, 1))
				if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms); err != nil {
					failed = os.NewSyscallError("setsockopt", err)
					return true
				}
			}
			// Nothing may come between this question and the write.
			if left, bound := c.left(); bound && left <= 0 { // guard: late-writer-sends-nothing
				failed = errTooLate
				return true
			}
			m, err := unix.Write(int(fd), b[n:])
			switch {
			case errors.Is(err, syscall.EAGAIN):
				return false
			case errors.Is(err, syscall.EINTR):
				continue
			case err != nil:
				failed = os.NewSyscallError("write", err)
				return true
			case m == 0:
				failed = io.ErrUnexpectedEOF
				return true
			}
			n += m
		}
		return true
	})
	if failed != nil {
		err = failed
	}
	return n, err
}
