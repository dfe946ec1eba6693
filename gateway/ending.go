package gateway

import (
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// How a session ends: by the client, which may have said all it has to say and still
// wait for an answer; by an error record; by the server.

// owesMore reports whether the client asked for something that ends, and has not got
// all of it: then its half-close is no wish to hear nothing more.
func (s *session) owesMore() bool {
	if !s.started || s.ending {
		return s.ending
	}
	if !s.begun || s.seeking || s.farewell != "" || len(s.intros) > 0 || len(s.out) > 0 {
		return true
	}
	for _, c := range s.cursors {
		if c.replaying {
			return true
		}
		for _, w := range c.given {
			if w.end != noEnd {
				return true
			}
		}
	}
	return false
}

// linger shuts our side down after the last byte and waits for the client's
// end: closing with input unread would reset the connection and could take the
// last records with it.
func (s *session) linger() {
	if s.halfClosed { // nothing of its input is left unread
		s.close("closed by the client")
		return
	}
	if !s.shutDown {
		s.shutDown = true
		_ = unix.Shutdown(s.fd, unix.SHUT_WR)
		s.closeBy = s.loop.now.Add(s.loop.srv.limits.Linger)
	}
}

// close releases everything the session holds. It is idempotent.
func (s *session) close(why string) {
	if s.closed {
		return
	}
	s.loop.poll.remove(s.fd)
	s.loop.forget(s)
	s.dispose(why)
}

// dispose releases what a session holds that no loop has in its tables.
func (s *session) dispose(why string) {
	s.closed = true
	s.arrival.over()
	unix.Close(s.fd)
	for _, c := range s.cursors {
		c.release()
		c.filter, c.wants, c.given = newFilter(), nil, nil // the loop's scratch may hold the cursor for a while
	}
	s.out, s.in, s.intros, s.requests, s.names = nil, nil, nil, nil, naming{}
	s.claims.drop()
	s.loop.srv.sessionClosed(s, why)
}

// stop tells the client that the server goes down, at the next record boundary.
func (s *session) stop(text string) {
	if !s.started {
		s.close("server stopped")
		return
	}
	s.sayFarewell(feed.ErrorInternal, text)
	s.loop.enqueue(s)
}

// sayFarewell ends the session with an error record at the next record boundary.
// A client that does not read does not get it, and is closed all the same.
func (s *session) sayFarewell(code feed.ErrorCode, text string) {
	s.farewell, s.farewellCode, s.said = text, code, text
	s.closeBy = s.loop.now.Add(s.loop.srv.limits.Linger)
}
