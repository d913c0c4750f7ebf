package connector

import (
	"errors"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ledger"
	"github.com/comeet-connector/comeet-connector/events"
)

const day = 24 * time.Hour

// accountOn is an account on a bus of its own, as far as an expiring event needs one.
func accountOn(t *testing.T) *account {
	t.Helper()
	s, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Ensure(t.Context(), bus.Layout{EventsMaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	a := &account{name: "default", bus: b, ledger: ledger.New(b), gate: comeet.NewGate(comeet.GateConfig{}), ageLimit: ageLimit(0)}
	a.cfg.Config = Config{}.WithDefaults()
	return a
}

// No event outlives the ledger's memory, whatever its stream keeps.
func TestAgeLimit(t *testing.T) {
	t.Parallel()
	for kept, want := range map[time.Duration]time.Duration{
		0: 199 * day, 30 * day: 29 * day, 500 * day: 199 * day, 100 * time.Second: 90 * time.Second,
	} {
		if got := expiry(ageLimit(kept)); got != want {
			t.Errorf("kept for %v: an outcome is due after %v, want %v", kept, got, want)
		}
	}
}

// An event that nears its age limit leaves the claim of another event of its operation alone, whose request may be running. Streams
// keep events for days, so what a worker does then is asked of it here.
func TestExpiringEventLeavesAYoungClaimAlone(t *testing.T) {
	t.Parallel()
	for name, claimed := range map[string]events.ClaimState{"a request may be running": events.StateClaimed, "in doubt": events.StateInDoubt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := accountOn(t)
			data := &events.Sourced{Candidate: events.Candidate{ID: name}, Position: events.Position{UID: "87.405"}}
			op := ledger.OpOf(a.name, "/scout", data)
			claim, _, err := a.ledger.Put(t.Context(), op, 0, ledger.NewEvent("/connector", a.bus.Now(), &events.Claimed{
				Account: op.Account, Operation: op.ID, State: claimed, Attempt: 1, PositionUID: "87.405", MatchedBy: events.MatchedByUID,
				PartnerCandidateID: "p", Owner: "another", ComeetTime: time.Now(), Sourced: events.SourcedRef{Source: "/scout", ID: "the other"},
			}, nil))
			if err != nil {
				t.Fatal(err)
			}
			s := &submission{account: a, intake: t.Context(), work: t.Context(), stored: time.Now().Add(-199 * day), Sourced: &ledger.Sourced{
				Data: data, Op: op, EventOp: op, Identity: ledger.Identity{Source: "/scout", ID: "the old one"},
			}}
			known, _, err := s.expire(state{}) // it believes that there is no entry
			if err != nil || known.last.Seq != claim.Seq {
				t.Fatalf("the last entry is %+v, %v", known.last, err)
			}
			_, _, err = s.expire(known)
			if later, ok := errors.AsType[retryLaterError](err); !ok || later.delay <= 0 || later.delay > 3*a.cfg.lease() {
				t.Errorf("%v, want to come back when the claim is old", err)
			}
			if last, err := a.ledger.Last(t.Context(), op); err != nil || last.Seq != claim.Seq {
				t.Errorf("the last entry is %+v, %v, want the claim as it was", last, err)
			}
		})
	}
}
