package comeettest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a plain HTTP client of one account at one door.
type client struct {
	t      testing.TB
	http   *http.Client
	base   string
	apiKey string
	secret string
	now    func() time.Time
}

// answer is what came back; err excludes the rest.
type answer struct {
	status int
	header http.Header
	raw    string
	err    error
}

func (a answer) object() map[string]any {
	var v map[string]any
	_ = json.Unmarshal([]byte(a.raw), &v)
	return v
}

func (a answer) code() string { code, _ := a.object()["error"].(string); return code }
func (a answer) uid() string  { uid, _ := a.object()["uid"].(string); return uid }

// uids of a list's page, stubs with a minus.
func (a answer) uids() []string {
	var page struct{ Candidates, Positions []map[string]any }
	_ = json.Unmarshal([]byte(a.raw), &page)
	var out []string
	for _, c := range append(page.Candidates, page.Positions...) {
		if _, full := c["status"]; full {
			out = append(out, c["uid"].(string))
		} else {
			out = append(out, "-"+c["uid"].(string))
		}
	}
	return out
}

func (a answer) next() string { next, _ := a.object()["next_page"].(string); return next }

func (c *client) token(claims jwt.MapClaims) string {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(c.secret))
	if err != nil {
		c.t.Fatal(err)
	}
	return "Bearer " + token
}

func (c *client) request(ctx context.Context, method, path, body string) *http.Request {
	target := c.base + path
	if strings.Contains(path, "://") {
		target = path
	}
	q, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body == "" {
		q.Body, q.ContentLength = http.NoBody, 0
	} else {
		q.Header.Set("Content-Type", "application/json")
	}
	q.Header.Set("Authorization", c.token(jwt.MapClaims{"iss": c.apiKey, "exp": c.now().Add(10 * time.Minute).Unix()}))
	return q
}

func (c *client) send(q *http.Request) answer {
	resp, err := c.http.Do(q)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw), err}
}

func (c *client) get(path string) answer {
	c.t.Helper()
	return c.send(c.request(c.t.Context(), "GET", path, ""))
}

func (c *client) post(body map[string]any) answer {
	c.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.send(c.request(c.t.Context(), "POST", "/candidates", string(raw)))
}

// created posts and fails unless a candidate came of it.
func (c *client) created(body map[string]any) string {
	c.t.Helper()
	a := c.post(body)
	if a.err != nil || a.uid() == "" {
		c.t.Fatalf("POST: %v %d %s", a.err, a.status, a.raw)
	}
	return a.uid()
}

// noor is a valid body, changed by key and value pairs; a nil value removes the key.
func noor(changes ...any) map[string]any {
	m := map[string]any{
		"position_uid": comeettest.DefaultPositionUID, "partner_candidate_id": "src-1", "first_name": "Noor", "last_name": "Lindqvist",
		"email": "noor@example.test",
	}
	for i := 0; i < len(changes); i += 2 {
		if m[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(m, changes[i].(string))
		}
	}
	return m
}

func start(t testing.TB, opts ...comeettest.Option) *comeettest.Server {
	s := comeettest.New(opts...)
	t.Cleanup(s.Close)
	return s
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// inMemory is a client at the in-memory door.
func inMemory(t testing.TB, s *comeettest.Server) *client {
	return &client{t: t, http: &http.Client{Transport: s.Transport(), CheckRedirect: noRedirect}, base: s.InMemoryURL(),
		apiKey: comeettest.DefaultAPIKey, secret: comeettest.DefaultSecret, now: time.Now}
}

// onSocket is a client at the socket door.
func onSocket(t testing.TB, s *comeettest.Server) *client {
	c := inMemory(t, s)
	c.base = s.URL()
	tr := &http.Transport{}
	if cert := s.Certificate(); cert != nil {
		pool := x509.NewCertPool()
		pool.AddCert(cert)
		tr.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(tr.CloseIdleConnections)
	c.http = &http.Client{Transport: tr, CheckRedirect: noRedirect}
	return c
}

// eachDoor runs a test through both doors, on a base path below the root.
func eachDoor(t *testing.T, opts []comeettest.Option, test func(t *testing.T, s *comeettest.Server, c *client)) {
	t.Helper()
	opts = append([]comeettest.Option{comeettest.WithBasePath("/api/eu")}, opts...)
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		s := start(t, opts...)
		test(t, s, inMemory(t, s))
	})
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		s := start(t, opts...)
		test(t, s, onSocket(t, s))
	})
	t.Run("tls", func(t *testing.T) {
		t.Parallel()
		s := start(t, append(opts, comeettest.WithTLS())...)
		test(t, s, onSocket(t, s))
	})
}

func assertNoViolations(t testing.TB, s *comeettest.Server) {
	t.Helper()
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
