package connector

import (
	"strings"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/internal/fold"
)

// isSamePerson compares what the event says of the person with a candidate at Comeet: by e-mail,
// phone or LinkedIn, or, where the two have none of these in common, by full name.
func (s *submission) isSamePerson(c *comeet.Candidate) bool {
	p := &s.Data.Candidate
	comparable := false
	agree := func(norm func(string) string, ours []string, theirs ...string) bool {
		for _, o := range ours {
			for _, t := range theirs {
				a, b := norm(o), norm(t)
				if a == "" || b == "" {
					continue
				}
				comparable = true
				if a == b {
					return true
				}
			}
		}
		return false
	}
	if agree(fold.Text, []string{p.Email}, c.Email) ||
		agree(phoneTail, []string{p.Phone, p.MobilePhone}, c.Phone, c.MobilePhone) ||
		agree(profile, []string{p.LinkedInURL}, c.LinkedInURL) {
		return true
	}
	if comparable {
		return false
	}
	return fold.Text(p.FirstName) == fold.Text(c.FirstName) && fold.Text(p.LastName) == fold.Text(c.LastName)
}

// phoneTail is the last nine digits, by which Comeet itself compares.
func phoneTail(s string) string {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
	if len(digits) < 7 {
		return ""
	}
	return digits[max(0, len(digits)-9):]
}

// profile is the path of a LinkedIn address.
func profile(s string) string {
	s = fold.Text(s)
	if i := strings.Index(s, "/in/"); i >= 0 {
		s = s[i+4:]
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	return strings.Trim(s, "/")
}
