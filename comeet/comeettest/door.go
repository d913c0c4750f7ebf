package comeettest

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Transport is the in-memory door: a http.RoundTripper that serves in the caller's goroutine. It
// honours the request's context, fails as net/http's own transport does (*net.OpError with Op
// "dial" for a refused connection, Op "read" for a cut one), never resends, and reports to an
// httptrace of the request. It keeps no connections.
func (s *Server) Transport() http.RoundTripper { return memoryDoor{s} }

type memoryDoor struct{ s *Server }

func (d memoryDoor) RoundTrip(q *http.Request) (*http.Response, error) {
	body := q.Body
	if body == nil {
		body = http.NoBody
	}
	defer body.Close()
	ctx := q.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	if trace.GetConn != nil {
		trace.GetConn(q.URL.Host)
	}
	in := &inbound{memory: true, method: q.Method, path: q.URL.EscapedPath(), rawQuery: q.URL.RawQuery, base: q.URL.Scheme + "://" + q.URL.Host,
		header: canonical(q.Header), read: func() ([]byte, error) { return io.ReadAll(body) }, accepted: func() { sent(trace) }}
	if in.method == "" {
		in.method = http.MethodGet
	}
	r := d.s.serve(ctx, in)
	if r.fate != fateAnswer {
		return nil, d.failure(ctx, r.fate)
	}
	if trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	resp := &http.Response{
		Status: strconv.Itoa(r.status) + " " + http.StatusText(r.status), StatusCode: r.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.header, ContentLength: int64(len(r.body)), Request: q,
		Body: &memoryBody{ctx: ctx, s: d.s, rest: r.body, piece: pieceOf(r), wait: r.chunk, cut: r.cut},
	}
	return resp, nil
}

// canonical imitates the wire, where the case of names is lost.
func canonical(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		name = textproto.CanonicalMIMEHeaderKey(name)
		out[name] = append(out[name], values...)
	}
	return out
}

// sent tells a trace what a connection would have.
func sent(t *httptrace.ClientTrace) {
	if t.GotConn != nil {
		t.GotConn(httptrace.GotConnInfo{})
	}
	if t.WroteHeaders != nil {
		t.WroteHeaders()
	}
	if t.WroteRequest != nil {
		t.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "tcp" }
func (memoryAddr) String() string  { return "comeettest" }

func (d memoryDoor) failure(ctx context.Context, f fate) error {
	switch {
	case f == fateRefuse:
		return &net.OpError{Op: "dial", Net: "tcp", Addr: memoryAddr{}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case f == fateHang && ctx.Err() != nil:
		return ctx.Err()
	}
	return &net.OpError{Op: "read", Net: "tcp", Addr: memoryAddr{}, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

func pieceOf(r *reply) int {
	if r.chunk > 0 {
		return len(r.body)/10 + 1
	}
	return max(len(r.body), 1)
}

// memoryBody gives an answer's body, in slow pieces or cut in the middle if it must be.
type memoryBody struct {
	ctx   context.Context
	s     *Server
	rest  []byte
	piece int
	left  int // of the present piece
	wait  time.Duration
	cut   bool // to be cut in the middle
	torn  bool // was cut
}

func (b *memoryBody) Read(p []byte) (int, error) {
	if b.cut {
		b.cut = false
		b.rest = b.rest[:len(b.rest)/2]
		b.torn = true
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if len(b.rest) == 0 {
		if b.torn {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, io.EOF
	}
	if b.left == 0 {
		if b.wait > 0 && !b.s.pause(b.ctx, b.wait) {
			if err := b.ctx.Err(); err != nil {
				return 0, err
			}
			return 0, io.ErrUnexpectedEOF
		}
		b.left = b.piece
	}
	n := copy(p, b.rest[:min(b.left, len(b.rest))])
	b.rest, b.left = b.rest[n:], b.left-n
	return n, nil
}

func (b *memoryBody) Close() error { b.rest = nil; return nil }

// serveHTTP is the socket door.
func (s *Server) serveHTTP(w http.ResponseWriter, q *http.Request) {
	base := url.URL{Scheme: "http", Host: q.Host}
	if q.TLS != nil {
		base.Scheme = "https"
	}
	in := &inbound{method: q.Method, path: q.URL.EscapedPath(), rawQuery: q.URL.RawQuery, base: base.String(),
		header: q.Header, read: func() ([]byte, error) { return io.ReadAll(q.Body) }}
	r := s.serve(q.Context(), in)
	switch r.fate {
	case fateRefuse:
		reset(w)
		return
	case fateDrop, fateHang:
		panic(http.ErrAbortHandler) // closes the connection without a word
	}
	maps.Copy(w.Header(), r.header)
	if r.header.Get("Date") == "" {
		w.Header()["Date"] = nil // net/http adds its own otherwise
	}
	if len(r.body) == 0 {
		w.WriteHeader(r.status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	body := r.body
	if r.cut {
		body = body[:len(body)/2]
	}
	flush := http.NewResponseController(w)
	for piece := range slices.Chunk(body, pieceOf(r)) {
		if r.chunk > 0 && !s.pause(q.Context(), r.chunk) {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(piece); err != nil {
			return
		}
		if r.chunk > 0 || r.cut {
			_ = flush.Flush()
		}
	}
	if r.cut {
		panic(http.ErrAbortHandler)
	}
}

// reset cuts the connection with a TCP reset, the nearest to a refusal that an accepted connection
// can come.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}
