package comeet

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Candidate is one hiring process: a person on a position. A person may have several, all with the
// same PersonUID.
//
// Comeet leaves out a field that the integration may not see, just as one that does not exist.
// Where the difference matters the field is a pointer or slice. Then nil means "not told": the
// value is unknown, not empty.
//
// Decoding is tolerant, so that one odd field loses nothing else. A number where a text is due is
// taken as it is written. Any other wrong type counts as absent, and so does a text of more than 64
// KiB. Of more than 200 steps in a list the last ones are taken.
//
// Comeet API: https://developers.comeet.com/reference/candidates-copy
type Candidate struct {
	// UID is opaque; it may look like a decimal number.
	UID       string `json:"uid"`
	PersonUID string `json:"person_uid,omitempty"`

	FirstName   string `json:"first_name,omitempty"`
	MiddleName  string `json:"middle_name,omitempty"`
	LastName    string `json:"last_name,omitempty"`
	Email       string `json:"email,omitempty"`
	Phone       string `json:"phone,omitempty"`
	MobilePhone string `json:"mobile_phone,omitempty"`
	LinkedInURL string `json:"linkedin_url,omitempty"`

	// Deleted says that Comeet tells nothing but the UID any more.
	Deleted     bool   `json:"deleted,omitempty"`
	PositionUID string `json:"position_uid,omitempty"`
	// Source is nil if not told (it needs a permission), and zero if Comeet says null.
	Source *Source `json:"source,omitempty"`
	// SourceContact is nil if not told (it needs a permission), and zero if Comeet says null.
	SourceContact *SourceContact `json:"source_contact,omitempty"`
	// TimeCreated is zero if absent or unreadable. Times are UTC and of whole seconds.
	TimeCreated time.Time `json:"time_created,omitzero"`

	// Steps are nil if not told, and empty if there are none. FutureSteps need a permission.
	// Several steps may be current.
	CurrentSteps   []Step `json:"current_steps,omitzero"`
	CompletedSteps []Step `json:"completed_steps,omitzero"`
	FutureSteps    []Step `json:"future_steps,omitzero"`

	// Status is "In progress", "On hold", "Awaiting Decision", "Rejected", "Withdrawn" or "Hired".
	// The set is open, and to be compared without regard to case. It may be blank. No status is
	// final. It is nil if not told, and "" if Comeet says null.
	Status *string `json:"status,omitempty"`
	// ProspectStatus is nil if not told, and "" if Comeet says null.
	ProspectStatus *string `json:"prospect_status,omitempty"`
	// TimeLastStatusChanged is zero if absent or unreadable.
	TimeLastStatusChanged time.Time `json:"time_last_status_changed,omitzero"`
	// DispositionReason is nil if not told, and zero if Comeet says null.
	DispositionReason *DispositionReason `json:"disposition_reason,omitempty"`
	// Opening is nil if not told; only a hired candidate has one.
	Opening *Opening `json:"opening,omitempty"`
}

// Source is where a candidate came from. Type is an open set; its case differs from place to place.
type Source struct {
	UID  string `json:"uid,omitempty"`
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
}

// SourceContact is the person at the source. Comeet writes either FullName or FirstName and
// LastName.
type SourceContact struct {
	UID       string `json:"uid,omitempty"`
	FullName  string `json:"full_name,omitempty"`
	FirstName string `json:"first_name,omitempty"`
	LastName  string `json:"last_name,omitempty"`
	Email     string `json:"email,omitempty"`
	Phone     string `json:"phone,omitempty"`
}

// Step is one step of a hiring process. The client never reads its assignees, because they are
// people.
type Step struct {
	Name string `json:"name,omitempty"`
	// Type is an open set.
	Type string `json:"type,omitempty"`
	// PositionStepUID is the step's identity within the position's workflow.
	PositionStepUID string `json:"position_step_uid,omitempty"`
	// TimeScheduled is zero until the step is scheduled, TimeCompleted until it is completed.
	TimeScheduled time.Time `json:"time_scheduled,omitzero"`
	TimeCompleted time.Time `json:"time_completed,omitzero"`
}

// DispositionReason is why a hiring process ended, in the customer's words.
type DispositionReason struct {
	Reason string `json:"reason,omitempty"`
}

// Opening is the vacancy that a hired candidate filled.
type Opening struct {
	UID string `json:"uid,omitempty"`
}

// String returns the uid alone, because the rest is a person's data, and %v would write it to logs.
func (c Candidate) String() string { return "candidate " + c.UID }

// GoString is String.
func (c Candidate) GoString() string { return c.String() }

// decodeCandidate decodes as the type's comment says.
func decodeCandidate(dec *jsontext.Decoder, c *Candidate) error {
	type fields Candidate
	*c = Candidate{}
	return decodeObject(dec, (*fields)(c))
}

// decodeSteps drops rows that say nothing: null, or no object at all. Of more than maxSteps it
// keeps the last: a candidate like that must not spoil the page that it is on.
func decodeSteps(dec *jsontext.Decoder, steps *[]Step) error {
	*steps = nil
	if kind := dec.PeekKind(); kind != '[' {
		if kind == 'n' {
			*steps = []Step{}
		}
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	kept := []Step{}
	for dec.PeekKind() != ']' {
		var s Step
		if err := jsonv2.UnmarshalDecode(dec, &s); err != nil {
			return err
		}
		if s == (Step{}) {
			continue
		}
		if kept = append(kept, s); len(kept) == 2*maxSteps {
			kept = append(kept[:0], kept[maxSteps:]...)
		}
	}
	*steps = kept[max(len(kept)-maxSteps, 0):]
	_, err := dec.ReadToken()
	return err
}

// maxSteps is far above what a hiring process has.
const maxSteps = 200

func decodeStep(dec *jsontext.Decoder, s *Step) error {
	type fields Step
	return decodeObject(dec, (*fields)(s))
}

// UnmarshalJSON decodes as the type's comment says; it fails only on what is not JSON.
func (c *Candidate) UnmarshalJSON(raw []byte) error { return jsonv2.Unmarshal(raw, c, tolerant) }

func (c Candidate) uid() string { return c.UID }

// CreateCandidate submits a candidate to a position. It is not idempotent: a second call may create
// a second candidate. The answer often has only the uid, the position, times, steps and the status.
//
// Errors: Existing (Comeet has it in progress, see Error.CandidateUID); Invalid; NoPosition;
// Denied; Throttled; Unavailable (nothing was sent); Canceled (nothing was sent); InDoubt (it was
// sent and may or may not exist: look it up before you send it again).
//
// Comeet API: POST /candidates, https://developers.comeet.com/reference/create-a-candidate-new
func (c *Client) CreateCandidate(ctx context.Context, n *NewCandidate, opts ...CallOption) (*Candidate, *Response, error) {
	rq := &call{op: "create candidate", method: http.MethodPost, operates: CanSubmit, maxBytes: maxObjectBytes}
	rq.url = c.endpoint("/candidates", "")
	body, err := n.body()
	if err != nil {
		rq.refused = &Error{Kind: Invalid, Err: err}
	}
	rq.body = body
	return one[Candidate](ctx, c, rq, opts)
}

// RetrieveCandidate returns one candidate; with [ByRealID] uid is the number of the web app.
//
// Errors: NotFound; Gone (nothing is there, perhaps only for now); Hidden (this account may not
// read this candidate); Merged (Comeet does not tell the surviving uid); Unavailable; Denied;
// Throttled; Canceled; Invalid with Status 0 for a uid that is no path segment. None of them denies
// the capability, because what Comeet answers about one candidate need not be true of others.
//
// Comeet API: GET /candidates/{uid}, https://developers.comeet.com/reference/retrieve-a-candidate
func (c *Client) RetrieveCandidate(ctx context.Context, uid string, opts ...CallOption) (*Candidate, *Response, error) {
	rq := c.retrieval("retrieve candidate", CanPoll, "/candidates/", uid)
	rq.look = true
	return one[Candidate](ctx, c, rq, opts)
}

// IsRealID reports whether uid is all digits. Then it is the number of the candidate's page in the
// web app, as a 409 may give it, and only [ByRealID] reads it. No uid of the API has been seen
// without a dot.
func IsRealID(uid string) bool { return uid != "" && strings.Trim(uid, "0123456789") == "" }

// CandidateQuery selects candidates. A zero time leaves a bound out, and fractions widen a bound to
// whole seconds. It is not documented whether Comeet's bounds include the instant itself.
type CandidateQuery struct {
	TimeCreatedAfter, TimeCreatedBefore time.Time
	// TimeLastStatusChange is about changes of the status alone.
	TimeLastStatusChangeAfter, TimeLastStatusChangeBefore time.Time
	// TimeHiringProcessUpdated is about any activity on this hiring process. No field of the answer
	// carries that time.
	TimeHiringProcessUpdatedAfter, TimeHiringProcessUpdatedBefore time.Time
	// TimePersonLastActivity is about any process of the same person.
	TimePersonLastActivityAfter, TimePersonLastActivityBefore time.Time
	// Status keeps candidates of any of these statuses; none means all.
	Status []string
	// Deleted is true for only deleted ones, false for none of them. nil leaves it to Comeet, which
	// seems to return both.
	Deleted *bool
	// Limit is the page size to ask for; 0 leaves it to Comeet.
	Limit int
	// Page is the NextPage of an earlier Response; "" is the first page. With a Page all other
	// fields are ignored.
	Page string
}

func (q *CandidateQuery) encode() string {
	var b query
	escaped := make([]string, len(q.Status))
	for i, s := range q.Status {
		escaped[i] = url.QueryEscape(s)
	}
	b.add("status", strings.Join(escaped, ","))
	b.between("time_created", q.TimeCreatedAfter, q.TimeCreatedBefore)
	b.between("time_last_status_change", q.TimeLastStatusChangeAfter, q.TimeLastStatusChangeBefore)
	b.between("time_hiring_process_updated", q.TimeHiringProcessUpdatedAfter, q.TimeHiringProcessUpdatedBefore)
	b.between("time_person_last_activity", q.TimePersonLastActivityAfter, q.TimePersonLastActivityBefore)
	if q.Deleted != nil {
		b.add("deleted", map[bool]string{true: "True", false: "False"}[*q.Deleted])
	}
	b.limit(q.Limit)
	return b.String()
}

// ListCandidates returns one page of candidates. It leaves out rows that are null or have no uid.
// Order and stability of pages are not documented: expect repeats and gaps while candidates change.
//
// Errors: Unavailable, Denied, Throttled, Invalid, Canceled; Unavailable around [ErrForeignPage]
// for a Page elsewhere.
//
// Comeet API: GET /candidates, https://developers.comeet.com/reference/list-all-candidates-new
func (c *Client) ListCandidates(ctx context.Context, q CandidateQuery, opts ...CallOption) ([]Candidate, *Response, error) {
	rq := c.listing("list candidates", CanPoll, "/candidates", q.encode(), q.Page)
	return list[Candidate](ctx, c, rq, "candidates", opts)
}

// CandidatePages reads all pages of a listing; max as in [ReadPages]. A permit among opts is for
// the first page only.
//
// Comeet API: GET /candidates, https://developers.comeet.com/reference/list-all-candidates-new
func (c *Client) CandidatePages(q CandidateQuery, max int, opts ...CallOption) *Pages[Candidate] {
	return ReadPages(max, func(ctx context.Context, page string) ([]Candidate, *Response, error) {
		q := q
		q.Page = firstOf(page, q.Page)
		return c.ListCandidates(ctx, q, firstOnly(page, opts)...)
	})
}
