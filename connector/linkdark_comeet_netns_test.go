//go:build netns

package connector_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

const (
	comeetPort = 8443
	// answerTakes is Comeet's time to answer a POST, so that many are under way at once, each on a
	// connection of its own.
	answerTakes = 200 * time.Millisecond
	// longBody is a body that Comeet reads in two parts where POSTs are held.
	longBody = 20_000
)

// front is Comeet as a scenario's network sees it: a server before the fake. It notes each POST,
// acts on it even if its client has left meanwhile, and moves each new candidate on at once, so
// that a second POST is not refused as a conflict.
type front struct {
	fake *comeettest.Server
	url  string

	mu    sync.Mutex // guards what follows
	posts []post
	hold  chan struct{} // closed when POSTs are no longer held; nil if they are not
	held  int
}

// post is one POST that came to Comeet whole.
type post struct {
	arrived time.Time
	// from is its sender's address, partner the candidate's id as Comeet was told.
	from, partner string
	status        int
}

func newFront(t testing.TB, fake *comeettest.Server, host string, certificate *tls.Certificate) *front {
	t.Helper()
	f := &front{fake: fake}
	// A body must not fit into what Comeet's kernel takes of it unread.
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10) })
	}}
	l, err := listen.Listen(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(comeetPort)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		f.serve(w, r)
	})}
	f.url = "http://" + l.Addr().String() + "/recruit/api"
	if certificate != nil {
		f.url = "https://" + l.Addr().String() + "/recruit/api"
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		l = tls.NewListener(l, srv.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		f.release()
		srv.Close()
		<-done
		wg.Wait()
	})
	return f
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	isPost := r.Method == http.MethodPost
	var hold chan struct{}
	if isPost {
		hold = f.holding()
	}
	var body bytes.Buffer
	if hold != nil && r.ContentLength > longBody {
		_, _ = io.CopyN(&body, r.Body, 1<<10)
		f.wait(hold)
		hold = nil
	}
	if _, err := body.ReadFrom(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	arrived := time.Now()
	resp := f.act(r, body.Bytes())
	if resp == nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if isPost {
		f.note(r, arrived, body.Bytes(), resp.StatusCode, answer)
		if hold != nil {
			f.wait(hold)
		}
		select {
		case <-time.After(answerTakes):
		case <-r.Context().Done():
		}
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
}

// act has the fake serve the request, whether its client still waits or not.
func (f *front) act(r *http.Request, body []byte) *http.Response {
	in := r.Clone(context.WithoutCancel(r.Context()))
	in.URL.Scheme, in.URL.Host, in.RequestURI = "http", r.Host, ""
	if r.TLS != nil {
		in.URL.Scheme = "https"
	}
	in.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := f.fake.Transport().RoundTrip(in)
	if err != nil {
		return nil
	}
	return resp
}

func (f *front) note(r *http.Request, arrived time.Time, body []byte, status int, answer []byte) {
	var asked struct {
		Partner string `json:"partner_candidate_id"`
	}
	var made struct{ UID string }
	_ = json.Unmarshal(body, &asked)
	if status == http.StatusCreated && json.Unmarshal(answer, &made) == nil {
		_ = f.fake.Recruiter("default").SetStatus(made.UID, comeettest.OnHold)
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.posts = append(f.posts, post{arrived, from, asked.Partner, status})
}

// received are the POSTs so far, by arrival.
func (f *front) received() []post {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.posts)
	slices.SortFunc(all, func(a, b post) int { return a.arrived.Compare(b.arrived) })
	return all
}

// holdPosts makes Comeet stop within each POST from now on: within the body of a long one, before
// the answer of a short one.
func (f *front) holdPosts() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.held = make(chan struct{}), 0
}

func (f *front) holding() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hold
}

func (f *front) wait(hold chan struct{}) {
	f.mu.Lock()
	f.held++
	f.mu.Unlock()
	<-hold
}

// holds counts the POSTs within which Comeet has stopped.
func (f *front) holds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held
}

// release lets Comeet go on.
func (f *front) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hold != nil {
		close(f.hold)
		f.hold = nil
	}
}

// authority signs the certificates of the Comeets.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// file is where processes read the certificate.
	file string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.pem"), certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	raw, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes the certificate of a host.
func (a *authority) sign(t testing.TB, host string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter, IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}
