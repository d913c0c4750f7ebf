package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the sidecar itself, for what only a process shows: signals and the exit code.
const beSidecar = "COMEET_CONNECTOR_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(beSidecar) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestSignalEndsTheWaitForTheBus(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "run")
			// Port 1 of the loopback: nobody listens there.
			cmd.Env = []string{beSidecar + "=1", "NATS_URL=nats://127.0.0.1:1", "ADMIN_ADDR=127.0.0.1:0", apiKey + "=" + marker, apiSecret + "=" + marker}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			var said bytes.Buffer
			waiting := false
			for in := bufio.NewScanner(stderr); in.Scan(); {
				said.WriteString(in.Text() + "\n")
				if !waiting && strings.Contains(in.Text(), "waiting for it") {
					waiting = true
					if err := cmd.Process.Signal(signal); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil || !waiting {
				t.Errorf("waited for the bus: %t; then: %v\n%s", waiting, err, &said)
			}
			for _, bad := range []string{"goroutine ", "panic", marker} {
				if strings.Contains(said.String(), bad) {
					t.Errorf("%q in the output:\n%s", bad, &said)
				}
			}
		})
	}
}
