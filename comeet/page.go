package comeet

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

// resolvePage turns a next_page, absolute or relative, into an absolute URL. It returns a text that
// does not parse as it is. Then the request for the next page fails, not the page that carried it.
func (c *Client) resolvePage(ref string, of *url.URL) string {
	if ref == "" {
		return ""
	}
	u, err := url.Parse(ref)
	if err != nil {
		return ref
	}
	if !u.IsAbs() && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(u.EscapedPath(), c.base.EscapedPath()+"/") {
		// An API behind a prefix does not know the prefix.
		u.Path, u.RawPath = c.base.Path+u.Path, c.base.EscapedPath()+u.EscapedPath()
	}
	return of.ResolveReference(u).String()
}

// pageURL parses the URL of a page. It refuses other hosts, because a body may name any, and the
// token goes where this URL points.
func (c *Client) pageURL(page string) (*url.URL, *Error) {
	u, err := url.Parse(page)
	if err != nil || u.User != nil || u.Opaque != "" || u.Scheme != c.base.Scheme || authority(u) != authority(c.base) {
		return nil, &Error{Kind: Unavailable, Err: ErrForeignPage}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// authority returns host and port in one spelling.
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// endpoint returns the URL of an API path with a query. Both must be escaped.
func (c *Client) endpoint(path, query string) *url.URL {
	u := *c.base
	u.RawPath = c.base.EscapedPath() + path
	// This cannot fail: the parts of the path are constants and results of url.PathEscape.
	u.Path, _ = url.PathUnescape(u.RawPath)
	u.RawQuery = query
	return &u
}

// DefaultMaxPages bounds a listing: 1,000 pages are ten minutes of a whole request budget.
const DefaultMaxPages = 1000

// Pages reads a listing page by page, like a bufio.Scanner:
//
//	for p.Next(ctx) {
//		use(p.Items())
//	}
//	if err := p.Err(); err != nil { ... }
//
// It ends with an error, never silently, when a page leads to one that was read before, and when
// its bound of pages is reached. It is not safe for concurrent use. Make it with [ReadPages],
// [Client.PositionPages] or [Client.CandidatePages].
type Pages[T any] struct {
	list     func(ctx context.Context, page string) ([]T, *Response, error)
	max      int
	read     int
	next     string
	seen     map[string]struct{}
	items    []T
	response *Response
	err      error
	complete bool
}

// ReadPages reads a listing with list, which returns one page; page "" is the first. After max
// pages it ends with [ErrTooManyPages]. A max of 0 means [DefaultMaxPages].
func ReadPages[T any](max int, list func(ctx context.Context, page string) ([]T, *Response, error)) *Pages[T] {
	if max <= 0 {
		max = DefaultMaxPages
	}
	return &Pages[T]{list: list, max: max, seen: make(map[string]struct{})}
}

// Next reads the next page and reports whether there was one. A page may be empty and still not the
// last.
func (p *Pages[T]) Next(ctx context.Context) bool {
	p.items = nil
	if p.err != nil || p.complete {
		return false
	}
	if p.read == p.max {
		p.err = &Error{Op: "list pages", Kind: Unavailable, Err: ErrTooManyPages}
		return false
	}
	items, resp, err := p.list(ctx, p.next)
	if err != nil {
		p.err = err
		return false
	}
	p.read++
	p.items, p.response = items, resp
	p.next = resp.NextPage
	if p.next == "" {
		p.complete = true
		return true
	}
	if _, again := p.seen[p.next]; again {
		// This page still counts; the next call reports the error.
		p.err = &Error{Op: "list pages", Kind: Unavailable, Err: ErrPageLoop}
		return true
	}
	p.seen[p.next] = struct{}{}
	return true
}

// Items returns the rows of the page that Next read.
func (p *Pages[T]) Items() []T { return p.items }

// Response returns the exchange of the latest page; nil before the first.
func (p *Pages[T]) Response() *Response { return p.response }

// Err returns why the listing ended early: the list's own error, or an *Error of Kind Unavailable
// around [ErrPageLoop] or [ErrTooManyPages]. Nil at the end of a complete listing.
func (p *Pages[T]) Err() error { return p.err }

// Complete reports whether the last page was read. Until then a row that was not seen proves
// nothing.
func (p *Pages[T]) Complete() bool { return p.complete }

// firstOnly drops the permit of opts after the first page, because a permit is good for one
// request.
func firstOnly(page string, opts []CallOption) []CallOption {
	if page == "" {
		return opts
	}
	return append(slices.Clip(opts), WithPermit(nil))
}
