package gateway

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
)

// acceptor lets connections in beside the event loop: from the listener for TLS,
// and from one that the process has inherited, which gnet cannot take over.
type acceptor struct {
	ln   net.Listener
	log  *zap.Logger
	take func(*net.TCPConn) // brings one to the event loop, or closes it

	ctx      context.Context // ends when nobody is let in any more
	cancel   context.CancelFunc
	slots    chan struct{}  // a token for each that is on its way
	ended    chan struct{}  // closed when nothing is accepted any more
	entering sync.WaitGroup // take
}

// acceptPause is how long an acceptor waits after a failure that passes, such as
// no free descriptor.
const acceptPause = 50 * time.Millisecond

// accept lets in who comes, once the event loop runs, with at most so many at
// once on their way to it.
func (s *Server) accept(ln net.Listener, atOnce int, take func(*net.TCPConn)) *acceptor {
	a := &acceptor{ln: ln, log: s.log, take: take, slots: make(chan struct{}, atOnce), ended: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(s.ctx)
	go a.run(s.looping)
	return a
}

// run accepts until close. Who finds no slot waits in the listener's queue, where
// it holds nothing of ours.
func (a *acceptor) run(looping <-chan struct{}) {
	defer close(a.ended)
	select {
	case <-looping:
	case <-a.ctx.Done():
		return
	}
	for {
		select {
		case a.slots <- struct{}{}:
		case <-a.ctx.Done():
			return
		}
		conn, err := a.ln.Accept()
		if err != nil {
			<-a.slots
			if a.ctx.Err() != nil {
				return
			}
			a.log.Warn("connection not accepted", zap.Stringer("listener", a.ln.Addr()), zap.Error(err))
			select {
			case <-time.After(acceptPause):
			case <-a.ctx.Done():
			}
			continue
		}
		a.entering.Go(func() {
			defer func() { <-a.slots }()
			a.take(conn.(*net.TCPConn))
		})
	}
}

// close stops accepting; it may be called more than once. Who is on its way goes
// on. Who waits in the queue of a listener that others have too stays there.
func (a *acceptor) close() {
	if a == nil {
		return
	}
	a.cancel()
	a.ln.Close()
	<-a.ended
}

// finish waits for those on their way. It must come before the event loop stops,
// which would leave an enrolment without an answer.
func (a *acceptor) finish() {
	if a == nil {
		return
	}
	a.close()
	a.entering.Wait()
}

// onTheirWay is how many have been accepted that the event loop has not taken.
func (a *acceptor) onTheirWay() int64 {
	if a == nil {
		return 0
	}
	return int64(len(a.slots))
}

// enroll gives a connection to the event loop, and returns when OnOpen has run
// and the loop's descriptor is the only one. The loop finds in ctx what gnet is
// to keep beside the connection.
func (s *Server) enroll(ctx context.Context, conn net.Conn) error {
	done, err := s.engine.Register(gnet.NewNetConnContext(ctx, conn))
	if err != nil {
		conn.Close()
		return fmt.Errorf("gateway: enroll a connection: %w", err)
	}
	select {
	case r := <-done:
		<-done // conn is closed, the loop has a copy
		return r.Err
	case <-s.ended:
		return ErrEngine
	}
}
