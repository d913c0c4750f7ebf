package comeettest

import (
	"fmt"
	"time"
)

// stamp is Comeet's time format: whole seconds, Z [D: candidates-copy].
func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02T15:04:05Z") }

// text is null for what is not there.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := stamp(t.Unix())
	return &s
}

type stepView struct {
	Name            string         `json:"name"`
	Type            string         `json:"type"`
	PositionStepUID string         `json:"position_step_uid,omitempty"`
	TimeScheduled   *string        `json:"time_scheduled"`
	TimeCompleted   *string        `json:"time_completed,omitempty"`
	Assignees       []assigneeView `json:"assignees,omitempty"`
}

type assigneeView struct {
	Email string `json:"email"`
}

type contactView struct {
	UID       string `json:"uid"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Email     string `json:"email"`
}

type sourceView struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
	Type string `json:"type"`
}

type openingView struct {
	UID              string `json:"uid"`
	TimeStartToWork  string `json:"time_start_to_work"`
	HiredCandidateAt string `json:"hired_candidate_hire_date"`
}

type reasonView struct {
	Reason string `json:"reason"`
}

type resumeView struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// stub is all that is left of a deleted candidate [D: candidates-copy].
type stub struct {
	UID     string `json:"uid"`
	Deleted bool   `json:"deleted"`
}

// createdView is the reduced candidate of the documented example [D: create-a-candidate-new].
type createdView struct {
	UID                   string         `json:"uid"`
	PositionUID           string         `json:"position_uid"`
	SourceContact         *SourceContact `json:"source_contact,omitempty"`
	TimeCreated           string         `json:"time_created"`
	TimeLastStatusChanged string         `json:"time_last_status_changed"`
	CurrentSteps          []stepView     `json:"current_steps"`
	CompletedSteps        []stepView     `json:"completed_steps"`
	Status                string         `json:"status"`
}

// candidateView is the full candidate, in the order of specification §3.1. It never has partner_candidate_id [I].
type candidateView struct {
	UID                   string         `json:"uid"`
	PersonUID             string         `json:"person_uid"`
	FirstName             *string        `json:"first_name"`
	MiddleName            *string        `json:"middle_name"`
	LastName              *string        `json:"last_name"`
	Email                 *string        `json:"email"`
	Phone                 *string        `json:"phone"`
	MobilePhone           *string        `json:"mobile_phone"`
	IDNumber              *string        `json:"id_number"`
	LinkedInURL           *string        `json:"linkedin_url"`
	Deleted               bool           `json:"deleted"`
	PositionUID           string         `json:"position_uid"`
	SourceContact         *contactView   `json:"source_contact,omitempty"`
	Source                *sourceView    `json:"source,omitempty"`
	TimeCreated           string         `json:"time_created"`
	URL                   string         `json:"URL"`
	CompletedSteps        []stepView     `json:"completed_steps"`
	CurrentSteps          []stepView     `json:"current_steps"`
	FutureSteps           *[]stepView    `json:"future_steps,omitempty"`
	Status                string         `json:"status"`
	ProspectStatus        *string        `json:"prospect_status"`
	Opening               *openingView   `json:"opening,omitempty"`
	DispositionReason     *reasonView    `json:"disposition_reason,omitempty"`
	TimeLastStatusChanged string         `json:"time_last_status_changed"`
	Resume                *resumeView    `json:"resume,omitempty"`
	Tags                  []any          `json:"tags"`
	CustomFields          map[string]any `json:"custom_fields"`
}

// sight is what an account may see of its candidates; it is taken under the lock and used outside.
type sight struct {
	assignees, future, source, contact, resume bool
}

// look must be called with a.mu held.
func (a *account) look() sight {
	return sight{!a.denied[ReadAssignees], !a.denied[ReadFutureSteps], !a.denied[ReadSource], !a.denied[ReadSourceContact], !a.denied[ReadResume]}
}

// viewSteps gives the steps; all says with position_step_uid and assignees.
func viewSteps(steps []StepState, all, assignees bool) []stepView {
	out := make([]stepView, len(steps))
	for i, s := range steps {
		out[i] = stepView{Name: s.Name, Type: s.Type, TimeScheduled: timeOrNull(s.TimeScheduled), TimeCompleted: timeOrNull(s.TimeCompleted)}
		if !all {
			continue
		}
		out[i].PositionStepUID = s.PositionStepUID
		if assignees {
			for _, email := range s.Assignees {
				out[i].Assignees = append(out[i].Assignees, assigneeView{email})
			}
		}
	}
	return out
}

// viewCreated is the documented answer to a POST.
func viewCreated(c *candidate, v *version) createdView {
	return createdView{
		UID: c.uid, PositionUID: v.position, SourceContact: v.contact, TimeCreated: stamp(c.created),
		TimeLastStatusChanged: stamp(v.statusChanged), CurrentSteps: viewSteps(v.current, false, false),
		CompletedSteps: viewSteps(v.completed, false, false), Status: v.status,
	}
}

// row is one candidate of an answer: its identity and one of its versions, with the workflow it stands in.
type row struct {
	c     *candidate
	v     *version
	steps []Step
	stub  bool
}

// view encodes a row; blocks without permission are missing [D: permissions].
func (r row) view(s sight) any {
	c, v := r.c, r.v
	if r.stub {
		return stub{c.uid, true}
	}
	out := candidateView{
		UID: c.uid, PersonUID: c.person.uid, FirstName: text(v.first), MiddleName: text(v.middle), LastName: text(v.last),
		Email: text(v.email), Phone: text(v.phone), MobilePhone: text(v.mobile), IDNumber: text(v.nationalID),
		LinkedInURL: text(v.linkedin), PositionUID: v.position, TimeCreated: stamp(c.created),
		URL:            fmt.Sprintf("https://app.comeet.co/app/?goto_url=/can/%d", c.realID),
		CompletedSteps: viewSteps(v.completed, true, s.assignees), CurrentSteps: viewSteps(v.current, true, s.assignees),
		Status: v.status, ProspectStatus: text(v.prospect), TimeLastStatusChanged: stamp(v.statusChanged),
		Tags: []any{}, CustomFields: v.custom,
	}
	if out.CustomFields == nil {
		out.CustomFields = map[string]any{}
	}
	if s.future {
		future := futureSteps(v, r.steps)
		out.FutureSteps = &future
	}
	if s.source && v.source != nil {
		out.Source = &sourceView{v.source.UID, v.source.Name, v.source.Type}
	}
	if s.contact && v.contact != nil {
		first, last := splitName(v.contact.FullName)
		out.SourceContact = &contactView{v.contact.UID, first, last, v.contact.Email}
	}
	if s.resume && v.resume != "" {
		out.Resume = &resumeView{v.resume, "https://bucket.comeet.test/" + c.uid + "/resume?signature=presigned"}
	}
	if v.reason != "" {
		out.DispositionReason = &reasonView{v.reason}
	}
	if v.status == Hired {
		day := stamp(v.endedAt)[:len("2006-01-02")]
		out.Opening = &openingView{"0E." + c.uid[:2], day, day}
	}
	return out
}

// futureSteps are those of the workflow after the last one reached.
func futureSteps(v *version, workflow []Step) []stepView {
	reached := -1
	for i, w := range workflow {
		for _, lists := range [][]StepState{v.current, v.completed} {
			for _, s := range lists {
				if s.PositionStepUID == w.UID {
					reached = i
				}
			}
		}
	}
	out := []stepView{}
	if v.status != InProgress {
		return out
	}
	for _, w := range workflow[reached+1:] {
		out = append(out, stepView{Name: w.Name, Type: w.Type, PositionStepUID: w.UID})
	}
	return out
}

func splitName(full string) (first, last string) {
	for i := len(full) - 1; i >= 0; i-- {
		if full[i] == ' ' {
			return full[:i], full[i+1:]
		}
	}
	return full, ""
}
