package connector

import (
	"errors"
	"fmt"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

// keptPrefix stands for that of headers which the bus would obey again in the dead-letter stream.
// It has the same length, so that a message of the largest size still fits.
const keptPrefix = "Orig-"

// buryOriginal stores the delivered message as it came, bytes and headers. The stream takes one
// message per subject, so that a repetition finds the first: the condition costs no header, for the
// same reason.
func (s *submission) buryOriginal() (*events.DeadLetter, error) {
	subject := ledger.LetterSubject(s.EventOp)
	stream := bus.DeadLettersStream
	h := make(map[string][]string, len(s.msg.Header()))
	for k, v := range s.msg.Header() {
		if bus.ReservedHeader(k) {
			k = keptPrefix + k[len(keptPrefix):]
		}
		h[k] = v
	}
	seq, err := s.bus.Publish(s.work, bus.Write{Subject: subject, Header: h, Data: s.msg.Data()})
	if errors.Is(err, bus.ErrConflict) { // guard: dead-letter-once
		var stored bus.Stored
		if stored, err = s.bus.Last(s.work, stream, subject); err == nil {
			seq = stored.Seq
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store a dead letter: %w", err)
	}
	return &events.DeadLetter{Stream: stream, Sequence: seq}, nil
}
