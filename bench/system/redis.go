package system

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/bench/harness"
)

// Redis is Redis Streams with an append-only file, synced every second.
const Redis = "redis"

const redisCount = 1_000 // entries that a reader asks for at once

// redisWire adds entries to one stream, pipelined, and reads it with XREAD:
// https://redis.io/docs/latest/develop/reference/protocol-spec/
func redisWire(batch int) Wire {
	return Wire{
		Subscribe: func(addr string) (int, Frame, error) {
			fd, _, err := subscribePlain(addr)
			if err != nil {
				return -1, Frame{}, err
			}
			r := &redisReader{fd: fd}
			return fd, Frame{Next: r.next}, r.ask("0")
		},
		Produce: func(addr string) (*net.TCPConn, func(dst, records []byte) []byte, error) {
			c, _, err := producePlain(addr)
			return c, redisWrap(batch), err
		},
		Listen: func(conn *net.TCPConn, records int, confirmed func(int)) error {
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				switch line := lines.Bytes(); line[0] {
				case '-':
					return fmt.Errorf("server says %q", line)
				case '$': // the length of an entry's id
					confirmed(batch)
				}
			}
			return io.ErrUnexpectedEOF
		},
		Window: 20_000 * batch,
	}
}

func redisWrap(batch int) func(dst, records []byte) []byte {
	return func(dst, records []byte) []byte {
		for len(records) > 0 {
			n := min(len(records), batch*RecordSize)
			dst = append(dst, "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nd\r\n$"...)
			dst = strconv.AppendInt(dst, int64(n), 10)
			dst = append(append(append(dst, "\r\n"...), records[:n]...), "\r\n"...)
			records = records[n:]
		}
		return dst
	}
}

// redisReader reads a stream: each answer ends with the id to go on from.
type redisReader struct {
	fd      int
	last    string
	records []byte
}

// ask sends the next request. It is small, and the socket has nothing else to send.
func (r *redisReader) ask(id string) error {
	var b []byte
	args := []string{"XREAD", "COUNT", strconv.Itoa(redisCount), "BLOCK", "60000", "STREAMS", "s", id}
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	_, err := unix.Write(r.fd, b)
	return err
}

// next takes one whole answer and asks for the next.
func (r *redisReader) next(b []byte) (records []byte, count, n int) {
	p := respParser{b: b}
	r.records = r.records[:0]
	if p.array() != 1 || p.array() != 2 || p.bulk() == nil {
		return nil, 0, 0
	}
	entries := p.array()
	for range entries {
		if p.array() != 2 {
			return nil, 0, 0
		}
		id := p.bulk()
		p.array()
		p.bulk()
		value := p.bulk()
		if p.short {
			return nil, 0, 0
		}
		r.last = string(id)
		r.records = append(r.records, value...)
	}
	if p.short || r.ask(r.last) != nil {
		return nil, 0, 0
	}
	return r.records, 0, p.at
}

// respParser reads what Redis answers; short is set when it is not all there.
type respParser struct {
	b     []byte
	at    int
	short bool
}

func (p *respParser) number(kind byte) int {
	end := bytes.Index(p.b[min(p.at, len(p.b)):], []byte("\r\n"))
	if p.short || end < 1 || p.b[p.at] != kind {
		p.short = true
		return -1
	}
	n, err := strconv.Atoi(string(p.b[p.at+1 : p.at+end]))
	if err != nil {
		p.short = true
	}
	p.at += end + 2
	return n
}

func (p *respParser) array() int { return p.number('*') }

func (p *respParser) bulk() []byte {
	n := p.number('$')
	if p.short || n < 0 || p.at+n+2 > len(p.b) {
		p.short = true
		return nil
	}
	v := p.b[p.at : p.at+n]
	p.at += n + 2
	return v
}

// StartRedis runs the redis-server that is installed.
func (p *Programs) StartRedis(scratch string) (*Server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: redis-server is not installed; apt-get install redis-server", ErrUnavailable)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	proc, err := harness.Start("redis-server", exec.Command(path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", scratch,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--client-output-buffer-limit", "normal 0 0 0"))
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), proc: proc}
	return s, s.awaitPort()
}
