package comeet

// Kind says what a caller does next about a call that did not succeed. It is a closed set. The zero
// Kind is success, or an error that is not from this package.
type Kind uint8

const (
	// Unavailable: nothing was sent, or a read got no usable answer. Nothing happened at Comeet;
	// try again later.
	Unavailable Kind = iota + 1
	// InDoubt: a POST was sent and its result is unknown. Look the candidate up before you send it
	// again.
	InDoubt
	// Invalid: this request can never succeed as it is. Comeet named the reason in Error.Code. With
	// Status 0 the client found the reason before it sent anything.
	Invalid
	// NoPosition: Comeet does not know the position, or does not share it with this account any
	// more.
	NoPosition
	// NotFound: Comeet does not know the object that was read.
	NotFound
	// Gone: there is nothing at the candidate's address. It is not sure that Comeet says so, since
	// a gateway may answer so too.
	Gone
	// Hidden: Comeet does not let this account read this one candidate. That says nothing about
	// other candidates or about the account's permissions.
	Hidden
	// Denied: Comeet refuses the credentials, or a permission is missing. An operator has to act.
	Denied
	// Throttled: the request budget is spent. Nothing was done; wait.
	Throttled
	// Existing: Comeet has this candidate in progress already, as Error.CandidateUID. For a
	// submission this is success.
	Existing
	// Merged: Comeet merged the candidate into another one. Its uid will never be readable again.
	Merged
	// Canceled: the caller's context ended before a POST was sent, or at any time of a read. It
	// says nothing about Comeet.
	Canceled

	lastKind = Canceled
)

// kinds are each Kind's stable name, and what Error says to do about it.
var kinds = [lastKind + 1]struct{ name, hint string }{
	0:           {"none", ""},
	Unavailable: {"unavailable", "nothing happened at Comeet; try again later"},
	InDoubt:     {"in_doubt", "it was sent and its fate is unknown; look it up before sending it again"},
	Invalid:     {"invalid", "the request can never succeed as it is"},
	NoPosition:  {"no_position", "the position is unknown to Comeet or not shared with this account"},
	NotFound:    {"not_found", "unknown to Comeet"},
	Gone:        {"gone", "nothing is there, perhaps only for now"},
	Hidden:      {"hidden", "this account may not read this one"},
	Denied:      {"denied", "check the API key, the secret and the permissions of the integration"},
	Throttled:   {"throttled", "the request budget is spent; wait"},
	Existing:    {"existing", "Comeet has this candidate in progress already"},
	Merged:      {"merged", "the candidate was merged into another one"},
	Canceled:    {"canceled", "the caller's context ended"},
}

// String is the stable snake_case name, fit for a metric label; "none" for the zero Kind, "unknown"
// outside the set.
func (k Kind) String() string {
	if k > lastKind {
		return "unknown"
	}
	return kinds[k].name
}
