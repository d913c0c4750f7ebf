package comeettest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Recruiter does what people do in Comeet's web app, for one account. Its methods fail for
// candidates and positions that the account does not have, and for merged-away or deleted
// candidates. Status changes move time_last_status_changed; all but Hide and Show count as activity
// on the hiring process [I].
type Recruiter struct{ a *account }

// Recruiter of an account. It panics on an unknown name.
func (s *Server) Recruiter(account string) Recruiter { return Recruiter{s.account(account)} }

func (r Recruiter) edit(uid string, m moves, f func(c *candidate, v *version)) error {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	c, err := r.a.live(uid)
	if err != nil {
		return err
	}
	r.a.change(c, m, func(v *version) { f(c, v) })
	return nil
}

// live finds a candidate that can still be worked on. The caller holds a.mu.
func (a *account) live(uid string) (*candidate, error) {
	c := a.candidates[uid]
	switch {
	case c == nil:
		return nil, fmt.Errorf("account %q has no candidate %q", a.name, uid)
	case c.cur.Deleted:
		return nil, fmt.Errorf("candidate %q is deleted", uid)
	case c.cur.MergedInto != "":
		return nil, fmt.Errorf("candidate %q was merged into %q", uid, c.cur.MergedInto)
	}
	return c, nil
}

// MoveToStep completes the current steps and makes the named ones current; several at once are
// possible. A name that the position's workflow lacks is taken as a step of its own. Whether
// time_last_status_changed moves: Switches.
func (r Recruiter) MoveToStep(uid string, steps ...string) error {
	m := movesActivity
	if r.a.server.switches.Load().StepMoveTouchesStatusTime {
		m = movesStatus
	}
	now := r.a.server.Now().Truncate(time.Second)
	return r.edit(uid, m, func(_ *candidate, v *version) {
		v.CompletedSteps = slices.Clip(v.CompletedSteps)
		for _, s := range v.CurrentSteps {
			s.TimeCompleted = now
			v.CompletedSteps = append(v.CompletedSteps, s)
		}
		v.CurrentSteps = nil
		for _, name := range steps {
			v.CurrentSteps = append(v.CurrentSteps, r.a.step(v.PositionUID, name))
		}
	})
}

// step must be called with a.mu held.
func (a *account) step(position, name string) StepState {
	if p := a.byUID[position]; p != nil {
		for _, s := range p.cur.Steps {
			if s.Name == name {
				return stateOf(s)
			}
		}
	}
	return StepState{Name: name, Type: "Go/No-go", PositionStepUID: "FE." + fmt.Sprintf("%03X", len(name))}
}

// ScheduleStep sets time_scheduled of the current steps, in whole seconds.
func (r Recruiter) ScheduleStep(uid string, at time.Time) error {
	return r.edit(uid, movesActivity, func(_ *candidate, v *version) {
		current := make([]StepState, len(v.CurrentSteps))
		for i, s := range v.CurrentSteps {
			s.TimeScheduled = at.UTC().Truncate(time.Second)
			current[i] = s
		}
		v.CurrentSteps = current
	})
}

// SetStatus sets any status, documented, unknown or blank. current_steps become empty unless it is
// InProgress [D] or Switches.KeepCurrentSteps [O: wsc].
func (r Recruiter) SetStatus(uid, status string) error { return r.end(uid, status, "") }

func (r Recruiter) end(uid, status, reason string) error {
	keep := r.a.server.switches.Load().KeepCurrentSteps
	unix := r.a.server.Now().Unix()
	return r.edit(uid, movesStatus, func(_ *candidate, v *version) {
		v.Status, v.DispositionReason, v.endedAt = status, reason, unix
		if status != InProgress && !keep {
			v.CurrentSteps = nil
		}
	})
}

// Reject a candidate; reason is disposition_reason and may be empty.
func (r Recruiter) Reject(uid, reason string) error { return r.end(uid, Rejected, reason) }

// Withdraw a candidate.
func (r Recruiter) Withdraw(uid string) error { return r.end(uid, Withdrawn, "") }

// Hire a candidate; it then has an opening with today as its dates.
func (r Recruiter) Hire(uid string) error { return r.end(uid, Hired, "") }

// PutOnHold a candidate.
func (r Recruiter) PutOnHold(uid string) error { return r.end(uid, OnHold, "") }

// Reopen puts a candidate back In progress, in the first step it did not complete, else in the last
// step.
func (r Recruiter) Reopen(uid string) error {
	return r.edit(uid, movesStatus, func(_ *candidate, v *version) {
		v.Status, v.DispositionReason, v.endedAt = InProgress, "", 0
		p := r.a.byUID[v.PositionUID]
		if len(v.CurrentSteps) > 0 || p == nil || len(p.cur.Steps) == 0 {
			return
		}
		done := map[string]bool{}
		for _, s := range v.CompletedSteps {
			done[s.PositionStepUID] = true
		}
		at := p.cur.Steps[len(p.cur.Steps)-1]
		for _, s := range p.cur.Steps {
			if !done[s.UID] {
				at = s
				break
			}
		}
		v.CurrentSteps = []StepState{stateOf(at)}
	})
}

// SetProspectStatus sets prospect_status; empty is null.
func (r Recruiter) SetProspectStatus(uid, status string) error {
	return r.edit(uid, movesActivity, func(_ *candidate, v *version) {
		v.ProspectStatus = status
	})
}

// ChangeSource credits a candidate to another source. Without ReadOtherCandidates the app no longer
// sees it then [I].
func (r Recruiter) ChangeSource(uid string, source Source) error {
	return r.edit(uid, movesActivity, func(_ *candidate, v *version) {
		v.Source = source
	})
}

// MoveToPosition puts a candidate on another position of the account, in that one's first step.
func (r Recruiter) MoveToPosition(uid, position string) error {
	r.a.mu.RLock()
	p := r.a.byUID[position]
	r.a.mu.RUnlock()
	if p == nil {
		return fmt.Errorf("account %q has no position %q", r.a.name, position)
	}
	return r.edit(uid, movesActivity, func(_ *candidate, v *version) { v.PositionUID, v.CurrentSteps = position, p.first })
}

// Merge makes loser a duplicate of survivor: reading it is 401 duplicate_candidate from now on. It
// cannot be undone. How it appears elsewhere: Switches. The survivor keeps its own position and
// source; see ChangeSource.
func (r Recruiter) Merge(loser, survivor string) error {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	l, err := r.a.live(loser)
	if err != nil {
		return err
	}
	s, err := r.a.live(survivor)
	switch {
	case err != nil:
		return err
	case l == s:
		return fmt.Errorf("candidate %q cannot be merged into itself", loser)
	}
	r.a.merge(l, s)
	return nil
}

// merge must be called with a.mu held.
func (a *account) merge(loser, survivor *candidate) {
	unix := a.server.Now().Unix()
	a.change(loser, movesActivity, func(v *version) { v.MergedInto, v.endedAt = survivor.uid, unix })
	a.change(survivor, movesActivity, func(*version) {})
	a.merged = append(a.merged, loser)
}

// Delete a candidate: only uid and deleted remain visible.
func (r Recruiter) Delete(uid string) error {
	unix := r.a.server.Now().Unix()
	return r.edit(uid, movesActivity, func(c *candidate, v *version) {
		v.Deleted, v.endedAt = true, unix
		r.a.deleted = append(r.a.deleted, c)
	})
}

// Pseudonymize blanks a candidate's personal data; it stays readable [I].
func (r Recruiter) Pseudonymize(uid string) error {
	return r.edit(uid, movesActivity, func(_ *candidate, v *version) {
		v.Candidate = Candidate{
			UID: v.UID, RealID: v.RealID, PersonUID: v.PersonUID, PositionUID: v.PositionUID, PartnerCandidateID: v.PartnerCandidateID,
			Source: v.Source, Status: v.Status, ProspectStatus: v.ProspectStatus, DispositionReason: v.DispositionReason,
			CurrentSteps: v.CurrentSteps, CompletedSteps: v.CompletedSteps, Hidden: v.Hidden, Pseudonymized: true,
			TimeCreated: v.TimeCreated, TimeLastStatusChanged: v.TimeLastStatusChanged, TimeHiringProcessUpdated: v.TimeHiringProcessUpdated,
		}
	})
}

// Hide makes a candidate invisible to the app, as an unshared position or a changed permission may.
// Nothing at the API tells of it.
func (r Recruiter) Hide(uid string) error { return r.hide(uid, true) }

// Show undoes Hide.
func (r Recruiter) Show(uid string) error { return r.hide(uid, false) }

func (r Recruiter) hide(uid string, hidden bool) error {
	return r.edit(uid, movesNothing, func(_ *candidate, v *version) {
		v.Hidden = hidden
	})
}

// AddCandidate enters a candidate as if somebody at the company or another source had. Its position
// must exist; its Status defaults to InProgress, its Source to AppSource, its current steps to the
// position's first. Its time_created is now.
func (r Recruiter) AddCandidate(c Candidate) (uid string, err error) {
	s := r.a.server
	v := &version{Candidate: c}
	v.Deleted, v.Hidden, v.Pseudonymized, v.MergedInto = false, false, false, ""
	v.Status = orDefault(c.Status, InProgress)
	v.Source = orDefault(c.Source, AppSource)
	now, unix := time.Now(), s.Now().Unix()
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	p := r.a.byUID[c.PositionUID]
	if p == nil {
		return "", fmt.Errorf("account %q has no position %q", r.a.name, c.PositionUID)
	}
	if v.CurrentSteps == nil && v.Status == InProgress {
		v.CurrentSteps = p.first
	}
	return r.a.enter(v, now, unix).uid, nil
}

// AddPosition adds a position; see Position for its defaults. It fails when the uid exists.
func (r Recruiter) AddPosition(p Position) error { return r.a.addPosition(p, r.a.server.Now()) }

// ChangePosition edits a position and moves its time_updated. The uid stays, slices and maps must
// be replaced, not edited.
func (r Recruiter) ChangePosition(uid string, change func(*Position)) error {
	now := r.a.server.Now()
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	p := r.a.byUID[uid]
	if p == nil {
		return fmt.Errorf("account %q has no position %q", r.a.name, uid)
	}
	next := *p.cur
	change(&next)
	next.UID, next.TimeUpdated = uid, now
	p.cur, p.first = &next, nil
	if len(next.Steps) > 0 {
		p.first = []StepState{stateOf(next.Steps[0])}
	}
	return nil
}

// ClosePosition sets its status to PositionClosed.
func (r Recruiter) ClosePosition(uid string) error { return r.positionStatus(uid, PositionClosed) }

// HoldPosition sets its status to PositionOnHold.
func (r Recruiter) HoldPosition(uid string) error { return r.positionStatus(uid, PositionOnHold) }

// ReopenPosition sets its status to PositionOpen.
func (r Recruiter) ReopenPosition(uid string) error { return r.positionStatus(uid, PositionOpen) }

func (r Recruiter) positionStatus(uid, status string) error {
	return r.ChangePosition(uid, func(p *Position) { p.Status = status })
}

// UnsharePosition hides a position from the app without closing it: lists lack it, reads and POSTs
// are 404. Its candidates stay visible; see Hide.
func (r Recruiter) UnsharePosition(uid string) error {
	return r.ChangePosition(uid, func(p *Position) { p.Unshared = true })
}

// SharePosition undoes UnsharePosition.
func (r Recruiter) SharePosition(uid string) error {
	return r.ChangePosition(uid, func(p *Position) { p.Unshared = false })
}

// Deny takes permissions away.
func (r Recruiter) Deny(permissions ...Permission) { r.permissions(true, permissions) }

// Grant gives permissions back.
func (r Recruiter) Grant(permissions ...Permission) { r.permissions(false, permissions) }

func (r Recruiter) permissions(denied bool, permissions []Permission) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	for _, p := range permissions {
		r.a.denied[p] = denied
	}
}

// Revoke ends the integration: every request answers Switches.RevokedStatus.
func (r Recruiter) Revoke() { r.revoke(true) }

// Allow undoes Revoke.
func (r Recruiter) Allow() { r.revoke(false) }

func (r Recruiter) revoke(revoked bool) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.a.revoked = revoked
}

// ReserveSourceContact makes an e-mail belong to another source: source contacts with it are 400
// source_contact_conflict.
func (r Recruiter) ReserveSourceContact(email string) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.a.foreign[strings.ToLower(email)] = true
}
