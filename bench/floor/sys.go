// Package floor is the smallest programs that do only the necessary work: what
// this machine can do at all. Each is one thread of raw system calls, without
// Go's poller, without allocation and with the collector off.
//
// They handle what the benchmarks send them and nothing else: no other program
// should be built on them.
package floor

import (
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bare makes the calling goroutine the whole program: one thread, no collector.
func Bare() {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
}

func errnoOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func read(fd int, b []byte) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errnoOf(e)
}

func write(fd int, b []byte) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errnoOf(e)
}

func pread(fd int, b []byte, off int64) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(off), 0, 0)
	return int(n), errnoOf(e)
}

func sendfile(out, in int, off *int64, n int) (int, error) {
	k, _, e := unix.RawSyscall6(unix.SYS_SENDFILE, uintptr(out), uintptr(in), uintptr(unsafe.Pointer(off)), uintptr(n), 0, 0)
	return int(k), errnoOf(e)
}

func splice(in int, off *int64, out, n int) (int, error) {
	k, _, e := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(in), uintptr(unsafe.Pointer(off)), uintptr(out), 0, uintptr(n), unix.SPLICE_F_NONBLOCK)
	return int(k), errnoOf(e)
}

// waitFor waits for events; a blocking raw call is what a small C program does.
func waitFor(epoll int, events []unix.EpollEvent, ms int) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	if e == unix.EINTR {
		return 0, nil
	}
	return int(n), errnoOf(e)
}

// waitWritable waits until a full socket takes bytes again.
func waitWritable(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, _, e := unix.RawSyscall(unix.SYS_POLL, uintptr(unsafe.Pointer(&p[0])), 1, ^uintptr(0))
	if e == unix.EINTR {
		return nil
	}
	return errnoOf(e)
}

// writeAll waits for a full socket.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := write(fd, b)
		switch err {
		case nil:
			b = b[n:]
		case unix.EAGAIN:
			if err := waitWritable(fd); err != nil {
				return err
			}
		case unix.EINTR:
		default:
			return err
		}
	}
	return nil
}

// Listen opens a listener on a free port of loopback and announces it.
func Listen() (*net.TCPListener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fmt.Printf("%q\n", l.Addr())
	return l.(*net.TCPListener), nil
}

// Accept takes one connection out of Go's hands: a non-blocking descriptor.
func Accept(l *net.TCPListener) (fd int, err error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return -1, err
	}
	return Detach(c)
}

// Detach takes a connection out of Go's hands: a non-blocking descriptor, without delay.
func Detach(c *net.TCPConn) (fd int, err error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	if err := raw.Control(func(f uintptr) { fd, dupErr = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, dupErr
	}
	return fd, unix.SetNonblock(fd, true)
}

// watch registers fd with an epoll; i comes back with its events.
func watch(epoll, fd, i int, events uint32) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(i)})
}
