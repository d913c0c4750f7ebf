package comeet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Error is the one error type of this package. It may be logged, because it never holds a token,
// key, secret, URL query, request body, answer body, or message of Comeet.
type Error struct {
	// Op is the call in words: "create candidate", "list positions".
	Op string
	// Kind says what to do next. It is never zero.
	Kind Kind
	// Status is the HTTP status of the answer; 0 means that there was no answer.
	Status int
	// Code is Comeet's machine code (the body's `error`), such as "invalid_email". It is "" if
	// there was none, or if it was not 1 to 64 characters a-z, 0-9 and "_".
	Code string
	// RetryAfter is how long a 429 asks to wait, by its Retry-After header. 0 means that it does
	// not say.
	RetryAfter time.Duration
	// CandidateUID is the candidate that an Existing error is about. If [IsRealID] says so, read it
	// with [ByRealID].
	CandidateUID string
	// Err is the cause, if there is more to say than Kind, Status and Code.
	Err error
}

// These causes tell more than a Kind. Each is wrapped in an *Error of Kind Unavailable.
var (
	// ErrForeignPage says that a next_page is no URL, or leaves the base URL's scheme, host or
	// port. Nothing was sent, because the token would have gone there.
	ErrForeignPage = errors.New("next_page leaves the base URL; check WithBaseURL")
	// ErrPageLoop says that this listing has read a next_page already.
	ErrPageLoop = errors.New("next_page was read before")
	// ErrTooManyPages says that a listing reached its bound and still has a next_page.
	ErrTooManyPages = errors.New("more pages than the bound of this listing")
)

var (
	errUnexpectedAnswer = errors.New("the answer is not what the API documents")
	errBadUID           = errors.New("the uid is empty or cannot be part of a path; nothing was sent")
	errTooLarge         = errors.New("the answer is larger than the client reads")
	errForeignType      = errors.New("the transport failed without telling how")
)

// Error names the call, the Kind and what to do, and the status and machine code if there was an
// answer.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("comeet: ")
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Kind.String())
	if e.Status != 0 {
		b.WriteString(" (" + strconv.Itoa(e.Status))
		if e.Code != "" {
			b.WriteString(" " + e.Code)
		}
		b.WriteString(")")
	}
	if e.Kind <= lastKind && kinds[e.Kind].hint != "" {
		b.WriteString(": " + kinds[e.Kind].hint)
	}
	if e.RetryAfter > 0 {
		b.WriteString(" " + e.RetryAfter.String())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of the first *Error in err's tree; 0 for nil and for errors that are not
// from this package.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

// timeoutError is the cause of a call that took longer than its own limit. It names the setting,
// because "deadline exceeded" does not tell an operator which setting to change.
type timeoutError struct {
	setting string
	limit   time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("no complete answer within %s (%s)", e.limit, e.setting)
}
func (e *timeoutError) Timeout() bool        { return true }
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// transportError is a failure of the connection, in words that cannot quote what was sent or read.
type transportError struct {
	stage string
	host  string
	cause error
}

func (e *transportError) Error() string { return e.stage + " " + e.host + ": " + e.cause.Error() }
func (e *transportError) Unwrap() error { return e.cause }

// safeCause reduces an error of a transport to what may be shown. net/http quotes malformed answers
// in its errors, and another transport may quote anything. So only errors with a known text pass;
// of any other the result names only the type.
func safeCause(host string, err error) error {
	stage := "talking to"
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "dial", "read", "write":
			stage = op.Op
		}
	}
	return &transportError{stage: stage, host: host, cause: knownCause(host, err)}
}

func knownCause(host string, err error) error {
	if e, ok := errors.AsType[*timeoutError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return &net.DNSError{Err: "cannot be resolved", Name: host, IsTimeout: e.IsTimeout, IsTemporary: e.IsTemporary, IsNotFound: e.IsNotFound}
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	if certificateRefused(err) {
		return errCertificate
	}
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, net.ErrClosed, io.ErrUnexpectedEOF, io.EOF,
		io.ErrClosedPipe, errTooLarge,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return fmt.Errorf("%w (%T)", errForeignType, err)
}

var errCertificate = errors.New("the TLS certificate or handshake is not acceptable")

// certificateRefused reports whether err ended a TLS handshake on our side, so before any byte of
// the request.
func certificateRefused(err error) bool {
	return isOneOf(err, new(*tls.CertificateVerificationError), new(tls.RecordHeaderError), new(x509.UnknownAuthorityError),
		new(x509.HostnameError), new(x509.CertificateInvalidError))
}

// isOneOf reports whether an error in err's tree is of the type that any of these points to.
func isOneOf(err error, types ...any) bool {
	return slices.ContainsFunc(types, func(t any) bool { return errors.As(err, t) })
}

// neverSent reports whether err proves that no byte of the request left. It is for transports that
// call no trace hooks.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" || isOneOf(err, new(*net.DNSError)) || certificateRefused(err)
}
