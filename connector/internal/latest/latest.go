// Package latest holds values that goroutines wait for.
package latest

import (
	"context"
	"sync"
)

// Value is the latest of a series of values, of which none but the latest matters. The zero Value
// holds the zero value of T. All methods are safe for concurrent use.
type Value[T any] struct {
	mu      sync.Mutex // guards current and changed
	current T
	// changed is closed at the next Set; nil while nobody has asked for it.
	changed chan struct{}
}

// Get returns the latest value, and a channel that is closed when there is another one. It does not
// block.
func (v *Value[T]) Get() (current T, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.current, v.changed
}

// Set replaces the value and wakes all who wait. It does not block.
func (v *Value[T]) Set(next T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.current = next
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// Await blocks until the latest value is good, and returns it. It may miss a value that was
// replaced at once. If ctx ends before, it returns the zero value and the context's cause.
func (v *Value[T]) Await(ctx context.Context, good func(T) bool) (T, error) {
	for {
		current, changed := v.Get()
		if good(current) {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}
