package floor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// sender sends bytes of one file to sockets by one of the ways there are.
type sender struct {
	file   int
	mapped []byte
	buf    []byte
	pipe   [2]int
	null   int
}

// SplicePipe is the size of the pipe between file and socket, in bytes: the most
// that an unprivileged process gets.
const SplicePipe = 1 << 20

func newSender(path string) (*sender, int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	s := &sender{buf: make([]byte, SplicePipe)}
	if s.file, err = unix.Dup(int(f.Fd())); err != nil {
		return nil, 0, err
	}
	if s.mapped, err = unix.Mmap(s.file, 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, 0, err
	}
	if err := unix.Madvise(s.mapped, unix.MADV_POPULATE_READ); err != nil {
		return nil, 0, err
	}
	if err := unix.Pipe2(s.pipe[:], unix.O_NONBLOCK); err != nil {
		return nil, 0, err
	}
	if _, err := unix.FcntlInt(uintptr(s.pipe[1]), unix.F_SETPIPE_SZ, SplicePipe); err != nil {
		return nil, 0, err
	}
	s.null, err = unix.Open("/dev/null", unix.O_WRONLY, 0)
	return s, int(st.Size()), err
}

// The ways to send.
const (
	Write    = "write"    // from a mapping of the file
	Sendfile = "sendfile" // file to socket
	Splice   = "splice"   // file to pipe, pipe to socket
	Copy     = "copy"     // file to a buffer, buffer to socket
)

// send sends at most n bytes from off on, and says how many the socket took.
func (s *sender) send(mode string, fd int, off int64, n int) (int, error) {
	switch mode {
	case Write:
		return write(fd, s.mapped[off:off+int64(n)])
	case Sendfile:
		return sendfile(fd, s.file, &off, n)
	case Copy:
		k, err := pread(s.file, s.buf[:n], off)
		if err != nil {
			return 0, err
		}
		return write(fd, s.buf[:k])
	}
	in, err := splice(s.file, &off, s.pipe[1], n)
	if err != nil {
		return 0, err
	}
	sent := 0
	for sent < in {
		k, err := splice(s.pipe[0], nil, fd, in-sent)
		if err != nil {
			for left := in - sent; left > 0; {
				k, err := splice(s.pipe[0], nil, s.null, left)
				if err != nil {
					return sent, fmt.Errorf("empty the pipe: %w", err)
				}
				left -= k
			}
			return sent, err
		}
		sent += k
	}
	return sent, nil
}

// SendFile accepts n subscribers and sends each the first bytes of the file, all
// of it when most is zero, chunk bytes at a time, round and round, as much as each
// takes. It says "sent" when all have it.
func SendFile(path, mode string, n, chunk, most int) error {
	s, size, err := newSender(path)
	if err != nil {
		return err
	}
	if most > 0 {
		size = min(size, most)
	}
	l, err := Listen()
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	fds, at, full := make([]int, n), make([]int, n), make([]bool, n)
	for i := range fds {
		if fds[i], err = Accept(l); err != nil {
			return err
		}
		if err := watch(epoll, fds[i], i, unix.EPOLLOUT|unix.EPOLLET&0xffffffff); err != nil {
			return err
		}
	}
	Bare()
	events := make([]unix.EpollEvent, n)
	for left := n; left > 0; {
		idle := true
		for i, fd := range fds {
			if full[i] || at[i] == size {
				continue
			}
			idle = false
			k, err := s.send(mode, fd, int64(at[i]), min(chunk, size-at[i]))
			if err == unix.EAGAIN {
				full[i] = true
			} else if err != nil {
				return fmt.Errorf("%s to a subscriber: %w", mode, err)
			}
			if at[i] += max(k, 0); at[i] == size {
				left--
			}
		}
		k, err := waitFor(epoll, events, map[bool]int{true: -1, false: 0}[idle && left > 0])
		if err != nil {
			return err
		}
		for _, ev := range events[:k] {
			full[ev.Fd] = false
		}
	}
	fmt.Println(`"sent"`)
	var end [1]byte
	_, _ = unix.Read(0, end[:]) // until the parent has read the accounts
	return nil
}
