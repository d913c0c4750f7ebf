package comeet

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ListDeletedCandidates returns one page of the uids of candidates that were deleted between two
// times. A zero time leaves its bound out. Comeet documents one bare list of uids. The client also
// understands an object around the list, with a next_page, and rows that are objects with a uid.
// page is the NextPage of an earlier Response; "" is the first.
//
// Errors: Unavailable, Denied, Throttled, Invalid, Canceled; Unavailable around [ErrForeignPage]
// for a page elsewhere.
//
// Comeet API: GET /deleted-candidates, https://developers.comeet.com/reference/list-deleted-candidates
func (c *Client) ListDeletedCandidates(ctx context.Context, after, before time.Time, page string, opts ...CallOption) ([]string, *Response, error) {
	var b query
	b.between("time_deleted", after, before)
	rq := c.listing("list deleted candidates", CanPoll, "/deleted-candidates", b.String(), page)
	refs, resp, err := list[reference](ctx, c, rq, "", opts)
	if err != nil {
		return nil, resp, err
	}
	uids := make([]string, len(refs))
	for i, ref := range refs {
		uids[i] = ref.uid()
	}
	return uids, resp, nil
}

// reference is a uid that stands alone or in an object.
type reference string

func (r reference) uid() string { return string(r) }

func decodeReference(dec *jsontext.Decoder, r *reference) error {
	var o struct {
		UID string `json:"uid"`
	}
	var err error
	if dec.PeekKind() == '{' {
		err = decodeObject(dec, &o)
	} else {
		o.UID, _, err = textOf(dec)
	}
	*r = reference(o.UID)
	return err
}
