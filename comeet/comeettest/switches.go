package comeettest

import "time"

// Order is the order of the rows of a candidate list, and with it how its pages are cut. Comeet
// documents neither (Comeet API: list-all-candidates-new); a client must survive each.
type Order uint8

const (
	// OrderCreated lists oldest first and continues after the last row given: nothing repeats,
	// nothing is skipped. The default.
	OrderCreated Order = iota
	// OrderCreatedOffset lists oldest first and continues at a row number: a row that stops
	// matching the filter between two pages makes the next page skip one.
	OrderCreatedOffset
	// OrderNewestFirst lists newest first by row number: a candidate created between two pages
	// repeats a row.
	OrderNewestFirst
	// OrderUpdated lists the least recently active first by row number: a change between two pages
	// skips rows.
	OrderUpdated
	// OrderUpdatedNewestFirst lists the most recently active first by row number: a change between
	// two pages repeats rows.
	OrderUpdatedNewestFirst
)

// StubFilter is how stubs of deleted candidates answer to the time filters of a list; Comeet
// documents nothing.
type StubFilter uint8

const (
	// StubsByTime keeps stubs under the candidate's own times; the deletion counts as activity. The
	// default.
	StubsByTime StubFilter = iota
	// StubsAlways puts every stub into every list, whatever its time filters. Such lists cost
	// O(candidates).
	StubsAlways
	// StubsNever leaves stubs out of every list; only GET /deleted-candidates tells of them.
	StubsNever
)

// AutoResolve is the company's setting for duplicates found while a candidate is created (help
// 4198112).
type AutoResolve uint8

const (
	// AutoResolveOff creates the duplicate; a recruiter may Merge later. The default.
	AutoResolveOff AutoResolve = iota
	// AutoResolveSamePosition merges a new candidate at once into an older one of the same person
	// and position.
	AutoResolveSamePosition
	// AutoResolveAnyPosition merges a new candidate at once into an older one of the same person,
	// in that one's position.
	AutoResolveAnyPosition
)

// Switches decide what the Comeet API page leaves UNKNOWN, one plausible behaviour per field. The
// zero value is the documented behaviour where there is one, else the gentlest. Set them with
// WithSwitches, change them with Server.Switch.
type Switches struct {
	// CreateStatus answers a successful POST /candidates: 200 or 201. Zero means 201.
	CreateStatus int
	// FullCreateBody answers POST /candidates with the whole candidate instead of the documented
	// reduced one.
	FullCreateBody bool
	// RequirePartnerCandidateID makes partner_candidate_id a required field, as older versions of
	// the page do.
	RequirePartnerCandidateID bool
	// ConflictUIDString gives candidate_uid of a 409 as the API uid. False gives the numeric real
	// id, as in the documented example; GET /candidates/{id} finds it with IDENTIFIER_TYPE:
	// REAL_ID.
	ConflictUIDString bool
	// RaceWindow hides candidates younger than this from the 409 check, so that two POSTs of one id
	// create two.
	RaceWindow time.Duration
	// AutoResolve merges duplicates during the POST, see the type.
	AutoResolve AutoResolve
	// AutoResolveOldUID answers an auto-resolved POST with the surviving candidate. False answers
	// with the new uid, which is 401 duplicate_candidate from then on.
	AutoResolveOldUID bool
	// RefuseClosedPositions answers 404 position_not_found to a POST on a closed or on-hold
	// position. False accepts it.
	RefuseClosedPositions bool
	// MaxStringRunes limits every text field but note: longer is 400 string_size_limit. Zero means
	// 1,000.
	MaxStringRunes int
	// MaxNoteRunes limits note. Zero means 30,000.
	MaxNoteRunes int
	// MaxFileBytes limits one file: more is 403 file_size_limit. Zero means 6 MiB.
	MaxFileBytes int
	// FileLimitEncoded measures MaxFileBytes on the base64 text instead of the decoded bytes.
	FileLimitEncoded bool
	// CustomFields are the names that the company knows; another is 400
	// invalid_custom_candidate_field.
	CustomFields []string

	// Order of candidate lists, see the type.
	Order Order
	// PageSize is used when limit is absent. Zero means 100.
	PageSize int
	// MaxPageSize silently clamps limit. Zero means 1,000.
	MaxPageSize int
	// EmptyPages puts one empty page with a next_page between any two pages.
	EmptyPages bool
	// RepeatRows starts each page with this many rows of the page before.
	RepeatRows int
	// SkipRows leaves out this many rows between two pages: they appear in no page of that listing.
	SkipRows int
	// OmitNextPage leaves next_page out of the last page. False gives null.
	OmitNextPage bool
	// NextPageBase replaces scheme, host and base path of next_page ("https://elsewhere.example").
	// "/" makes it a relative path. Empty means the base under which the request came.
	NextPageBase string
	// NextPageDropsFilters makes next_page forget the filters of the first request.
	NextPageDropsFilters bool
	// BoundsExclusive makes :after and :before exclude the very second given. False includes it.
	BoundsExclusive bool
	// AcceptOffsets takes filter times with a numeric zone. False answers 400 invalid_datetime to
	// all but Z.
	AcceptOffsets bool

	// StepMoveTouchesStatusTime makes a step move change time_last_status_changed.
	StepMoveTouchesStatusTime bool
	// KeepCurrentSteps leaves current_steps as they were when a status other than In progress is
	// set.
	KeepCurrentSteps bool
	// Stubs of deleted candidates in lists, see the type.
	Stubs StubFilter
	// DeletedGetNotFound answers 404 not_found for a deleted candidate. False answers 200 with uid
	// and deleted only.
	DeletedGetNotFound bool
	// DeletedGetPage answers a deleted candidate's GET with an HTML page of this status, 404 or
	// 410; wins over DeletedGetNotFound. Zero: no page.
	DeletedGetPage int
	// HiddenGetStatus answers GET /candidates/{uid} for a candidate that the app may not see: 404
	// or 403. Zero means 404.
	HiddenGetStatus int
	// DeletedEnvelope wraps GET /deleted-candidates into {"candidates": [...], "next_page": null}.
	// False: the bare array.
	DeletedEnvelope bool
	// MergedListed keeps merged-away candidates in lists as they last were.
	MergedListed bool
	// MergedStubbed shows merged-away candidates in lists as deleted stubs; wins over MergedListed.
	MergedStubbed bool
	// MergedInDeleted names merged-away candidates in GET /deleted-candidates.
	MergedInDeleted bool
	// VisibleInGetAfter, VisibleInListAfter and VisibleInPositionListAfter hide a new candidate
	// this long from GET /candidates/{uid}, GET /candidates and GET /positions/{uid}/candidates.
	// Zero: at once.
	VisibleInGetAfter, VisibleInListAfter, VisibleInPositionListAfter time.Duration
	// RecruitNames uses the field names of the rebrand (url_recruit_hosted_page). False:
	// url_comeet_hosted_page.
	RecruitNames bool

	// TokenLeeway forgives tokens that expired no longer ago than this.
	TokenLeeway time.Duration
	// MaxTokenLife refuses tokens whose exp is further ahead. Zero: any.
	MaxTokenLife time.Duration
	// AuthErrorHTML answers a bad token with a 401 HTML page. False: JSON with error
	// "unauthorized", which no page documents.
	AuthErrorHTML bool
	// RevokedStatus answers all requests of a revoked account: 401, 403 or 404. Zero means 401.
	RevokedStatus int
	// IgnoreUnknown serves requests with unknown query parameters or body fields as if these were
	// absent. False answers 400 invalid_request. Both record the violation.
	IgnoreUnknown bool

	// RetryAfter adds Retry-After, in seconds, to the 429 of the rate limit.
	RetryAfter bool
	// ThrottleHTML answers the 429 of the rate limit as an HTML page.
	ThrottleHTML bool
	// CountRefused makes requests refused by the rate limit count against it.
	CountRefused bool
	// FixedWindow counts per window that starts with its first request. False: sliding window.
	FixedWindow bool
	// NoDate leaves the Date header out of every answer.
	NoDate bool
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
