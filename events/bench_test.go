package events_test

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/comeet-connector/comeet-connector/events"
)

func BenchmarkDecodeSourced(b *testing.B) {
	header, body, err := events.Encode(typicalSourced())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Decode(header, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeStatusChanged(b *testing.B) {
	header, body, err := events.Encode(typicalStatusChanged())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Decode(header, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, e := range []event.Event{typicalSourced(), typicalClaimed(), typicalAccepted(), typicalFailed(), typicalStatusChanged()} {
		b.Run(e.Type(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := events.Encode(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
