package comeet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Credentials returns the customer's API key and the partner's secret. The client calls it for
// every new token, from one goroutine at a time. So a function that reads mounted files follows
// their rotation. Its error is shown to the operator inside an *Error of Kind Unavailable, so it
// must not hold a secret.
//
// Comeet API: https://developers.comeet.com/reference/authorization
type Credentials func() (apiKey, secret string, err error)

// StaticCredentials returns Credentials that never change. With an empty key or secret the first
// call of the API fails.
func StaticCredentials(apiKey, secret string) Credentials {
	return func() (string, string, error) { return apiKey, secret, nil }
}

const (
	// tokenLife stays under the 10 minutes that Comeet's documentation shows, even with a clock
	// that is wrong by the tolerance. It is unknown whether Comeet accepts more.
	tokenLife = 10*time.Minute - 2*clockTolerance
	// renewBefore keeps a token from expiring while its request is in flight, or by a clock that
	// runs fast.
	renewBefore = time.Minute
	// clockTolerance is how wrong the local clock may be before Comeet's clock is used instead.
	// Smaller differences are noise, because Date counts whole seconds and the answer takes time to
	// arrive.
	clockTolerance = 5 * time.Second
)

// token is a signed token. It prints as a constant, so that nothing that holds a token can leak it.
type token struct {
	value   string
	minted  int64         // Unix seconds of the wall clock; the monotonic one stops during a suspend
	renewAt int64         // the same
	offset  time.Duration // correction that went into exp
	// renewed says that Comeet had refused the token before it, and accepted none since.
	renewed bool
}

func (token) String() string   { return "[token]" }
func (token) GoString() string { return "[token]" }

func (t *token) fresh(now time.Time, offset time.Duration) bool {
	return t != nil && now.Unix() < t.renewAt && now.Unix() >= t.minted && (t.offset-offset).Abs() <= 2*clockTolerance
}

// tokens hands out the current token and mints the next one, one goroutine at a time.
type tokens struct {
	credentials Credentials
	clock       *clock
	current     atomic.Pointer[token]
	// minting holds one element while a goroutine mints. It is a channel, not a mutex, so that the
	// others wait only until their context ends.
	minting chan struct{}

	// suspect says that Comeet has refused a token and accepted none since. accepted is the token
	// that it accepted last.
	suspect  atomic.Bool
	accepted atomic.Pointer[token]
}

func newTokens(creds Credentials, c *clock) *tokens {
	return &tokens{credentials: creds, clock: c, minting: make(chan struct{}, 1)}
}

// get returns a token that Comeet should accept, and mints one if necessary.
func (t *tokens) get(ctx context.Context) (*token, error) {
	if cur := t.current.Load(); cur.fresh(time.Now(), t.clock.correction()) {
		return cur, nil
	}
	select {
	case t.minting <- struct{}{}:
		defer func() { <-t.minting }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if cur := t.current.Load(); cur.fresh(time.Now(), t.clock.correction()) {
		return cur, nil
	}
	next, err := t.mint(time.Now(), t.clock.correction())
	if err != nil {
		return nil, err
	}
	t.current.Store(next)
	return next, nil
}

// refuse drops a token that Comeet did not accept, so that the next get mints. If Comeet refused
// several requests with one token, only the first drops it; the others find its successor.
func (t *tokens) refuse(old *token) {
	t.current.CompareAndSwap(old, nil)
	t.suspect.Store(true)
}

// accept notes that Comeet took a token for good, whatever it answered.
func (t *tokens) accept(tok *token) {
	t.accepted.Store(tok)
	t.suspect.Store(false)
}

// worthRenewing reports whether another token may help where Comeet refused this one. It does not
// where this one was made for that reason: then the refusal is Comeet's verdict on the credentials.
// So a denial needs one request with a renewed token, by whichever call. The repeat of each call
// may never come: where all calls are refused at once, they have spent the budget that repeats
// need.
func (t *tokens) worthRenewing(tok *token) bool { return !tok.renewed || t.accepted.Load() == tok }

func (t *tokens) mint(now time.Time, offset time.Duration) (*token, error) {
	key, secret, err := t.credentials()
	switch {
	case err != nil:
		return nil, fmt.Errorf("credentials: %w", err)
	case key == "":
		return nil, errors.New("credentials: the API key is empty")
	case secret == "":
		return nil, errors.New("credentials: the secret is empty")
	}
	// This is a map, because the exp of jwt.RegisteredClaims turns into a float when any package of
	// the program sets jwt.TimePrecision.
	claims := jwt.MapClaims{"iss": key, "exp": now.Add(offset + tokenLife).Unix()}
	value, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		return nil, errors.New("credentials: the token cannot be signed")
	}
	return &token{value: value, minted: now.Unix(), renewAt: now.Add(tokenLife - renewBefore).Unix(), offset: offset, renewed: t.suspect.Load()}, nil
}
