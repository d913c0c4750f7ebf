package bus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// On three servers, with conflicting writes in flight and a leader that goes down in the middle, every key still has one winner.
func TestCluster(t *testing.T) {
	t.Parallel()
	c, err := bustest.StartCluster(3, bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	var buses []*bus.Bus
	for range 3 {
		buses = append(buses, connect(t, c.URL(), nil))
	}
	made := make(chan error, len(buses))
	for _, b := range buses {
		if !b.Clustered() {
			t.Error("not seen as a cluster")
		}
		go func() { made <- b.Ensure(soon(t), layout) }()
	}
	for range buses {
		if err := <-made; err != nil {
			t.Fatal(err)
		}
	}
	for name, have := range configs(t, library(t, c.URL())) {
		if have.Replicas != 3 {
			t.Errorf("%s has %d replicas", name, have.Replicas)
		}
	}
	race(t, buses, 40, 12)

	// One dead letter each, on a cluster too.
	w := bus.Write{Subject: "deadletter.candidate.sourced.acme.op", Data: []byte("x")}
	for i, want := range []error{nil, bus.ErrConflict} {
		if _, err := buses[0].Publish(soon(t), w); !errors.Is(err, want) {
			t.Errorf("dead letter %d: %v, want %v", i, err, want)
		}
	}

	// Three writers and a consumer go on over the loss of the leader.
	cons := consumer(t, buses[0], spec(2*time.Second))
	const each = 100
	written := make(chan error, len(buses))
	begun := make(chan struct{}, len(buses))
	for i, b := range buses {
		go func() {
			for k := range each {
				if _, err := b.Publish(soon(t), claimOf(fmt.Sprintf("down-%d-%d", i, k))); err != nil && !errors.Is(err, bus.ErrConflict) {
					written <- err
					return
				}
				if k == 10 {
					begun <- struct{}{}
				}
			}
			written <- nil
		}()
	}
	for range buses {
		<-begun
	}
	until(t, "the leader is known", func() bool { return c.Leader(bus.EventsStream) != nil })
	c.Leader(bus.EventsStream).Stop()
	for range buses {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
	st, err := buses[1].StreamState(soon(t), bus.EventsStream, "candidate.submission.claimed.acme.*")
	down := 0
	for subject, n := range st.Subjects {
		var i, k int
		if _, scan := fmt.Sscanf(subject, "candidate.submission.claimed.acme.down-%d-%d", &i, &k); scan == nil && n == 1 {
			down++
		}
	}
	if err != nil || down != len(buses)*each {
		t.Errorf("%d writes stored once, %v; want %d", down, err, len(buses)*each)
	}
	source(t, buses[2], 1)
	taken := 0
	for ctx := soon(t); taken < 1 && ctx.Err() == nil; {
		// A pull may end with an error while the consumer's leader is chosen.
		err := cons.Fetch(ctx, 1, func(m *bus.Msg) { taken++; _ = m.Ack() })
		if errors.Is(err, bus.ErrAssetDeleted) {
			t.Fatal(err)
		}
	}
	if taken != 1 {
		t.Error("the consumer did not survive")
	}
}
