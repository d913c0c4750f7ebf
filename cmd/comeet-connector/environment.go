package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// environment holds the variables of the process by name.
type environment map[string]string

// environ reads pairs as os.Environ returns them.
func environ(pairs []string) environment {
	out := environment{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		out[name] = value
	}
	return out
}

// get returns a variable's value, trimmed. An empty variable counts as unset.
func (e environment) get(name string) string { return trim(e[name]) }

// trim cuts off what editors, `echo | base64` and copying leave at the ends of a value: white
// space, newlines, byte order marks and zero-width spaces.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' })
}

// Kubernetes sets these by itself for each service of the namespace, such as one named nats.
var serviceVariable = regexp.MustCompile(`_SERVICE_(HOST|PORT(_.+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// check looks for variables that were meant for the connector and that it would ignore. refused are
// misspelt names of a setting. doubtful may belong to another program: their sentences are for the
// log.
func (e environment) check(known map[string]bool) (refused []error, doubtful []string) {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if e.get(name) == "" || known[name] || serviceVariable.MatchString(name) {
			continue
		}
		meant := suggest(name, known)
		ours := strings.HasPrefix(name, "COMEET_") || strings.HasPrefix(name, "NATS_")
		switch {
		case ours && meant != "":
			refused = append(refused, fmt.Errorf("unknown environment variable %s: did you mean %s?", name, meant))
		case meant != "":
			doubtful = append(doubtful, fmt.Sprintf("the environment variable %s is no setting; did you mean %s?", name, meant))
		case ours && !strings.HasPrefix(name, "COMEET_CONNECTOR_"):
			doubtful = append(doubtful, fmt.Sprintf("the environment variable %s is no setting and has no effect", name))
		}
	}
	return refused, doubtful
}

// suggest returns the setting whose variable was probably meant; empty if none was.
func suggest(name string, known map[string]bool) string {
	for _, prefix := range []string{"COMEET_CONNECTOR_", "COMEET_", "NATS_", ""} {
		if bare, ok := strings.CutPrefix(name, prefix); ok {
			for _, n := range []string{bare, strings.TrimSuffix(bare, "_FILE")} {
				// CONFIG is too common a word to claim it for us.
				if known[n] && (prefix != "" || strings.Contains(n, "_")) && n != "CONFIG" {
					return n
				}
			}
		}
	}
	best, most := "", 3
	for _, k := range slices.Sorted(maps.Keys(known)) {
		d := distance(name, k)
		if strings.ReplaceAll(name, "_", "") == strings.ReplaceAll(k, "_", "") || lacksAWord(name, k) {
			d = 1
		}
		// What does not begin like ours is another program's, unless it is nearly the same.
		strange := !strings.HasPrefix(name, "COMEET_") && !strings.HasPrefix(name, "NATS_")
		if strange && (d > 1 || len(k) < 8) {
			continue
		}
		if d < most {
			best, most = k, d
		}
	}
	return best
}

// lacksAWord tells names such as COMEET_SECRET, which is COMEET_API_SECRET without one of its
// words.
func lacksAWord(name, known string) bool {
	if !strings.HasPrefix(name, "COMEET_") || strings.Count(known, "_") != strings.Count(name, "_")+1 {
		return false
	}
	words := strings.Split(known, "_")
	for i := range words {
		if name == strings.Join(slices.Delete(slices.Clone(words), i, i+1), "_") {
			return true
		}
	}
	return false
}

// distance is how many letters must be put in, left out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
