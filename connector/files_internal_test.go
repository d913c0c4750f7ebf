package connector

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

// What a file's address may lead to. Certificates of tests are trusted here only, so this is no test from the outside.
func TestDownload(t *testing.T) {
	t.Parallel()
	const file = "the file"
	fails := 0
	mux := http.NewServeMux()
	answer := func(path string, status int, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	redirect := func(path, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	answer("/file", 200, file)
	answer("/largest", 200, strings.Repeat("x", maxFileBytes))
	answer("/larger", 200, strings.Repeat("x", maxFileBytes+1))
	answer("/partial", 206, file)
	answer("/gone", 404, "KEYMARK")
	answer("/denied", 403, "")
	answer("/broken", 500, "")
	answer("/empty", 200, "")
	typed := func(path, contentType, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte(body))
		})
	}
	typed("/signin", "text/html; charset=utf-8", "Please sign in")
	typed("/error", "application/xml", "\ufeff <?xml version=\"1.0\"?><Error/>")
	typed("/untyped", "application/octet-stream", "\n<!DOCTYPE html>")
	typed("/mistyped", "Text/HTML", "%PDF-1.7 content")
	redirect("/once", "/curious")
	mux.HandleFunc("/curious", func(w http.ResponseWriter, r *http.Request) {
		if r.Referer() != "" {
			t.Errorf("the target of a redirect learns where from: %s", r.Referer())
		}
		_, _ = w.Write([]byte(file))
	})
	redirect("/ever", "/ever")
	redirect("/plain", "http://127.0.0.1:1/file")
	mux.HandleFunc("/restarting", func(w http.ResponseWriter, _ *http.Request) {
		if fails++; fails < fileTries {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(file))
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(file))
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	cases := []struct {
		address, name string
		private       bool
		want          events.Reason
		says          string
	}{
		{address: "/file"},
		{address: "/once"},
		{address: "/largest"},
		{address: "/restarting"},
		{address: "/mistyped"},
		{address: "/signin", name: "notes.html"},
		{address: "/signin", name: "notes"},
		{address: "/empty", want: events.ReasonFileMissing, says: "is empty"},
		{address: "/signin", want: events.ReasonFileMissing, says: "web page"},
		{address: "/signin", name: "KEYMARK.DOCX ", want: events.ReasonFileMissing, says: "web page"},
		{address: "/error", name: "KEYMARK.Doc", want: events.ReasonFileMissing, says: "web page"},
		{address: "/untyped", name: "face.png", want: events.ReasonFileMissing, says: "web page"},
		{address: "/larger", want: events.ReasonFileRefused, says: "6 MiB"},
		{address: "/partial", want: events.ReasonFileMissing, says: "206"},
		{address: "/gone", want: events.ReasonFileMissing, says: "404"},
		{address: "/denied", want: events.ReasonFileMissing, says: "403"},
		{address: "/broken", want: events.ReasonFileMissing, says: "500"},
		{address: "/ever", want: events.ReasonFileMissing, says: "redirects"},
		{address: "/plain", want: events.ReasonFileMissing, says: "redirects"},
		{address: "/short", want: events.ReasonFileMissing, says: "broke off"},
		{address: "/slow", want: events.ReasonFileMissing, says: "does not answer"},
		{address: "https://127.0.0.1:1/", want: events.ReasonFileMissing, says: "does not answer"},
		{address: "https://%zz/", want: events.ReasonFileMissing, says: "not valid"},
		{address: "/file", private: true, want: events.ReasonFileMissing, says: "private network"},
		{address: "https://localhost:1/KEYMARK", private: true, want: events.ReasonFileMissing, says: "private network"},
		{address: "https://[::1]:1/", private: true, want: events.ReasonFileMissing, says: "private network"},
		{address: "https://169.254.169.254/latest/meta-data", private: true, want: events.ReasonFileMissing, says: "private network"},
	}
	for _, c := range cases {
		client := newDownloads(!c.private)
		client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
		// It was published long ago.
		s := &submission{account: &account{downloads: client, bus: new(bus.Bus)}, intake: t.Context()}
		s.cfg.RequestTimeout, s.cfg.SettleDelay = 20*time.Second, 20*time.Millisecond
		if c.address == "/slow" {
			s.cfg.RequestTimeout = 50 * time.Millisecond
		}
		if c.address[0] == '/' {
			c.address = server.URL + c.address
		}
		data, why, err := s.readFile("/data/candidate/resume", &events.File{Name: cmp.Or(c.name, "KEYMARK.pdf"), URL: c.address})
		client.CloseIdleConnections()
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.address, err)
		case c.want == "" && (why != nil || len(data) == 0):
			t.Errorf("%s: %d bytes, %+v", c.address, len(data), why)
		case c.want != "" && (why == nil || why.reason != c.want || !strings.Contains(why.message, c.says) || strings.Contains(why.message, "KEYMARK")):
			t.Errorf("%s: %+v, want %s which says %q", c.address, why, c.want, c.says)
		}
	}
}

// A host that is away, for as long as a restart may take, refuses nobody who was published meanwhile.
func TestFileHostIsAway(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(down.Close)
	for name, c := range map[string]struct {
		address string
		age     time.Duration
		waits   bool
	}{
		"refuses connections":        {"https://127.0.0.1:1/", time.Second, true},
		"is in trouble":              {down.URL, time.Minute, true},
		"is away for too long":       {"https://127.0.0.1:1/", hostGrace + time.Second, false},
		"is not a host":              {"https://%zz/", time.Second, false},
		"is in trouble for too long": {down.URL, hostGrace + time.Second, false},
	} {
		s := &submission{account: &account{downloads: newDownloads(true), bus: new(bus.Bus)}, stored: time.Now().Add(-c.age), intake: t.Context()}
		s.cfg.RequestTimeout = 20 * time.Second
		_, why, err := s.readFile("/data/candidate/resume", &events.File{Name: "cv.pdf", URL: c.address})
		later, waits := errors.AsType[retryLaterError](err)
		if waits != c.waits || waits == (why != nil) || waits && (later.delay < 10*time.Second || later.delay > 5*time.Minute) {
			t.Errorf("%s: %+v, %v", name, why, err)
		}
	}
}

// A stop while a file is on its way gives the event back; it says nothing about the file.
func TestDownloadStopped(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	ctx, stop := context.WithCancel(t.Context())
	s := &submission{account: &account{downloads: newDownloads(true)}, intake: ctx}
	s.cfg.RequestTimeout = time.Minute
	go func() {
		<-begun
		stop()
	}()
	_, why, err := s.readFile("/data/candidate/resume", &events.File{Name: "cv.pdf", URL: server.URL})
	if _, ok := errors.AsType[retryLaterError](err); !ok || why != nil {
		t.Errorf("%+v, %v", why, err)
	}
}

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true,
		"127.0.0.1": false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"100.64.0.1": false, "169.254.169.254": false, "fe80::1": false, "fd00::1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false, "192.0.0.8": false, "64:ff9b::a00:1": false, "64:ff9b:1::1": false,
		"2002:a00:1::": false, "2001::1": false, "::ffff:10.0.0.1": false,
	} {
		if got := isPublic(netip.MustParseAddr(text).Unmap()); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
