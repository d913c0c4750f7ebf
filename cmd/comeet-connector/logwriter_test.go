package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func TestLogIsWrittenInOrder(t *testing.T) {
	t.Parallel()
	var out output
	w := newLogWriter(&out)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintln(w, "line", i)
		fmt.Fprintln(&want, "line", i)
	}
	w.Close(bustest.Stretch(10 * time.Second))
	if out.String() != want.String() {
		t.Errorf("%d bytes, want %d", len(out.String()), want.Len())
	}
}

// However much is logged while nobody reads, nobody waits, the memory is bounded, and a reader who comes back is told how many lines
// are missing, then all that follow.
func TestLogThatNobodyReads(t *testing.T) {
	t.Parallel()
	reader, pipe := io.Pipe()
	w := newLogWriter(pipe)
	line := strings.Repeat("x", 1023) + "\n"
	const n = 5000
	for range n {
		if _, err := io.WriteString(w, line); err != nil {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	held := len(w.waiting)
	w.mu.Unlock()
	if held > maxLogBytes {
		t.Errorf("%d bytes wait", held)
	}
	lines, missing := 0, 0
	in := bufio.NewScanner(reader)
	for lines+missing < n && in.Scan() {
		said := struct{ Dropped int }{}
		if err := json.Unmarshal(in.Bytes(), &said); err != nil {
			lines++
		}
		missing += said.Dropped
	}
	if lines+missing != n || missing < n/2 {
		t.Errorf("%d lines, and %d are said to be missing, of %d", lines, missing, n)
	}
	fmt.Fprintln(w, "read again")
	if !in.Scan() || in.Text() != "read again" {
		t.Errorf("after the gap: %.80q, %v", in.Text(), in.Err())
	}
	w.Close(bustest.Stretch(10 * time.Second))
}

// A log that is stuck does not hold up the end of the process.
func TestLogStuckAtTheEnd(t *testing.T) {
	t.Parallel()
	reader, pipe := io.Pipe()
	w := newLogWriter(pipe)
	fmt.Fprintln(w, "nobody reads this")
	w.Close(time.Millisecond)
	select {
	case <-w.done:
		t.Error("written without a reader")
	default:
	}
	_ = reader.Close()
	<-w.done
}
