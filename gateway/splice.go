package gateway

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pipe is what the splice path needs between a file and a socket: one for all
// sessions of a loop, so it is empty again after each send.
type pipe struct {
	r, w int
	null int // where pages go that a full socket did not take
	size int // bytes
}

// splicePipe is the size asked for, the most that an unprivileged process gets
// by default. A pipe holds pages, not bytes, so a run whose ends lie inside
// pages takes one slot more than its size says.
const splicePipe = 1 << 20

func newPipe() (*pipe, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("gateway: pipe of the splice path: %w", err)
	}
	p := &pipe{r: ends[0], w: ends[1], null: -1}
	var err error
	if p.null, err = unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		p.close()
		return nil, fmt.Errorf("gateway: splice path: open /dev/null: %w", err)
	}
	if p.size, err = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, splicePipe); err != nil {
		// The user's pipes take more than pipe-user-pages-soft: go on with a small one.
		p.size, err = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("gateway: size of the splice pipe: %w", err)
	}
	return p, nil
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
	if p.null >= 0 {
		unix.Close(p.null)
	}
}

// send moves at most n bytes of file from off on into the socket fd, by
// reference. What the socket does not take leaves the pipe again: the caller's
// position in the file is the only one that counts.
func (p *pipe) send(fd, file int, off int64, n int) (sent int, err error) {
	in, err := splice(file, &off, p.w, min(n, p.size))
	if err != nil || in <= 0 {
		return 0, err
	}
	for sent < in {
		// Never SPLICE_F_MORE: on a last piece it holds the segment back for 200 ms.
		k, err := splice(p.r, nil, fd, in-sent)
		if err != nil || k <= 0 {
			if lost := p.discard(in - sent); lost != nil {
				return sent, lost
			}
			return sent, err
		}
		sent += k
	}
	return sent, nil
}

// discard empties the pipe of n bytes.
func (p *pipe) discard(n int) error {
	for n > 0 {
		k, err := splice(p.r, nil, p.null, n)
		if err != nil || k <= 0 {
			return p.renew(fmt.Errorf("gateway: empty the splice pipe of %d bytes: %v", n, err))
		}
		n -= k
	}
	return nil
}

// splice moves at most n bytes without waiting for either end.
func splice(from int, off *int64, to, n int) (int, error) {
	return retry(func() (int, error) {
		k, err := unix.Splice(from, off, to, nil, n, unix.SPLICE_F_NONBLOCK)
		return int(k), err
	})
}

// renew replaces a pipe that holds bytes of a session, which no other one must
// get. The error is not the errno of the cause: the session must end, and not
// wait as if its socket were full.
func (p *pipe) renew(cause error) error {
	fresh, err := newPipe()
	if err != nil {
		return fmt.Errorf("%v; and no other pipe: %v", cause, err)
	}
	p.close()
	*p = *fresh
	return cause
}
