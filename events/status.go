package events

import "time"

// Change names what changed in a StatusChanged. Readers must expect more.
type Change string

const (
	ChangedFirstSeen         Change = "first_seen"         // nothing was published of this candidate before
	ChangedStatus            Change = "status"             // Comeet's status
	ChangedSteps             Change = "steps"              // current or completed ones
	ChangedProspectStatus    Change = "prospect_status"    // the sourcing side's status
	ChangedPosition          Change = "position"           // moved to another position
	ChangedSource            Change = "source"             // credited to another source
	ChangedDispositionReason Change = "disposition_reason" // why the process ended
	ChangedPerson            Change = "person"             // Comeet's uid of the person
	ChangedDeleted           Change = "deleted"            // deleted, or there again
	ChangedMerged            Change = "merged"             // merged into another candidate
)

// StatusChanged is the data of candidate.status.changed: the visible state of a candidate differs
// from the last one published.
type StatusChanged struct {
	Account      string   `json:"account"`
	Operation    string   `json:"operation,omitempty"`    // that submitted the candidate; "" means unknown
	CandidateID  string   `json:"candidate_id,omitempty"` // of the sourced event; "" means unknown
	CandidateUID string   `json:"candidate_uid"`          // Comeet's
	Changed      []Change `json:"changed"`                // at least one
	// Sourced identifies the event that submitted the candidate. nil means unknown.
	Sourced *SourcedRef `json:"sourced,omitempty"`
	State               // after the change
	// Previous is the state before the change. nil means that nothing was published before.
	Previous *State `json:"previous,omitempty"`
	// TimeLastStatusChanged is Comeet's text, RFC 3339 so far; "" means unknown.
	TimeLastStatusChanged string    `json:"time_last_status_changed,omitempty"`
	SeenAt                time.Time `json:"seen_at"` // when the connector saw it
}

// EventType returns TypeStatusChanged.
func (*StatusChanged) EventType() string { return TypeStatusChanged }

func (d *StatusChanged) about() *SourcedRef { return d.Sourced }

// State is what is followed of a candidate, copied by allow-list out of Comeet's candidate (Comeet
// API: candidates-copy): no person's name or address, no assignees. Texts are Comeet's, cut where
// they are very long, as lists of steps are; all sets are open. Zero values mean absent, blank or
// not permitted to see: Comeet doesn't tell these apart.
type State struct {
	Status            string           `json:"status,omitempty"`
	ProspectStatus    string           `json:"prospect_status,omitempty"`
	CurrentSteps      []Step           `json:"current_steps,omitempty"`
	CompletedSteps    []Step           `json:"completed_steps,omitempty"`
	PositionUID       string           `json:"position_uid,omitempty"`
	Source            *CandidateSource `json:"source,omitempty"`
	DispositionReason string           `json:"disposition_reason,omitempty"`
	PersonUID         string           `json:"person_uid,omitempty"`
	Deleted           bool             `json:"deleted,omitempty"`
	Merged            bool             `json:"merged,omitempty"` // into another candidate; no longer followed
}

// Step is a step of the hiring process.
type Step struct {
	Name            string `json:"name,omitempty"`
	Type            string `json:"type,omitempty"`
	PositionStepUID string `json:"position_step_uid,omitempty"`
	TimeScheduled   string `json:"time_scheduled,omitempty"` // Comeet's text, RFC 3339 so far
	TimeCompleted   string `json:"time_completed,omitempty"` // Comeet's text, RFC 3339 so far
}

// CandidateSource is where Comeet says that a candidate came from.
type CandidateSource struct {
	UID  string `json:"uid,omitempty"`
	Type string `json:"type,omitempty"`
}
