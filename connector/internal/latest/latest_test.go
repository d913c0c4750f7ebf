package latest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/comeet-connector/comeet-connector/connector/internal/latest"
)

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var v latest.Value[int]
		got := make(chan int, 2)
		for range cap(got) {
			go func() {
				n, err := v.Await(t.Context(), func(n int) bool { return n > 1 })
				if err != nil {
					t.Error(err)
				}
				got <- n
			}()
		}
		synctest.Wait()
		v.Set(1)
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("a value that is not good was returned")
		}
		v.Set(2)
		synctest.Wait()
		if len(got) != cap(got) {
			t.Fatalf("%d of %d were woken", len(got), cap(got))
		}
		if n, err := v.Await(t.Context(), func(n int) bool { return n == 2 }); n != 2 || err != nil {
			t.Errorf("%d, %v for a value that is good already", n, err)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var v latest.Value[int]
	v.Set(7)
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if n, err := v.Await(ctx, func(int) bool { return false }); n != 0 || !errors.Is(err, why) {
		t.Errorf("%d, %v, want the context's cause", n, err)
	}
}

func TestGetTellsTheNextChange(t *testing.T) {
	t.Parallel()
	var v latest.Value[string]
	if s, _ := v.Get(); s != "" {
		t.Errorf("the zero Value holds %q", s)
	}
	v.Set("a")
	s, changed := v.Get()
	select {
	case <-changed:
		t.Error("the change before is told")
	default:
	}
	v.Set("b")
	<-changed
	if s != "a" {
		t.Errorf("%q, want a", s)
	}
}
