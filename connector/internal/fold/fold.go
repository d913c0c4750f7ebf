// Package fold makes texts comparable that people and machines spell differently and mean alike.
package fold

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Text evens out letter case, white space, invisible characters and the Unicode form: é is one
// character for one writer and an e with an accent for another.
func Text(s string) string {
	s = strings.Join(strings.Fields(strings.Map(visible, s)), " ")
	// Some letters leave the normal form when they change their case.
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// ID cuts off white space and invisible characters at the ends of an id, and changes nothing else.
func ID(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return strings.TrimSpace(string(r)) == "" || visible(r) < 0 })
}

// visible drops characters that take no room: zero-width space, word joiner, byte order mark and
// soft hyphen.
func visible(r rune) rune {
	switch r {
	case '\u200b', '\u2060', '\ufeff', '\u00ad':
		return -1
	}
	return r
}
