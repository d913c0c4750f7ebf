package comeettest

import (
	"fmt"
	"time"
)

// stamp is Comeet's time format: whole seconds, Z [D: candidates-copy].
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

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
	s := stamp(t)
	return &s
}

type stepView struct {
	Name            string              `json:"name"`
	Type            string              `json:"type"`
	PositionStepUID string              `json:"position_step_uid,omitempty"`
	TimeScheduled   *string             `json:"time_scheduled"`
	TimeCompleted   *string             `json:"time_completed,omitempty"`
	Assignees       []map[string]string `json:"assignees,omitempty"`
}

type contactView struct {
	UID       string `json:"uid"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Email     string `json:"email"`
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

// candidateView is the full candidate, in the order of specification §3.1. It never has
// partner_candidate_id [I].
type candidateView struct {
	UID                   string            `json:"uid"`
	PersonUID             string            `json:"person_uid"`
	FirstName             *string           `json:"first_name"`
	MiddleName            *string           `json:"middle_name"`
	LastName              *string           `json:"last_name"`
	Email                 *string           `json:"email"`
	Phone                 *string           `json:"phone"`
	MobilePhone           *string           `json:"mobile_phone"`
	IDNumber              *string           `json:"id_number"`
	LinkedInURL           *string           `json:"linkedin_url"`
	Deleted               bool              `json:"deleted"`
	PositionUID           string            `json:"position_uid"`
	SourceContact         *contactView      `json:"source_contact,omitempty"`
	Source                *Source           `json:"source,omitempty"`
	TimeCreated           string            `json:"time_created"`
	URL                   string            `json:"URL"`
	CompletedSteps        []stepView        `json:"completed_steps"`
	CurrentSteps          []stepView        `json:"current_steps"`
	FutureSteps           *[]stepView       `json:"future_steps,omitempty"`
	Status                string            `json:"status"`
	ProspectStatus        *string           `json:"prospect_status"`
	Opening               map[string]string `json:"opening,omitempty"`
	DispositionReason     map[string]string `json:"disposition_reason,omitempty"`
	TimeLastStatusChanged string            `json:"time_last_status_changed"`
	Resume                map[string]string `json:"resume,omitempty"`
	Tags                  []any             `json:"tags"`
	CustomFields          map[string]any    `json:"custom_fields"`
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
				out[i].Assignees = append(out[i].Assignees, map[string]string{"email": email})
			}
		}
	}
	return out
}

// viewCreated is the documented answer to a POST.
func viewCreated(c *candidate, v *version) createdView {
	return createdView{
		UID: c.uid, PositionUID: v.PositionUID, SourceContact: v.SourceContact, TimeCreated: stamp(v.TimeCreated),
		TimeLastStatusChanged: stamp(v.TimeLastStatusChanged), CurrentSteps: viewSteps(v.CurrentSteps, false, false),
		CompletedSteps: viewSteps(v.CompletedSteps, false, false), Status: v.Status,
	}
}

// row is one candidate of an answer: its identity and one of its versions, with the workflow it
// stands in.
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
		UID: c.uid, PersonUID: c.person.uid, FirstName: text(v.FirstName), MiddleName: text(v.MiddleName), LastName: text(v.LastName),
		Email: text(v.Email), Phone: text(v.Phone), MobilePhone: text(v.MobilePhone), IDNumber: text(v.NationalID),
		LinkedInURL: text(v.LinkedInURL), PositionUID: v.PositionUID, TimeCreated: stamp(v.TimeCreated),
		URL:            fmt.Sprintf("https://app.comeet.co/app/?goto_url=/can/%d", c.realID),
		CompletedSteps: viewSteps(v.CompletedSteps, true, s.assignees), CurrentSteps: viewSteps(v.CurrentSteps, true, s.assignees),
		Status: v.Status, ProspectStatus: text(v.ProspectStatus), TimeLastStatusChanged: stamp(v.TimeLastStatusChanged),
		Tags: []any{}, CustomFields: v.CustomFields,
	}
	if out.CustomFields == nil {
		out.CustomFields = map[string]any{}
	}
	if s.future {
		future := futureSteps(v, r.steps)
		out.FutureSteps = &future
	}
	if s.source {
		out.Source = &v.Source
	}
	if s.contact && v.SourceContact != nil {
		first, last := splitName(v.SourceContact.FullName)
		out.SourceContact = &contactView{v.SourceContact.UID, first, last, v.SourceContact.Email}
	}
	if s.resume && v.Resume != "" {
		out.Resume = map[string]string{"name": v.Resume, "url": "https://bucket.comeet.test/" + c.uid + "/resume?signature=presigned"}
	}
	if v.DispositionReason != "" {
		out.DispositionReason = map[string]string{"reason": v.DispositionReason}
	}
	if v.Status == Hired {
		day := stamp(time.Unix(v.endedAt, 0))[:len("2006-01-02")]
		out.Opening = map[string]string{"uid": "0E." + c.uid[:2], "time_start_to_work": day, "hired_candidate_hire_date": day}
	}
	return out
}

// futureSteps are those of the workflow after the last one reached.
func futureSteps(v *version, workflow []Step) []stepView {
	reached := -1
	for i, w := range workflow {
		for _, lists := range [][]StepState{v.CurrentSteps, v.CompletedSteps} {
			for _, s := range lists {
				if s.PositionStepUID == w.UID {
					reached = i
				}
			}
		}
	}
	out := []stepView{}
	if v.Status != InProgress {
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
