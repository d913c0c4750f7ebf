package comeettest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

func TestStrictness(t *testing.T) {
	t.Parallel()
	valid := `{"position_uid":"87.405","first_name":"N","last_name":"L"}`
	tests := []struct {
		name, method, path, body string
		header                   [2]string
		status                   int
		html                     bool
		rule                     string
	}{
		{name: "fine", method: "GET", path: "/candidates?limit=5", status: 200},
		{name: "unknown path", method: "GET", path: "/offers", status: 404, html: true, rule: "path"},
		{name: "versioned path", method: "GET", path: "/v1/positions", status: 404, html: true, rule: "path"},
		{name: "trailing slash", method: "GET", path: "/candidates/", status: 404, html: true, rule: "path"},
		{name: "verb of candidates", method: "PUT", path: "/candidates", status: 405, rule: "method"},
		{name: "verb of positions", method: "DELETE", path: "/positions/87.405", status: 405, rule: "method"},
		{name: "documented but not imitated", method: "PATCH", path: "/candidates/1", status: 501, rule: "not_imitated"},
		{name: "unknown parameter", method: "GET", path: "/candidates?position_uid=87.405", status: 400, rule: "query"},
		{name: "field instead of filter", method: "GET", path: "/candidates?time_last_status_changed:after=2031-02-03T04:05:06Z", status: 400, rule: "query"},
		{name: "repeated parameter", method: "GET", path: "/candidates?status=Hired&status=Rejected", status: 400, rule: "query"},
		{name: "malformed query", method: "GET", path: "/candidates?limit=%zz", status: 400, rule: "query"},
		{name: "limit", method: "GET", path: "/positions?limit=many", status: 400, rule: "query"},
		{name: "limit of zero", method: "GET", path: "/candidates?limit=0", status: 400, rule: "query"},
		{name: "page", method: "GET", path: "/candidates?opaque=example", status: 400, rule: "query"},
		{name: "lower-case bool", method: "GET", path: "/candidates?deleted=true", status: 400, rule: "query"},
		{name: "offset", method: "GET", path: "/candidates?time_created:after=2031-02-03T04:05:06%2B02:00", status: 400, rule: "datetime"},
		{name: "fraction", method: "GET", path: "/candidates?time_created:after=2031-02-03T04:05:06.5Z", status: 400, rule: "datetime"},
		{name: "filter on a position's candidates", method: "GET", path: "/positions/87.405/candidates?status=Hired", status: 400, rule: "query"},
		{name: "valid body", method: "POST", path: "/candidates", body: valid, status: 201},
		{name: "unknown field", method: "POST", path: "/candidates", body: strings.Replace(valid, "{", `{"uid":"1",`, 1), status: 400, rule: "body_field"},
		{name: "unknown field within", method: "POST", path: "/candidates", body: strings.Replace(valid, "{", `{"address":{"town":"x"},`, 1), status: 400, rule: "body_field"},
		{name: "unclosed JSON", method: "POST", path: "/candidates", body: valid[:len(valid)-1], status: 400, rule: "json"},
		{name: "more after JSON", method: "POST", path: "/candidates", body: valid + "{}", status: 400, rule: "json"},
		{name: "wrong type", method: "POST", path: "/candidates", body: strings.Replace(valid, `"N"`, `7`, 1), status: 400, rule: "json"},
		{name: "not base64", method: "POST", path: "/candidates", body: strings.Replace(valid, "{", `{"resume":{"name":"a.pdf","file":"data:x"},`, 1), status: 400, rule: "base64"},
		{name: "content type", method: "POST", path: "/candidates", body: valid, header: [2]string{"Content-Type", "text/plain"}, status: 400, rule: "content_type"},
		{name: "idempotency key", method: "POST", path: "/candidates", body: valid, header: [2]string{"Idempotency-Key", "x"}, status: 201, rule: "header"},
		{name: "real id elsewhere", method: "GET", path: "/positions/87.405", header: [2]string{"IDENTIFIER_TYPE", "REAL_ID"}, status: 200, rule: "header"},
		{name: "no token", method: "GET", path: "/candidates", header: [2]string{"Authorization", ""}, status: 401, rule: "token"},
		{name: "no token on an unknown path", method: "GET", path: "/offers", header: [2]string{"Authorization", ""}, status: 404, html: true, rule: "path"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			eachDoor(t, nil, func(t *testing.T, s *comeettest.Server, c *client) {
				q := c.request(t.Context(), test.method, test.path, test.body)
				if test.header[0] != "" {
					q.Header.Set(test.header[0], test.header[1])
				}
				a := c.send(q)
				isHTML := strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
				if a.err != nil || a.status != test.status || isHTML != test.html {
					t.Fatalf("answered %v %d %s, want %d", a.err, a.status, a.raw, test.status)
				}
				var rules []string
				for _, v := range s.Violations() {
					rules = append(rules, v.Rule)
				}
				var want []string
				if test.rule != "" {
					want = []string{test.rule}
				}
				if d := cmp.Diff(want, rules); d != "" {
					t.Errorf("violations: %s", d)
				}
				if n := len(s.Requests()); n != 1 {
					t.Errorf("%d requests recorded", n)
				}
			})
		})
	}
}

func TestOutsideTheBasePathIsTheMarketingSite(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithBasePath("/api"))
	c := inMemory(t, s)
	c.base = comeettest.InMemoryHost
	if a := c.get("/candidates"); a.status != 404 || !strings.Contains(a.raw, "<html>") || len(s.Violations()) != 1 {
		t.Errorf("answered %d %s", a.status, a.raw)
	}
}

func TestUnknownCanBeIgnored(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{IgnoreUnknown: true}))
	c := inMemory(t, s)
	if a := c.get("/candidates?whatever=1"); a.status != 200 {
		t.Errorf("query: %d %s", a.status, a.raw)
	}
	c.created(noor("whatever", 1))
	if n := len(s.Violations()); n != 2 {
		t.Errorf("%d violations, want 2", n)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Now()
	claims := func(iss string, exp any) jwt.MapClaims { return jwt.MapClaims{"iss": iss, "exp": exp} }
	sign := func(m jwt.SigningMethod, key any, c jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(m, c).SignedString(key)
		must(t, err)
		return "Bearer " + token
	}
	secret, good := []byte(comeettest.DefaultSecret), now.Add(10*time.Minute)
	tests := []struct {
		name, token string
		sw          comeettest.Switches
		ok          bool
	}{
		{name: "integer exp", token: sign(jwt.SigningMethodHS256, secret, claims(comeettest.DefaultAPIKey, good.Unix())), ok: true},
		{name: "float exp", token: sign(jwt.SigningMethodHS256, secret, claims(comeettest.DefaultAPIKey, float64(good.UnixMilli())/1000)), ok: true},
		{name: "expired", token: sign(jwt.SigningMethodHS256, secret, claims(comeettest.DefaultAPIKey, now.Unix()-1))},
		{name: "expired within the leeway", token: sign(jwt.SigningMethodHS256, secret, claims(comeettest.DefaultAPIKey, now.Unix()-1)), sw: comeettest.Switches{TokenLeeway: time.Hour}, ok: true},
		{name: "no exp", token: sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"iss": comeettest.DefaultAPIKey})},
		{name: "no iss", token: sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"exp": good.Unix()})},
		{name: "other iss", token: sign(jwt.SigningMethodHS256, secret, claims("nobody", good.Unix()))},
		{name: "other secret", token: sign(jwt.SigningMethodHS256, []byte("another"), claims(comeettest.DefaultAPIKey, good.Unix()))},
		{name: "HS512", token: sign(jwt.SigningMethodHS512, secret, claims(comeettest.DefaultAPIKey, good.Unix()))},
		{name: "none", token: sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(comeettest.DefaultAPIKey, good.Unix()))},
		{name: "too long", token: sign(jwt.SigningMethodHS256, secret, claims(comeettest.DefaultAPIKey, good.Unix())), sw: comeettest.Switches{MaxTokenLife: time.Minute}},
		{name: "long enough", token: sign(jwt.SigningMethodHS256, secret, claims(comeettest.DefaultAPIKey, good.Unix())), sw: comeettest.Switches{MaxTokenLife: 10 * time.Minute}, ok: true},
		{name: "garbage", token: "Bearer a.b.c"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, comeettest.WithSwitches(test.sw))
			c := inMemory(t, s)
			q := c.request(t.Context(), "GET", "/positions", "")
			q.Header.Set("Authorization", test.token)
			a := c.send(q)
			if (a.status == 200) != test.ok || !test.ok && (a.status != 401 || a.code() != "unauthorized") {
				t.Errorf("answered %d %s", a.status, a.raw)
			}
			for _, v := range s.Violations() {
				if v.Rule != "token" || strings.Contains(v.String(), test.token[len("Bearer "):]) {
					t.Errorf("violation %v", v)
				}
			}
			if len(s.Violations()) == 0 != test.ok {
				t.Errorf("%d violations", len(s.Violations()))
			}
		})
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{AuthErrorHTML: true}))
	c := inMemory(t, s)
	s.RotateSecret("the second secret")
	if a := c.get("/positions"); a.status != 401 || a.code() != "" {
		t.Errorf("old secret: %d %s", a.status, a.raw)
	}
	c.secret = "the second secret"
	if a := c.get("/positions"); a.status != 200 {
		t.Errorf("new secret: %d", a.status)
	}
	s.RotateAPIKey(comeettest.DefaultAccount, "second-key")
	if a := c.get("/positions"); a.status != 401 {
		t.Errorf("old key: %d", a.status)
	}
	c.apiKey = "second-key"
	if a := c.get("/positions"); a.status != 200 {
		t.Errorf("new key: %d", a.status)
	}
}

func TestAccountsAreSeparated(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithAccount(comeettest.Account{Name: "a"}), comeettest.WithAccount(comeettest.Account{Name: "b"}))
	a, b := inMemory(t, s), inMemory(t, s)
	a.apiKey, b.apiKey = "api-key-of-a", "api-key-of-b"
	uid := a.created(noor())
	must(t, s.Recruiter("a").Delete(a.created(noor("partner_candidate_id", "gone"))))
	for _, path := range []string{"/candidates", "/positions/87.405/candidates", "/deleted-candidates"} {
		if got := b.get(path); strings.Contains(got.raw, ".") || got.status != 200 {
			t.Errorf("%s: b sees %s", path, got.raw)
		}
	}
	if got := b.get("/candidates/" + uid); got.status != 404 {
		t.Errorf("b reads a's candidate: %d", got.status)
	}
	b.created(noor()) // no conflict with a's
	if len(s.Candidates("a")) != 2 || len(s.Candidates("b")) != 1 {
		t.Error("candidates are in the wrong account")
	}
	if err := s.Recruiter("b").Reject(uid, ""); err == nil {
		t.Error("b's recruiter rejects a's candidate")
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	own := "/candidates/{uid}"
	tests := []struct {
		denied []comeettest.Permission
		path   string
		status int
		hidden string
	}{
		{[]comeettest.Permission{comeettest.ReadPositions}, "/positions", 403, ""},
		{[]comeettest.Permission{comeettest.ReadPositions}, "/positions/87.405", 403, ""},
		{[]comeettest.Permission{comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates}, "/candidates", 403, ""},
		{[]comeettest.Permission{comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates}, own, 403, ""},
		{[]comeettest.Permission{comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates}, "/deleted-candidates", 403, ""},
		{[]comeettest.Permission{comeettest.ReadOwnCandidates}, own, 404, ""},
		{[]comeettest.Permission{comeettest.ReadOtherCandidates}, own, 200, ""},
		{[]comeettest.Permission{comeettest.ReadSource}, own, 200, "source"},
		{[]comeettest.Permission{comeettest.ReadSourceContact}, own, 200, "source_contact"},
		{[]comeettest.Permission{comeettest.ReadResume}, own, 200, "resume"},
		{[]comeettest.Permission{comeettest.ReadFutureSteps}, own, 200, "future_steps"},
		{[]comeettest.Permission{comeettest.ReadAssignees}, own, 200, "assignees"},
		{[]comeettest.Permission{comeettest.ReadInternalName}, "/positions/87.405", 200, "internal_name"},
		{[]comeettest.Permission{comeettest.ReadSalaryRange}, "/positions/87.405", 200, "salary_range"},
		{[]comeettest.Permission{comeettest.ReadPositionUsers}, "/positions/87.405", 200, "users"},
	}
	for _, test := range tests {
		s := start(t, comeettest.WithAccount(comeettest.Account{Name: "a", APIKey: comeettest.DefaultAPIKey, Positions: []comeettest.Position{{
			UID: comeettest.DefaultPositionUID, InternalName: "secret", SalaryRange: &comeettest.SalaryRange{Max: 1},
			Users: map[string]comeettest.Member{"lead_recruiter": {Email: "lead@example.test"}},
			Steps: []comeettest.Step{{UID: "1", Name: "Screen", Type: "Go/No-go", Assignees: []string{"lead@example.test"}}},
		}}}))
		c := inMemory(t, s)
		uid := c.created(noor("resume", map[string]any{"name": "cv.pdf", "file": ""}, "source_contact", map[string]any{"full_name": "Dana Reyes", "email": "dana@example.test"}))
		path := strings.Replace(test.path, "{uid}", uid, 1)
		if test.hidden != "" {
			if a := c.get(path); !strings.Contains(a.raw, `"`+test.hidden+`":`) {
				t.Errorf("%s is missing with all permissions: %s", test.hidden, a.raw)
			}
		}
		s.Recruiter("a").Deny(test.denied...)
		a := c.get(path)
		if a.status != test.status || test.status == 403 && a.code() != "no_permission" {
			t.Errorf("%v: %s answered %d %s", test.denied, path, a.status, a.raw)
		}
		if test.hidden != "" && strings.Contains(a.raw, `"`+test.hidden+`":`) {
			t.Errorf("%v: %s is there: %s", test.denied, test.hidden, a.raw)
		}
		s.Recruiter("a").Grant(test.denied...)
		if a := c.get(path); a.status != 200 {
			t.Errorf("%v granted again: %d", test.denied, a.status)
		}
		assertNoViolations(t, s)
	}
}

func TestDeniedCreateAndRevocation(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, r := inMemory(t, s), s.Recruiter(comeettest.DefaultAccount)
	r.Deny(comeettest.CreateCandidates)
	if a := c.post(noor()); a.status != 403 || a.code() != "no_permission" {
		t.Errorf("denied create: %d %s", a.status, a.raw)
	}
	r.Revoke()
	for _, status := range []int{401, 403, 404} {
		s.Switch(func(sw *comeettest.Switches) { sw.RevokedStatus = status })
		if a := c.get("/positions"); a.status != status {
			t.Errorf("revoked: %d, want %d", a.status, status)
		}
	}
	r.Allow()
	if a := c.get("/positions"); a.status != http.StatusOK {
		t.Errorf("allowed again: %d", a.status)
	}
}

func TestContextEndsBeforeTheRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := inMemory(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := c.send(c.request(ctx, "GET", "/positions", "")); a.err == nil || len(s.Requests()) != 0 {
		t.Errorf("answered %d, %d requests", a.status, len(s.Requests()))
	}
}

func TestFollowingForeignLinksIsAViolation(t *testing.T) {
	t.Parallel()
	s := start(t, comeettest.WithSwitches(comeettest.Switches{NextPageBase: "https://elsewhere.example"}))
	c := inMemory(t, s)
	add(t, s, 2)
	s.Script(comeettest.RetrievePosition, comeettest.Redirect())
	links := []string{
		c.get("/candidates?limit=1").next(),
		c.get("/positions/87.405").header.Get("Location"),
		c.get("/positions/87.405").object()["position_url"].(string),
	}
	assertNoViolations(t, s)
	for _, link := range links {
		if a := c.get(link); a.status != 404 {
			t.Errorf("%s: %d", link, a.status)
		}
	}
	for i, v := range s.Violations() {
		if v.Rule != "host" || !strings.HasPrefix(links[i], v.Request.Base) {
			t.Errorf("violation %v of %s", v, v.Request.Base)
		}
	}
	if n := len(s.Violations()); n != len(links) {
		t.Errorf("%d violations, want %d", n, len(links))
	}
	c.base = "https://api.example"
	if a := c.get("/positions"); a.status != 200 {
		t.Errorf("any other host: %d", a.status)
	}
}
