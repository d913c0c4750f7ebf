package ledger

import (
	"strconv"
	"strings"
)

// Dead letters and the notes on them share one stream, which takes one message per subject: a
// letter, or a note, that is stored again after a crash is refused, and the first one stays.

const letterPrefix = "deadletter.candidate.sourced."

// LetterSubject is the subject of the original of a refused event. event is the event's
// Sourced.EventOp; "*" in the place of its account or ID makes a filter, which takes no notes.
func LetterSubject(event Op) string { return letterPrefix + event.Account + "." + event.ID }

// EventOfLetter returns the event of a subject made by LetterSubject. ok is false for any other
// subject, such as a note's.
func EventOfLetter(subject string) (event Op, ok bool) {
	tokens, ok := strings.CutPrefix(subject, letterPrefix)
	account, id, found := strings.Cut(tokens, ".")
	if !ok || !found || strings.Contains(id, ".") {
		return Op{}, false
	}
	return Op{account, id}, true
}

// NoteSubject is the subject of the note on what an operator did with the letter of that sequence.
// "*" in the place of the account, the ID or the action makes a filter.
func NoteSubject(event Op, action string, letter uint64) string {
	return LetterSubject(event) + "." + action + "." + strconv.FormatUint(letter, 10)
}
