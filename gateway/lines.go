package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
)

// gnetLines reaches a producer whose connection is on the event loop.
type gnetLines struct{ conn gnet.Conn }

// line goes through the loop, so that it may be called from anywhere.
func (g *gnetLines) line(b []byte) { _ = g.conn.AsyncWrite(bytes.Clone(b), nil) }

func (g *gnetLines) lastLine(b []byte) {
	_ = g.conn.AsyncWrite(bytes.Clone(b), func(c gnet.Conn, _ error) error { return c.Close() })
}

func (g *gnetLines) wake()      { _ = g.conn.Wake(nil) }
func (g *gnetLines) busy() bool { return g.conn.OutboundBuffered() > 0 }

// tcpLines reaches a producer that has a goroutine of its own.
type tcpLines struct {
	mu    sync.Mutex
	conn  net.Conn
	wakes chan struct{}
}

// lineTimeout is how long a detached producer may leave a line unread before
// its session is given up.
const lineTimeout = 5 * time.Second

func (t *tcpLines) line(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.conn.SetWriteDeadline(time.Now().Add(lineTimeout))
	if _, err := t.conn.Write(b); err != nil {
		t.conn.Close() // half a line may be out; the reader ends the session
	}
}

func (t *tcpLines) lastLine(b []byte) {
	t.line(b)
	t.conn.Close()
}

func (t *tcpLines) wake() {
	select {
	case t.wakes <- struct{}{}:
	default: // one wake-up is pending already
	}
}

func (t *tcpLines) busy() bool { return false }

// detach moves a parked producer that sends on to a goroutine of its own. gnet
// cannot stop reading; a goroutine can, and then TCP stops the producer.
func (p *producer) detach() gnet.Action {
	conn := p.client.conn
	if conn.OutboundBuffered() > 0 {
		return gnet.None // gnet still owes it a line; with the next input then
	}
	fd, err := conn.Dup()
	if err != nil {
		return p.end(err)
	}
	file := os.NewFile(uintptr(fd), "producer")
	nc, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return p.end(err)
	}
	p.client.detached = true
	lines := &tcpLines{conn: nc, wakes: make(chan struct{}, 1)}
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
	err := p.ingestBlocking(lines)
	lines.conn.Close()
	close(gone)
	p.hungUp(err)
	p.srv.sockets.Add(-1)
}

// ingestBlocking waits for the journal where it has to, instead of giving the
// event loop its turn back. It returns why the session is over.
func (p *producer) ingestBlocking(lines *tcpLines) error {
	<-p.parked.over
	err := p.parked.err
	p.ingest.blocking = true
	if err == nil {
		_, err = p.ingest.consume(p.backlog)
	}
	p.backlog = nil
	b := make([]byte, readBuffer)
	for err == nil {
		n, readErr := lines.conn.Read(b)
		p.heard.Store(time.Now().UnixNano())
		_, err = p.ingest.consume(b[:n])
		lines.wake()
		if err == nil && readErr != nil {
			return readErr
		}
	}
	if !errors.Is(err, io.EOF) && !p.dismissed.Load() {
		p.srv.log.Debug("detached producer ends", zap.Uint64("session", p.session), zap.Error(err))
		p.dismiss(p.explain(err))
	}
	return err
}
