package comeettest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retrieveCandidate serves GET /candidates/{uid}.
//
// Imitated: the full candidate; IDENTIFIER_TYPE: REAL_ID makes the path the numeric id [D:
// retrieve-a-candidate], without it a numeric id is 404 [O: riverside]; 401 duplicate_candidate
// without the survivor for a merged-away one [D: error-responses]; 404 not_found [D]. A deleted
// one, one that the app may not see, and a new one within its delay: UNKNOWN, Switches. Not
// imitated: include, whose names are UNKNOWN; it is accepted and ignored.
func (c *call) retrieveCandidate() *reply {
	a := c.account
	a.mu.RLock()
	can := a.candidates[c.uid]
	if c.in.header.Get("Identifier_type") == "REAL_ID" {
		id, _ := strconv.ParseInt(c.uid, 10, 64)
		can = a.byRealID[id]
	}
	if can != nil && !a.visible(can.cur) && c.sw.HiddenGetStatus == http.StatusForbidden {
		a.mu.RUnlock()
		return noPermission()
	}
	if can == nil || !a.visible(can.cur) || time.Since(can.born) < c.sw.VisibleInGetAfter {
		a.mu.RUnlock()
		return notFound("Candidate " + c.uid)
	}
	r := a.row(can, can.cur)
	seen := a.look()
	a.mu.RUnlock()

	switch {
	case r.v.MergedInto != "":
		return apiError(http.StatusUnauthorized, "duplicate_candidate", "Candidate is a duplicate")
	case r.v.Deleted && c.sw.DeletedGetPage != 0:
		return htmlPage(c.sw.DeletedGetPage, http.StatusText(c.sw.DeletedGetPage))
	case r.v.Deleted && c.sw.DeletedGetNotFound:
		return notFound("Candidate " + c.uid)
	}
	r.stub = r.v.Deleted
	return jsonReply(http.StatusOK, r.view(seen))
}

// findDuplicates serves GET /sourcing/candidates/find_duplicates: a bare array of hiring processes
// whose person has the e-mail, LinkedIn URL, phone or full name given; 400 when no input is enough
// [O: riverside]. It costs O(candidates). Not imitated: the shape of an element, which is UNKNOWN
// (the full candidate is given), fuzzy matching, leads.
func (c *call) findDuplicates() *reply {
	email, linkedin, phone := c.query.Get("email"), c.query.Get("linkedin_url"), c.query.Get("phone_number")
	first, last := c.query.Get("first_name"), c.query.Get("last_name")
	if email == "" && linkedin == "" && phone == "" && (first == "" || last == "") {
		return apiError(http.StatusBadRequest, "required_field", "Not enough to search by")
	}
	same := func(asked, has string) bool { return asked != "" && strings.EqualFold(asked, has) }
	a := c.account
	a.mu.RLock()
	var rows []row
	for _, can := range a.all {
		v := can.cur
		if v.Deleted || v.MergedInto != "" || !a.visible(v) {
			continue
		}
		if same(email, v.Email) || same(linkedin, v.LinkedInURL) || same(phone, v.Phone) || same(phone, v.MobilePhone) || same(first, v.FirstName) && same(last, v.LastName) {
			rows = append(rows, a.row(can, v))
		}
	}
	seen := a.look()
	a.mu.RUnlock()
	views := make([]any, len(rows))
	for i, r := range rows {
		views[i] = r.view(seen)
	}
	return jsonReply(http.StatusOK, views)
}
