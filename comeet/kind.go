package comeet

// Kind says what a caller does next about a call that did not succeed. It is a closed set; the zero Kind is success, or an
// error that is not from this package.
type Kind uint8

const (
	// Unavailable: nothing was sent, or a read got no usable answer. Try again later; nothing happened at Comeet.
	Unavailable Kind = iota + 1
	// InDoubt: a POST was sent and its fate is unknown. Look the candidate up before anything is sent again.
	InDoubt
	// Invalid: this request can never succeed as it is. Comeet named the reason in Error.Code; with Status 0 the client
	// found it before anything was sent.
	Invalid
	// NoPosition: Comeet does not know the position, or does not share it with this account (any more).
	NoPosition
	// NotFound: Comeet does not know the object that was read.
	NotFound
	// Gone: there is nothing at the candidate's address, and whether that is Comeet's word is not sure: a gateway may say so too.
	Gone
	// Hidden: Comeet does not let this account read this one candidate. It says nothing about other candidates, nor about the
	// account's permissions.
	Hidden
	// Denied: the credentials are refused, or a permission is missing. An operator has to act.
	Denied
	// Throttled: the request budget is spent. Nothing was done; wait.
	Throttled
	// Existing: Comeet has this candidate in progress already, as Error.CandidateUID. To a submitter this is success.
	Existing
	// Merged: the candidate was merged into another one. Its uid will never be readable again.
	Merged
	// Canceled: the caller's context ended before a POST was sent, or at any time of a read. It says nothing about Comeet.
	Canceled

	lastKind = Canceled
)

var kindNames = [lastKind + 1]string{
	0:           "none",
	Unavailable: "unavailable",
	InDoubt:     "in_doubt",
	Invalid:     "invalid",
	NoPosition:  "no_position",
	NotFound:    "not_found",
	Gone:        "gone",
	Hidden:      "hidden",
	Denied:      "denied",
	Throttled:   "throttled",
	Existing:    "existing",
	Merged:      "merged",
	Canceled:    "canceled",
}

// String is the stable snake_case name, fit for a metric label; "none" for the zero Kind, "unknown" outside the set.
func (k Kind) String() string {
	if k > lastKind {
		return "unknown"
	}
	return kindNames[k]
}
