package connector_test

import (
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/events"
)

// arriveLate makes the candidate of a request that had been given up, as Comeet does when the request arrives after all.
func (w *world) arriveLate(n int) (uid string) {
	w.Helper()
	d := person(n)
	uid, err := w.fake.Recruiter("default").AddCandidate(comeettest.Candidate{
		PositionUID: d.Position.UID, FirstName: d.Candidate.FirstName, LastName: d.Candidate.LastName, Email: d.Candidate.Email,
		PartnerCandidateID: w.fake.Candidates("default")[0].PartnerCandidateID,
	})
	if err != nil {
		w.Fatal(err)
	}
	return uid
}

// overtakenBy waits until a second candidate was reported beside the first, and proves that it is followed.
func (w *world) overtakenBy(first, second string) {
	w.Helper()
	w.eventually("the second candidate to be reported", func() bool {
		for line := range strings.Lines(w.logs.String()) {
			if strings.Contains(line, "overtaken") && strings.Contains(line, second) {
				return strings.Contains(line, `"candidate_uid":"`+first+`"`) && strings.Contains(line, `"level":"error"`)
			}
		}
		return false
	})
	w.eventually("the second candidate to be followed", func() bool { return len(w.read().statuses("default")[second]) > 0 })
	of := w.read().statuses("default")
	one, other := of[first][0], of[second][0]
	if one.Operation != other.Operation || one.CandidateID != other.CandidateID {
		w.Errorf("the second candidate is followed as %+v, the first as %+v", other, one)
	}
	if n := strings.Count(w.logs.String(), "overtaken"); n != 1 {
		w.Errorf("it was reported %d times", n)
	}
}

// What the rests do not cover, such as a virtual machine that was suspended with bytes in its kernel, shows in the confirming look.
func TestLateRequestShowsInTheConfirmingLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.PollInterval = time.Hour })
	w.run()
	w.fake.Script(comeettest.CreateCandidate, comeettest.Drop())
	w.publish("e1", person(1))
	first := w.outcome("e1").Data.(*events.Accepted).CandidateUID
	if err := w.fake.Recruiter("default").Reject(first, "automation"); err != nil {
		t.Fatal(err)
	}
	w.overtakenBy(first, w.arriveLate(1))
}

// One that arrives even later is seen by polls: it came by this integration, and no operation follows it.
func TestLateRequestShowsInAPoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) {
		s.PollInterval, s.SettleDelay, s.RequestTimeout = 200*time.Millisecond, 10*time.Millisecond, 300*time.Millisecond
	})
	w.run()
	w.publish("e1", person(1))
	first := w.outcome("e1").Data.(*events.Accepted).CandidateUID
	// Polls learn from it what this integration is to Comeet as a source.
	if err := w.fake.Recruiter("default").Reject(first, "automation"); err != nil {
		t.Fatal(err)
	}
	w.eventuallyTrue(first)
	second := w.arriveLate(1)
	w.overtakenBy(first, second)
	if err := w.fake.Recruiter("default").Hire(second); err != nil {
		t.Fatal(err)
	}
	w.eventuallyTrue(second)
}

// Nothing is reported of the many whose answer was lost and who were found.
func TestNothingIsOvertakenByWhatWasFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) {
		s.PollInterval, s.SettleDelay, s.RequestTimeout = 200*time.Millisecond, 10*time.Millisecond, 300*time.Millisecond
	})
	w.run()
	for range 3 {
		w.fake.Script(comeettest.CreateCandidate, lostAnswer())
	}
	for n := range 6 {
		w.publish(string(rune('a'+n)), person(n))
	}
	w.settled()
	w.noneOutstanding("default")
	if text := w.logs.String(); strings.Contains(text, "overtaken") {
		t.Errorf("overtaken, says the log:\n%s", text)
	}
	w.check()
}
