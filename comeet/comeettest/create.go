package comeettest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Statuses of candidates [D: candidates-copy]. Others, and a blank one, occur [O: riverside].
const (
	InProgress       = "In progress"
	OnHold           = "On hold"
	AwaitingDecision = "Awaiting Decision"
	Rejected         = "Rejected"
	Withdrawn        = "Withdrawn"
	Hired            = "Hired"
)

// newCandidate is the body of POST /candidates [D: create-a-candidate-new].
type newCandidate struct {
	PositionUID        string         `json:"position_uid"`
	PartnerCandidateID string         `json:"partner_candidate_id"`
	FirstName          string         `json:"first_name"`
	MiddleName         string         `json:"middle_name"`
	LastName           string         `json:"last_name"`
	Email              string         `json:"email"`
	Phone              string         `json:"phone"`
	MobilePhone        string         `json:"mobile_phone"`
	NationalID         string         `json:"national_id"`
	LinkedInURL        string         `json:"linkedin_url"`
	SalaryExpectations string         `json:"salary_expectations"`
	ProspectStatus     string         `json:"prospect_status"`
	Resume             *file          `json:"resume"`
	Picture            *file          `json:"picture"`
	Links              []link         `json:"links"`
	Files              []file         `json:"files"`
	SourceContact      *SourceContact `json:"source_contact"`
	Address            *Address       `json:"address"`
	CustomFields       map[string]any `json:"custom_fields"`
	Note               string         `json:"note"`
}

type file struct {
	Name string `json:"name"`
	File string `json:"file"`
}

type link struct {
	URL string `json:"url"`
}

// createCandidate serves POST /candidates.
//
// Imitated: the validation of [D: create-a-candidate-new] with the codes of [D: error-responses];
// 404 position_not_found for a position that is not in the account or not shared [D, I]; 409
// candidate_post_conflict exactly when the same partner id on the same position is In progress,
// anything else creates another candidate [D: error-responses]; no echo of partner_candidate_id
// [I]. Status 200 or 201, reduced or full body, form of candidate_uid in the 409, race,
// auto-resolve, closed positions, limits: UNKNOWN, Switches. Not imitated: normalisation of names
// and phones, resume parsing, file count and total size limits, leads.
func (c *call) createCandidate() *reply {
	var n newCandidate
	if bad := c.decode(&n); bad != nil {
		return bad
	}
	if bad := c.validate(&n); bad != nil {
		return bad
	}
	return c.enter(&n)
}

// decode reads the body strictly.
func (c *call) decode(n *newCandidate) *reply {
	media, _, err := mime.ParseMediaType(c.in.header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		c.s.record.violate(c.req, "content_type", "a write must be application/json")
		return apiError(http.StatusBadRequest, "invalid_request", "Content-Type must be application/json")
	}
	strict := json.NewDecoder(bytes.NewReader(c.body))
	strict.DisallowUnknownFields()
	err = strict.Decode(n)
	if err == nil {
		if _, err = strict.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("text after the JSON value")
	}
	rule := "json"
	if strings.Contains(err.Error(), "unknown field") {
		rule = "body_field"
	}
	c.s.record.violate(c.req, rule, "%v", err)
	if rule == "body_field" && c.sw.IgnoreUnknown {
		*n = newCandidate{}
		if err = json.Unmarshal(c.body, n); err == nil {
			return nil
		}
	}
	return apiError(http.StatusBadRequest, "invalid_request", err.Error())
}

// enter is the part of a POST that must be atomic: conflict check and creation.
func (c *call) enter(n *newCandidate) *reply {
	a, s := c.account, c.s
	v := &version{Candidate: n.candidate()}
	now, unix := time.Now(), s.Now().Unix()

	a.mu.Lock()
	pos := a.shared(n.PositionUID)
	if pos == nil || c.sw.RefuseClosedPositions && pos.cur.Status != PositionOpen {
		a.mu.Unlock()
		return apiError(http.StatusNotFound, "position_not_found", "Position "+n.PositionUID+" was not found")
	}
	if v.SourceContact != nil && a.foreign[strings.ToLower(v.SourceContact.Email)] {
		a.mu.Unlock()
		return apiError(http.StatusBadRequest, "source_contact_conflict", v.SourceContact.Email+" belongs to another source")
	}
	if held := a.conflict(n, now, c.sw.RaceWindow); held != nil {
		a.mu.Unlock()
		s.record.conflict.Add(1)
		var uid any = held.realID
		if c.sw.ConflictUIDString {
			uid = held.uid
		}
		return apiError(http.StatusConflict, "candidate_post_conflict", "Candidate already exists for this position", "candidate_uid", uid)
	}
	v.CurrentSteps = pos.first
	if v.SourceContact != nil {
		v.SourceContact.UID, _ = s.newUID()
	}
	can := a.enter(v, now, unix)
	answer := can
	if older := a.resolves(can, c.sw.AutoResolve); older != nil {
		a.merge(can, older)
		if c.sw.AutoResolveOldUID {
			answer = older
		}
	}
	r := a.row(answer, answer.cur)
	seen := a.look()
	if answer == can {
		r.v = v // as it was created, also if it was merged away at once
	}
	a.mu.Unlock()

	s.record.created.Add(1)
	s.record.note(c.req, func(q *Request) { q.CandidateUID = can.uid })
	status := orDefault(c.sw.CreateStatus, http.StatusCreated)
	if c.sw.FullCreateBody {
		return jsonReply(status, r.view(seen))
	}
	return jsonReply(status, viewCreated(r.c, r.v))
}

// conflict finds the candidate that makes a POST a 409. The caller holds a.mu.
func (a *account) conflict(n *newCandidate, now time.Time, race time.Duration) *candidate {
	if n.PartnerCandidateID == "" {
		return nil
	}
	for _, c := range a.byPartner[partnerKey{n.PartnerCandidateID, n.PositionUID}] {
		v := c.cur
		if v.Status == InProgress && !v.Deleted && v.MergedInto == "" && v.PositionUID == n.PositionUID && (race == 0 || now.Sub(c.born) > race) {
			return c
		}
	}
	return nil
}

// resolves finds the older candidate that a new one is merged into at once, by the company's
// setting. Comeet also has a number of days, and credits the source that submitted first (help
// 4198112). The caller holds a.mu.
func (a *account) resolves(c *candidate, setting AutoResolve) *candidate {
	if setting == AutoResolveOff {
		return nil
	}
	for _, o := range c.person.candidates {
		live := o != c && !o.cur.Deleted && o.cur.MergedInto == ""
		if live && (setting == AutoResolveAnyPosition || o.cur.PositionUID == c.cur.PositionUID) {
			return o
		}
	}
	return nil
}

// candidate is what it becomes.
func (n *newCandidate) candidate() Candidate {
	c := Candidate{
		PositionUID: n.PositionUID, PartnerCandidateID: n.PartnerCandidateID, Status: InProgress, ProspectStatus: n.ProspectStatus, Source: AppSource,
		FirstName: n.FirstName, MiddleName: n.MiddleName, LastName: n.LastName, Email: n.Email, Phone: n.Phone, MobilePhone: n.MobilePhone,
		NationalID: n.NationalID, LinkedInURL: n.LinkedInURL, SalaryExpectations: n.SalaryExpectations, Note: n.Note,
		SourceContact: n.SourceContact, Address: n.Address, CustomFields: n.CustomFields,
	}
	if n.Resume != nil {
		c.Resume = n.Resume.Name
	}
	for _, f := range n.Files {
		c.Files = append(c.Files, f.Name)
	}
	for _, l := range n.Links {
		c.Links = append(c.Links, l.URL)
	}
	return c
}
