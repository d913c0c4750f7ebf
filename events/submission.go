package events

import "time"

// ClaimState is the state of a claim. Readers must expect more.
type ClaimState string

const (
	StateClaimed  ClaimState = "claimed"  // an attempt is under way
	StateInDoubt  ClaimState = "in_doubt" // the request was sent, its answer lost
	StateReleased ClaimState = "released" // nothing was sent; anyone may claim
	StateErased   ClaimState = "erased"   // everything about the operation was erased on request; nobody may claim it again
)

// MatchedBy tells how the position was found. Readers must expect more.
type MatchedBy string

const (
	MatchedByUID      MatchedBy = "uid"       // Comeet's uid
	MatchedByCustomID MatchedBy = "custom_id" // the customer's own id
	MatchedByName     MatchedBy = "name"      // name, with department and location if given
	MatchedByFallback MatchedBy = "fallback"  // the account's fallback position
)

// Outcome tells how it came that Comeet has the candidate. Readers must expect more.
type Outcome string

const (
	OutcomeCreated   Outcome = "created"   // this event created it
	OutcomeExisting  Outcome = "existing"  // Comeet had it
	OutcomeRecovered Outcome = "recovered" // created by an attempt whose answer was lost, found while settling
	OutcomeDuplicate Outcome = "duplicate" // an earlier event of the operation did it
)

// Reason tells why an event was refused for good. Readers must expect more.
type Reason string

const (
	ReasonInvalidEvent      Reason = "invalid_event"      // it breaks its schema; see Failed.Violations
	ReasonPositionNotFound  Reason = "position_not_found" // no such position, and no fallback
	ReasonPositionAmbiguous Reason = "position_ambiguous" // several positions match
	ReasonPositionClosed    Reason = "position_closed"    // the position is closed, and there is no fallback
	ReasonPositionOnHold    Reason = "position_on_hold"   // the position is on hold, and there is no fallback
	ReasonRefused           Reason = "refused"            // Comeet refused the candidate; see Failed.Comeet
	ReasonFileRefused       Reason = "file_refused"       // Comeet refused a file, or it is too large
	ReasonFileMissing       Reason = "file_missing"       // a file isn't where the event says
	ReasonInDoubt           Reason = "in_doubt"           // whether Comeet has it could not be found out
	ReasonExpired           Reason = "expired"            // it waited until its age limit
	ReasonErased            Reason = "erased"             // its operation was erased on request; there is no dead letter
)

// SourcedRef identifies a sourced event.
type SourcedRef struct {
	Source string `json:"source"` // its CloudEvents source
	ID     string `json:"id"`     // its CloudEvents id
}

// Claimed is the data of candidate.submission.claimed: an attempt at an operation, written before
// the request is sent. In StateErased it has Account, Operation and State alone; in any other state
// also Attempt, PositionUID, MatchedBy and Sourced.
type Claimed struct {
	Account            string     `json:"account"`
	Operation          string     `json:"operation"`
	State              ClaimState `json:"state"`
	Attempt            int        `json:"attempt,omitzero"` // of the operation, from 1
	Doubts             int        `json:"doubts,omitempty"` // requests of this operation that ended in doubt
	PositionUID        string     `json:"position_uid,omitzero"`
	MatchedBy          MatchedBy  `json:"matched_by,omitzero"`
	PartnerCandidateID string     `json:"partner_candidate_id,omitempty"` // as sent to Comeet
	Owner              string     `json:"owner,omitempty"`                // the replica that holds the claim
	ComeetTime         time.Time  `json:"comeet_time,omitzero"`           // Comeet's clock at the claim; zero means unknown
	CandidateUID       string     `json:"candidate_uid,omitempty"`        // Comeet's, if it was found when the attempt was looked up
	Unsettled          int        `json:"unsettled,omitempty"`            // attempts before this one whose answers were lost
	Sourced            SourcedRef `json:"sourced,omitzero"`
}

// EventType returns TypeClaimed.
func (*Claimed) EventType() string { return TypeClaimed }

func (d *Claimed) about() *SourcedRef {
	if d.Sourced == (SourcedRef{}) {
		return nil
	}
	return &d.Sourced
}

// Accepted is the data of candidate.submission.accepted: Comeet has the candidate.
type Accepted struct {
	Account      string     `json:"account"`
	Operation    string     `json:"operation"`
	CandidateID  string     `json:"candidate_id"`  // of the sourced event
	CandidateUID string     `json:"candidate_uid"` // Comeet's
	PositionUID  string     `json:"position_uid"`
	MatchedBy    MatchedBy  `json:"matched_by"`
	Outcome      Outcome    `json:"outcome"`
	Sourced      SourcedRef `json:"sourced"`
	SubmittedAt  time.Time  `json:"submitted_at"` // when Comeet took the candidate
}

// EventType returns TypeAccepted.
func (*Accepted) EventType() string { return TypeAccepted }

func (d *Accepted) about() *SourcedRef { return &d.Sourced }

// Failed is the data of candidate.submission.failed: the event was refused for good.
type Failed struct {
	Account     string        `json:"account"`
	Operation   string        `json:"operation"`
	CandidateID string        `json:"candidate_id,omitempty"` // of the sourced event; "" means unreadable
	Reason      Reason        `json:"reason"`
	Message     string        `json:"message"`               // what happened and what to do; no person's data
	Violations  []Violation   `json:"violations,omitempty"`  // for ReasonInvalidEvent
	Comeet      *ComeetAnswer `json:"comeet,omitempty"`      // nil means that Comeet wasn't asked
	Sourced     *SourcedRef   `json:"sourced,omitempty"`     // nil means unreadable
	DeadLetter  *DeadLetter   `json:"dead_letter,omitempty"` // where the original is kept
}

// EventType returns TypeFailed.
func (*Failed) EventType() string { return TypeFailed }

func (d *Failed) about() *SourcedRef { return d.Sourced }

// ComeetAnswer is what Comeet answered (Comeet API: error-responses), without its text.
type ComeetAnswer struct {
	Status int    `json:"status,omitempty"` // HTTP status; 0 means no answer
	Error  string `json:"error,omitempty"`  // machine-readable code
}

// DeadLetter tells where an original event is kept.
type DeadLetter struct {
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
}
