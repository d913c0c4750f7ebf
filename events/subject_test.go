package events_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/events"
)

var accountPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

func TestSubjects(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{events.SourcedSubject(""), "candidate.sourced"},
		{events.SourcedSubject("acme"), "candidate.sourced.acme"},
		{events.SubmissionSubject(events.TypeAccepted, "acme", "op1"), "candidate.submission.accepted.acme.op1"},
		{events.SubmissionSubject(events.TypeFailed, "acme", "*"), "candidate.submission.failed.acme.*"},
		{events.StatusSubject("acme", "3C.7F2A1"), "candidate.status.changed.acme.3C%2E7F2A1"},
		{events.StatusSubject("acme", "a b*>%ö"), "candidate.status.changed.acme.a%20b%2A%3E%25%C3%B6"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

func TestAccountOfSubject(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		"candidate.sourced":                        "default",
		"candidate.sourced.acme":                   "acme",
		"candidate.submission.claimed.acme.op":     "acme",
		"candidate.submission.accepted.acme.op":    "acme",
		"candidate.submission.failed.acme.op":      "acme",
		"candidate.status.changed.acme.3C%2E7F2A1": "acme",
		"":                                          "",
		"candidate":                                 "",
		"candidate.sourced.":                        "",
		"candidate.sourced.*":                       "",
		"candidate.sourced.Acme":                    "",
		"candidate.sourced.acme.more":               "",
		"candidate.sourcedx":                        "",
		"candidate.submission.failed.acme":          "",
		"candidate.submission.failed.acme.":         "",
		"candidate.submission.failed.acme.op.more":  "",
		"candidate.submission.other.acme.op":        "",
		"deadletter.candidate.sourced.acme.op":      "",
		"candidate.status.changed.acme.3C.7F2A1":    "",
		"candidate.status.changed._acme.3C%2E7F2A1": "",
	} {
		if got, ok := events.AccountOfSubject(subject); got != want || ok != (want != "") {
			t.Errorf("AccountOfSubject(%q) = %q, %v; want %q", subject, got, ok, want)
		}
	}
}

func TestValidAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9_.-]{0,66}`), rapid.String()).Draw(t, "account")
		if got, want := events.ValidAccount(s), accountPattern.MatchString(s); got != want {
			t.Errorf("ValidAccount(%q) = %v", s, got)
		}
	})
}

// TestStatusSubjectIsReversible: no two uids share a subject, and every subject is one that NATS takes.
func TestStatusSubjectIsReversible(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		account := rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,10}`).Draw(t, "account")
		uid := string(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "uid"))
		subject := events.StatusSubject(account, uid)
		if got, ok := events.UIDOfSubject(subject); !ok || got != uid {
			t.Errorf("UIDOfSubject(%q) = %q, %v; want %q", subject, got, ok, uid)
		}
		if got, ok := events.AccountOfSubject(subject); !ok || got != account {
			t.Errorf("AccountOfSubject(%q) = %q, %v", subject, got, ok)
		}
		if strings.ContainsAny(subject, " \t\r\n*>") || strings.Count(subject, ".") != 4 {
			t.Errorf("subject %q isn't one of five tokens", subject)
		}
	})
}

func TestUIDOfForeignSubjects(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{
		"", "candidate.status.changed.acme", "candidate.status.changed.acme.", "candidate.status.changed.acme.3C.7F",
		"candidate.status.changed.acme.3C%2e7F", "candidate.sourced.acme", "acme.3C",
	} {
		if uid, ok := events.UIDOfSubject(subject); ok || uid != "" {
			t.Errorf("UIDOfSubject(%q) = %q, %v", subject, uid, ok)
		}
	}
}
