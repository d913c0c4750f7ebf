package comeettest

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/mail"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaliciousMarker in a file makes Comeet's imaginary virus scanner refuse it; the EICAR test file
// contains it.
const MaliciousMarker = "EICAR-STANDARD-ANTIVIRUS-TEST-FILE"

// validate answers what [D: create-a-candidate-new] and [D: error-responses] call invalid, first
// fault first.
func (c *call) validate(n *newCandidate) *reply {
	for _, check := range []func(*newCandidate) *reply{c.required, c.sizes, c.forms, c.uploads} {
		if bad := check(n); bad != nil {
			return bad
		}
	}
	return nil
}

func invalid(code, message string) *reply {
	return apiError(http.StatusBadRequest, code, message)
}

func (c *call) required(n *newCandidate) *reply {
	fields := []struct{ name, value string }{
		{"position_uid", n.PositionUID}, {"first_name", n.FirstName}, {"last_name", n.LastName},
	}
	if c.sw.RequirePartnerCandidateID {
		fields = append(fields, struct{ name, value string }{"partner_candidate_id", n.PartnerCandidateID})
	}
	if n.SourceContact != nil {
		fields = append(fields, struct{ name, value string }{"source_contact.email", n.SourceContact.Email})
	}
	for _, f := range fields {
		if strings.TrimSpace(f.value) == "" {
			return invalid("required_field", "Field "+f.name+" is required")
		}
	}
	return nil
}

func (c *call) sizes(n *newCandidate) *reply {
	limit := orDefault(c.sw.MaxStringRunes, 1000)
	texts := []string{
		n.PositionUID, n.PartnerCandidateID, n.FirstName, n.MiddleName, n.LastName, n.Email, n.Phone, n.MobilePhone,
		n.NationalID, n.LinkedInURL, n.SalaryExpectations, n.ProspectStatus,
	}
	if a := n.Address; a != nil {
		texts = append(texts, a.Country, a.City, a.State, a.Zip, a.Street)
	}
	if s := n.SourceContact; s != nil {
		texts = append(texts, s.FullName, s.Email, s.Phone)
	}
	for _, l := range n.Links {
		texts = append(texts, l.URL)
	}
	for _, f := range n.allFiles() {
		texts = append(texts, f.Name)
	}
	long := func(s string, limit int) bool { return len(s) > limit && utf8.RuneCountInString(s) > limit }
	if long(n.Note, orDefault(c.sw.MaxNoteRunes, 30_000)) || slices.ContainsFunc(texts, func(s string) bool { return long(s, limit) }) {
		return invalid("string_size_limit", "A value is too long")
	}
	return nil
}

func (c *call) forms(n *newCandidate) *reply {
	switch {
	case n.Email != "" && !validEmail(n.Email):
		return invalid("invalid_email", "Invalid email "+n.Email)
	case n.SourceContact != nil && !validEmail(n.SourceContact.Email):
		return invalid("invalid_email", "Invalid email "+n.SourceContact.Email)
	case n.LinkedInURL != "" && !validLinkedIn(n.LinkedInURL):
		return invalid("invalid_linkedin_url", "Invalid LinkedIn URL "+n.LinkedInURL)
	case n.Address != nil && n.Address.Country != "" && !validCountry(n.Address.Country):
		return invalid("incorrect_country_code", "Incorrect country code "+n.Address.Country)
	}
	for _, l := range n.Links {
		if u, err := url.Parse(l.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return invalid("invalid_url", "Invalid URL "+l.URL)
		}
	}
	for name := range n.CustomFields {
		if !slices.Contains(c.sw.CustomFields, name) {
			return invalid("invalid_custom_candidate_field", "Unknown custom field "+name)
		}
	}
	return nil
}

// uploads checks files. Which base64 is accepted, and whether a bad file fails the whole POST, is
// UNKNOWN: plain padded base64, and it does. An extension off the list is refused "by policy", as
// malware is [I].
func (c *call) uploads(n *newCandidate) *reply {
	if n.Resume != nil && !slices.Contains(resumeTypes, strings.ToLower(path.Ext(n.Resume.Name))) {
		return refusedFile("malicious_file", n.Resume.Name)
	}
	limit := orDefault(c.sw.MaxFileBytes, 6<<20)
	for _, f := range n.allFiles() {
		if c.sw.FileLimitEncoded && len(f.File) > limit {
			return refusedFile("file_size_limit", f.Name)
		}
		data, err := base64.StdEncoding.DecodeString(f.File)
		switch {
		case err != nil:
			c.s.record.violate(c.req, "base64", "a file is not base64")
			return invalid("invalid_request", "File is not base64: "+f.Name)
		case !c.sw.FileLimitEncoded && len(data) > limit:
			return refusedFile("file_size_limit", f.Name)
		case bytes.Contains(data, []byte(MaliciousMarker)):
			return refusedFile("malicious_file", f.Name)
		}
	}
	return nil
}

var resumeTypes = []string{".pdf", ".doc", ".docx"}

func refusedFile(code, name string) *reply {
	return apiError(http.StatusForbidden, code, "File refused: "+name)
}

func (n *newCandidate) allFiles() []file {
	all := n.Files
	for _, f := range []*file{n.Resume, n.Picture} {
		if f != nil {
			all = append(slices.Clip(all), *f)
		}
	}
	return all
}

func validEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && strings.Contains(s[strings.LastIndexByte(s, '@'):], ".")
}

func validLinkedIn(s string) bool {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || len(u.Path) < 2 {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return host == "linkedin.com" || strings.HasSuffix(host, ".linkedin.com")
}

// countries are the ISO 3166-1 alpha-2 codes.
const countries = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ " +
	"UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"

func validCountry(code string) bool {
	return len(code) == 2 && !strings.Contains(code, " ") && strings.Contains(countries, code)
}
