package gateway

import (
	"sync/atomic"
	"time"
)

// moment is when something happened last, by the clock that nobody sets: a wall
// clock that is set forward must not make a silence of it, nor one that is set back
// hide one. The zero value is never.
type moment struct{ ns atomic.Int64 }

var processBegan = time.Now()

// sinceProcessBegan is one reading of that clock, for several moments.
func sinceProcessBegan() time.Duration { return time.Since(processBegan) }

func (m *moment) now() { m.at(sinceProcessBegan()) }

func (m *moment) at(d time.Duration) { m.ns.Store(max(int64(d), 1)) }

// ago is how long ago it was; false: never.
func (m *moment) ago() (time.Duration, bool) {
	ns := m.ns.Load()
	return sinceProcessBegan() - time.Duration(ns), ns > 0
}

// before is how long before now it was.
func (m *moment) before(now time.Time) time.Duration {
	return now.Sub(processBegan) - time.Duration(m.ns.Load())
}
