package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for sockets and for wake-ups. It is an epoll of its own that
// sits inside Go's poller: a goroutine blocked in a raw epoll_wait holds its P
// for up to 10 ms, one that waits for the epoll descriptor itself holds none.
type poller struct {
	epfd   int
	file   *os.File // epfd, known to Go's poller
	raw    syscall.RawConn
	evfd   int
	event  *os.File // evfd; a kick that comes after close must not hit a reused descriptor
	kicked atomic.Bool
	count  [8]byte // of the eventfd, read and not looked at
}

// wakeToken marks the eventfd among the events; no session has it, because a
// token's upper half is a generation and generations start at 1.
const wakeToken = 0

// sessionEvents: edge-triggered, registered once. An edge is never lost because
// the loop reads and writes until EAGAIN or until nothing is left.
const sessionEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

func newPoller() (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("gateway: epoll_create1: %w", err)
	}
	evfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("gateway: eventfd: %w", err)
	}
	p := &poller{epfd: epfd, evfd: evfd}
	err = p.add(evfd, wakeToken, unix.EPOLLIN)
	if err == nil {
		err = unix.SetNonblock(epfd, true) // makes os.NewFile hand it to Go's poller
	}
	if err != nil {
		unix.Close(evfd)
		unix.Close(epfd)
		return nil, fmt.Errorf("gateway: set up epoll: %w", err)
	}
	p.file = os.NewFile(uintptr(epfd), "epoll")
	p.event = os.NewFile(uintptr(evfd), "eventfd")
	p.raw, err = p.file.SyscallConn()
	if err != nil {
		p.close()
		return nil, fmt.Errorf("gateway: set up epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	p.file.Close()
	p.event.Close()
}

// add registers fd for events that come back with token.
func (p *poller) add(fd int, token uint64, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

// remove must come before close: while another copy of the socket is open a
// registration outlives its descriptor and could never be removed.
func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func tokenOf(ev *unix.EpollEvent) uint64 {
	return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
}

// oneKick is what an eventfd counts up by.
var oneKick = binary.NativeEndian.AppendUint64(nil, 1)

// kick wakes the loop. It may be called from anywhere and costs next to nothing
// while an earlier kick has not been seen yet.
func (p *poller) kick() {
	if p.kicked.CompareAndSwap(false, true) {
		_, _ = p.event.Write(oneKick) // fails only once the loop has ended
	}
}

// unkick re-arms kick. It must come before the loop looks at what kicks
// announce, so that whatever is missed brings a new one; and it empties the
// eventfd first, or it could swallow a new kick and leave kicked set for ever.
func (p *poller) unkick() {
	_, _ = unix.Read(p.evfd, p.count[:])
	p.kicked.Store(false)
}

// wait fills events. With block it waits until there is one or the deadline set
// by setDeadline passes, which it reports by n == 0.
func (p *poller) wait(events []unix.EpollEvent, block bool) (n int, err error) {
	if !block {
		n, err = unix.EpollWait(p.epfd, events, 0)
		if errors.Is(err, unix.EINTR) {
			return 0, nil
		}
		return n, err
	}
	var pollErr error
	err = p.raw.Read(func(fd uintptr) bool {
		n, pollErr = unix.EpollWait(int(fd), events, 0)
		return n != 0 && !errors.Is(pollErr, unix.EINTR)
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return n, pollErr
}

// setDeadline bounds the waits from now on.
func (p *poller) setDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }
