package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// fill stores n events, each fifth of another account, and removes each seventh.
func fill(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		subject := "candidate.sourced.acme"
		if i%5 == 0 {
			subject = "candidate.sourced.other"
		}
		if _, err := js.PublishMsg(soon(t), &nats.Msg{Subject: subject, Header: nats.Header{"N": {fmt.Sprint(i)}}, Data: []byte(fmt.Sprint("body ", i))}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := js.Stream(soon(t), bus.SourcedStream)
	if err != nil {
		t.Fatal(err)
	}
	for i := 7; i <= n; i += 7 {
		if err := s.DeleteMsg(soon(t), uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScanReadsWhatIsThere(t *testing.T) {
	t.Parallel()
	const n = 100
	s, b := ready(t, bustest.Options{})
	js := library(t, s.ClientURL())
	fill(t, js, n)
	middle, err := b.Message(soon(t), bus.SourcedStream, n/2)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		spec bus.ScanSpec
		want func(seq int) bool
	}{
		"all":          {bus.ScanSpec{}, func(int) bool { return true }},
		"filtered":     {bus.ScanSpec{Filters: []string{"candidate.sourced.other"}}, func(i int) bool { return i%5 == 0 }},
		"headers only": {bus.ScanSpec{HeadersOnly: true}, func(int) bool { return true }},
		"since":        {bus.ScanSpec{Since: middle.Time}, func(i int) bool { return i >= n/2 }},
		"nothing fits": {bus.ScanSpec{Filters: []string{"candidate.sourced.nobody"}}, func(int) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want, got []uint64
			for i := 1; i <= n; i++ {
				if i%7 != 0 && tt.want(i) {
					want = append(want, uint64(i))
				}
			}
			tt.spec.Stream = bus.SourcedStream
			err := b.Scan(soon(t), tt.spec, func(m bus.Stored) error {
				got = append(got, m.Seq)
				if body := fmt.Sprint("body ", m.Seq); (string(m.Data) == body) == tt.spec.HeadersOnly || m.Header["N"][0] != fmt.Sprint(m.Seq) || m.Time.IsZero() {
					t.Errorf("message %d is %+v", m.Seq, m)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is stored while it reads is not waited for, and a visitor's error ends it.
func TestScanEnds(t *testing.T) {
	t.Parallel()
	s, b := ready(t, bustest.Options{})
	js := library(t, s.ClientURL())
	fill(t, js, 20)
	visited := 0
	err := b.Scan(soon(t), bus.ScanSpec{Stream: bus.SourcedStream}, func(m bus.Stored) error {
		visited++
		_, err := js.Publish(soon(t), "candidate.sourced.acme", m.Data)
		return err
	})
	if err != nil || visited != 18 {
		t.Errorf("visited %d, %v; want the 18 that were there", visited, err)
	}
	stop := errors.New("enough")
	if err := b.Scan(soon(t), bus.ScanSpec{Stream: bus.SourcedStream}, func(bus.Stored) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visitor's error: %v", err)
	}
	if err := b.Scan(soon(t), bus.ScanSpec{Stream: "NONE"}, func(bus.Stored) error { return nil }); !errors.Is(err, bus.ErrAssetDeleted) {
		t.Errorf("no such stream: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	err = b.Scan(ended, bus.ScanSpec{Stream: bus.SourcedStream}, func(bus.Stored) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// A broken connection and a restarted server, which forgets the reader, leave no gap and repeat nothing.
func TestScanGoesOn(t *testing.T) {
	t.Parallel()
	const n = 60
	s, _ := ready(t, bustest.Options{})
	p := proxy(t, s)
	b := connect(t, p.URL(), nil)
	fill(t, library(t, s.ClientURL()), n)
	var want, got []uint64
	for i := uint64(1); i <= n; i++ {
		if i%7 != 0 {
			want = append(want, i)
		}
	}
	err := b.Scan(soon(t), bus.ScanSpec{Stream: bus.SourcedStream}, func(m bus.Stored) error {
		got = append(got, m.Seq)
		switch len(got) {
		case 10:
			p.Cut()
		case 30:
			return s.Restart()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
