package comeet

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func smallReadBuffer(t *testing.T, fd uintptr) {
	if err := syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10); err != nil {
		t.Error(err)
	}
}

// What a live process does by closing, the kernel must do for one that was killed (SO_LINGER) or frozen (TCP_USER_TIMEOUT).
func TestKernelGivesUpWhatTheProcessCannot(t *testing.T) {
	t.Parallel()
	server := startLateReader(t, nil)
	raw, err := (&dialer{}).dial(t.Context(), "tcp", server.address)
	if err != nil {
		t.Fatal(err)
	}
	c := raw.(*conn)
	defer func() {
		close(server.read)
		_ = c.Close()
		<-server.got
	}()
	for _, timeout := range []time.Duration{30 * time.Second, 2 * time.Second} {
		c.expires(time.Now().Add(timeout))
		if _, err := c.Write([]byte("a request")); err != nil {
			t.Fatal(err)
		}
		err := c.raw.Control(func(fd uintptr) {
			linger, err := unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
			if err != nil || linger.Onoff == 0 || linger.Linger != 0 {
				t.Errorf("SO_LINGER is %+v, %v; close must discard", linger, err)
			}
			ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			if left := time.Duration(ms) * time.Millisecond; err != nil || left > timeout || left < timeout-time.Second {
				t.Errorf("TCP_USER_TIMEOUT is %v, %v; the request has %v", left, err, timeout)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
