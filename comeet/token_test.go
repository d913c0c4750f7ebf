package comeet_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
)

func bearer(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// claims decodes a token's payload after checking its signature, and only that.
func claims(t testing.TB, token, secret string) map[string]any {
	t.Helper()
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation()).
		Parse(token, func(*jwt.Token) (any, error) { return []byte(secret), nil })
	if err != nil {
		t.Errorf("token: %v", err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Error(err)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var c map[string]any
	if err := d.Decode(&c); err != nil {
		t.Error(err)
	}
	return c
}

func expiry(t testing.TB, token string) time.Time {
	t.Helper()
	n, ok := claims(t, token, testSecret)["exp"].(json.Number)
	if !ok {
		t.Error("exp is no number")
	}
	seconds, err := n.Int64()
	if err != nil {
		t.Errorf("exp is no integer: %v", err)
	}
	return time.Unix(seconds, 0)
}

func TestTokenHasTwoClaims(t *testing.T) {
	t.Parallel()
	const secret = "gehëim, and 日本 bytes, not base64 =="
	c, err := comeet.NewClient(comeet.StaticCredentials("key-1", secret), unlimited(),
		comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			got := claims(t, bearer(r), secret)
			exp, ok := got["exp"].(json.Number)
			if seconds, err := exp.Int64(); !ok || err != nil {
				t.Errorf("exp %v", got["exp"])
			} else if left := time.Until(time.Unix(seconds, 0)); left > 10*time.Minute || left < 9*time.Minute {
				t.Errorf("exp in %s", left)
			}
			delete(got, "exp")
			if d := cmp.Diff(map[string]any{"iss": "key-1"}, got); d != "" {
				t.Error(d)
			}
			return answer(r, 200, nil, `{"positions":[]}`), nil
		})))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}); err != nil {
		t.Fatal(err)
	}
}

func TestTokenIsKeptAndRenewedEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		minted := 0
		creds := func() (string, string, error) { minted++; return testKey, testSecret, nil }
		c, err := comeet.NewClient(creds, unlimited(), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			if left := time.Until(expiry(t, bearer(r))); left < 45*time.Second || left > 10*time.Minute {
				t.Errorf("sent with a token of %s", left)
			}
			return answer(r, 200, nil, `{"positions":[]}`), nil
		})))
		if err != nil {
			t.Fatal(err)
		}
		for range 60 * 4 { // an hour, four requests a minute
			if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
		}
		if minted < 6 || minted > 8 {
			t.Errorf("minted %d tokens in an hour", minted)
		}
	})
}

func TestRotatedSecretsAreFollowed(t *testing.T) {
	t.Parallel()
	secret := "old-secret"
	valid := "old-secret"
	c, err := comeet.NewClient(func() (string, string, error) { return testKey, secret, nil }, unlimited(),
		comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			_, err := jwt.Parse(bearer(r), func(*jwt.Token) (any, error) { return []byte(valid), nil })
			if err != nil {
				return answer(r, 401, nil, `{"status":401,"error":"unauthorized"}`), nil
			}
			return answer(r, 201, nil, `{"uid":"3C.7F2A1"}`), nil
		})))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.CreateCandidate(t.Context(), noor()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		secret = fmt.Sprint("new-secret-", i)
		valid = secret
		if _, _, err := c.CreateCandidate(t.Context(), noor()); err != nil {
			t.Fatalf("after rotation %d: %v", i, err)
		}
	}
}

func TestWrongLocalClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 2 * time.Second, -time.Hour, -9 * time.Minute, 9 * time.Minute, 24 * time.Hour, 400 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				requests++
				theirs := time.Now().Add(skew)
				h := http.Header{"Date": {theirs.UTC().Format(http.TimeFormat)}}
				if left := expiry(t, bearer(r)).Sub(theirs); left <= 0 || left > 10*time.Minute+3*time.Second {
					return answer(r, 401, h, ""), nil
				}
				return answer(r, 200, h, `{"positions":[]}`), nil
			})))
			for range 50 {
				if _, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}); err != nil {
					t.Fatalf("skew %s: %v", skew, err)
				}
				if d := c.Now().Sub(time.Now().Add(skew)); d > 0 || d < -time.Second {
					t.Fatalf("skew %s: Now is off by %s", skew, d)
				}
				time.Sleep(77 * time.Second)
			}
			if requests > 51 {
				t.Errorf("skew %s: %d requests for 50 calls", skew, requests)
			}
		})
	}
}

func TestAnUnacceptableTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	const api = `{"status":401,"error":"invalid_token","message":"marker"}`
	tests := map[string]struct {
		post     bool
		body     string
		want     comeet.Kind
		requests int
	}{
		"POST, the API's word":    {true, api, comeet.Denied, 2},
		"POST, a gateway's":       {true, "<html>", comeet.InDoubt, 1},
		"POST, nobody's":          {true, "", comeet.InDoubt, 1},
		"POST, merged":            {true, `{"error":"duplicate_candidate"}`, comeet.InDoubt, 1},
		"read, the API's word":    {false, api, comeet.Denied, 2},
		"read, an unknown body":   {false, "<html>", comeet.Denied, 2},
		"read, merged":            {false, `{"error":"duplicate_candidate"}`, comeet.Merged, 1},
		"read, prose as the code": {false, `{"error":"Unauthorized"}`, comeet.Denied, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				minted := 0
				tokens := map[string]bool{}
				requests := 0
				creds := func() (string, string, error) {
					minted++
					time.Sleep(time.Second) // so that no two tokens are alike
					return testKey, testSecret, nil
				}
				c, err := comeet.NewClient(creds, unlimited(), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
					requests++
					tokens[bearer(r)] = true
					return answer(r, 401, nil, tt.body), nil
				})))
				if err != nil {
					t.Fatal(err)
				}
				if tt.post {
					_, _, err = c.CreateCandidate(t.Context(), noor())
				} else {
					_, _, err = c.RetrieveCandidate(t.Context(), "x")
				}
				if comeet.KindOf(err) != tt.want || requests != tt.requests {
					t.Errorf("%v after %d requests, want %v after %d", err, requests, tt.want, tt.requests)
				}
				if minted != requests || len(tokens) != requests {
					t.Errorf("%d requests with %d tokens, %d minted", requests, len(tokens), minted)
				}
			})
		})
	}
}

// A gateway's 401 after a POST proves nothing about it, but the next call does not go out with the same token.
func TestADoubtfulTokenIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var used []string
		c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			used = append(used, bearer(r))
			if len(used) == 1 {
				return answer(r, 401, nil, "<html>"), nil
			}
			return answer(r, 201, nil, `{"uid":"3C.7F2A1"}`), nil
		})))
		if _, _, err := c.CreateCandidate(t.Context(), noor()); comeet.KindOf(err) != comeet.InDoubt {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, _, err := c.CreateCandidate(t.Context(), noor()); err != nil {
			t.Fatal(err)
		}
		if used[0] == used[1] {
			t.Error("the same token again")
		}
	})
}

func TestTheRepeatTakesASlotOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		gate := comeet.NewGate(comeet.GateConfig{Limit: comeet.Limit{Requests: 10, Window: time.Minute}})
		c := newClient(t, comeet.WithGate(gate), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			requests++
			return answer(r, 401, nil, `{"error":"invalid_token"}`), nil
		})))
		p, held := takeAll(t, gate)
		// No slot is free, so within the call's time there is none for the repeat.
		_, _, err := c.ListPositions(t.Context(), comeet.PositionQuery{}, comeet.WithPermit(p))
		if comeet.KindOf(err) != comeet.Unavailable || !strings.Contains(err.Error(), "WithTimeout") || requests != 1 {
			t.Errorf("%v after %d requests", err, requests)
		}
		for _, h := range held {
			h.Release()
		}
		// The next call has the new token that the repeat would have had: its refusal is final.
		_, _, err = c.ListPositions(t.Context(), comeet.PositionQuery{})
		if comeet.KindOf(err) != comeet.Denied || requests != 2 {
			t.Errorf("%v after %d requests", err, requests)
		}
	})
}

func TestManyRefusedCallsMintOneToken(t *testing.T) {
	t.Parallel()
	const callers = 64
	var secret atomic.Pointer[string]
	first, second := "first-secret", "second-secret"
	secret.Store(&first)
	var minted, minting, waiting atomic.Int32
	creds := func() (string, string, error) {
		if minting.Add(1) > 1 {
			t.Error("two mintings at a time")
		}
		defer minting.Add(-1)
		minted.Add(1)
		return testKey, *secret.Load(), nil
	}
	all := make(chan struct{})
	c, err := comeet.NewClient(creds, unlimited(), comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		if _, err := jwt.Parse(bearer(r), func(*jwt.Token) (any, error) { return []byte(second), nil }); err == nil {
			return answer(r, 201, nil, `{"uid":"3C.7F2A1"}`), nil
		}
		// All of them are refused with the first token.
		if waiting.Add(1) == callers {
			secret.Store(&second)
			close(all)
		}
		<-all
		return answer(r, 401, nil, `{"error":"invalid_token"}`), nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, _, err := c.CreateCandidate(t.Context(), noor()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := minted.Load(); n != 2 {
		t.Errorf("minted %d tokens, want 2", n)
	}
}

func TestCredentialsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	broken := errors.New("open /run/secrets/comeet: no such file")
	for name, tt := range map[string]struct {
		creds comeet.Credentials
		want  string
	}{
		"error":     {func() (string, string, error) { return "marker", "marker", broken }, broken.Error()},
		"no key":    {comeet.StaticCredentials("", "marker"), "API key is empty"},
		"no secret": {comeet.StaticCredentials("marker", ""), "secret is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := comeet.NewClient(tt.creds, unlimited(), comeet.WithTransport(transport(func(*http.Request) (*http.Response, error) {
				t.Error("sent")
				return nil, context.Canceled
			})))
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = c.CreateCandidate(t.Context(), noor())
			if comeet.KindOf(err) != comeet.Unavailable || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "marker") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A revoked key is called denied by whatever the budget lets pass: calls that are all refused at once leave no slot for their repeats.
func TestRevokedKeyIsDeniedWhateverTheBudget(t *testing.T) {
	t.Parallel()
	for _, limit := range []comeet.Limit{
		{Requests: 1, Window: time.Second}, {Requests: 1, Window: time.Minute}, {Requests: 2, Window: 3 * time.Second},
		{Requests: 10, Window: time.Second}, {Requests: 10, Window: 3 * time.Second}, {Requests: 100, Window: time.Minute},
		{Requests: 1000, Window: time.Minute}, {},
	} {
		for _, timeout := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 30 * time.Second} {
			t.Run(fmt.Sprint(limit.Requests, " per ", limit.Window, " within ", timeout), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const workers = 16
					var requests atomic.Int64
					gate := comeet.NewGate(comeet.GateConfig{Limit: limit, RequestTimeout: timeout})
					c := newClient(t, comeet.WithGate(gate), comeet.WithTimeout(timeout),
						comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
							requests.Add(1)
							time.Sleep(100 * time.Millisecond)
							return answer(r, 401, nil, `{"status":401,"error":"unauthorized"}`), nil
						})))
					ctx, cancel := context.WithTimeout(t.Context(), max(15*time.Second, 2*limit.Window+timeout))
					defer cancel()
					var wg sync.WaitGroup
					for range workers {
						wg.Go(func() {
							for ctx.Err() == nil && !gate.Denied(comeet.CanSubmit) {
								_, _, err := c.CreateCandidate(ctx, noor())
								if k := comeet.KindOf(err); k != comeet.Denied && k != comeet.Unavailable && k != comeet.Canceled {
									t.Errorf("%v", err)
								}
							}
						})
					}
					wg.Wait()
					if n := requests.Load(); !gate.Denied(comeet.CanSubmit) || n > 2*workers {
						t.Errorf("denied %v after %d requests", gate.Denied(comeet.CanSubmit), n)
					}
				})
			})
		}
	}
}
