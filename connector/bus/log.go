package bus

import (
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// LogEvents is a Config.OnEvent that logs what happens to the connection, a repeated trouble once
// in ten seconds.
func LogEvents(log zerolog.Logger) func(ConnEvent) {
	var last atomic.Int64
	return func(e ConnEvent) {
		switch e.State {
		case "connected":
			log.Info().Str("server", e.Server).Msg("connected to the bus")
		case "closed":
			log.Debug().Msg("connection to the bus closed")
		default:
			if e.State == "disconnected" && e.Err == nil {
				return // by ourselves
			}
			now := time.Now().Unix()
			if before := last.Load(); now-before < 10 || !last.CompareAndSwap(before, now) {
				return
			}
			log.Warn().Err(e.Err).Str("state", e.State).Msg("the bus is in trouble; waiting for it")
		}
	}
}
