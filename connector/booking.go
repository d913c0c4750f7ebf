package connector

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// What an owner may send it books first, in the cursors bucket, where a successor finds it and counts it as spent. The record
// is a compare-and-set too: who takes an account over writes it, and from then on the owner before can book no more.
const (
	// bookingMost is how many requests are booked at once: so many a crash leaves unused, at worst.
	bookingMost = 20
	// bookingMargin is how much younger than it says a record may be, since two clocks tell its age.
	bookingMargin = time.Second
)

// life is for how long a booking may be used; one that is not used up is renewed when two thirds of it are over. A crash
// leaves what was booked counted for a life, a request and a window.
func (b *bookings) life() time.Duration {
	return min(30*time.Second, max(time.Second, b.a.cfg.RateLimit.Window/2))
}

// errOvertaken means that another replica serves the account by now.
var errOvertaken = errors.New("another replica has taken the account over")

// budgetRecord is what is written down. Owner and Nonce tell one's own write from that of another replica that has sent nothing
// either; records of earlier versions have neither.
type budgetRecord struct {
	comeet.BudgetState
	Owner string `json:"owner,omitempty"`
	Nonce string `json:"nonce,omitempty"`
}

// bookings keeps an account's budget record.
type bookings struct {
	a        *account
	revision uint64
}

func (b *bookings) key() string { return "budget." + b.a.name }

// takeOver counts what the owner before has spent or may still spend, and makes the record ours. It comes before any request.
func (b *bookings) takeOver(ctx context.Context) error {
	raw, revision, stored, err := b.a.cursors.Read(ctx, b.key())
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	b.revision = revision
	if len(raw) > 0 {
		var spent budgetRecord
		if err := json.Unmarshal(raw, &spent); err != nil {
			b.a.log.Error().Str("key", b.key()).Msg("the budget record is unreadable; starting as if nothing had been sent")
		} else {
			b.a.gate.Import(spent.After(max(0, b.a.bus.Now().Sub(stored)-bookingMargin)))
		}
	}
	return b.book(ctx)
}

// book writes down what may be sent next, and only then allows it. A booking that has lost much of its life to a slow write is
// followed by another one at once: the first may admit nothing any more.
func (b *bookings) book(ctx context.Context) error {
	n := min(bookingMost, max(1, b.a.cfg.RateLimit.Requests/5))
	for {
		begun := time.Now()
		next := b.a.gate.PrepareBooking(n, b.life())
		if err := b.write(ctx, next.State); err != nil {
			return err
		}
		b.a.gate.Book(next)
		if time.Since(begun) <= b.life()/2 {
			return nil
		}
	}
}

func (b *bookings) write(ctx context.Context, s comeet.BudgetState) error {
	raw, err := json.Marshal(budgetRecord{s, b.a.cfg.Replica, rand.Text()})
	if err != nil {
		return err
	}
	revision, err := b.a.cursors.Update(ctx, b.key(), raw, b.revision)
	if errors.Is(err, bus.ErrConflict) {
		// Or our own write, whose acknowledgement was lost.
		have, at, _, rerr := b.a.cursors.Read(ctx, b.key())
		if rerr != nil || string(have) != string(raw) {
			return errOvertaken
		}
		revision, err = at, nil
	}
	if err != nil {
		return fmt.Errorf("book requests: %w", err)
	}
	b.revision = revision
	return nil
}

// run books again whenever half is used or the booking gets old, until ctx ends; then it hands the exact window over.
func (b *bookings) run(ctx context.Context) error {
	for {
		renew := time.NewTimer(b.life() * 2 / 3)
		select {
		case <-b.a.gate.BookingLow():
		case <-renew.C:
		case <-ctx.Done():
		}
		renew.Stop()
		if ctx.Err() != nil {
			return nil
		}
		if err := b.book(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// handOver leaves the exact window to whoever serves the account next. Nothing of ours is in flight by then.
func (b *bookings) handOver(ctx context.Context) {
	// A bus that is away must not hold up the end of a process that has nothing else to do.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := b.write(ctx, b.a.gate.Export()); err != nil && !errors.Is(err, errOvertaken) {
		b.a.log.Warn().Err(err).Msg("could not hand the budget over; the next owner counts what was booked as spent")
	}
}
