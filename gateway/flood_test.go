package gateway

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connect opens a connection without what net adds to it.
func connect(addr *net.TCPAddr) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// readOnce reads what is there, or comes next. A read with a time limit is not
// taken up again by the kernel when a signal of the runtime interrupts it.
func readOnce(fd int) (string, error) {
	b := make([]byte, 1024)
	for {
		n, err := unix.Read(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return string(b[:max(n, 0)]), err
		}
	}
}

// hangUp ends a connection with FIN, or with RST.
func hangUp(fd int, rst bool) {
	if rst {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(fd)
}

// 10,000 connections as fast as they can be made, of clients that leave at once,
// or with RST in the middle of a line: nothing is left of them.
func TestTenThousandConnectionsLeaveNothing(t *testing.T) {
	const total, clients = 10_000, 4
	s := serveTest(t, func(c *Config) { c.Limits.Connections = 500 })
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	addr := s.Addr().(*net.TCPAddr)
	since := time.Now()
	var wg sync.WaitGroup
	for k := range clients {
		wg.Go(func() {
			for i := range total / clients {
				fd, err := connect(addr)
				if err != nil {
					t.Errorf("connection %d of client %d: %v", i, k, err)
					return
				}
				if i%2 == 0 {
					_, err = unix.Write(fd, []byte("auth=half a line"))
				}
				hangUp(fd, i%2 == 0)
				if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("connection %d of client %d: send: %v", i, k, err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(since)
	before.restored(t, s)
	t.Logf("%d connections in %v, %.0f a second; all gone after %v; %d were beyond the cap", total, took, total/took.Seconds(), time.Since(since), s.rejected("connection_limit"))
	good.unharmed()
}

// Clients that stay until the cap is reached: each one beyond it is told, those
// that are in go on, and the places are free again when they leave.
func TestAConnectionFloodUpToTheCapHurtsNobody(t *testing.T) {
	const most, beyond = 300, 200
	s := serveTest(t, func(c *Config) { c.Limits.Connections = most })
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	addr := s.Addr().(*net.TCPAddr)
	var held []int
	refused := 0
	for range most + beyond {
		fd, err := connect(addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience.Seconds())})
		held = append(held, fd)
		greeting, err := readOnce(fd) // with the reason, which leaves in the same write
		if err != nil || !strings.HasPrefix(greeting, "lsg_version=") {
			t.Fatalf("connection %d is told %q, %v", len(held), greeting, err)
		}
		if strings.Contains(greeting, "success=0|error=connection limit of this gateway reached (300)") {
			refused++
		}
	}
	if want := most + beyond - (most - int(before.sockets)); refused != want || s.rejected("connection_limit") != want {
		t.Errorf("%d of %d connections are refused and %d are counted, want %d", refused, most+beyond, s.rejected("connection_limit"), want)
	}
	eventually(t, "those beyond the cap are closed, and the others not", func() bool { return s.sockets.Load() == most })
	for i, fd := range held {
		hangUp(fd, i%2 == 0)
	}
	before.restored(t, s)
	if got := dialRaw(t, s).auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("after the flood a client is told %q", got)
	}
	good.unharmed()
}
