package gateway

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// What a key's limits are held against: the server's own count of what each key
// does. It outlives a reload of the key file, which may change the limits.

// keyUse is what one key has in use now.
type keyUse struct {
	sockets  atomic.Int64
	connects pacer
	records  pacer
	rate     atomic.Int64 // Key.RecordsPerSecond, read for each batch
}

// keyUses finds the use of a key by its secret: a key that is renamed is the same one.
type keyUses struct {
	mu       sync.Mutex
	bySecret map[string]*keyUse
}

// follow takes over the keys of a ring. Those that were there go on counting.
func (u *keyUses) follow(ring *Keyring) {
	if ring == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	next := make(map[string]*keyUse, len(ring.keys))
	for i := range ring.keys {
		k := &ring.keys[i]
		use := u.bySecret[k.Secret]
		if use == nil {
			use = &keyUse{}
		}
		use.rate.Store(int64(k.RecordsPerSecond))
		next[k.Secret] = use
	}
	u.bySecret = next
}

// of is nil for a key that a reload has just taken away.
func (u *keyUses) of(k *Key) *keyUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bySecret[k.Secret]
}

// keyLimit is a connection that a limit of its key refuses.
type keyLimit struct {
	name string // as in the key file
	text string
}

func (e *keyLimit) Error() string { return e.text }

// enter counts a connection of a key, or says which limit it is beyond. takesOver
// is for one that replaces another of the same key: that may be half open, and
// must not lock its own successor out.
func (u *keyUse) enter(k *Key, takesOver bool) error {
	if n := k.ConnectsPerMinute; n > 0 {
		if wait := u.connects.try(time.Minute/time.Duration(n), time.Minute); wait > 0 {
			return &keyLimit{limitConnects, fmt.Sprintf("key %q may open %d connections a minute (connects_per_minute in the key file); try again in %v",
				k.Name, n, wait.Round(time.Second)+time.Second)}
		}
	}
	most := int64(k.Connections)
	if takesOver {
		most++
	}
	if n := u.sockets.Add(1); k.Connections > 0 && n > most {
		u.sockets.Add(-1)
		return &keyLimit{limitConnections, fmt.Sprintf("key %q has its %d connections open (connections in the key file); close one, or have its owner raise the limit",
			k.Name, k.Connections)}
	}
	return nil
}

// pacer meters what happens at some rate, without a lock and without memory of
// its own: all it knows is when everything so far is paid for.
type pacer struct{ due atomic.Int64 } // ns since processStart

// processStart is what pacers count from: a clock that is set back must not
// stop anybody.
var processStart = time.Now()

// try pays cost unless that is more than burst ahead of the time; then it says how
// long to wait.
func (p *pacer) try(cost, burst time.Duration) (wait time.Duration) {
	return p.take(cost, burst, false)
}

// spend pays cost in any case, and says how long to wait before the next time.
func (p *pacer) spend(cost, burst time.Duration) (wait time.Duration) {
	return p.take(cost, burst, true)
}

func (p *pacer) take(cost, burst time.Duration, onCredit bool) (wait time.Duration) {
	for {
		due, now := p.due.Load(), int64(time.Since(processStart))
		next := max(due, now) + int64(cost)
		wait = max(0, time.Duration(next-now)-burst)
		if wait > 0 && !onCredit || p.due.CompareAndSwap(due, next) {
			return wait
		}
	}
}
