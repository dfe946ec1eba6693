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

func (m *moment) now() { m.ns.Store(max(int64(time.Since(processBegan)), 1)) }

// ago is how long ago it was; false: never.
func (m *moment) ago() (time.Duration, bool) {
	ns := m.ns.Load()
	return time.Since(processBegan) - time.Duration(ns), ns > 0
}
