package gateway

import (
	"errors"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// lineWriter carries lines to a producer and its wake-ups back. It may be used
// from anywhere.
type lineWriter interface {
	line(b []byte)
	lastLine(b []byte) // and close
	wake()
	busy() bool // an earlier line has not left yet
}

// loopLines reaches a producer whose connection is on the event loop. What is to
// be told is collected and written by the loop, never through gnet's buffer: what
// gnet keeps could not follow the producer to a goroutine of its own.
type loopLines struct {
	p    *producer
	conn gnet.Conn

	mu      sync.Mutex
	pending []byte
	held    claim     // of pending
	ended   bool      // no line comes after those that were put
	turn    bool      // the loop is at this producer, and writes what is pending before it leaves
	moved   *tcpLines // who tells it since the producer was moved
}

// replyBacklog bounds what is kept for a producer that does not read, in bytes.
const replyBacklog = 4 << 20

func (l *loopLines) line(b []byte)     { l.put(b, false) }
func (l *loopLines) lastLine(b []byte) { l.put(b, true) }
func (l *loopLines) wake()             { _ = l.conn.Wake(nil) }
func (l *loopLines) busy() bool        { return false } // each turn of the loop ends with flush

func (l *loopLines) put(b []byte, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.moved != nil:
		l.moved.put(b, last)
		return
	case l.ended:
		return
	}
	l.pending, l.ended = append(l.pending, b...), last
	if len(l.pending) > replyBacklog || l.held.set(int64(len(l.pending))) != nil {
		l.p.tooMuchUnread()
		l.drop()
		_ = l.conn.Close()
		return
	}
	if !l.turn {
		l.wake()
	}
}

// begin notes that the loop is at this producer: lines need not wake it.
func (l *loopLines) begin() {
	l.mu.Lock()
	l.turn = true
	l.mu.Unlock()
}

// flush writes what is pending and ends the loop's turn. It reports whether all
// of it has left; the rest has to be written where somebody can wait.
func (l *loopLines) flush() (all bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn = false
	if len(l.pending) == 0 {
		return true, nil
	}
	n, err := write(l.conn.Fd(), l.pending)
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	l.pending = l.pending[:copy(l.pending, l.pending[n:])]
	_ = l.held.set(int64(len(l.pending))) // no more than before
	all = len(l.pending) == 0
	if all && l.ended && err == nil {
		l.hangUp()
	}
	return all, err
}

// write writes until the socket takes no more.
func write(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		k, err := unix.Write(fd, b[n:])
		if err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return n, err
		}
		n += k
	}
	return n, nil
}

// hangUp closes after the last line. A producer in the middle of sending would be
// reset by a close that leaves its input unread, and might lose that line: so its
// end is awaited for a moment, and what comes meanwhile does not count.
func (l *loopLines) hangUp() {
	if unix.Shutdown(l.conn.Fd(), unix.SHUT_WR) != nil {
		_ = l.conn.Close()
		return
	}
	time.AfterFunc(l.p.srv.limits.Linger, func() { _ = l.conn.Close() }) // of a connection that is gone: nothing
}

// moveTo hands what is pending to who has the socket now, in order.
func (l *loopLines) moveTo(t *tcpLines) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved = t
	if len(l.pending) > 0 || l.ended {
		t.put(l.pending, l.ended)
	}
	l.pending = nil
	l.held.drop()
}

// drop forgets what is pending: the connection is gone. The caller holds mu.
func (l *loopLines) drop() {
	l.pending, l.ended = nil, true
	l.held.drop()
}

// close is called when the connection is gone.
func (l *loopLines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// tooMuchUnread notes why a producer's connection is closed without a word.
func (p *producer) tooMuchUnread() {
	p.srv.metrics.rejects("unread_replies").Inc()
	p.srv.log.Warn("producer does not read what it is told", zap.Uint64("session", p.session))
}
