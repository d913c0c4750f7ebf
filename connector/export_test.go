package connector

import "time"

// SetWatchPause makes the watchdog look more often, in the scale of tests. Call it before anything runs.
func SetWatchPause(d time.Duration) { watchPause = d }
