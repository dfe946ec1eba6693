package gateway

import (
	"runtime/debug"
	"time"
)

// A loop's sessions belong to whoever holds the loop's lease. That is its own
// goroutine, except while it waits for events: then a committing goroutine may
// take the lease and serve the sessions at the tail itself. It saves the wake-up
// of another thread, which costs more than the send, and is worth it only while
// there is little to send to few.
const (
	// inlineSessions is how many sessions of a dataset a commit serves inline. It
	// keeps its producer waiting for as many sends, 3 to 7 us each. Sessions whose
	// socket is full do not count: they cost nothing.
	inlineSessions = 32
	// inlineBytes is the most a session may be behind, in bytes, to be served
	// inline. A producer that sends more at once gains by sending on meanwhile.
	inlineBytes = 16 << 10
)

// committed runs on the goroutine that committed records to the group's dataset.
func (g *group) committed() {
	if n := g.writable.Load(); n == 0 || n > g.loop.srv.inlineSessions() || !g.loop.lease.TryLock() {
		g.dirty.Store(true)
		g.loop.poll.kick()
		return
	}
	defer g.loop.lease.Unlock()
	defer g.loop.caught()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	g.serveInline()
}

// inlineSessions is the bound for each loop's part of a dataset's sessions.
func (s *Server) inlineSessions() int64 { return int64(inlineSessions / s.cfg.Loops) }

// serveInline gives each session at the tail a turn, and leaves the others to
// the loop.
func (g *group) serveInline() {
	l := g.loop
	l.now = time.Now()
	rest := false
	for s := range g.sessions { // who leaves meanwhile is skipped
		switch {
		case !s.writable: // the loop hears when that changes
		case !s.begun || s.ending: // no commit moves it
		case !s.inlineable():
			rest = true
		case l.turn(s):
			l.enqueue(s)
			rest = true
		}
	}
	if rest {
		g.dirty.Store(true)
		l.poll.kick()
	}
}

// inlineable reports whether the session has nothing to do but to send a short
// run that was written just now.
func (s *session) inlineable() bool {
	if s.queued || s.readable || !s.begun || s.ending || len(s.out) > 0 || len(s.intros) > 0 {
		return false
	}
	for _, c := range s.cursors {
		if c.lag() > inlineBytes {
			return false
		}
	}
	return true
}
