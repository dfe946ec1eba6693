package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// tally counts what happened.
type tally struct {
	began                            time.Time
	restarts, kills, producerKills   atomic.Uint64
	sessions, resumed, lost          atomic.Uint64
	stalls, warnings, skips, skipped atomic.Uint64
	heartbeats, received, compared   atomic.Uint64
	published                        atomic.Uint64
	expired, missed                  atomic.Uint64 // records that have expired at the end; sessions that were told of such
	agedOut, stoodIn                 atomic.Uint64 // times that one was told so: of a time where it began, of records from where it stood on
	mostMemory                       atomic.Int64
	mostGoroutines, mostDescriptors  atomic.Int64
}

// progress is a line about the run so far; now is what the gateway holds.
func (t *tally) progress(now string) string {
	return fmt.Sprintf("%7s  in %s  out %s  sessions %d, resumed %d, cut off %d  gateway ended %d, killed %d  producers killed %d  stalls %d, skips %d, expiries %d  %s",
		time.Since(t.began).Round(time.Second), grouped(t.published.Load()), grouped(t.received.Load()), t.sessions.Load(), t.resumed.Load(), t.lost.Load(),
		t.restarts.Load(), t.kills.Load(), t.producerKills.Load(), t.stalls.Load(), t.skips.Load(), t.missed.Load(), now)
}

// note keeps the largest that the gateway ever was.
func (t *tally) note(u usage) {
	raise(&t.mostMemory, u.memory)
	raise(&t.mostGoroutines, int64(u.goroutines))
	raise(&t.mostDescriptors, int64(u.sockets+u.files+u.others))
}

func raise(most *atomic.Int64, v int64) {
	for old := most.Load(); v > old && !most.CompareAndSwap(old, v); old = most.Load() {
	}
}

// summary is the last line of a run in which nothing was wrong.
func (t *tally) summary(seed uint64) string {
	return fmt.Sprintf("soak: %.1f minutes, seed %d: gateway ended %d times and killed %d times, producers killed %d times; %s records published; "+
		"%s sessions, %s resumed, %s cut off, %s stalls, %s warnings, %s skips of %s records, %s heartbeats; %s records expired, %s sessions told so: of %s times and in %s places; %s records delivered, %s compared; "+
		"at most %d MiB, %d goroutines, %d descriptors; lost: 0",
		time.Since(t.began).Minutes(), seed, t.restarts.Load(), t.kills.Load(), t.producerKills.Load(), grouped(t.published.Load()),
		grouped(t.sessions.Load()), grouped(t.resumed.Load()), grouped(t.lost.Load()), grouped(t.stalls.Load()), grouped(t.warnings.Load()),
		grouped(t.skips.Load()), grouped(t.skipped.Load()), grouped(t.heartbeats.Load()),
		grouped(t.expired.Load()), grouped(t.missed.Load()), grouped(t.agedOut.Load()), grouped(t.stoodIn.Load()), grouped(t.received.Load()), grouped(t.compared.Load()),
		t.mostMemory.Load()>>20, t.mostGoroutines.Load(), t.mostDescriptors.Load())
}

// grouped writes a number with a comma between thousands.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
