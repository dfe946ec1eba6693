package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// A listener that is inherited outlives the process: whoever opened it, such as
// systemd, holds it through a restart, and who connects meanwhile waits in the
// kernel's queue instead of being refused. gnet can only listen by itself, so an
// acceptor brings the connections to its loop.

// inherit makes what is said of the addresses true of listeners that were opened
// elsewhere.
func (c *Config) inherit() {
	if c.Listener != nil {
		c.Listen = c.Listener.Addr().String()
	}
	if c.TLS.Listener != nil {
		c.TLS.Listen = c.TLS.Listener.Addr().String()
	}
}

// acceptInherited lets in who waits at the listener, one at a time: the cap holds
// before the next is accepted.
func (s *Server) acceptInherited() {
	if s.cfg.Listener != nil {
		s.inherited = s.accept(s.cfg.Listener, 1, s.enter)
	}
}

// enter brings one connection to the event loop, or closes it.
func (s *Server) enter(conn *net.TCPConn) {
	remote := conn.RemoteAddr()
	if err := s.enroll(context.Background(), conn); err != nil {
		s.strangers.Warn("connection not taken", zap.Stringer("remote", remote), zap.Error(err))
	}
}

// leaveQueues stops accepting from inherited listeners, before anybody is told to
// come again: who does waits for our successor. Who was let in before gets a
// moment to begin its session, and is told then: a client comes again to go on
// with a session, but may take a refusal for the last word.
func (s *Server) leaveQueues(ctx context.Context) {
	s.inherited.close()
	tls := s.cfg.TLS.Listener != nil
	if tls {
		s.tls.close()
	}
	if !tls && s.inherited == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.Arrival)
	defer cancel()
	check := time.NewTicker(time.Millisecond)
	defer check.Stop()
	for s.arriving.Load() > 0 || s.inherited.onTheirWay() > 0 || tls && s.tls.onTheirWay() > 0 {
		select {
		case <-check.C:
		case <-ctx.Done():
			return
		}
	}
}

// arrival counts a connection until it publishes, or its session starts.
type arrival struct{ count *atomic.Int64 } // nil when it has arrived, or is gone

func (s *Server) arrives() arrival {
	s.arriving.Add(1)
	return arrival{&s.arriving}
}

func (a *arrival) over() {
	if a.count != nil {
		a.count.Add(-1)
		a.count = nil
	}
}

// hideout is where gnet listens when it need not: a unix socket in a directory of
// our own, and both are removed once the socket is bound. It is named through the
// directory's descriptor, so TMPDIR may be as long as it likes, and when gnet
// removes the name in the end, that can mean nothing else any more.
type hideout struct {
	dir  *os.File
	gone bool
}

func newHideout() (*hideout, error) {
	path, err := os.MkdirTemp("", "tapewire-") // for our user only
	if err != nil {
		return nil, fmt.Errorf("gateway: a directory for the event loop's own socket: %w; set TMPDIR to one that can be written", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("gateway: a directory for the event loop's own socket: %w", err)
	}
	return &hideout{dir: dir}, nil
}

func (h *hideout) address() string { return fmt.Sprintf("unix:///proc/self/fd/%d/gnet", h.dir.Fd()) }

// vanish removes what others can see of it.
func (h *hideout) vanish() {
	if h != nil && !h.gone {
		h.gone = true
		os.RemoveAll(h.dir.Name())
	}
}

// close is for when gnet has ended.
func (h *hideout) close() {
	h.vanish()
	h.dir.Close()
}
