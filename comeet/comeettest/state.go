package comeettest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// account holds everything of one company. Nothing of it is reachable through another's api-key.
type account struct {
	server  *Server
	name    string
	company string
	limit   limiter

	mu        sync.RWMutex // guards all that follows
	revoked   bool
	denied    map[Permission]bool
	foreign   map[string]bool // e-mails of contacts of other sources
	positions []*position
	byUID     map[string]*position

	all         []*candidate // in order of creation
	candidates  map[string]*candidate
	byRealID    map[int64]*candidate
	byPartner   map[partnerKey][]*candidate
	byEmail     map[string]*person
	byPartnerID map[string]*person // by partner_candidate_id
	updated     timeline
	deleted     []*candidate // in order of deletion
	merged      []*candidate
}

type partnerKey struct{ id, position string }

type person struct {
	uid          string
	lastActivity int64
	candidates   []*candidate
}

// candidate is one hiring process. Its versions are never changed once published, so lists are
// encoded outside the lock.
type candidate struct {
	uid     string
	realID  int64
	ordinal int // index in account.all
	person  *person
	created int64     // Comeet's clock
	born    time.Time // local clock, for visibility delays
	mark    uint64    // of the live entry in account.updated
	cur     *version
	listed  *position
}

// version is a candidate from one change to the next.
type version struct {
	Candidate
	endedAt int64     // Comeet's clock at a hire, a deletion or a merge
	at      time.Time // local clock
	prev    *version
}

// Source is to whom a candidate is credited.
type Source struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// SourceContact is the person at the source.
type SourceContact struct {
	UID      string `json:"-"`
	FullName string `json:"full_name"`
	Email    string `json:"email"`
	Phone    string `json:"phone"`
}

// Address of a candidate; Country is an ISO 3166 alpha-2 code.
type Address struct {
	Country string `json:"country"`
	City    string `json:"city"`
	State   string `json:"state"`
	Zip     string `json:"zip"`
	Street  string `json:"street"`
}

// StepState is a step that a candidate is in or went through. Zero times are null at the API.
type StepState struct {
	Name, Type      string
	PositionStepUID string
	TimeScheduled   time.Time
	TimeCompleted   time.Time
	Assignees       []string // e-mails
}

// AppSource is the source of candidates that POST /candidates creates.
var AppSource = Source{UID: "1F.2D", Name: "Example Sourcer", Type: "Sourcing"}

func (s *Server) newAccount(a Account) *account {
	acc := &account{
		server: s, name: a.Name, company: a.Company,
		denied: map[Permission]bool{}, foreign: map[string]bool{}, byUID: map[string]*position{},
		candidates: map[string]*candidate{}, byRealID: map[int64]*candidate{}, byPartner: map[partnerKey][]*candidate{},
		byEmail: map[string]*person{}, byPartnerID: map[string]*person{},
	}
	acc.limit.init(s.config.requests, s.config.window)
	for _, p := range a.Denied {
		acc.denied[p] = true
	}
	return acc
}

// newUID makes opaque ids of the observed forms. Many look like decimal numbers, some with trailing
// zeros: a client that lets one become a number corrupts it.
func (s *Server) newUID() (uid string, n uint64) {
	n = s.uids.Add(1)
	return fmt.Sprintf("%02X.%03X", byte(n*167+0x3C), 0x1B9+n), n
}

// enter adds a candidate in its first state. The caller holds a.mu.
func (a *account) enter(v *version, now time.Time, unix int64) *candidate {
	uid, n := a.server.newUID()
	c := &candidate{uid: uid, realID: 70_000_000 + int64(n), ordinal: len(a.all), created: unix, born: now, cur: v}
	c.person = a.match(v.PartnerCandidateID, v.Email)
	c.person.candidates = append(c.person.candidates, c)
	v.at, v.UID, v.RealID, v.PersonUID = now, uid, c.realID, c.person.uid
	v.TimeCreated = time.Unix(unix, 0).UTC()
	v.TimeHiringProcessUpdated, v.TimeLastStatusChanged = v.TimeCreated, v.TimeCreated
	a.all = append(a.all, c)
	a.candidates[uid] = c
	a.byRealID[c.realID] = c
	if v.PartnerCandidateID != "" {
		k := partnerKey{v.PartnerCandidateID, v.PositionUID}
		a.byPartner[k] = append(a.byPartner[k], c)
	}
	if p := a.byUID[v.PositionUID]; p != nil {
		p.candidates = append(p.candidates, c)
		c.listed = p
	}
	a.updated.touch(c, unix)
	c.person.lastActivity = unix
	return c
}

// match finds the person: the same partner id or e-mail is the same person, anybody else is new.
// Comeet matches on far more (help 4198112); this is enough to give people several candidates.
func (a *account) match(partner, email string) *person {
	email = strings.ToLower(email)
	p := a.byPartnerID[partner]
	if p == nil {
		p = a.byEmail[email]
	}
	if p == nil {
		uid, _ := a.server.newUID()
		p = &person{uid: uid}
	}
	if partner != "" {
		a.byPartnerID[partner] = p
	}
	if email != "" && a.byEmail[email] == nil {
		a.byEmail[email] = p
	}
	return p
}

// Which of its times a change moves.
type moves uint8

const (
	movesNothing moves = iota
	movesActivity
	movesStatus
)

// change publishes the next version of a candidate. The caller holds a.mu.
func (a *account) change(c *candidate, m moves, f func(*version)) {
	now := time.Now()
	comeet := a.server.Now().Truncate(time.Second)
	unix := comeet.Unix()
	v := *c.cur
	v.prev = c.cur
	if !a.server.config.history {
		v.prev = nil
	}
	v.at = now
	f(&v)
	if m >= movesActivity {
		v.TimeHiringProcessUpdated = comeet
		a.updated.touch(c, unix)
		c.person.lastActivity = unix
	}
	if m == movesStatus {
		v.TimeLastStatusChanged = comeet
	}
	if v.PositionUID != c.cur.PositionUID {
		if c.listed != nil {
			c.listed.candidates = without(c.listed.candidates, c)
		}
		if c.listed = a.byUID[v.PositionUID]; c.listed != nil {
			c.listed.candidates = append(c.listed.candidates, c)
		}
	}
	c.cur = &v
}

func without(cs []*candidate, c *candidate) []*candidate {
	out := make([]*candidate, 0, len(cs))
	for _, o := range cs {
		if o != c {
			out = append(out, o)
		}
	}
	return out
}
