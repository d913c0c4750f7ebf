package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// maxLogBytes is how much of the log waits for a reader before lines are dropped.
const maxLogBytes = 1 << 20

// logWriter writes the log without ever blocking who logs: a pipe that nobody reads, such as a
// stuck log driver, must not stop the connector. What does not fit is dropped, and the number of
// lines is logged when the log is read again. Its methods are safe for concurrent use.
type logWriter struct {
	out  io.Writer
	done chan struct{}

	mu      sync.Mutex // guards the rest
	news    *sync.Cond
	waiting []byte
	dropped int
	closed  bool
}

// newLogWriter starts writing to out. Close ends it.
func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{out: out, done: make(chan struct{})}
	w.news = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write takes one line. It does not block and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.waiting)+len(line) > maxLogBytes {
		w.dropped++
		return len(line), nil
	}
	w.waiting = append(w.waiting, line...)
	w.news.Signal()
	return len(line), nil
}

// Close waits until all is written, but not for longer than d.
func (w *logWriter) Close(d time.Duration) {
	w.mu.Lock()
	w.closed = true
	w.news.Signal()
	w.mu.Unlock()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-w.done:
	case <-late.C:
	}
}

func (w *logWriter) run() {
	defer close(w.done)
	var batch []byte
	for {
		w.mu.Lock()
		for len(w.waiting) == 0 && !w.closed {
			w.news.Wait()
		}
		if len(w.waiting) == 0 {
			w.mu.Unlock()
			return
		}
		dropped := w.dropped
		batch, w.waiting, w.dropped = w.waiting, batch[:0], 0
		w.mu.Unlock()
		// A log that cannot be written has nobody to be told to.
		_, _ = w.out.Write(batch)
		if dropped > 0 {
			fmt.Fprintf(w.out, `{"level":"warn","time":%q,"dropped":%d,"message":"the log was not read in time; so many lines are missing here"}`+"\n",
				time.Now().UTC().Format(time.RFC3339Nano), dropped)
		}
	}
}
