package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
)

// detach moves a producer from the event loop to a goroutine of its own: one
// that is parked and sends on, or one that reads less than it is told. gnet can
// neither stop reading nor say when a socket takes more; a goroutine can wait for
// both, and TCP then holds the producer back.
func (p *producer) detach() gnet.Action {
	fd, err := p.client.conn.Dup()
	if err != nil {
		return p.cutOff(err)
	}
	dropUnanswered(fd, p.srv.limits.PeerTimeout)
	file := os.NewFile(uintptr(fd), "producer")
	nc, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return p.cutOff(err)
	}
	p.client.detached = true
	lines := newTCPLines(nc, p)
	p.onLoop.moveTo(lines) // before others find them: what is pending comes first
	p.mu.Lock()
	p.out = lines
	p.mu.Unlock()
	p.srv.wg.Go(func() { p.serve(lines) })
	return gnet.Close
}

// inputEnded moves a producer to a goroutine that has ended its side of the
// connection and is owed an answer: gnet takes a half-close for the end of all. It
// reports whether the producer lives on there.
func (p *producer) inputEnded(err error) bool {
	if !errors.Is(err, io.EOF) || p.dismissed.Load() || p.parked == nil && !p.acks.owing() {
		return false
	}
	p.detach()
	return p.client.detached
}

// arrive does for a detached producer what the loop does for others: it answers
// the authentication once the producer's place is there.
func (p *producer) arrive() error {
	<-p.parked.over
	err := p.parked.err
	p.parked = nil
	if err == nil {
		err = p.welcome()
	}
	if err != nil {
		p.end(err)
	}
	return err
}

// lastAck tells a producer that has ended its side how many of its records are
// kept, at the level it asked for, and waits until that is with who writes it.
func (p *producer) lastAck() {
	if p.ingest.asked.Load() {
		return // it published nothing
	}
	p.ingest.ended.Store(true)
	p.wake()
	select {
	case <-p.told:
	case <-p.srv.ctx.Done():
	}
}

// cutOff closes a connection that can be neither moved nor served where it is.
func (p *producer) cutOff(err error) gnet.Action {
	p.srv.log.Error("cannot move a producer to a goroutine", zap.Uint64("session", p.session), zap.Error(err))
	return gnet.Close
}

// serve is a detached producer's goroutine.
func (p *producer) serve(lines *tcpLines) {
	gone := make(chan struct{})
	release := context.AfterFunc(p.srv.ctx, func() { lines.conn.Close() })
	var err error
	if !p.opened {
		err = p.arrive()
	}
	if err == nil {
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
		err = p.ingestBlocking(lines)
	}
	dismissed := p.dismissed.Load()
	if dismissed {
		<-p.told // or its last line would come after the end of all lines
	}
	lines.finish()
	if dismissed {
		lines.discard()
	}
	release()
	lines.conn.Close()
	close(gone)
	p.hungUp(err)
	p.srv.socketClosed(p.grant)
}

// leastReadBuffer is what a detached producer reads with, in bytes, when the sum of
// what producers hold has no room for more. Each may hold that much.
const leastReadBuffer = 16 << 10

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
	if p.parked != nil {
		<-p.parked.over
		err = p.parked.err
	}
	p.ingest.blocking = true
	if err == nil && !p.dismissed.Load() {
		err = p.consumePaced(p.backlog)
	}
	p.backlog = nil
	size := readBuffer
	if p.claims.parked.set(int64(size)) != nil {
		size = leastReadBuffer
	}
	b := make([]byte, size)
	for err == nil && !p.dismissed.Load() {
		n, readErr := lines.conn.Read(b)
		p.heard.now()
		if p.dismissed.Load() {
			break // what it still sends does not count
		}
		err = p.consumePaced(b[:n])
		if err == nil && readErr != nil {
			if errors.Is(readErr, io.EOF) {
				p.lastAck()
			}
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
