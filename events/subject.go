package events

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// DefaultAccount is the account of events that name none, on the bare subject candidate.sourced.
const DefaultAccount = "default"

// ValidAccount tells whether s can name an account: ^[a-z0-9][a-z0-9_-]{0,63}$.
func ValidAccount(s string) bool { return accountName.MatchString(s) }

var accountName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// CheckAccount says what is wrong with an account's name that is not ValidAccount; nil if nothing
// is.
func CheckAccount(s string) error {
	if !ValidAccount(s) {
		return fmt.Errorf("account name %q: must match %s", s, accountName)
	}
	return nil
}

// SourcedSubject returns the NATS subject on which candidates for that account are published:
// candidate.sourced.<account>, or the bare candidate.sourced for "", which means DefaultAccount.
// account is ValidAccount, or "*" for a filter.
func SourcedSubject(account string) string {
	if account == "" {
		return TypeSourced
	}
	return TypeSourced + "." + account
}

// SubmissionSubject returns the NATS subject <event type>.<account>.<operation> of a claim or an
// outcome. account and operation may be "*" for a filter.
func SubmissionSubject(eventType, account, operation string) string {
	return eventType + "." + account + "." + operation
}

// StatusSubject returns the NATS subject candidate.status.changed.<account>.<uid> of a candidate's
// status events. uid is Comeet's, not empty; bytes outside [A-Za-z0-9_-] are percent-encoded, since
// uids hold dots.
func StatusSubject(account, uid string) string {
	var b strings.Builder
	b.Grow(len(TypeStatusChanged) + len(account) + len(uid) + 8)
	b.WriteString(TypeStatusChanged)
	b.WriteByte('.')
	b.WriteString(account)
	b.WriteByte('.')
	for i := range len(uid) {
		c := uid[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// UIDOfSubject returns Comeet's uid out of a subject made by StatusSubject. ok is false for any
// other subject.
func UIDOfSubject(subject string) (uid string, ok bool) {
	account, token, ok := strings.Cut(strings.TrimPrefix(subject, TypeStatusChanged+"."), ".")
	uid = percentDecode(token)
	if !ok || uid == "" || StatusSubject(account, uid) != subject || !ValidAccount(account) {
		return "", false
	}
	return uid, true
}

// AccountOfSubject returns the account of a subject of this contract: of a sourced event (bare
// means DefaultAccount), a claim, an outcome or a status event. ok is false for any other subject,
// and for tokens that aren't ValidAccount.
func AccountOfSubject(subject string) (account string, ok bool) {
	if subject == TypeSourced {
		return DefaultAccount, true
	}
	if account, ok = strings.CutPrefix(subject, TypeSourced+"."); ok {
		if !ValidAccount(account) {
			return "", false
		}
		return account, true
	}
	for _, t := range [...]string{TypeClaimed, TypeAccepted, TypeFailed, TypeStatusChanged} {
		if rest, found := strings.CutPrefix(subject, t+"."); found {
			account, token, _ := strings.Cut(rest, ".")
			if !ValidAccount(account) || token == "" || strings.Contains(token, ".") {
				return "", false
			}
			return account, true
		}
	}
	return "", false
}

// percentEncode encodes as the NATS and HTTP bindings of CloudEvents demand of header values:
// space, double quote, percent and everything outside printable ASCII.
func percentEncode(s string) string {
	if printable(s) && !strings.ContainsAny(s, ` "%`) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// percentDecode leaves what is no valid escape as it is: SDKs send values unencoded.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
