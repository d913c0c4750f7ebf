package owner

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

const (
	// bookingMost is how many requests are booked at once. A crash loses at most so many.
	bookingMost = 20
	// bookingMargin is how much younger than it says a record may be: two clocks tell its age.
	bookingMargin = time.Second
)

// ErrOvertaken means that another replica serves the account by now.
var ErrOvertaken = errors.New("another replica has taken the account over")

// BookingsConfig is what Bookings work with. All fields are required.
type BookingsConfig struct {
	// Account is the account's name, Replica this process's.
	Account, Replica string
	// Bucket is the cursors bucket, Now the clock of its bus.
	Bucket *bus.Bucket
	Now    func() time.Time
	// Gate sends no more than what was booked. Limit is its budget.
	Gate  *comeet.Gate
	Limit comeet.Limit
	Log   zerolog.Logger
}

// Bookings keep an account's budget across its owners. An owner books what it may send in the
// cursors bucket before it sends it. A successor finds the record there and counts it as spent.
// The record is a compare-and-set too: an owner that takes an account over writes it, and the
// owner before can book no more.
type Bookings struct {
	cfg      BookingsConfig
	revision uint64
}

// NewBookings returns the bookings of an owner that has booked nothing yet.
func NewBookings(cfg BookingsConfig) *Bookings { return &Bookings{cfg: cfg} }

// budgetRecord is what is stored. Owner and Nonce tell one's own write from that of another replica
// that has sent nothing either; records of earlier versions have neither.
type budgetRecord struct {
	comeet.BudgetState
	Owner string `json:"owner,omitempty"`
	Nonce string `json:"nonce,omitempty"`
}

func (b *Bookings) key() string { return "budget." + b.cfg.Account }

// life is for how long a booking may be used. One that is not used up is renewed when two thirds
// of it are over. A crash leaves what was booked counted for a life, a request and a window.
func (b *Bookings) life() time.Duration {
	return min(30*time.Second, max(time.Second, b.cfg.Limit.Window/2))
}

// TakeOver counts what the owner before has spent or may still spend, and books for this replica.
// Call it before any request. Errors: ErrOvertaken, the bus's, the context's.
func (b *Bookings) TakeOver(ctx context.Context) error {
	raw, revision, stored, err := b.cfg.Bucket.Read(ctx, b.key())
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	b.revision = revision
	if len(raw) > 0 {
		var spent budgetRecord
		if err := json.Unmarshal(raw, &spent); err != nil {
			b.cfg.Log.Error().Str("key", b.key()).
				Msg("the budget record is unreadable; starting as if nothing had been sent")
		} else {
			b.cfg.Gate.Import(spent.After(max(0, b.cfg.Now().Sub(stored)-bookingMargin))) // guard: owner-before-counts
		}
	}
	return b.book(ctx)
}

// book stores the next requests before it allows them. If the write took more than half of the
// booking's life, it books again, because the first booking may already have expired.
func (b *Bookings) book(ctx context.Context) error {
	n := min(bookingMost, max(1, b.cfg.Limit.Requests/5))
	for {
		begun := time.Now()
		next := b.cfg.Gate.PrepareBooking(n, b.life())
		if err := b.write(ctx, next.State); err != nil {
			return err
		}
		b.cfg.Gate.Book(next)
		if time.Since(begun) <= b.life()/2 {
			return nil
		}
	}
}

func (b *Bookings) write(ctx context.Context, s comeet.BudgetState) error {
	raw, err := json.Marshal(budgetRecord{s, b.cfg.Replica, rand.Text()})
	if err != nil {
		return err
	}
	revision, err := b.cfg.Bucket.Update(ctx, b.key(), raw, b.revision)
	if errors.Is(err, bus.ErrConflict) {
		// It may have been this very write, whose acknowledgement was lost.
		have, at, _, rerr := b.cfg.Bucket.Read(ctx, b.key())
		if rerr != nil || string(have) != string(raw) { // guard: overtaken-books-no-more
			return ErrOvertaken
		}
		revision, err = at, nil
	}
	if err != nil {
		return fmt.Errorf("book requests: %w", err)
	}
	b.revision = revision
	return nil
}

// Run books again whenever half is used or the booking gets old, until ctx ends; then it returns
// nil. Errors: ErrOvertaken, the bus's.
func (b *Bookings) Run(ctx context.Context) error {
	for {
		renew := time.NewTimer(b.life() * 2 / 3)
		select {
		case <-b.cfg.Gate.BookingLow():
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

// HandOver leaves the exact window to the account's next owner. Call it when no request is in
// flight any more. It takes at most two seconds, and logs if it failed.
func (b *Bookings) HandOver(ctx context.Context) {
	// A bus that is away must not hold up the end of a process that has nothing else to do.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := b.write(ctx, b.cfg.Gate.Export()); err != nil && !errors.Is(err, ErrOvertaken) {
		b.cfg.Log.Warn().Err(err).
			Msg("could not hand the budget over; the next owner counts what was booked as spent")
	}
}
