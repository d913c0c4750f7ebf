package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Objects is one object store.
type Objects struct {
	bus  *Bus
	name string
	os   jetstream.ObjectStore
}

// Objects binds an object store that exists. ErrAssetDeleted if it does not.
func (b *Bus) Objects(ctx context.Context, name string) (*Objects, error) {
	out := &Objects{bus: b, name: name}
	err := b.try(ctx, func(ctx context.Context) error {
		os, err := b.js.ObjectStore(ctx, name)
		out.os = os
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bind object store %s: %w", name, err)
	}
	return out, nil
}

// objectRate is the slowest transfer that is waited for, in bytes per second.
const objectRate = 1 << 20

// maxChunks is how many chunks of an object are read, which makes for chunks of 6 KiB in the
// largest file. Each takes a request, so an object of single bytes would hold its reader for longer
// than anything may take.
const maxChunks = 1024

// ErrDamaged means that an object's entry cannot be read, or leads nowhere; waiting does not mend
// it.
var ErrDamaged = errors.New("bus: the object is damaged")

// Get reads a whole object, through a link to one of the same store too. It leaves the check of the
// content to the caller, who knows a digest that does not depend on how another client has written
// it. ErrNotFound if there is no object or if chunks of it are missing, ErrTooLarge if it holds
// more than limit bytes, ErrDamaged if what describes it is of no use.
//
// Not through the library: of a Get that fails half-way it may leave a goroutine behind that waits
// for a reader for ever.
func (o *Objects) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	var data []byte
	err := o.bus.tryWithin(ctx, attemptTimeout+time.Duration(limit/objectRate)*time.Second, func(ctx context.Context) error {
		info, err := o.info(ctx, name)
		if err == nil {
			info, err = o.follow(ctx, info)
		}
		if err != nil {
			return err
		}
		if info.Size > uint64(limit) {
			return ErrTooLarge
		}
		data, err = o.chunks(ctx, info)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return o.missing(ctx, info)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read an object: %w", err)
	}
	return data, nil
}

// chunks reads an object's content, one message after the other.
func (o *Objects) chunks(ctx context.Context, info *jetstream.ObjectInfo) ([]byte, error) {
	s, err := o.bus.js.Stream(ctx, "OBJ_"+o.name)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, info.Size)
	from := uint64(1)
	for n := 0; uint64(len(data)) < info.Size; n++ {
		if n == maxChunks {
			return nil, fmt.Errorf("%w: it is in more than %d chunks", ErrDamaged, maxChunks)
		}
		m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(o.chunkSubject(info)))
		if err != nil {
			return nil, err
		}
		data, from = append(data, m.Data...), m.Sequence+1
	}
	return data, nil
}

// chunkSubject does not believe the entry's name of its store.
func (o *Objects) chunkSubject(info *jetstream.ObjectInfo) string {
	return "$O." + o.name + ".C." + info.NUID
}

// follow returns what a link leads to, and anything else as it is.
func (o *Objects) follow(ctx context.Context, info *jetstream.ObjectInfo) (*jetstream.ObjectInfo, error) {
	link := linkOf(info)
	if link == nil {
		return info, nil
	}
	if link.Bucket != o.name || link.Name == "" {
		return nil, fmt.Errorf("%w: it is a link to another store", ErrDamaged)
	}
	target, err := o.info(ctx, link.Name)
	if err == nil && linkOf(target) != nil {
		err = fmt.Errorf("%w: it is a link to a link", ErrDamaged)
	}
	return target, err
}

func linkOf(info *jetstream.ObjectInfo) *jetstream.ObjectLink {
	if info.Opts == nil {
		return nil
	}
	return info.Opts.Link
}

// info asks for an object; a store that is gone answers that with the same silence as one that is
// away.
func (o *Objects) info(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	info, err := o.os.GetInfo(ctx, name)
	if errors.Is(err, nats.ErrNoResponders) {
		if _, gone := o.bus.js.Stream(ctx, "OBJ_"+o.name); gone != nil {
			return nil, gone
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrBadObjectMeta):
		return nil, fmt.Errorf("%w: its entry is not valid JSON", ErrDamaged)
	case err == nil && linkOf(info) == nil && (info.NUID == "" && info.Size > 0 || strings.ContainsAny(info.NUID, " \t\r\n.*>")):
		return nil, fmt.Errorf("%w: its entry names no chunks", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	info.Name = name // what the entry says may be another's
	return info, nil
}

// missing is why chunks are not there: the object was stored anew meanwhile, or lost them.
func (o *Objects) missing(ctx context.Context, info *jetstream.ObjectInfo) error {
	if now, err := o.info(ctx, info.Name); err != nil {
		return err
	} else if now.NUID != info.NUID {
		return errAgain
	}
	return fmt.Errorf("%w: some of its %d chunks are missing; store it again", ErrNotFound, info.Chunks)
}
