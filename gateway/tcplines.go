package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// tcpLines reaches a producer that has a goroutine of its own. Lines that its
// socket does not take at once leave beside it: what a producer sends is taken
// also while it reads no replies.
type tcpLines struct {
	conn   net.Conn
	raw    syscall.RawConn // of conn; nil: lines always leave beside
	wakes  chan struct{}
	linger time.Duration // how long a producer may go on sending after its last line
	unread func()        // called when it is closed because it reads nothing

	mu      sync.Mutex
	idle    sync.Cond // of mu: active has become false
	pending []byte    // not yet taken by send
	held    claim     // of pending
	active  bool      // send runs
	ended   bool      // no line comes after those that were put
	closeBy time.Time // when those must have left; zero while the session goes on
}

const (
	// lineTimeout is how long a detached producer may leave lines unread before
	// its session is given up.
	lineTimeout = 5 * time.Second
	// linePiece is how many bytes of lines that time is for.
	linePiece = 64 << 10
)

func newTCPLines(conn net.Conn, p *producer) *tcpLines {
	t := &tcpLines{conn: conn, wakes: make(chan struct{}, 1), linger: p.srv.limits.Linger, unread: p.tooMuchUnread, held: claim{budget: &p.srv.budgets.replies, of: p.use}}
	t.idle.L = &t.mu
	if c, ok := conn.(syscall.Conn); ok {
		t.raw, _ = c.SyscallConn()
	}
	return t
}

func (t *tcpLines) line(b []byte)     { t.put(b, false) }
func (t *tcpLines) lastLine(b []byte) { t.put(b, true) }

func (t *tcpLines) wake() {
	select {
	case t.wakes <- struct{}{}:
	default: // one wake-up is pending already
	}
}

func (t *tcpLines) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active
}

// put adds a line to those that are sent in order. It does not block.
func (t *tcpLines) put(b []byte, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.pending, t.ended = append(t.pending, b...), last
	if len(t.pending) > replyBacklog || t.held.set(int64(len(t.pending))) != nil {
		t.unread()
		t.ended = true
		t.conn.Close() // half a line may be out; the reader ends the session
	}
	if t.active {
		return
	}
	if t.writeNow(); len(t.pending) > 0 || t.ended {
		t.active = true
		go t.send()
	}
}

// writeNow writes what the socket takes without waiting: nearly always all of it,
// and no other goroutine has to be woken for an acknowledgement. What is wrong with
// the socket send will find. The caller holds mu, and send does not run.
func (t *tcpLines) writeNow() {
	if t.raw == nil {
		return
	}
	n := 0
	_ = t.raw.Write(func(fd uintptr) bool {
		n, _ = write(int(fd), t.pending)
		return true // also when it is full: who waits for it is send
	})
	t.pending = t.pending[:copy(t.pending, t.pending[n:])]
	_ = t.held.set(int64(len(t.pending))) // no more than before
}

// hangUp ends our side behind the last line, and lets the producer finish for a
// moment: see loopLines.hangUp.
func (t *tcpLines) hangUp() {
	if c, ok := t.conn.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		t.conn.Close()
	}
	_ = t.conn.SetReadDeadline(time.Now().Add(t.linger))
}

// discard takes what a producer sends that was told its last line.
func (t *tcpLines) discard() {
	_ = t.conn.SetReadDeadline(time.Now().Add(t.linger))
	_, _ = io.Copy(io.Discard, t.conn)
}

// send writes lines until there are none, and hangs up behind the last.
func (t *tcpLines) send() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.pending) > 0 {
		b := t.pending
		t.pending = nil
		if err := t.write(b); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.unread()
			}
			t.ended, t.pending = true, nil
		}
	}
	if t.ended {
		t.hangUp()
	} else {
		_ = t.conn.SetWriteDeadline(time.Time{}) // or writeNow would fail once it has passed
	}
	t.active = false
	t.held.drop()
	t.idle.Broadcast()
}

// write lets go of mu while it waits for the socket.
func (t *tcpLines) write(b []byte) error {
	for len(b) > 0 {
		by := t.closeBy
		if by.IsZero() {
			by = time.Now().Add(lineTimeout)
		}
		_ = t.conn.SetWriteDeadline(by)
		t.mu.Unlock()
		n, err := t.conn.Write(b[:min(len(b), linePiece)])
		t.mu.Lock()
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// finish waits until what was put has left, for a while.
func (t *tcpLines) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended, t.closeBy = true, time.Now().Add(lineTimeout)
	_ = t.conn.SetWriteDeadline(t.closeBy)
	for t.active {
		t.idle.Wait()
	}
}
