package comeettest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Statuses of positions (Comeet API: position-model).
const (
	PositionOpen   = "open"
	PositionOnHold = "on hold"
	PositionClosed = "closed"
)

// Position has every field of the position model (Comeet API: positions-copy, position-model,
// position-updates).
type Position struct {
	// UID is opaque and looks like a decimal number. Defaults to a new one.
	UID string `json:"uid"`
	// Name may be the public name.
	Name string `json:"name"`
	// InternalName needs ReadInternalName.
	InternalName string `json:"internal_name,omitempty"`
	// Status defaults to PositionOpen.
	Status string `json:"status"`
	// IsDiscreet and the like change nothing in the fake; see Unshared.
	IsDiscreet   bool `json:"is_discreet"`
	IsPublished  bool `json:"is_published"`
	IsTalentPool bool `json:"is_talent_pool"`
	IsTemplate   bool `json:"is_template"`
	// Department, Email, ExperienceLevel and EmploymentType are free text.
	Department      string `json:"department"`
	Email           string `json:"email"`
	ExperienceLevel string `json:"experience_level"`
	EmploymentType  string `json:"employment_type"`
	// CompanyName defaults to Account.Company.
	CompanyName string `json:"company_name"`
	PictureURL  string `json:"picture_url"`
	// WorkplaceType is On-site, Hybrid or Remote.
	WorkplaceType string `json:"workplace_type"`
	// URL is the link into the web app. Has a default, as HostedPageURL and PositionURL have.
	URL string `json:"URL"`
	// HostedPageURL is url_comeet_hosted_page, or url_recruit_hosted_page by Switches.RecruitNames.
	HostedPageURL string `json:"-"`
	ActivePageURL string `json:"url_active_page"`
	// PositionURL is on another host than the API: following it with a token is a violation.
	PositionURL string `json:"position_url"`
	// InternalUseCustomID is the customer's own id, not unique; empty is null.
	InternalUseCustomID string `json:"-"`
	// TimeUpdated defaults to Comeet's now.
	TimeUpdated time.Time `json:"-"`
	// Location may be nil: null.
	Location *Location `json:"location"`
	// SalaryRange needs ReadSalaryRange.
	SalaryRange *SalaryRange `json:"salary_range,omitempty"`
	Categories  []Category   `json:"categories"`
	Details     []Detail     `json:"details"`
	// Users by role (lead_recruiter, hiring_manager, lead_recruiting_coordinator) need
	// ReadPositionUsers.
	Users map[string]Member `json:"users,omitempty"`
	// Steps are the workflow; no part of the model. They default to DefaultSteps.
	Steps []Step `json:"-"`
	// Unshared positions are invisible to the app, by the customer's choice.
	Unshared bool `json:"-"`
}

// Location of a position.
type Location struct {
	UID                 string `json:"uid"`
	Name                string `json:"name"`
	Country             string `json:"country"`
	City                string `json:"city"`
	State               string `json:"state"`
	PostalCode          string `json:"postal_code"`
	StreetName          string `json:"street_name"`
	StreetNumber        string `json:"street_number"`
	ArrivalInstructions string `json:"arrival_instructions"`
	Timezone            string `json:"timezone"`
}

// SalaryRange of a position; Period is hourly, weekly, monthly or annually.
type SalaryRange struct {
	Min          float64 `json:"min"`
	Max          float64 `json:"max"`
	CurrencyCode string  `json:"currency_code"`
	Period       string  `json:"period"`
}

// Category is a custom category of a position.
type Category struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Order int    `json:"order"`
}

// Detail is a text block of a position, in HTML.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Member is a user of the company.
type Member struct {
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Email     string `json:"email"`
}

// Step is one step of a position's workflow.
type Step struct {
	UID, Name, Type string
	Assignees       []string // e-mails
}

// DefaultSteps are the workflow of a position that has none.
func DefaultSteps() []Step {
	return []Step{
		{UID: "8B.442", Name: "CV Screen", Type: "Go/No-go"},
		{UID: "8B.443", Name: "Technical interview", Type: "In person Interview"},
		{UID: "8B.444", Name: "Offer", Type: "Go/No-go"},
	}
}

// position is a Position, replaced on every change, with what belongs to it.
type position struct {
	cur        *Position
	first      []StepState // the current steps of a new candidate
	candidates []*candidate
}

type positionView struct {
	*Position
	InternalUseCustomID *string `json:"internal_use_custom_id"`
	HostedOld           string  `json:"url_comeet_hosted_page,omitempty"`
	HostedNew           string  `json:"url_recruit_hosted_page,omitempty"`
	TimeUpdated         string  `json:"time_updated"`
}

// addPosition fills in defaults. The caller holds no lock.
func (a *account) addPosition(p Position, now time.Time) error {
	if p.UID == "" {
		p.UID, _ = a.server.newUID()
	}
	p.Status = orDefault(p.Status, PositionOpen)
	p.CompanyName = orDefault(p.CompanyName, a.company)
	p.URL = orDefault(p.URL, "https://app.comeet.co/app/?goto_url=/req/"+p.UID)
	p.HostedPageURL = orDefault(p.HostedPageURL, "https://www.comeet.com/jobs/"+p.UID)
	p.PositionURL = orDefault(p.PositionURL, "https://www.comeet.test/positions/"+p.UID)
	if p.TimeUpdated.IsZero() {
		p.TimeUpdated = now
	}
	if p.Categories == nil {
		p.Categories = []Category{}
	}
	if p.Details == nil {
		p.Details = []Detail{}
	}
	if p.Steps == nil {
		p.Steps = DefaultSteps()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byUID[p.UID] != nil {
		return fmt.Errorf("account %q has a position %q already", a.name, p.UID)
	}
	pos := &position{cur: &p}
	if len(p.Steps) > 0 {
		pos.first = []StepState{stateOf(p.Steps[0])}
	}
	a.positions = append(a.positions, pos)
	a.byUID[p.UID] = pos
	return nil
}

func stateOf(s Step) StepState {
	return StepState{Name: s.Name, Type: s.Type, PositionStepUID: s.UID, Assignees: s.Assignees}
}

// shared finds a position that the app may see. The caller holds a.mu.
func (a *account) shared(uid string) *position {
	if p := a.byUID[uid]; p != nil && !p.cur.Unshared {
		return p
	}
	return nil
}

// viewPosition hides what the app may not see: the blocks are then missing [D: permissions]. The
// caller holds a.mu.
func (a *account) viewPosition(p *Position, sw *Switches) positionView {
	q := *p
	if a.denied[ReadInternalName] {
		q.InternalName = ""
	}
	if a.denied[ReadSalaryRange] {
		q.SalaryRange = nil
	}
	if a.denied[ReadPositionUsers] {
		q.Users = nil
	}
	v := positionView{Position: &q, TimeUpdated: stamp(p.TimeUpdated), InternalUseCustomID: text(p.InternalUseCustomID)}
	if sw.RecruitNames {
		v.HostedNew = p.HostedPageURL
	} else {
		v.HostedOld = p.HostedPageURL
	}
	return v
}

// listPositions serves GET /positions.
//
// Imitated: status filter, without it open and closed ones [O: riverside]; limit; envelope with
// next_page [O]; only shared positions [D: permissions]; both generations of field names (UNKNOWN,
// Switches.RecruitNames). Order is that of creation. Not imitated: null items, items without uid, a
// filter on time (its name is UNKNOWN).
func (c *call) listPositions() *reply {
	p, filters, bad := c.openPage()
	if bad != nil {
		return bad
	}
	status := filters.Get("status")
	a := c.account
	a.mu.RLock()
	var rows []positionView
	seen, skip := 0, p.At
	for _, pos := range a.positions {
		if pos.cur.Unshared || status != "" && !strings.EqualFold(status, pos.cur.Status) {
			continue
		}
		if seen++; seen <= skip {
			continue
		}
		if rows = append(rows, a.viewPosition(pos.cur, c.sw)); len(rows) > p.Limit+c.sw.SkipRows {
			break
		}
	}
	a.mu.RUnlock()
	part, at := cut(rows, p, c.sw, func(i int) int { return p.At + i })
	next := ""
	if at >= 0 {
		next = c.nextURL(p, at)
	}
	return c.envelope("positions", slices.Concat([]positionView{}, part), next)
}

// retrievePosition serves GET /positions/{uid}: the position, or 404 if unknown or not shared [O:
// riverside]. The code of the 404 is not documented for positions; not_found is that of other reads
// [I].
func (c *call) retrievePosition() *reply {
	a := c.account
	a.mu.RLock()
	defer a.mu.RUnlock()
	p := a.shared(c.uid)
	if p == nil {
		return notFound("Position " + c.uid)
	}
	return jsonReply(http.StatusOK, a.viewPosition(p.cur, c.sw))
}
