package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// try repeats one idempotent request while the bus is away or does not answer in time.
func (b *Bus) try(ctx context.Context, request func(context.Context) error) error {
	return b.tryWithin(ctx, attemptTimeout, request)
}

// tryWithin is try for requests that carry so much that one try may take longer.
func (b *Bus) tryWithin(ctx context.Context, timeout time.Duration, request func(context.Context) error) error {
	begun := time.Now()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		tried := time.Now()
		attempt, cancel := context.WithTimeout(ctx, timeout)
		// An answer that was on its way when the connection broke never comes.
		stop := context.AfterFunc(b.epoch.Load().ctx, cancel)
		err := request(attempt)
		stop()
		cancel()
		if err == nil {
			return nil
		}
		verdict, again := classify(err)
		if !again { // guard: unknown-result-is-asked-again
			return verdict
		}
		if d := b.denied.Load(); d != nil && d.at.After(tried) {
			err = fmt.Errorf("%w: %w", d.err, err)
		}
		err = b.withoutJetStream(err)
		if time.Since(begun) >= time.Second {
			b.notify(ConnEvent{State: "waiting", Err: err})
		}
		if !b.wait(ctx, wait) {
			return fmt.Errorf("%w (last: %w)", b.ended(ctx), err)
		}
	}
}

// ended is why there is no sense in another try.
func (b *Bus) ended(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return nats.ErrConnectionClosed
}

// classify turns an error of the client library into one of ours and says whether the same request
// may be repeated.
//
// Repeated is only what heals without a change of the request or of the bus's configuration, or
// what cannot be told from it.
func classify(err error) (verdict error, again bool) {
	if old, ok := errors.AsType[*nats.APIError](err); ok {
		// The client library watches buckets and reads objects through its older half, which has
		// types of its own.
		err = &jetstream.APIError{Code: old.Code, ErrorCode: jetstream.ErrorCode(old.ErrorCode), Description: old.Description}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return verdictOf(api, err)
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge, false
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrObjectNotFound), errors.Is(err, jetstream.ErrMsgNotFound):
		return ErrNotFound, false
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return fmt.Errorf("%w: %w", ErrAssetDeleted, err), false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, errAgain),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrStaleConnection):
		return err, true
	}
	return err, false
}

// errAgain means that something changed while it was read.
var errAgain = errors.New("bus: it changed while it was read")

func verdictOf(api *jetstream.APIError, err error) (verdict error, again bool) {
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence:
		return ErrConflict, false
	case jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		// On a replicated stream: a conflicting write is still in flight. It is no verdict.
		return ErrConflict, true // guard: write-in-flight-is-no-verdict
	case codeStoreFailed:
		switch api.Description {
		case "maximum messages per subject exceeded":
			return ErrConflict, false
		case "maximum bytes exceeded", "maximum messages exceeded":
			return ErrFull, false
		case "message too large":
			return ErrTooLarge, false
		}
		return err, true // such as a disk that is full or broken
	case codeStreamCreate:
		// The folder of a namesake that is being removed, or the disk; a description of any other
		// kind speaks of the request.
		return err, api.Description == "error creating store for stream"
	case codeAccountLimit, codeNoStorage:
		return fmt.Errorf("%w: %w", ErrFull, err), false
	case jetstream.JSErrCodeStreamMessageExceedsMaximum, codeHeaderTooLarge:
		return ErrTooLarge, false
	case jetstream.JSErrCodeStreamNotFound, jetstream.JSErrCodeConsumerNotFound, jetstream.JSErrCodeConsumerDoesNotExist:
		return fmt.Errorf("%w: %w", ErrAssetDeleted, err), false
	case jetstream.JSErrCodeMessageNotFound:
		return ErrNotFound, false
	case codeNoPeers, codeNotActive, codeNotAssigned, codeNotAvailable, codeNotLeader, codeInsufficient, codeNoAccount, codeRaft,
		codeStreamOffline, codeConsumerOffline, codeNotReady, codeTooManyRequests,
		jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
		return err, true
	}
	return err, false
}

// Codes of the server for which the client library has no name.
const (
	codeAccountLimit   jetstream.ErrorCode = 10002 // JSAccountResourcesExceededErr
	codeConsumerCreate jetstream.ErrorCode = 10012 // JSConsumerCreateErrF
	codeHeaderTooLarge jetstream.ErrorCode = 10097 // JSStreamHeaderExceedsMaximumErr
	codeNoStorage      jetstream.ErrorCode = 10047 // JSStorageResourcesExceededErr: what all streams may take together is given out
	codeStreamCreate   jetstream.ErrorCode = 10049 // JSStreamCreateErrF
	codeStoreFailed    jetstream.ErrorCode = 10077 // JSStreamStoreFailedF

	// These heal by themselves, or with the operator's help and no change of ours.
	codeNoPeers         jetstream.ErrorCode = 10005 // JSClusterNoPeersErrF: also while a cluster is still gathering
	codeNotActive       jetstream.ErrorCode = 10006 // JSClusterNotActiveErr
	codeNotAssigned     jetstream.ErrorCode = 10007 // JSClusterNotAssignedErr
	codeNotAvailable    jetstream.ErrorCode = 10008 // JSClusterNotAvailErr
	codeNotLeader       jetstream.ErrorCode = 10009 // JSClusterNotLeaderErr
	codeInsufficient    jetstream.ErrorCode = 10023 // JSInsufficientResourcesErr
	codeNoAccount       jetstream.ErrorCode = 10035 // JSNoAccountErr
	codeRaft            jetstream.ErrorCode = 10041 // JSRaftGeneralErrF
	codeStreamOffline   jetstream.ErrorCode = 10118 // JSStreamOfflineErr
	codeConsumerOffline jetstream.ErrorCode = 10119 // JSConsumerOfflineErr
	codeNotReady        jetstream.ErrorCode = 10163 // JSStreamExpectedLastSeqPerSubjectNotReady
	codeTooManyRequests jetstream.ErrorCode = 10167 // JSStreamTooManyRequests
)

// wait sleeps before a repetition, or until the connection comes back if it is away. It reports
// whether there may be one.
func (b *Bus) wait(ctx context.Context, d time.Duration) bool {
	if !b.nc.IsConnected() {
		return b.untilConnected(ctx, max(d, time.Second)) && ctx.Err() == nil
	}
	return Sleep(ctx, d)
}

// untilConnected waits for the connection, if it is away, for at most d; 0 means for as long as it
// takes. It returns false if ctx has ended or the connection was closed.
func (b *Bus) untilConnected(ctx context.Context, d time.Duration) bool {
	var late <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	for {
		l := b.epoch.Load()
		switch {
		case b.nc.IsClosed():
			return false
		case b.nc.IsConnected():
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-late:
			return !b.nc.IsClosed()
		case <-l.ctx.Done():
		}
	}
}
