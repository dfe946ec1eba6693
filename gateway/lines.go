package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// gnetLines reaches a producer whose connection is on the event loop.
type gnetLines struct {
	p    *producer
	conn gnet.Conn
	owed atomic.Int64 // bytes on their way to the loop, and what gnet buffers
	kept atomic.Int64 // bytes in gnet's buffer, as of the last line
}

// replyBacklog bounds what is kept for a producer that does not read, in bytes.
const replyBacklog = 4 << 20

// line goes through the loop, so that it may be called from anywhere.
func (g *gnetLines) line(b []byte) { g.send(b, false) }

func (g *gnetLines) lastLine(b []byte) { g.send(b, true) }

func (g *gnetLines) send(b []byte, last bool) {
	b = bytes.Clone(b)
	if g.owed.Add(int64(len(b)))+g.kept.Load() > replyBacklog {
		g.p.srv.metrics.rejects("unread_replies").Inc()
		g.p.srv.log.Warn("producer does not read what it is told", zap.Uint64("session", g.p.session))
		_ = g.conn.Close()
		return
	}
	_ = g.conn.AsyncWrite(b, func(c gnet.Conn, err error) error {
		g.owed.Add(-int64(len(b)))
		if errors.Is(err, net.ErrClosed) {
			g.forward(b, last)
			return nil
		}
		g.kept.Store(int64(c.OutboundBuffered()))
		if last {
			g.hangUp(c, err)
		}
		return nil
	})
}

// hangUp closes after the last line. A producer in the middle of sending would be
// reset by a close that leaves its input unread, and might lose that line: so its
// end is awaited for a moment, and what comes meanwhile does not count.
func (g *gnetLines) hangUp(c gnet.Conn, err error) {
	if err != nil || c.OutboundBuffered() > 0 || unix.Shutdown(c.Fd(), unix.SHUT_WR) != nil {
		_ = c.Close()
		return
	}
	time.AfterFunc(g.p.srv.limits.Linger, func() { _ = c.Close() }) // of a connection that is gone: nothing
}

// forward passes a line on that came too late for the loop, to the goroutine
// that has the socket now, if there is one.
func (g *gnetLines) forward(b []byte, last bool) {
	if t, ok := g.p.lines().(*tcpLines); ok {
		t.put(b, last)
	}
}

func (g *gnetLines) wake()      { _ = g.conn.Wake(nil) }
func (g *gnetLines) busy() bool { return g.conn.OutboundBuffered() > 0 }

// tcpLines reaches a producer that has a goroutine of its own. Lines leave
// beside it: what a producer sends is taken also while it reads no replies.
type tcpLines struct {
	conn   net.Conn
	wakes  chan struct{}
	linger time.Duration // how long a producer may go on sending after its last line

	mu      sync.Mutex
	idle    sync.Cond // of mu: active has become false
	pending []byte    // not yet taken by send
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

func newTCPLines(conn net.Conn, linger time.Duration) *tcpLines {
	t := &tcpLines{conn: conn, wakes: make(chan struct{}, 1), linger: linger}
	t.idle.L = &t.mu
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
	if len(t.pending) > replyBacklog {
		t.ended = true
		t.conn.Close() // half a line may be out; the reader ends the session
	}
	if !t.active {
		t.active = true
		go t.send()
	}
}

// hangUp ends our side behind the last line, and lets the producer finish for a
// moment: see gnetLines.hangUp.
func (t *tcpLines) hangUp() {
	if c, ok := t.conn.(*net.TCPConn); !ok || c.CloseWrite() != nil {
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
			t.ended, t.pending = true, nil
		}
	}
	if t.ended {
		t.hangUp()
	}
	t.active = false
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

// detach moves a parked producer that sends on to a goroutine of its own. gnet
// cannot stop reading; a goroutine can, and then TCP stops the producer.
func (p *producer) detach() gnet.Action {
	conn := p.client.conn
	if lines, ok := p.lines().(*gnetLines); !ok || lines.owed.Load() > 0 || conn.OutboundBuffered() > 0 {
		return gnet.None // it is owed a line, which must not come after later ones; with the next input then, or holdBack ends it
	}
	fd, err := conn.Dup()
	if err != nil {
		return p.end(err)
	}
	dropUnanswered(fd, p.srv.limits.PeerTimeout)
	file := os.NewFile(uintptr(fd), "producer")
	nc, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return p.end(err)
	}
	p.client.detached = true
	lines := newTCPLines(nc, p.srv.limits.Linger)
	p.mu.Lock()
	p.out = lines
	p.mu.Unlock()
	p.srv.wg.Go(func() { p.serve(lines) })
	return gnet.Close
}

// serve is a detached producer's goroutine.
func (p *producer) serve(lines *tcpLines) {
	gone := make(chan struct{})
	p.srv.wg.Go(func() {
		for {
			select {
			case <-gone:
				return
			case <-lines.wakes:
				p.acks.due(time.Now())
			}
		}
	})
	release := context.AfterFunc(p.srv.ctx, func() { lines.conn.Close() })
	err := p.ingestBlocking(lines)
	lines.finish()
	if p.dismissed.Load() {
		lines.discard()
	}
	release()
	lines.conn.Close()
	close(gone)
	p.hungUp(err)
	p.srv.socketClosed(p.grant)
}

// ingestBlocking waits for the journal where it has to, instead of giving the
// event loop its turn back. It returns why the session is over.
func (p *producer) ingestBlocking(lines *tcpLines) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p.srv.metrics.panics.Inc()
			p.srv.log.Error("producer panicked and is closed", zap.Uint64("session", p.session), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	<-p.parked.over
	err = p.parked.err
	p.ingest.blocking = true
	if err == nil {
		err = p.consumePaced(p.backlog)
	}
	p.backlog = nil
	b := make([]byte, readBuffer)
	for err == nil && !p.dismissed.Load() {
		n, readErr := lines.conn.Read(b)
		p.heard.Store(time.Now().UnixNano())
		if p.dismissed.Load() {
			break // what it still sends does not count
		}
		err = p.consumePaced(b[:n])
		if err == nil && readErr != nil {
			return readErr
		}
	}
	if !errors.Is(err, io.EOF) && !p.dismissed.Load() {
		p.dismiss(p.explain(err))
	}
	return err
}

// consumeAll takes all of b, waiting as often as it takes.
func (p *producer) consumeAll(b []byte) error {
	for {
		n, err := p.ingest.consume(b)
		if !waits(err) {
			return err
		}
		b = b[n:]
		if err := p.await(p.srv.ctx); err != nil {
			return err
		}
	}
}
