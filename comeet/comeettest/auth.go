package comeettest

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Permission is one of those that Comeet staff grant a secret (Comeet API: permissions). Denied
// ones answer 403 no_permission or leave out the block they guard.
type Permission string

// The permissions that the fake knows.
const (
	ReadPositions       Permission = "positions read"
	ReadInternalName    Permission = "positions read internal name"
	ReadSalaryRange     Permission = "positions read salary range"
	ReadPositionUsers   Permission = "positions read lead recruiter and hiring manager details"
	CreateCandidates    Permission = "candidates create"
	ReadOwnCandidates   Permission = "candidates read created by your app as the source"
	ReadOtherCandidates Permission = "candidates read created by other sources"
	ReadAssignees       Permission = "candidates read step assignees"
	ReadFutureSteps     Permission = "candidates read future steps"
	ReadSource          Permission = "candidates read source data"
	ReadSourceContact   Permission = "candidates read source contact"
	ReadResume          Permission = "candidates read resume"
)

func bearer(h http.Header) string {
	token, _ := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	return token
}

// tokens remembers the claims of tokens whose signature was right: checking one is the dearest part
// of a small request.
type tokens struct {
	mu     sync.RWMutex // guards what follows
	secret *string      // with which they were signed
	known  map[string]jwt.RegisteredClaims
}

const maxTokens = 4096

func (t *tokens) get(token string, secret *string) (jwt.RegisteredClaims, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.secret != secret {
		return jwt.RegisteredClaims{}, false
	}
	claims, ok := t.known[token]
	return claims, ok
}

func (t *tokens) put(token string, secret *string, claims jwt.RegisteredClaims) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.secret != secret || len(t.known) >= maxTokens {
		t.secret, t.known = secret, map[string]jwt.RegisteredClaims{}
	}
	t.known[token] = claims
}

// peekAccount reads iss without checking anything, to know whom an outage or a record concerns.
func (s *Server) peekAccount(h http.Header) *account {
	var claims jwt.RegisteredClaims
	token := bearer(h)
	if token == "" {
		return nil
	}
	if claims, ok := s.tokens.get(token, s.secret.Load()); ok {
		return s.accounts.Load().byKey[claims.Issuer]
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return nil
	}
	return s.accounts.Load().byKey[claims.Issuer]
}

// authorize checks the bearer token: HS256 over the raw bytes of the secret, iss a known api-key,
// exp in the future, int or float [D: authorization]. Leeway, longest life, the body of the 401 and
// how a revoked account answers: UNKNOWN, Switches. Other claims are ignored [I].
func (c *call) authorize() *rejection {
	err := c.verify()
	if err == nil {
		return nil
	}
	status := http.StatusUnauthorized
	r := apiError(status, "unauthorized", "Unauthorized")
	if c.sw.AuthErrorHTML {
		r = htmlPage(status, "Unauthorized")
	}
	return &rejection{r, "token", err.Error()}
}

var (
	errNoToken  = errors.New("no bearer token")
	errNoIssuer = errors.New("iss is no known api-key")
	errLongLife = errors.New("exp is too far ahead")
)

func (c *call) verify() error {
	token := bearer(c.in.header)
	if token == "" {
		return errNoToken
	}
	now, secret := c.s.Now(), c.s.secret.Load()
	claims, known := c.s.tokens.get(token, secret)
	if !known || claims.ExpiresAt.Add(c.sw.TokenLeeway).Before(now) {
		_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return []byte(*secret), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(c.s.Now), jwt.WithLeeway(c.sw.TokenLeeway))
		if err != nil {
			return err
		}
		c.s.tokens.put(token, secret, claims)
	}
	switch {
	case c.account == nil:
		return errNoIssuer
	case c.sw.MaxTokenLife > 0 && claims.ExpiresAt.Sub(now) > c.sw.MaxTokenLife+time.Second:
		return errLongLife
	}
	return nil
}

// permit answers a revoked account, or one without any of the permissions. The caller holds no
// lock.
func (c *call) permit(any ...Permission) *reply {
	a := c.account
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.revoked {
		return revoked(orDefault(c.sw.RevokedStatus, http.StatusUnauthorized))
	}
	for _, p := range any {
		if !a.denied[p] {
			return nil
		}
	}
	return noPermission()
}

func revoked(status int) *reply {
	switch status {
	case http.StatusForbidden:
		return noPermission()
	case http.StatusNotFound:
		return notFound("Company")
	}
	return apiError(status, "unauthorized", "Unauthorized")
}
