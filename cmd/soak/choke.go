package main

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// choke is a way to the gateway that can be stopped. Its receive buffer is small, so a client behind it that
// does not read is slow within seconds; left to itself the kernel would take many megabytes for it.
type choke struct {
	l    net.Listener
	to   string
	gate chan struct{} // holds a token while it is not stopped
	all  sync.WaitGroup

	mu     sync.Mutex
	ends   []io.Closer
	closed bool
}

const (
	chokeBuffer  = 16 << 10 // bytes
	chokeSegment = 1400     // bytes, as between machines: those of the loopback are larger than the buffer, and would only trickle
)

// newChoke lets one client through.
func newChoke(to string) (*choke, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &choke{l: l, to: to, gate: make(chan struct{}, 1)}
	c.flow()
	c.keep(l)
	c.all.Go(c.pass)
	return c, nil
}

func (c *choke) addr() string { return c.l.Addr().String() }

// stop lets nothing more through until flow.
func (c *choke) stop() { <-c.gate }
func (c *choke) flow() { c.gate <- struct{}{} }

// close cuts the client off. It must not be stopped.
func (c *choke) close() {
	c.mu.Lock()
	c.closed = true
	for _, end := range c.ends {
		end.Close()
	}
	c.mu.Unlock()
	c.all.Wait()
}

// keep has something closed at the end, which may have come already.
func (c *choke) keep(end io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		end.Close()
	}
	c.ends = append(c.ends, end)
}

func (c *choke) pass() {
	client, err := c.l.Accept()
	if err != nil {
		return
	}
	c.keep(client)
	defer client.Close()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, chokeBuffer)
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, chokeSegment)
		})
	}}
	server, err := dialer.Dial("tcp", c.to)
	if err != nil {
		return // the client sees the end, and comes again
	}
	c.keep(server)
	defer server.Close()
	c.all.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	for b := make([]byte, chokeBuffer); ; {
		c.stop()
		c.flow()
		n, err := server.Read(b)
		if n > 0 {
			_, err = client.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}
