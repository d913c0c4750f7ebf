package comeet

import (
	"context"
	"encoding/json"
	"time"
)

// ListDeletedCandidates returns one page of the uids of candidates that were deleted between two times; a zero time leaves
// its bound out. Comeet documents one bare list of uids; an object around it, with a next_page, and rows that are objects
// with a uid are understood too. page is the NextPage of an earlier Response; "" is the first.
//
// Errors: Unavailable, Denied, Throttled, Invalid, Canceled; Unavailable around [ErrForeignPage] for a page elsewhere.
//
// Comeet API: GET /deleted-candidates, https://developers.comeet.com/reference/list-deleted-candidates
func (c *Client) ListDeletedCandidates(ctx context.Context, after, before time.Time, page string, opts ...CallOption) ([]string, *Response, error) {
	var b query
	b.between("time_deleted", after, before)
	rq := c.list("list deleted candidates", CanPoll, "/deleted-candidates", b.String(), page)
	var uids []string
	rq.decode = func(body []byte, resp *Response) bool {
		found, next, ok := decodeDeleted(body)
		if !ok {
			return false
		}
		uids, resp.NextPage = found, c.resolvePage(next, rq.url)
		return true
	}
	resp, err := c.do(ctx, rq, opts)
	if err != nil {
		return nil, resp, err
	}
	return uids, resp, nil
}

// reference is a uid, bare or as the uid of an object.
type reference string

func (r *reference) UnmarshalJSON(raw []byte) error {
	s, ok := textOf(raw)
	if !ok && firstByte(raw) == '{' {
		var o struct {
			UID text `json:"uid"`
		}
		if decodeLoose(raw, &o) {
			s = string(o.UID)
		}
	}
	*r = reference(s)
	return nil
}

// decodeDeleted takes a list, or an object in which exactly one value is a list: what that would be called is not known.
func decodeDeleted(body []byte) (uids []string, next string, ok bool) {
	list := json.RawMessage(body)
	if firstByte(body) == '{' {
		var envelope map[string]json.RawMessage
		if !decodeLoose(body, &envelope) {
			return nil, "", false
		}
		var page nextPage
		if raw, has := envelope["next_page"]; has {
			if err := page.UnmarshalJSON(raw); err != nil || page.other {
				return nil, "", false
			}
		}
		lists := 0
		for _, raw := range envelope {
			if firstByte(raw) == '[' {
				list, lists = raw, lists+1
			}
		}
		if lists != 1 {
			return nil, "", false
		}
		next = page.ref
	}
	if firstByte(list) != '[' {
		return nil, "", false
	}
	var refs []reference
	if !decodeLoose(list, &refs) {
		return nil, "", false
	}
	uids = make([]string, 0, len(refs))
	for _, r := range refs {
		if usableUID(string(r)) {
			uids = append(uids, string(r))
		}
	}
	return uids, next, true
}
