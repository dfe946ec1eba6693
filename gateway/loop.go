package gateway

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// loop is an egress loop: it owns its sessions, their sockets and their cursors.
// Whoever touches them holds its lease: its own goroutine, or for a moment one
// that commits (see lease.go). Everybody else posts.
type loop struct {
	srv    *Server
	cold   bool // the lane of those that catch up
	poll   *poller
	sender *sender
	lease  sync.Mutex // guards all below mu's fields

	mu    sync.Mutex
	inbox []func() // run on the loop, in order
	ended bool     // nothing more is posted

	sessions []*session // by slot; nil where free
	free     []int
	lastGen  uint32
	groups   map[string]*group
	served   map[*group]struct{} // those whose dataset exists: a client can name any number of others
	ready    []*session          // have more to do without waiting for an event
	nextTick time.Time
	stopped  bool
	done     chan struct{}

	// Scratch of the session whose turn it is.
	now             time.Time // of this pass
	sendNs          uint64    // see stamp; 0: the clock was not read yet
	reads           []byte    // text from its socket
	staging         []byte    // what it is sent besides runs
	scratch         []byte    // one control record
	live, replaying []*cursor // which of its cursors to serve
}

const (
	loopEvents = 256
	loopTick   = 250 * time.Millisecond // heartbeats, slow readers, lingering closes
	loopReads  = 64 << 10
)

func newLoop(srv *Server, cold bool) (*loop, error) {
	sender, err := newSender(srv.cfg.SendPath, srv.metrics)
	if err != nil {
		return nil, err
	}
	p, err := newPoller()
	if err != nil {
		sender.close()
		return nil, err
	}
	return &loop{
		srv:    srv,
		cold:   cold,
		poll:   p,
		sender: sender,
		groups: map[string]*group{},
		served: map[*group]struct{}{},
		done:   make(chan struct{}),

		now:     time.Now(),
		reads:   make([]byte, loopReads),
		staging: make([]byte, 0, srv.limits.Staging),
		scratch: make([]byte, 0, 512),
	}, nil
}

// post runs f on the loop, soon and in order. It reports false when the loop has
// ended and f will not run.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	l.poll.kick()
	return true
}

// turnBytes is the most a session sends, or scans, in one turn.
func (l *loop) turnBytes() int {
	if l.cold {
		return max(coldTurn, l.srv.limits.Turn)
	}
	return l.srv.limits.Turn
}

// call runs f on the loop and waits for it; it reports false when the loop has ended.
func (l *loop) call(f func()) bool {
	ran := make(chan struct{})
	if !l.post(func() { f(); close(ran) }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.done:
		return false
	}
}

// run serves until stop. It returns an error only when the poller fails.
func (l *loop) run() error {
	debug.SetPanicOnFault(true) // a tape that somebody cut costs the sessions that read it, not the process
	l.lease.Lock()
	defer l.lease.Unlock()
	defer l.release()
	events := make([]unix.EpollEvent, loopEvents)
	l.nextTick = time.Now().Add(loopTick)
	if err := l.poll.setDeadline(l.nextTick); err != nil {
		return fmt.Errorf("gateway: egress deadline: %w", err)
	}
	for !l.stopped {
		n, err := l.wait(events)
		if err != nil {
			return fmt.Errorf("gateway: egress wait: %w", err)
		}
		l.now = time.Now()
		for i := range events[:n] {
			l.event(&events[i])
		}
		l.turns()
		if !l.now.Before(l.nextTick) {
			l.contain(func() { l.tick(l.now) })
			l.nextTick = l.now.Add(loopTick)
			if err := l.poll.setDeadline(l.nextTick); err != nil {
				return fmt.Errorf("gateway: egress deadline: %w", err)
			}
		}
	}
	return nil
}

// wait takes the events that are there, or waits for some when nothing else is
// to be done. Only then it gives up the lease.
func (l *loop) wait(events []unix.EpollEvent) (int, error) {
	if len(l.ready) > 0 {
		return l.poll.wait(events, false)
	}
	l.lease.Unlock()
	defer l.lease.Lock()
	return l.poll.wait(events, true)
}

// stamp is the time for the records that are made or stamped now, in ns: one
// reading of the clock for all that leave together, and none where nothing asks.
func (l *loop) stamp() uint64 {
	if l.sendNs == 0 {
		l.sendNs = uint64(time.Now().UnixNano())
	}
	return l.sendNs
}

// release runs what was posted last, then closes every session.
func (l *loop) release() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.woken()
	for _, s := range l.sessions {
		if s != nil {
			s.close("server stopped")
		}
	}
	close(l.done)
	l.poll.close()
	l.sender.close()
}

// event handles one epoll event. A token that no longer matches its slot's
// generation belongs to a session that is gone.
func (l *loop) event(ev *unix.EpollEvent) {
	token := tokenOf(ev)
	if token == wakeToken {
		l.woken()
		return
	}
	slot := int(uint32(token))
	if slot >= len(l.sessions) || l.sessions[slot] == nil || l.sessions[slot].token != token {
		return
	}
	s := l.sessions[slot]
	if ev.Events&unix.EPOLLOUT != 0 {
		s.becameWritable()
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.readable = true
	}
	l.enqueue(s)
}

// woken runs what was posted and queues the sessions of datasets with commits.
func (l *loop) woken() {
	l.poll.unkick()
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		l.contain(f)
	}
	for g := range l.served {
		if g.dirty.Swap(false) {
			g.wake()
		}
	}
}

// contain runs f and survives its panic: a fault in one place must not end the
// sessions.
func (l *loop) contain(f func()) {
	defer l.caught()
	f()
}

// caught is deferred by what contains its panics.
func (l *loop) caught() {
	if p := recover(); p != nil {
		l.srv.metrics.panics.Inc()
		l.srv.log.Error("egress loop panicked and goes on", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	}
}

func (l *loop) enqueue(s *session) {
	if !s.queued {
		s.queued = true
		l.ready = append(l.ready, s)
	}
}

// turns gives every queued session one bounded turn. Who has more to do comes
// again after everybody else and after new events were looked at.
func (l *loop) turns() {
	batch := l.ready
	l.ready = l.ready[len(l.ready):]
	for i, s := range batch {
		batch[i] = nil
		s.queued = false
		if !s.closed && l.turn(s) {
			l.enqueue(s)
		}
	}
	if len(l.ready) == 0 {
		l.ready = batch[:0] // reuse the array
	}
}

// turn runs one session's turn, after which it may be on another lane. It
// contains its panics: a fault in one session must not end the others.
func (l *loop) turn(s *session) (more bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		more = false
		if _, fault := p.(interface{ Addr() uintptr }); fault {
			l.srv.log.Error("a tape's mapped file cannot be read: cut by somebody, or on a broken disk; the session is closed", zap.Uint64("session", s.id), zap.Any("fault", p))
			s.lookForCuts()
			s.close("the tape cannot be read")
			return
		}
		l.srv.metrics.panics.Inc()
		l.srv.log.Error("session panicked and is closed", zap.Uint64("session", s.id), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		s.close("panic")
	}()
	if more = s.turn(); s.closed {
		return false
	}
	if to := s.lane(); to != l && !s.queued {
		l.handOver(s, to)
		return false
	}
	// On the cold lane no commit wakes a session: it is at work until it leaves.
	return more || l.cold && s.begun && s.writable && !s.ending && !s.lacksFile
}

func (l *loop) tick(now time.Time) {
	for _, s := range l.sessions {
		if s != nil && s.tick(now) {
			l.enqueue(s)
		}
	}
}

// adopt takes over a session: a detached socket, or one of another lane.
func (l *loop) adopt(s *session) {
	slot := len(l.sessions)
	if n := len(l.free); n > 0 {
		slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		l.sessions = append(l.sessions, nil)
	}
	l.lastGen++
	if l.lastGen == 0 {
		l.lastGen = 1 // 0 is the eventfd's
	}
	s.slot, s.token = slot, uint64(l.lastGen)<<32|uint64(slot)
	l.sessions[slot] = s
	if err := l.poll.add(s.fd, s.token, sessionEvents); err != nil {
		s.close(fmt.Sprintf("epoll: %v", err))
		return
	}
	l.join(s)
	if !s.welcomed {
		s.welcome()
	}
	if l.srv.stopping.Load() && s.begun {
		s.stop(shutdownText) // it was between two loops when the others were told
	}
	s.recheck() // likewise, or it came in while the keys changed
	l.enqueue(s)
}

// forget removes a closed session from the loop's tables.
func (l *loop) forget(s *session) {
	l.sessions[s.slot] = nil
	l.free = append(l.free, s.slot)
	if s.group != nil {
		s.group.leave(s)
	}
}
