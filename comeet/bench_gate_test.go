package comeet

import (
	"context"
	"testing"
	"time"
)

func BenchmarkGateUnlimited(b *testing.B) {
	g := NewGate(GateConfig{})
	b.ReportAllocs()
	for b.Loop() {
		p, _ := g.Acquire(context.Background(), Submit, CanSubmit)
		_ = p.begin()
		p.end(report{sent: true})
	}
}

// Without a limit 64 goroutines must not be slower together than one.
func BenchmarkGateUnlimited64(b *testing.B) {
	g := NewGate(GateConfig{})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, _ := g.Acquire(context.Background(), Submit, CanSubmit)
			_ = p.begin()
			p.end(report{sent: true})
		}
	})
}

func BenchmarkGateLimited(b *testing.B) {
	g := NewGate(GateConfig{Limit: Limit{Requests: 1000, Window: time.Nanosecond}})
	b.ReportAllocs()
	for b.Loop() {
		p, _ := g.Acquire(context.Background(), Submit, CanSubmit)
		_ = p.begin()
		p.end(report{sent: true})
	}
}
