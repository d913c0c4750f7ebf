package comeet

import (
	"context"
	"net/url"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Position is a job at a customer. It decodes from every shape that Comeet's documentation or
// clients show, and as tolerantly as a [Candidate].
//
// Comeet API: https://developers.comeet.com/reference/position-model
type Position struct {
	// UID is opaque; it may look like a decimal number.
	UID string `json:"uid"`
	// Name may be the public name.
	Name string `json:"name,omitempty"`
	// InternalName needs a permission of its own; "" says nothing.
	InternalName string `json:"internal_name,omitempty"`
	// Status is "open", "on hold" or "closed". The set is open, and to be compared without regard
	// to case.
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
	// HostedPage is the position's public page. Newer answers call it url_recruit_hosted_page,
	// older ones url_comeet_hosted_page.
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

// decodePosition decodes as the type's comment says.
func decodePosition(dec *jsontext.Decoder, p *Position) error {
	type fields Position
	var w struct {
		fields
		Country    country `json:"country"`
		ComeetPage string  `json:"url_comeet_hosted_page"`
	}
	err := decodeObject(dec, &w)
	*p = Position(w.fields)
	p.HostedPage = firstOf(p.HostedPage, w.ComeetPage)
	if p.Location != nil && *p.Location == (Location{}) {
		p.Location = nil
	}
	// Some accounts have the country beside the location.
	if w.Country != "" {
		if p.Location == nil {
			p.Location = new(Location)
		}
		p.Location.Country = firstOf(p.Location.Country, string(w.Country))
	}
	return err
}

func decodeLocation(dec *jsontext.Decoder, l *Location) error {
	type fields Location
	var w struct {
		fields
		Country country `json:"country"`
	}
	err := decodeObject(dec, &w)
	*l = Location(w.fields)
	l.Country = string(w.Country)
	return err
}

// country is a text, or an object that has one.
type country string

func decodeCountry(dec *jsontext.Decoder, c *country) error {
	if dec.PeekKind() != '{' {
		s, _, err := textOf(dec)
		*c = country(s)
		return err
	}
	var o struct {
		Code    string `json:"code"`
		ISOCode string `json:"iso_code"`
		Name    string `json:"name"`
	}
	err := jsonv2.UnmarshalDecode(dec, &o)
	*c = country(firstOf(o.Code, o.ISOCode, o.Name))
	return err
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
func (p *Position) UnmarshalJSON(raw []byte) error { return jsonv2.Unmarshal(raw, p, tolerant) }

func (p Position) uid() string { return p.UID }

// PositionQuery selects positions.
type PositionQuery struct {
	// Status is "open", "on hold" or "closed"; "" means every one.
	Status string
	// Limit is the page size to ask for; 0 leaves it to Comeet. Comeet is known to accept 500, but
	// may return fewer.
	Limit int
	// Page is the NextPage of an earlier Response; "" is the first page. With a Page all other
	// fields are ignored.
	Page string
}

// ListPositions returns one page of the positions that the customer shares with this integration.
// It leaves out rows that are null or have no uid. A position can be missing without being closed.
//
// Errors: Unavailable, Denied, Throttled, Invalid, Canceled; Unavailable around [ErrForeignPage]
// for a Page elsewhere.
//
// Comeet API: GET /positions, https://developers.comeet.com/reference/list-all-positions
func (c *Client) ListPositions(ctx context.Context, q PositionQuery, opts ...CallOption) ([]Position, *Response, error) {
	var b query
	b.add("status", url.QueryEscape(q.Status))
	b.limit(q.Limit)
	rq := c.listing("list positions", CanPositions, "/positions", b.String(), q.Page)
	return list[Position](ctx, c, rq, "positions", opts)
}

// PositionPages reads all pages of a listing; max as in [ReadPages]. A permit among opts is for the
// first page only.
//
// Comeet API: GET /positions, https://developers.comeet.com/reference/list-all-positions
func (c *Client) PositionPages(q PositionQuery, max int, opts ...CallOption) *Pages[Position] {
	return ReadPages(max, func(ctx context.Context, page string) ([]Position, *Response, error) {
		q := q
		q.Page = firstOf(page, q.Page)
		return c.ListPositions(ctx, q, firstOnly(page, opts)...)
	})
}

// RetrievePosition returns one position.
//
// Errors: NotFound or NoPosition (Comeet's code for it is not documented), Unavailable, Denied,
// Throttled, Canceled; Invalid with Status 0 for a uid that is no path segment.
//
// Comeet API: GET /positions/{uid}, https://developers.comeet.com/reference/retrieve-a-position
func (c *Client) RetrievePosition(ctx context.Context, uid string, opts ...CallOption) (*Position, *Response, error) {
	rq := c.retrieval("retrieve position", CanPositions, "/positions/", uid)
	return one[Position](ctx, c, rq, opts)
}
