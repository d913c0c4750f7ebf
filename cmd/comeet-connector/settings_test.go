package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// marker stands for a secret that must never be printed.
const marker = "MARK-h7Qz2"

func env(vars map[string]string) environment { return vars }

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, args []string, vars map[string]string) (connector.Config, *settings) {
	t.Helper()
	c := &cli{settings: settings{env: env(vars), stderr: io.Discard, logs: io.Discard}}
	if _, _, err := c.parse(t.Context(), append([]string{"run"}, args...), io.Discard); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.connectorConfig()
	if err != nil {
		t.Fatal(err)
	}
	return cfg, &c.settings
}

// TestEverySetting gives each setting a different value in the file, the environment and the flag, and takes them away in turn.
func TestEverySetting(t *testing.T) {
	t.Parallel()
	type values [4]string // flag, environment, file, default
	key := func(a connector.Config) any {
		if len(a.Accounts) == 0 {
			return ""
		}
		k, _, err := a.Accounts[0].Credentials()
		return fmt.Sprint(k, err)
	}
	secret := func(a connector.Config) any {
		if len(a.Accounts) == 0 {
			return ""
		}
		_, s, err := a.Accounts[0].Credentials()
		return fmt.Sprint(s, err)
	}
	f1, f2, f3 := file(t, "one"), file(t, "two"), file(t, "three")
	durations, numbers, words := values{"3s", "4s", "6s"}, values{"3", "4", "5"}, values{"one", "two", "three", ""}
	def := func(v values, d string) values { v[3] = d; return v }
	tests := map[string]struct {
		given values
		get   func(connector.Config, *settings) any
		want  [4]any // nil: the given text
		with  map[string]string
	}{
		"nats-url":          {given: values{"nats://a:1", "nats://b:1", "nats://c:1,nats://d:1", "nats://127.0.0.1:4222"}, get: func(c connector.Config, _ *settings) any { return c.NATSURL }},
		"nats-creds":        {given: values{f1, f2, f3, ""}, get: func(c connector.Config, _ *settings) any { return c.NATSCreds }},
		"nats-replicas":     {given: def(numbers, "0"), get: func(c connector.Config, _ *settings) any { return c.Replicas }},
		"events-max-bytes":  {given: values{"3GiB", "2MiB", "1048576", "4GiB"}, get: func(c connector.Config, _ *settings) any { return c.EventsMaxBytes }, want: [4]any{int64(3 << 30), int64(2 << 20), int64(1 << 20), int64(4 << 30)}},
		"republish":         {given: words, get: func(c connector.Config, _ *settings) any { return c.RePublish }},
		"comeet-base-url":   {given: values{"https://a", "https://b", "https://c", comeet.DefaultBaseURL}, get: func(c connector.Config, _ *settings) any { return c.BaseURL }},
		"comeet-plain-http": {given: values{"true", "false", "true", "false"}, get: func(c connector.Config, _ *settings) any { return c.PlainHTTP }},
		"comeet-proxy-hold": {given: values{"3s", "off", "1m", "0s"}, get: func(c connector.Config, _ *settings) any { return c.ProxyHold },
			want: [4]any{3 * time.Second, time.Duration(-1), time.Minute, time.Duration(0)}},
		"private-file-urls":  {given: values{"true", "false", "true", "false"}, get: func(c connector.Config, _ *settings) any { return c.PrivateFileURLs }},
		"fallback-position":  {given: words, with: map[string]string{apiKey: "k", apiSecret: "s"}, get: func(c connector.Config, _ *settings) any { return c.Accounts[0].FallbackPosition }},
		"poll-interval":      {given: def(durations, "5m0s"), get: func(c connector.Config, _ *settings) any { return c.PollInterval }},
		"poll-overlap":       {given: def(durations, "2m0s"), get: func(c connector.Config, _ *settings) any { return c.PollOverlap }},
		"positions-interval": {given: def(durations, "5m0s"), get: func(c connector.Config, _ *settings) any { return c.PositionsInterval }},
		"request-timeout":    {given: def(durations, "30s"), get: func(c connector.Config, _ *settings) any { return c.RequestTimeout }},
		"settle-delay":       {given: def(durations, "5s"), get: func(c connector.Config, _ *settings) any { return c.SettleDelay }},
		"sweep-interval":     {given: def(durations, "168h0m0s"), get: func(c connector.Config, _ *settings) any { return c.SweepInterval }},
		"denied-retry":       {given: def(durations, "1m0s"), get: func(c connector.Config, _ *settings) any { return c.DeniedRetry }},
		"member-ttl":         {given: def(durations, "10s"), get: func(c connector.Config, _ *settings) any { return c.MemberTTL }},
		"event-source":       {given: def(words, "/comeet-connector"), get: func(c connector.Config, _ *settings) any { return c.EventSource }},
		"drain-timeout":      {given: def(durations, "0s"), get: func(c connector.Config, _ *settings) any { return c.DrainTimeout }},
		"rate-limit": {given: values{"50/30s", "off", "20/1m", "100/60s"}, get: func(c connector.Config, _ *settings) any { return fmt.Sprint(c.RateLimit, c.NoRateLimit) },
			want: [4]any{"{50 30s} false", "{0 0s} true", "{20 1m0s} false", "{100 1m0s} false"}},
		"workers":    {given: def(numbers, "0"), get: func(c connector.Config, _ *settings) any { return c.Workers }},
		"admin-addr": {given: values{":1", ":2", "off", "127.0.0.1:8080"}, get: func(c connector.Config, _ *settings) any { return c.AdminAddr }},
		"log-level":  {given: values{"debug", "warn", "error", "info"}, get: func(c connector.Config, _ *settings) any { return c.Log.GetLevel() }},
		"log-format": {given: values{"json", "text", "json", "auto"}, get: func(_ connector.Config, s *settings) any { return s.LogFormat }},
		"comeet-api-key-file": {given: values{f1, f2, f3, ""}, with: map[string]string{apiSecret: "s"}, get: func(c connector.Config, _ *settings) any { return key(c) },
			want: [4]any{"one<nil>", "two<nil>", "three<nil>", ""}},
		"comeet-api-secret-file": {given: values{f1, f2, f3, ""}, with: map[string]string{apiKey: "k"}, get: func(c connector.Config, _ *settings) any { return secret(c) },
			want: [4]any{"one<nil>", "two<nil>", "three<nil>", "unset"}},
		"comeet-api-key": {given: values{"", "two", "three", ""}, with: map[string]string{apiSecret: "s"}, get: func(c connector.Config, _ *settings) any { return key(c) },
			want: [4]any{"", "two<nil>", "three<nil>", ""}},
		"comeet-api-secret": {given: values{"", "two", "three", ""}, with: map[string]string{apiKey: "k"}, get: func(c connector.Config, _ *settings) any { return secret(c) },
			want: [4]any{"", "two<nil>", "three<nil>", "unset"}},
	}
	in := resolver{env: env(nil), file: new(settingsFile)}
	c := &cli{settings: settings{env: env(nil), stderr: io.Discard, logs: io.Discard}}
	k, _, err := c.parse(t.Context(), []string{"version"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	in.learn(k.Model)
	var names []string
	for name, tt := range tests {
		names = append(names, strings.ReplaceAll(name, "-", "_"))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{}
			maps.Copy(vars, tt.with)
			vars["CONFIG"] = file(t, fmt.Sprintf("%s: %q\n", strings.ReplaceAll(name, "-", "_"), tt.given[2]))
			vars[variable(name)] = tt.given[1]
			args := []string{"--" + name + "=" + tt.given[0]}
			for i, source := range []string{"flag", "environment", "file", "default"} {
				want := tt.want[i]
				if want == nil {
					want = tt.given[i]
				}
				secretFlag := i == 0 && tt.given[0] == "" && strings.HasPrefix(name, "comeet-api")
				if !secretFlag && want != "unset" {
					cfg, s := read(t, args, vars)
					if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(tt.get(cfg, s))); diff != "" {
						t.Errorf("the %s should decide (-want +got):\n%s", source, diff)
					}
				}
				switch source {
				case "flag":
					args = nil
				case "environment":
					// Empty is unset, as what compose files make of a variable that is not there.
					vars[variable(name)] = ""
				case "file":
					vars["CONFIG"] = ""
				}
			}
		})
	}
	for name := range in.known {
		if !slices.Contains(names, name) {
			t.Errorf("setting %s has no row in this test", name)
		}
	}
}

func TestAccountsOfTheFile(t *testing.T) {
	t.Parallel()
	keyFile := file(t, "north-key\n")
	cfg, _ := read(t, nil, map[string]string{apiKey: "default-key", apiSecret: "partner", "CONFIG": file(t, `
workers: 8
accounts:
  - name: north
    api_key_file: `+keyFile+`
    base_url: https://north.example
    rate_limit: 40/30s
    poll_interval: 90s
    workers: 3
    fallback_position: "87.405"
  - {name: south, api_key: south-key, api_secret: own}
`)})
	type account struct {
		Name, Key, Secret, BaseURL, Fallback string
		Limit                                comeet.Limit
		Poll                                 time.Duration
		Workers                              int
	}
	var got []account
	for _, a := range cfg.Accounts {
		key, secret, err := a.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, account{a.Name, key, secret, a.BaseURL, a.FallbackPosition, a.RateLimit, a.PollInterval, a.Workers})
	}
	want := []account{
		{Name: "default", Key: "default-key", Secret: "partner"},
		{"north", "north-key", "partner", "https://north.example", "87.405", comeet.Limit{Requests: 40, Window: 30 * time.Second}, 90 * time.Second, 3},
		{Name: "south", Key: "south-key", Secret: "own"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if err := os.WriteFile(keyFile, []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, _, err := cfg.Accounts[1].Credentials(); key != "rotated" || err != nil {
		t.Errorf("after a rotation: %q, %v", key, err)
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	secretFile, emptyFile := file(t, marker), file(t, " \n")
	good := map[string]string{apiKey: marker, apiSecret: marker, "ADMIN_ADDR": "off"}
	accounts := func(list string) string { return "accounts:\n" + list }
	tests := map[string]struct {
		args   []string
		env    map[string]string // over good; "-" takes away
		config string
		want   []string // each line holds its text
	}{
		"no account":              {env: map[string]string{apiKey: "-"}, want: []string{"no Comeet account"}},
		"no secret":               {env: map[string]string{apiSecret: "-"}, want: []string{"COMEET_API_SECRET is missing: set it, or COMEET_API_SECRET_FILE"}},
		"blank secret":            {env: map[string]string{apiSecret: " "}, want: []string{"COMEET_API_SECRET is blank"}},
		"secret twice":            {env: map[string]string{apiSecret + "_FILE": secretFile}, want: []string{"COMEET_API_SECRET and COMEET_API_SECRET_FILE are both given"}},
		"key twice":               {env: map[string]string{apiKey + "_FILE": secretFile}, want: []string{"COMEET_API_KEY and COMEET_API_KEY_FILE are both given"}},
		"empty secret file":       {env: map[string]string{apiSecret: "-", apiSecret + "_FILE": emptyFile}, want: []string{"COMEET_API_SECRET_FILE: " + emptyFile + " is empty"}},
		"missing secret file":     {env: map[string]string{apiSecret: "-", apiSecret + "_FILE": "/nowhere/s"}, want: []string{"COMEET_API_SECRET_FILE: open /nowhere/s: no such file"}},
		"plain http":              {env: map[string]string{"COMEET_BASE_URL": "http://api.example.com"}, want: []string{"plain http"}},
		"no URL":                  {env: map[string]string{"COMEET_BASE_URL": "api.example.com"}, want: []string{"must be https://host"}},
		"password in the URL":     {env: map[string]string{"COMEET_BASE_URL": "https://u:" + marker + "@api.example.com"}, want: []string{"account \"default\""}},
		"bus is no URL":           {env: map[string]string{"NATS_URL": "nats://u:" + marker + "@ba[d"}, want: []string{"NATS_URL: must be like nats://host:4222"}},
		"bus credentials missing": {env: map[string]string{"NATS_CREDS": "/nowhere/creds"}, want: []string{"NATS_CREDS: open /nowhere/creds"}},
		"duration":                {env: map[string]string{"POLL_INTERVAL": marker}, want: []string{"POLL_INTERVAL: must be a duration above 0"}},
		"duration without unit":   {args: []string{"--request-timeout=30"}, want: []string{"--request-timeout: must be a duration above 0"}},
		"duration 0":              {config: "settle_delay: 0s", want: []string{"settle_delay: must be a duration above 0"}},
		"rate":                    {env: map[string]string{"RATE_LIMIT": "100"}, want: []string{"RATE_LIMIT: must be like 100/60s"}},
		"rate too small":          {env: map[string]string{"RATE_LIMIT": "1/60s"}, want: []string{"RATE_LIMIT must allow at least 10"}},
		"size":                    {env: map[string]string{"EVENTS_MAX_BYTES": "4GB"}, want: []string{"EVENTS_MAX_BYTES: must be a number of bytes"}},
		"size beyond all":         {env: map[string]string{"EVENTS_MAX_BYTES": "9999999TiB"}, want: []string{"EVENTS_MAX_BYTES: must be a number of bytes"}},
		"size too small":          {env: map[string]string{"EVENTS_MAX_BYTES": "1"}, want: []string{"EVENTS_MAX_BYTES must be at least 1 MiB"}},
		"workers 0":               {env: map[string]string{"WORKERS": "0"}, want: []string{"WORKERS: must be a whole number above 0"}},
		"several at once":         {env: map[string]string{"WORKERS": "5000", "NATS_REPLICAS": "9"}, want: []string{"WORKERS must be between", "NATS_REPLICAS must be between"}},
		"log level":               {env: map[string]string{"LOG_LEVEL": "loud"}, want: []string{"LOG_LEVEL must be one of"}},
		"admin address in use":    {env: map[string]string{"ADMIN_ADDR": taken.Addr().String()}, want: []string{"ADMIN_ADDR"}},
		"file missing":            {args: []string{"--config=/nowhere/c.yaml"}, want: []string{"configuration file: open /nowhere/c.yaml"}},
		"file is no YAML":         {config: "a: b\n\tapi_key: " + marker, want: []string{"not valid YAML"}},
		"file with an alias":      {config: "nats_url: *" + marker, want: []string{"not valid YAML"}},
		"file is no mapping":      {config: marker, want: []string{":1: must be settings"}},
		"file is a list":          {config: "- " + marker, want: []string{":1: must be settings"}},
		"unknown setting":         {config: "workers: 3\npol_interval: " + marker, want: []string{`:2: unknown setting "pol_interval"`}},
		"file names a file":       {config: "config: other.yaml", want: []string{`unknown setting "config"`}},
		"second document":         {config: "poll_interval: 2m\n---\naccounts:\n- {name: north, api_key: " + marker + "}\n", want: []string{":2: a second document begins here; all settings belong into one"}},
		"second document, broken": {config: "poll_interval: 2m\n---\n[" + marker, want: []string{"a second YAML document begins"}},
		"secret in two lines":     {env: map[string]string{apiSecret: marker + "\n" + marker}, want: []string{"COMEET_API_SECRET holds a line break"}},
		"secret in UTF-16":        {env: map[string]string{apiSecret: "-", apiSecret + "_FILE": file(t, "\xff\xfes\x00")}, want: []string{"is UTF-16"}},
		"misspelt variable":       {env: map[string]string{"NATS_CRED": marker}, want: []string{"unknown environment variable NATS_CRED: did you mean NATS_CREDS?"}},
		"setting twice":           {config: "workers: 3\nworkers: 4", want: []string{":2: workers is given twice"}},
		"setting is a list":       {config: "workers: [" + marker + "]", want: []string{"workers must be a single value"}},
		"accounts is text":        {config: "accounts: " + marker, want: []string{"accounts must be a list"}},
		"account is text":         {config: accounts("- " + marker), want: []string{":2: must be settings"}},
		"account without key":     {config: accounts("- name: north"), want: []string{`account "north": api_key is missing: set it, or api_key_file`}},
		"account key twice":       {config: accounts("- {name: north, api_key: " + marker + ", api_key_file: " + secretFile + "}"), want: []string{"api_key and api_key_file are both given"}},
		"account unknown setting": {config: accounts("- name: north\n  api-key: " + marker), want: []string{`:3: unknown setting "api-key" of an account`}},
		"account bad value":       {config: accounts("- {name: north, api_key: k, workers: " + marker + "}"), want: []string{":2: workers: must be a whole number"}},
		"account key is a list":   {config: accounts("- {name: north, api_key: [" + marker + "]}"), want: []string{"api_key must be a single value"}},
		"account rate off":        {config: accounts("- {name: north, api_key: k, rate_limit: \"off\"}"), want: []string{"rate_limit: off is for all accounts"}},
		"account name":            {config: accounts("- {name: North Pole, api_key: " + marker + "}"), want: []string{`account name "North Pole": must match`}},
		"account twice":           {config: accounts("- {name: default, api_key: " + marker + "}"), want: []string{`account "default" is configured twice`}},
		"unknown flag":            {args: []string{"--comeet-api-secret=" + marker}, want: []string{"unknown flag --comeet-api-secret"}},
		"unknown command":         {args: []string{"walk"}, want: []string{"unexpected argument walk"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{}
			maps.Copy(vars, good)
			for k, v := range tt.env {
				vars[k] = strings.TrimPrefix(v, "-")
			}
			if tt.config != "" {
				vars["CONFIG"] = file(t, tt.config)
			}
			var stdout, stderr strings.Builder
			// Whatever gets past the checks by mistake must end too.
			ctx, cancel := context.WithTimeout(t.Context(), bustest.Stretch(10*time.Second))
			defer cancel()
			code := run(ctx, append([]string{"run"}, tt.args...), env(vars), &stdout, &stderr)
			lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
			if code != 1 || stdout.Len() != 0 || len(lines) != len(tt.want) {
				t.Fatalf("exit code %d, standard output %q, want code 1 and %d lines on standard error:\n%s", code, &stdout, len(tt.want), &stderr)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], "comeet-connector: ") || !strings.Contains(lines[i], want) {
					t.Errorf("line %q, want %q in it", lines[i], want)
				}
			}
			if strings.Contains(stderr.String(), marker) {
				t.Errorf("a secret is printed:\n%s", &stderr)
			}
		})
	}
}

// What editors, shells, secret stores and half of the world's configurations leave around a value changes nothing.
func TestHabitsOfSettings(t *testing.T) {
	t.Parallel()
	const bom = "\ufeff"
	cfg, s := read(t, []string{"--log-format=JSON"}, map[string]string{
		apiKey: bom + "key\r\n", apiSecret + "_FILE": file(t, bom+"secret\n\n"), "FALLBACK_POSITION": "87.405\n",
		"LOG_LEVEL": "Warning", "ADMIN_ADDR": "OFF", "RATE_LIMIT": "Off\n", "POLL_INTERVAL": " 90s\n", "WORKERS": "8\r",
		"EVENTS_MAX_BYTES": "2 gib\n", "PRIVATE_FILE_URLS": "TRUE\n", "NATS_URL": "nats://a:1\n", "EVENT_SOURCE": "\u00a0/x\u200b",
		"CONFIG": file(t, bom+"---\ndenied_retry: \"3s\\n\"\nmember_ttl: \"4s \"\naccounts:\n- {name: \"acme \", api_key: \"a\\n\", fallback_position: \"1.2\\n\", rate_limit: \"50 / 60s\\n\"}\n---\n# nothing more\n"),
	})
	key, secret, err := cfg.Accounts[0].Credentials()
	got := fmt.Sprint(key, secret, err, cfg.Accounts[0].FallbackPosition, cfg.Log.GetLevel(), cfg.AdminAddr, cfg.NoRateLimit, cfg.PollInterval, cfg.Workers,
		cfg.EventsMaxBytes, cfg.PrivateFileURLs, cfg.NATSURL, cfg.EventSource, s.LogFormat, cfg.DeniedRetry, cfg.MemberTTL)
	if want := fmt.Sprint("key", "secret", nil, "87.405", "warn", "off", true, 90*time.Second, 8, 2<<30, true, "nats://a:1", "/x", "json", 3*time.Second, 4*time.Second); got != want {
		t.Errorf("read as\n%s\nwant\n%s", got, want)
	}
	acme := cfg.Accounts[1]
	key, _, err = acme.Credentials()
	if got := fmt.Sprint(acme.Name, key, err, acme.FallbackPosition, acme.RateLimit); got != fmt.Sprint("acme", "a", nil, "1.2", comeet.Limit{Requests: 50, Window: time.Minute}) {
		t.Errorf("account read as %s", got)
	}
}

// A variable that was meant for the connector is refused with the name that it should have; one that may be another's is not.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	in := resolver{env: nil, file: new(settingsFile)}
	c := &cli{settings: settings{stderr: io.Discard, logs: io.Discard}}
	k, _, err := c.parse(t.Context(), []string{"version"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	in.learn(k.Model)
	for name, want := range map[string]string{
		"NATS_CRED": "NATS_CREDS", "NATS_CREDS_FILE": "NATS_CREDS", "NATS_URI": "NATS_URL", "NATS_REPLICA": "NATS_REPLICAS",
		"COMEET_APIKEY": "COMEET_API_KEY", "COMEET_KEY": "COMEET_API_KEY", "COMEET_SECRET": "COMEET_API_SECRET", "COMEET_API_KEYFILE": "COMEET_API_KEY_FILE",
		"COMEET_URL": "COMEET_BASE_URL", "COMEET_POLL_INTERVAL": "POLL_INTERVAL", "COMEET_CONNECTOR_LOG_LEVEL": "LOG_LEVEL", "NATS_EVENTS_MAX_BYTES": "EVENTS_MAX_BYTES",
		// Known, another's, or set by Kubernetes.
		"NATS_URL": "", "COMEET_API_KEY": "", "CONFIG": "", "NATS_USER": "", "NATS_CONTEXT": "", "NATS_CERT": "", "NATS_CA": "", "NATS_JS_DOMAIN": "",
		"NATS_SERVICE_HOST": "", "NATS_SERVICE_PORT": "", "NATS_SERVICE_PORT_CLIENT": "", "NATS_PORT": "", "NATS_PORT_4222_TCP_ADDR": "",
		"COMEET_CONNECTOR_PORT": "", "COMEET_DEPARTMENT": "", "POLL_INTERVALL": "", "PATH": "", "HOME": "", "COMEET_CONFIG": "",
	} {
		refused, _ := environment{name: "x"}.check(in.variables())
		got := fmt.Sprint(refused)
		if want == "" && len(refused) > 0 || want != "" && got != fmt.Sprintf("[unknown environment variable %s: did you mean %s?]", name, want) {
			t.Errorf("%s: %s, want %q", name, got, want)
		}
		if refused, doubtful := (environment{name: ""}).check(in.variables()); len(refused)+len(doubtful) > 0 {
			t.Errorf("%s, empty: %v %v", name, refused, doubtful)
		}
	}
	for name, want := range map[string]bool{"NATS_USER": true, "COMEET_DEPARTMENT": true, "POLL_INTERVALL": true, "LOG_LEVELS": true, "NATS_PORT": false, "COMEET_CONNECTOR_PORT": false, "WORKER": false, "PATH": false} {
		if _, doubtful := (environment{name: marker}).check(in.variables()); len(doubtful) > 0 != want || strings.Contains(fmt.Sprint(doubtful), marker) {
			t.Errorf("%s: %q, want a warning: %t", name, doubtful, want)
		}
	}
}
