package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tunnel carries one connection between its TLS socket and the event loop. It
// adds nothing and judges nothing: when either side stops reading, so does the
// tunnel, and when either side ends, so does the other.
type tunnel struct {
	remote string // the TLS peer's address
	peer   *tls.Conn
	sock   *tlsSocket    // below peer
	inner  *net.UnixConn // the event loop, then a session's egress loop, has the other end
	linger time.Duration
}

const (
	// tunnelBuffer is what a tunnel holds in each direction, in bytes. A TLS
	// record has at most 16 KiB.
	tunnelBuffer = 64 << 10
	// tunnelIdle is what a direction holds until a read fills it: most of a
	// gateway's connections say little.
	tunnelIdle = 2 << 10
)

// relay carries bytes until both directions have ended.
func (t *tunnel) relay(cutting context.Context) {
	stop := context.AfterFunc(cutting, t.close)
	defer stop()
	defer t.close()
	var inward sync.WaitGroup
	inward.Go(t.inward)
	t.outward()
	inward.Wait()
}

// outward carries what the gateway says. After its last byte the peer gets the
// end of TLS and of TCP, and a while to close its own side: a socket that is
// closed with input unread is reset, and the last record could be lost by that.
func (t *tunnel) outward() {
	if _, failed := carry(t.peer, t.inner); failed != nil {
		t.close() // the peer is gone
		return
	}
	_ = t.peer.CloseWrite()
	_ = t.sock.CloseWrite()
	_ = t.sock.SetReadDeadline(time.Now().Add(t.linger))
}

// inward carries what the peer says.
func (t *tunnel) inward() {
	ended, failed := carry(t.inner, t.peer)
	switch {
	case failed != nil: // the gateway has closed; outward says when to stop
		_, _ = io.Copy(io.Discard, t.peer)
	case errors.Is(ended, io.EOF):
		_ = t.inner.CloseWrite()
	default: // gone without a word, or outward's deadline
		t.close()
	}
}

// carry copies until reading or writing fails.
func carry(to io.Writer, from io.Reader) (ended, failed error) {
	b := make([]byte, tunnelIdle)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return err, nil
		}
		if n == len(b) && n < tunnelBuffer {
			b = make([]byte, tunnelBuffer)
		}
	}
}

// gone reports whether the gateway has closed its end, after which nobody waits
// for what the tunnel still holds.
func (t *tunnel) gone() bool {
	raw, err := t.inner.SyscallConn()
	if err != nil {
		return true
	}
	hungUp := false
	err = raw.Control(func(fd uintptr) {
		ends := []unix.PollFd{{Fd: int32(fd)}}
		n, _ := unix.Poll(ends, 0)
		hungUp = n > 0 && ends[0].Revents&unix.POLLHUP != 0
	})
	return err != nil || hungUp
}

// close ends both sides at once. It may be called from anywhere and more than once.
func (t *tunnel) close() {
	t.inner.Close()
	t.sock.Close()
}
