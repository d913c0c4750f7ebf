package connector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	// maxFileBytes is Comeet's limit for one file (Comeet API: create-a-candidate-new).
	maxFileBytes = 6 << 20
	// maxFilesBytes is ours for all files of one event, since they are sent in one request and held
	// in memory until then.
	maxFilesBytes = 24 << 20
	// filesMemory is what the files of all events in hand may take, and accountFilesMemory those of
	// one account: who waits for a slow host keeps others waiting for memory, so no account gets
	// all of it. What is sent of them takes a third more than the files.
	filesMemory        = 64 << 20
	accountFilesMemory = 40 << 20
)

// fileTries is how often a file that may come is looked for: an object may not have reached the
// server that we ask, a host may be restarting.
const fileTries = 3

// hostGrace is for how long an event waits, from when it was published, for a host that is away: a
// restart of it must not refuse whoever is published meanwhile.
const hostGrace = time.Hour

// files are an event's files with their content.
type files struct {
	resume, picture *comeet.File
	others          []comeet.File
	// memory is what was taken of filesMemory for them.
	memory int64
}

// readFiles gets every file that the event names, when there is memory for them; dropFiles gives it
// back. A file that is not there, or too large, refuses the event: it can be replayed when the file
// is there.
func (s *submission) readFiles() (*files, *refusal, error) {
	memory, err := s.takeMemory()
	if err != nil {
		return nil, nil, err
	}
	read, why, err := s.readAll()
	if why != nil || err != nil {
		s.giveMemory(memory)
		return nil, why, err
	}
	read.memory = memory
	return read, nil, nil
}

// dropFiles lets go of the files, which are read again if the event is sent again.
func (a *attempt) dropFiles() {
	if a.files != nil {
		a.giveMemory(a.files.memory)
		a.files = nil
	}
}

// takeMemory waits until there is memory for what the event's files may come to. Those in the event
// itself are in memory already.
func (s *submission) takeMemory() (int64, error) {
	var n int64
	for _, f := range s.Data.Candidate.AllFiles() {
		if f.Object != nil || f.URL != "" {
			n += maxFileBytes
		}
	}
	if n = min(n, maxFilesBytes); n == 0 {
		return 0, nil
	}
	if err := s.filesShare.Acquire(s.intake, n); err != nil {
		return 0, errStopping(time.Second)
	}
	if err := s.filesMemory.Acquire(s.intake, n); err != nil {
		s.filesShare.Release(n)
		return 0, errStopping(time.Second)
	}
	return n, nil
}

func (s *submission) giveMemory(n int64) {
	if n > 0 {
		s.filesMemory.Release(n)
		s.filesShare.Release(n)
	}
}

func (s *submission) readAll() (*files, *refusal, error) {
	c := &s.Data.Candidate
	out := &files{}
	sum := 0
	for pointer, f := range c.AllFiles() {
		data, why, err := s.readFile(pointer, f)
		if why != nil || err != nil {
			return nil, why, err
		}
		if sum += len(data); sum > maxFilesBytes {
			return nil, &refusal{reason: events.ReasonFileRefused, message: fmt.Sprintf("the files come to more than %d MiB, the most for one candidate; leave some out or make them smaller", maxFilesBytes>>20)}, nil
		}
		switch read := (comeet.File{Name: f.Name, File: data}); f {
		case c.Resume:
			out.resume = &read
		case c.Picture:
			out.picture = &read
		default:
			out.others = append(out.others, read)
		}
	}
	return out, nil, nil
}

func (s *submission) readFile(pointer string, f *events.File) ([]byte, *refusal, error) {
	for try := 1; ; try++ {
		data, err := s.readOnce(f)
		missing, again := errors.AsType[fileError](err)
		switch {
		case err == nil && len(data) == 0:
			return nil, &refusal{reason: events.ReasonFileMissing, message: fmt.Sprintf("the file at %s is empty; provide it, then replay", pointer)}, nil
		case err == nil:
			return data, nil, nil
		case errors.Is(err, bus.ErrTooLarge):
			return nil, &refusal{reason: events.ReasonFileRefused, message: fmt.Sprintf("the file at %s is larger than the %d MiB that Comeet takes", pointer, maxFileBytes>>20)}, nil
		case s.intake.Err() != nil:
			return nil, nil, errStopping(time.Second)
		case !again:
			return nil, nil, fmt.Errorf("read the file at %s: %w", pointer, err)
		case try == fileTries && missing.passing && s.bus.Now().Sub(s.stored) < hostGrace:
			return nil, nil, retryLaterError{min(max(s.bus.Now().Sub(s.stored), 10*time.Second), 5*time.Minute), fmt.Sprintf("the file at %s cannot be read now: %v", pointer, missing)}
		case missing.forGood, try == fileTries:
			return nil, &refusal{reason: events.ReasonFileMissing, message: fmt.Sprintf("the file at %s cannot be read: %v; provide it, then replay", pointer, missing)}, nil
		}
		if !bus.Sleep(s.intake, time.Duration(try)*s.cfg.SettleDelay/4) {
			return nil, nil, errStopping(time.Second)
		}
	}
}

// fileError says in words why a file cannot be had. Any other error is trouble of the bus's or our
// own, which must not refuse an event.
type fileError struct {
	why string
	// forGood means that it is of no use to try again, passing that the file's host is in trouble
	// which may pass.
	forGood, passing bool
}

func (e fileError) Error() string { return e.why }

func (s *submission) readOnce(f *events.File) ([]byte, error) {
	switch {
	case f.Object != nil:
		return s.object(f.Object.Name)
	case f.URL != "":
		return s.download(f.URL, f.Name)
	}
	return f.Content, nil
}

func (s *submission) object(name string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(s.intake, s.cfg.RequestTimeout, errors.New("REQUEST_TIMEOUT has passed"))
	defer cancel()
	data, err := s.objects.Get(ctx, name, maxFileBytes)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return nil, fileError{why: "the object is not in the store, or parts of it are missing"}
	case errors.Is(err, bus.ErrDamaged):
		return nil, fileError{why: "the object's entry in the store is damaged, or it is in too many chunks, or a link that leads nowhere; store it anew, or give the file in another way"}
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != name {
		return nil, fileError{why: "the object's content is not what its name, its SHA-256, says", forGood: true}
	}
	return data, nil
}
