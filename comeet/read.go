package comeet

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// listing makes the call that reads one page of a listing.
func (c *Client) listing(op string, operates Capability, path, query, page string) *call {
	rq := &call{op: op, method: http.MethodGet, operates: operates, maxBytes: maxListBytes}
	if page == "" {
		rq.url = c.endpoint(path, query)
	} else {
		rq.url, rq.refused = c.pageURL(page)
	}
	return rq
}

// list sends rq and reads one page of a listing. The page has its rows in member.
func list[T object](ctx context.Context, c *Client, rq *call, member string, opts []CallOption) ([]T, *Response, error) {
	p := page[T]{member: member}
	rq.decode = func(body []byte, resp *Response) bool {
		if !p.decode(body) {
			return false
		}
		resp.NextPage = c.resolvePage(p.next.ref, rq.url)
		return true
	}
	resp, err := c.do(ctx, rq, opts)
	if err != nil {
		return nil, resp, err
	}
	return p.rows, resp, nil
}

// object is what the API returns, alone or in a list.
type object interface{ uid() string }

// page is one page of a listing. Its body is an object with the list as a member.
type page[T object] struct {
	// member is the list's name. "" means that the name is not known. Then the list is the only one
	// in the object, or it is the body.
	member string

	rows  []T // those with a uid
	lists int
	next  nextPage
}

// decode reports whether body has one list and tells whether another page follows.
func (p *page[T]) decode(body []byte) bool {
	return jsonv2.Unmarshal(body, p, tolerant) == nil && p.lists == 1 && !p.next.other
}

// UnmarshalJSONFrom implements the json package's interface.
func (p *page[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if p.member == "" && dec.PeekKind() == '[' {
		return p.list(dec)
	}
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		switch name := name.String(); {
		case strings.EqualFold(name, "next_page"):
			err = jsonv2.UnmarshalDecode(dec, &p.next)
		case p.member == "" && dec.PeekKind() == '[', p.member != "" && strings.EqualFold(name, p.member):
			err = p.list(dec)
		default:
			err = dec.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (p *page[T]) list(dec *jsontext.Decoder) error {
	rows, err := decodeRows(dec, func(row *T) bool { return usableUID((*row).uid()) })
	if rows != nil {
		p.rows = rows
		p.lists++
	}
	return err
}

// nextPage is what ends or continues a list. other says that it is neither, so the list may be
// incomplete.
type nextPage struct {
	ref   string
	other bool
}

func decodeNextPage(dec *jsontext.Decoder, n *nextPage) error {
	*n = nextPage{}
	if kind := dec.PeekKind(); kind == 'n' || kind == 'f' {
		return dec.SkipValue()
	}
	s, ok, err := textOf(dec)
	*n = nextPage{ref: strings.TrimSpace(s), other: !ok}
	return err
}

// retrieval makes the call that reads one object.
func (c *Client) retrieval(op string, operates Capability, path, uid string) *call {
	rq := &call{op: op, method: http.MethodGet, operates: operates, maxBytes: maxObjectBytes}
	// Servers resolve dots in paths: ".." would read something else.
	if !usableUID(uid) || uid == "." || uid == ".." {
		rq.refused = &Error{Kind: Invalid, Err: errBadUID}
		return rq
	}
	rq.url = c.endpoint(path+url.PathEscape(uid), "")
	return rq
}

// one sends rq and reads one object, which must have a uid.
func one[T object](ctx context.Context, c *Client, rq *call, opts []CallOption) (*T, *Response, error) {
	found := new(T)
	rq.decode = func(body []byte, _ *Response) bool {
		return jsonv2.Unmarshal(body, found, tolerant) == nil && usableUID((*found).uid())
	}
	resp, err := c.do(ctx, rq, opts)
	if err != nil {
		return nil, resp, err
	}
	return found, resp, nil
}

// query builds a query string whose parameter names keep their literal colon, as the API writes
// them.
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

// between adds a time filter. It widens the bounds to whole seconds, so that no row is lost.
func (q *query) between(name string, after, before time.Time) {
	if !after.IsZero() {
		q.add(name+":after", after.UTC().Truncate(time.Second).Format(wireTime))
	}
	if !before.IsZero() {
		q.add(name+":before", before.UTC().Add(time.Second-1).Truncate(time.Second).Format(wireTime))
	}
}
