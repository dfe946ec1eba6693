package system

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/tapewire/tapewire/bench/floor"
)

const subject = "t"

// natsWire is the core protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol
func natsWire(batch int) Wire {
	size := batch * RecordSize
	head := fmt.Sprintf("MSG %s 1 %d\r\n", subject, size)
	frame := Frame{Size: len(head) + size + 2, Records: batch, Next: func(b []byte) ([]byte, int, int) {
		const ping = "PING\r\n" // now and then, among the messages
		switch {
		case len(b) >= len(ping) && string(b[:len(ping)]) == ping:
			return nil, 0, len(ping)
		case len(b) < len(head)+size+2:
			return nil, 0, 0
		}
		return b[len(head) : len(head)+size], batch, len(head) + size + 2
	}}
	return Wire{
		Subscribe: func(addr string) (int, Frame, error) {
			c, err := natsHello(addr, "SUB "+subject+" 1\r\n")
			if err != nil {
				return -1, frame, err
			}
			fd, err := floor.Detach(c)
			return fd, frame, err
		},
		Produce: func(addr string) (*net.TCPConn, func(dst, records []byte) []byte, error) {
			c, err := natsHello(addr, "")
			return c, natsWrap(batch), err
		},
		Listen: natsListen,
	}
}

// natsWrap makes messages of batch records; the last one may have fewer.
func natsWrap(batch int) func(dst, records []byte) []byte { return natsWrapTo(subject, batch) }

// natsWrapTo is natsWrap to a subject, which a reply subject may follow.
func natsWrapTo(to string, batch int) func(dst, records []byte) []byte {
	return func(dst, records []byte) []byte {
		for len(records) > 0 {
			n := min(len(records), batch*RecordSize)
			dst = append(dst, "PUB "+to+" "...)
			dst = strconv.AppendInt(dst, int64(n), 10)
			dst = append(dst, "\r\n"...)
			dst = append(dst, records[:n]...)
			dst = append(dst, "\r\n"...)
			records = records[n:]
		}
		return dst
	}
}

// natsHello connects, sends lines and waits until the server has seen them.
func natsHello(addr, lines string) (*net.TCPConn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	if info, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(info, "INFO") {
		return nil, fmt.Errorf("greeting %q: %w", info, err)
	}
	if _, err := io.WriteString(c, `CONNECT {"verbose":false,"pedantic":false,"echo":false}`+"\r\n"+lines+"PING\r\n"); err != nil {
		return nil, err
	}
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(line, []byte("PONG")) {
			return c.(*net.TCPConn), nil
		}
		if bytes.HasPrefix(line, []byte("-ERR")) {
			return nil, fmt.Errorf("server says %q", line)
		}
	}
}

// natsListen gives the signs of life that the server asks for. Core NATS
// confirms nothing, so it returns only when the connection ends.
func natsListen(conn *net.TCPConn, _ int, _ func(int)) error {
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch text := lines.Text(); {
		case text == "PING":
			if _, err := io.WriteString(conn, "PONG\r\n"); err != nil {
				return err
			}
		case strings.HasPrefix(text, "-ERR"):
			return fmt.Errorf("server says %q", text)
		}
	}
	return io.ErrUnexpectedEOF
}
