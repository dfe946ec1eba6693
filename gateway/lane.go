package gateway

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sessions are served on two lanes. The hot lane is for those at the tail, whose
// next bytes were written just now. The cold lane is for those that catch up:
// their pages may have to come from the disk, and their runs are long. It has a
// loop of its own, so neither hot sessions nor producers ever wait for it.
//
// A session changes lanes by itself, between two turns, with its socket and its
// cursors as they are.
const (
	// coldBeyond is how many bytes behind a tail a session leaves the hot lane. A
	// loop that is busy lets its sessions fall some runs behind; that is no reason.
	coldBeyond = 4 << 20
	// hotWithin is how near all its tails it comes back, in bytes.
	hotWithin = 256 << 10
	// replayBeyond is how far behind, in bytes, a replay belongs on the cold lane:
	// what it reads may be old. It is well beyond hotWithin, or a session between
	// the two would change lanes with each commit.
	replayBeyond = 4 * hotWithin
	// coldTurn is the most bytes of a turn on the cold lane: long runs cost less.
	coldTurn = 1 << 20
	// readAhead is how many bytes ahead of a cold cursor the disk is asked for
	// pages. The kernel's own read-ahead goes by open file, and cursors share those.
	readAhead = 2 << 20
)

func (l *loop) laneName() string {
	if l.cold {
		return "cold"
	}
	return "hot"
}

// lane is the loop that should serve the session now.
func (s *session) lane() *loop {
	if !s.begun || s.ending || s.shutDown || s.seeking {
		return s.loop
	}
	var behind int64
	replaying := false
	for _, c := range s.cursors {
		behind = max(behind, c.lag())
		replaying = replaying || c.replaying || c.behind
	}
	switch {
	case s.loop.cold && behind <= hotWithin:
		return s.loop.srv.hotLoop(s)
	case !s.loop.cold && (behind > coldBeyond || replaying && behind > replayBeyond):
		return s.loop.srv.cold
	}
	return s.loop
}

// moves counts sessions that go from one loop to another. Between begun and done
// such a session is in no loop's list; after done it is before whatever the new loop
// is asked.
type moves struct{ begun, done atomic.Uint64 }

// handOver gives a session to another loop, with whatever it still has to send.
func (l *loop) handOver(s *session, to *loop) {
	l.srv.moving.begun.Add(1)
	defer l.srv.moving.done.Add(1)
	l.poll.remove(s.fd)
	l.forget(s)
	l.srv.metrics.laneChanges.Inc()
	l.srv.adopt(s, to)
}

// prefetch asks the disk for what a cold cursor comes to next, unless it is in
// the page cache already. It does not wait for it.
func (c *cursor) prefetch() {
	if c.seg == nil || c.seg.Fd() < 0 {
		return
	}
	at := c.seg.Offset(c.seq)
	if at+readAhead/2 < c.prefetched {
		return
	}
	from := max(at, c.prefetched)
	c.prefetched = from + readAhead
	var probe [1]byte
	if _, err := unix.Preadv2(c.seg.Fd(), [][]byte{probe[:]}, from, unix.RWF_NOWAIT); errors.Is(err, unix.EAGAIN) {
		_ = unix.Fadvise(c.seg.Fd(), from, readAhead, unix.FADV_WILLNEED) // a hint: what it cannot do, the send will wait for
	}
}
