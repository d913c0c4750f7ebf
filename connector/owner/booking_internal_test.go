package owner

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bookingsOn are the bookings of one owner. Which replica owns an account is hashed from random
// names, so two owners at the same moment are made here.
func bookingsOn(t *testing.T, url string) *Bookings {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Ensure(t.Context(), bus.Layout{EventsMaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	cursors, err := b.Bucket(t.Context(), bus.CursorsBucket)
	if err != nil {
		t.Fatal(err)
	}
	limit := comeet.Limit{Requests: 50, Window: 2 * time.Second}
	return NewBookings(BookingsConfig{
		Account: "default", Replica: "the same name", Bucket: cursors, Now: b.Now, Gate: comeet.NewGate(comeet.GateConfig{Limit: limit}), Limit: limit,
	})
}

func startServer(t *testing.T) *bustest.Server {
	t.Helper()
	s, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Two owners that have sent nothing write records that say the same. One of them must not take the
// other's for its own.
func TestTwoFreshOwnersDoNotShareABooking(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	one, two := bookingsOn(t, s.ClientURL()), bookingsOn(t, s.ClientURL())
	if err := one.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := two.book(t.Context()); !errors.Is(err, ErrOvertaken) {
		t.Errorf("the second booked from the same empty record: %v", err)
	}
	if err := two.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := one.book(t.Context()); !errors.Is(err, ErrOvertaken) {
		t.Errorf("the first goes on after it was taken over: %v", err)
	}
}

// A record of a version that did not name the owner is understood.
func TestBudgetRecordWithoutOwner(t *testing.T) {
	t.Parallel()
	b := bookingsOn(t, startServer(t).ClientURL())
	if err := b.cfg.Bucket.Put(t.Context(), b.key(), []byte(`{"submissions":[0,0,0,0,0],"polls":[0,0]}`)); err != nil {
		t.Fatal(err)
	}
	if err := b.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.cfg.Gate.State().Budget; got.Submissions != 5 || got.Polls != 2 {
		t.Errorf("%+v is taken over, want 5 submissions and 2 polls", got)
	}
}

// A booking that was written in the end, but only when its time was over, admits nothing. Who waits
// gets another one at once.
func TestLateBookingIsRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, err := bustest.NewProxy(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	b := bookingsOn(t, p.URL())
	if err := b.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Mute(true)
	booked := make(chan error, 1)
	go func() { booked <- b.book(t.Context()) }()
	<-time.After(b.life() + 200*time.Millisecond)
	p.Mute(false)
	p.Cut()
	if err := <-booked; err != nil {
		t.Fatal(err)
	}
	if permit, ok := b.cfg.Gate.TryAcquire(comeet.Submit, comeet.CanSubmit); !ok {
		t.Error("nothing may be sent after the booking")
	} else {
		permit.Release()
	}
}
