package bus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Erase removes one message and overwrites its place, so that nothing of it stays on disk. One that
// is not there is no error.
func (b *Bus) Erase(ctx context.Context, stream string, seq uint64) error {
	err := b.try(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		return s.SecureDeleteMsg(ctx, seq)
	})
	if err != nil {
		// The server has no code of its own for a message that is not there.
		if _, gone := b.Message(ctx, stream, seq); errors.Is(gone, ErrNotFound) {
			return nil
		}
		return fmt.Errorf("erase message %d of stream %s: %w", seq, stream, err)
	}
	return nil
}

// EraseAll erases every message over a filter, the oldest first, until there is none: so what
// somebody writes meanwhile goes too, and whoever looks on the way finds the last message or none.
func (b *Bus) EraseAll(ctx context.Context, stream, filter string) error {
	for from := uint64(1); ; {
		m, err := b.Next(ctx, stream, filter, from)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.Erase(ctx, stream, m.Seq); err != nil {
			return err
		}
		from = m.Seq + 1
	}
}

// Erase removes an object and overwrites its place. It leaves no mark that it was there, which
// Delete of the library does. The chunks go first: what is known by its name can be erased again
// after a crash. One that is not there is no error.
func (o *Objects) Erase(ctx context.Context, name string) error {
	var info *jetstream.ObjectInfo
	err := o.bus.try(ctx, func(ctx context.Context) error {
		var err error
		info, err = o.info(ctx, name)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	stream, subject := "OBJ_"+o.name, "$O."+o.name
	if err == nil {
		err = o.bus.EraseAll(ctx, stream, subject+".C."+info.NUID)
	}
	if err == nil {
		err = o.bus.EraseAll(ctx, stream, subject+".M."+base64.URLEncoding.EncodeToString([]byte(name)))
	}
	if err != nil {
		return fmt.Errorf("erase an object: %w", err)
	}
	return nil
}
