package comeet

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Position is a job at a customer. It decodes from every shape that Comeet's documentation or clients show: a number where a
// text is due is taken as it is written, any other wrong type counts as absent, so that one odd field loses nothing else.
//
// Comeet API: https://developers.comeet.com/reference/position-model
type Position struct {
	// UID is opaque; it may look like a decimal number.
	UID string `json:"uid"`
	// Name may be the public name.
	Name string `json:"name,omitempty"`
	// InternalName needs a permission of its own; "" says nothing.
	InternalName string `json:"internal_name,omitempty"`
	// Status is "open", "on hold" or "closed"; an open set, to be compared without regard to case.
	Status       string `json:"status,omitempty"`
	IsPublished  bool   `json:"is_published"`
	IsTalentPool bool   `json:"is_talent_pool"`
	IsTemplate   bool   `json:"is_template"`
	Department   string `json:"department,omitempty"`
	// CustomID is the customer's own number (internal_use_custom_id): neither unique nor required.
	CustomID string `json:"internal_use_custom_id,omitempty"`
	// Location is nil if there is none.
	Location       *Location `json:"location,omitempty"`
	WorkplaceType  string    `json:"workplace_type,omitempty"`
	EmploymentType string    `json:"employment_type,omitempty"`
	// TimeUpdated is zero if absent or unreadable.
	TimeUpdated time.Time `json:"time_updated,omitzero"`
	// HostedPage is the position's public page, which newer answers call url_recruit_hosted_page and older ones
	// url_comeet_hosted_page.
	HostedPage string `json:"url_recruit_hosted_page,omitempty"`
}

// Location is where a position is. Country is an ISO 3166 code or a name.
type Location struct {
	UID     string `json:"uid,omitempty"`
	Name    string `json:"name,omitempty"`
	Country string `json:"country,omitempty"`
	State   string `json:"state,omitempty"`
	City    string `json:"city,omitempty"`
}

// country is a text, or an object that has one.
type country string

func (c *country) UnmarshalJSON(raw []byte) error {
	if firstByte(raw) != '{' {
		s, _ := textOf(raw)
		*c = country(s)
		return nil
	}
	var o struct {
		Code    text `json:"code"`
		ISOCode text `json:"iso_code"`
		Name    text `json:"name"`
	}
	if decodeLoose(raw, &o) {
		*c = country(firstOf(string(o.Code), string(o.ISOCode), string(o.Name)))
	}
	return nil
}

type wireLocation struct {
	UID     text    `json:"uid"`
	Name    text    `json:"name"`
	Country country `json:"country"`
	State   text    `json:"state"`
	City    text    `json:"city"`
}

type wirePosition struct {
	UID            text                `json:"uid"`
	Name           text                `json:"name"`
	InternalName   text                `json:"internal_name"`
	Status         text                `json:"status"`
	IsPublished    flag                `json:"is_published"`
	IsTalentPool   flag                `json:"is_talent_pool"`
	IsTemplate     flag                `json:"is_template"`
	Department     text                `json:"department"`
	CustomID       text                `json:"internal_use_custom_id"`
	Location       block[wireLocation] `json:"location"`
	Country        country             `json:"country"`
	WorkplaceType  text                `json:"workplace_type"`
	EmploymentType text                `json:"employment_type"`
	TimeUpdated    stamp               `json:"time_updated"`
	RecruitPage    text                `json:"url_recruit_hosted_page"`
	ComeetPage     text                `json:"url_comeet_hosted_page"`
}

func (w *wirePosition) position() Position {
	p := Position{
		UID: string(w.UID), Name: string(w.Name), InternalName: string(w.InternalName), Status: string(w.Status),
		IsPublished: bool(w.IsPublished), IsTalentPool: bool(w.IsTalentPool), IsTemplate: bool(w.IsTemplate),
		Department: string(w.Department), CustomID: string(w.CustomID),
		WorkplaceType: string(w.WorkplaceType), EmploymentType: string(w.EmploymentType), TimeUpdated: time.Time(w.TimeUpdated),
		HostedPage: firstOf(string(w.RecruitPage), string(w.ComeetPage)),
	}
	if l := w.Location.value; l != nil && *l != (wireLocation{}) {
		p.Location = &Location{UID: string(l.UID), Name: string(l.Name), Country: string(l.Country), State: string(l.State), City: string(l.City)}
	}
	// Some tenants have the country beside the location.
	if w.Country != "" {
		if p.Location == nil {
			p.Location = new(Location)
		}
		p.Location.Country = firstOf(p.Location.Country, string(w.Country))
	}
	return p
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// UnmarshalJSON decodes as the type's comment says; it fails only on what is not JSON.
func (p *Position) UnmarshalJSON(raw []byte) error {
	var w wirePosition
	if err := json.Unmarshal(raw, &w); err != nil && !decodeLoose(raw, &w) {
		return err
	}
	*p = w.position()
	return nil
}

// PositionQuery selects positions.
type PositionQuery struct {
	// Status is "open", "on hold" or "closed"; "" means every one.
	Status string
	// Limit is the page size asked for; 0 leaves it to Comeet. 500 is known to be accepted, perhaps cut down.
	Limit int
	// Page is the NextPage of an earlier Response, and makes the other fields count for nothing; "" is the first page.
	Page string
}

// ListPositions returns one page of the positions that the customer shares with this integration. Rows that are null or
// have no uid are left out. A position can be missing without being closed.
//
// Errors: Unavailable, Denied, Throttled, Invalid, Canceled; Unavailable around [ErrForeignPage] for a Page elsewhere.
//
// Comeet API: GET /positions, https://developers.comeet.com/reference/list-all-positions
func (c *Client) ListPositions(ctx context.Context, q PositionQuery, opts ...CallOption) ([]Position, *Response, error) {
	var b query
	b.add("status", url.QueryEscape(q.Status))
	b.limit(q.Limit)
	var found []Position
	rq := c.list("list positions", CanPositions, "/positions", b.String(), q.Page)
	rq.decode = func(body []byte, resp *Response) bool {
		var envelope struct {
			Rows *[]wirePosition `json:"positions"`
			Next nextPage        `json:"next_page"`
		}
		envelope.Rows = new([]wirePosition)
		if firstByte(body) != '{' || !decodeLoose(body, &envelope) || envelope.Next.other {
			return false
		}
		list, ok := listed(envelope.Rows)
		if !ok {
			return false
		}
		found = make([]Position, 0, len(list))
		for i := range list {
			if usableUID(string(list[i].UID)) {
				found = append(found, list[i].position())
			}
		}
		resp.NextPage = c.resolvePage(envelope.Next.ref, rq.url)
		return true
	}
	resp, err := c.do(ctx, rq, opts)
	if err != nil {
		return nil, resp, err
	}
	return found, resp, nil
}

// PositionPages reads all pages of a listing; max as in [ReadPages]. A permit among opts is for the first page only.
//
// Comeet API: GET /positions, https://developers.comeet.com/reference/list-all-positions
func (c *Client) PositionPages(q PositionQuery, max int, opts ...CallOption) *Pages[Position] {
	return ReadPages(max, func(ctx context.Context, page string) ([]Position, *Response, error) {
		one := q
		one.Page = firstOf(page, q.Page)
		return c.ListPositions(ctx, one, firstOnly(page, opts)...)
	})
}

// RetrievePosition returns one position.
//
// Errors: NotFound or NoPosition (Comeet's code for it is not documented), Unavailable, Denied, Throttled, Canceled; Invalid
// with Status 0 for a uid that is no path segment.
//
// Comeet API: GET /positions/{uid}, https://developers.comeet.com/reference/retrieve-a-position
func (c *Client) RetrievePosition(ctx context.Context, uid string, opts ...CallOption) (*Position, *Response, error) {
	rq := c.retrieve("retrieve position", CanPositions, "/positions/", uid)
	var found wirePosition
	rq.decode = func(body []byte, _ *Response) bool {
		return firstByte(body) == '{' && decodeLoose(body, &found) && usableUID(string(found.UID))
	}
	resp, err := c.do(ctx, rq, opts)
	if err != nil {
		return nil, resp, err
	}
	p := found.position()
	return &p, resp, nil
}

// list is the call of one page of a listing.
func (c *Client) list(op string, operates Capability, path, query, page string) *call {
	rq := &call{op: op, method: http.MethodGet, operates: operates, maxBytes: maxListBytes}
	if page == "" {
		rq.url = c.endpoint(path, query)
	} else {
		rq.url, rq.refused = c.pageURL(page)
	}
	return rq
}

// retrieve is the call of one object.
func (c *Client) retrieve(op string, operates Capability, path, uid string) *call {
	rq := &call{op: op, method: http.MethodGet, operates: operates, maxBytes: maxObjectBytes}
	// Servers resolve dots in paths: ".." would read something else.
	if !usableUID(uid) || uid == "." || uid == ".." {
		rq.refused = &Error{Kind: Invalid, Err: errBadUID}
		return rq
	}
	rq.url = c.endpoint(path+url.PathEscape(uid), "")
	return rq
}

// query builds a query string whose parameter names keep their literal colon, as the API writes them.
type query struct{ strings.Builder }

// add appends a parameter unless its value, already escaped, is empty.
func (q *query) add(name, escaped string) {
	if escaped == "" {
		return
	}
	if q.Len() > 0 {
		q.WriteByte('&')
	}
	q.WriteString(name + "=" + escaped)
}

func (q *query) limit(n int) {
	if n > 0 {
		q.add("limit", strconv.Itoa(n))
	}
}

// between adds a time filter. Its bounds widen to whole seconds, so that none loses a row.
func (q *query) between(name string, after, before time.Time) {
	if !after.IsZero() {
		q.add(name+":after", after.UTC().Truncate(time.Second).Format(wireTime))
	}
	if !before.IsZero() {
		q.add(name+":before", before.UTC().Add(time.Second-1).Truncate(time.Second).Format(wireTime))
	}
}
