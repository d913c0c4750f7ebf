package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// minServer is the oldest server that keeps every promise: an older one takes a stream's settings
// and drops those that it does not know.
var minServer = [2]int{2, 12}

// checkServer refuses a server that is too old, before anything is made on it. It waits for the
// connection.
func (b *Bus) checkServer(ctx context.Context) error {
	version := b.nc.ConnectedServerVersion()
	for version == "" {
		if !b.untilConnected(ctx, 0) {
			return b.ended(ctx)
		}
		version = b.nc.ConnectedServerVersion()
	}
	if tooOld(version) {
		return fmt.Errorf("the nats-server is %s; %d.%d or newer is needed: upgrade it, then start again", version, minServer[0], minServer[1])
	}
	return nil
}

// tooOld compares versions such as 2.10.29 and 2.14.0-RC.1. One that cannot be read is a build of
// somebody's own, and let pass.
func tooOld(version string) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil {
		return false
	}
	return major < minServer[0] || major == minServer[0] && minor < minServer[1]
}

// noRoom explains why a stream cannot be made: the server sets its max_bytes aside at once. It
// returns any other error as it is.
func (b *Bus) noRoom(ctx context.Context, want jetstream.StreamConfig, err error) error {
	if want.MaxBytes <= 0 || !errors.Is(err, ErrFull) {
		return err
	}
	limit := ""
	if info, infoErr := b.js.AccountInfo(ctx); infoErr == nil && info.Limits.MaxStore > 0 {
		limit = fmt.Sprintf(" (this account may store %s, of which %s are given out)", mib(info.Limits.MaxStore), mib(int64(max(info.ReservedStore, info.Store))))
	}
	return fmt.Errorf("it needs %s, and the server has less room%s: set EVENTS_MAX_BYTES lower, or raise the server's max_file_store "+
		"or the account's storage limit; without max_file_store the server takes three quarters of the volume that was free at its start", mib(want.MaxBytes), limit)
}

func mib(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// withoutJetStream says what to do where JetStream does not answer; it returns any other error as
// it is.
func (b *Bus) withoutJetStream(err error) error {
	on, _ := b.nc.ConnectedServerJetStream()
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("JetStream is off for this account: give the account JetStream limits in the server's configuration: %w", err)
	case !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return err
	case !on && b.nc.IsConnected() && !b.Clustered():
		return fmt.Errorf("JetStream is not enabled: start the server with --jetstream, or with jetstream in its configuration: %w", err)
	}
	return fmt.Errorf("JetStream is not enabled or not up: %w", err)
}
