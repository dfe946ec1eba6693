package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// rawClient speaks the protocol byte by byte, as no well-behaved client would.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader

	names map[uint32]string // what it was told, where a test keeps that
}

func dialRaw(t testing.TB, s *Server) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return rawOn(t, conn)
}

// dialSmall has the smallest receive buffer, so that who does not read is slow soon.
func dialSmall(t testing.TB, s *Server) *rawClient {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10) })
	}}
	conn, err := d.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return rawOn(t, conn)
}

func rawOn(t testing.TB, conn net.Conn) *rawClient {
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return &rawClient{t: t, conn: conn, r: bufio.NewReaderSize(conn, 1<<14)}
}

func readFull(c *rawClient, b []byte) (int, error) { return io.ReadFull(c.r, b) }

func (c *rawClient) line() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience)) // for a line; many may take as long as they need
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read a line: %v (so far %q)", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *rawClient) send(b string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(b)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// auth answers the challenge with key and further fields, and returns the reply.
func (c *rawClient) auth(key, fields string) string {
	c.t.Helper()
	c.authLine(key, fields)
	return c.line()
}

func (c *rawClient) authLine(key, fields string) {
	c.t.Helper()
	if got := c.line(); got != "lsg_version="+lsg.Version {
		c.t.Fatalf("greeting is %q", got)
	}
	challenge, ok := strings.CutPrefix(c.line(), "cram=")
	if !ok {
		c.t.Fatal("no challenge")
	}
	c.send("auth=" + lsg.Response(challenge, key) + "|" + fields + "\n")
}

// rest reads until the server closes.
func (c *rawClient) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Fatalf("read to the end: %v", err)
	}
	return string(b)
}

// next reads one record into buf, which holds the largest.
func (c *rawClient) next(buf []byte) feed.Record {
	c.t.Helper()
	if _, err := readFull(c, buf[:feed.HeaderSize]); err != nil {
		c.t.Fatalf("read a record: %v", err)
	}
	r := feed.Record(buf[:int(buf[0])*4])
	if _, err := readFull(c, r[feed.HeaderSize:]); err != nil {
		c.t.Fatalf("read the rest of a record: %v", err)
	}
	return r
}

// pass reads what is known to come.
func (c *rawClient) pass(bytes int) {
	c.t.Helper()
	if _, err := readFull(c, make([]byte, bytes)); err != nil {
		c.t.Fatalf("read %d bytes: %v", bytes, err)
	}
}

// records decodes the stream that follows start_session until the server closes.
func (c *rawClient) records() (feed.Metadata, []feed.Record) {
	c.t.Helper()
	return decode(c.t, []byte(c.rest()))
}

func decode(t testing.TB, b []byte) (feed.Metadata, []feed.Record) {
	t.Helper()
	size, err := feed.MetadataSize(b)
	if err != nil {
		t.Fatalf("metadata of %d bytes: %v", len(b), err)
	}
	m, err := feed.ParseMetadata(b)
	if err != nil {
		t.Fatal(err)
	}
	var records []feed.Record
	for b = b[size:]; len(b) > 0; {
		n := int(b[0]) * 4
		if n == 0 || n > len(b) {
			t.Fatalf("a record of %d bytes where %d are left", n, len(b))
		}
		records = append(records, feed.Record(b[:n]))
		b = b[n:]
	}
	return m, records
}

// produce begins a publishing session by hand and returns its reply.
func (c *rawClient) produce(stream string) string {
	c.t.Helper()
	return c.auth(testKey, "dataset="+testDataset+"|encoding=dbn|role=producer|producer=raw|stream="+stream+"|ack=written")
}

// produceAs is produce for a dataset and a name of choice.
func (c *rawClient) produceAs(dataset, name, stream string) string {
	c.t.Helper()
	return c.auth(testKey, producerFields(dataset, name, stream))
}

func producerFields(dataset, name, stream string) string {
	return "dataset=" + dataset + "|role=producer|producer=" + name + "|stream=" + stream
}

// begin ends the text phase and sends metadata and records.
func (c *rawClient) begin(meta feed.Metadata, records ...[]byte) {
	c.t.Helper()
	c.send("start_session\n" + string(metadataBytes(c.t, meta)) + string(bytes.Join(records, nil)))
}

// await reads lines until one begins with prefix, and returns all of them.
func (c *rawClient) await(prefix string) (lines []string) {
	c.t.Helper()
	for {
		line := c.line()
		if lines = append(lines, line); strings.HasPrefix(line, prefix) {
			return lines
		}
	}
}

// metadata reads the DBN header of a session.
func (c *rawClient) metadata() {
	c.t.Helper()
	head := make([]byte, feed.PreludeSize)
	if _, err := readFull(c, head); err != nil {
		c.t.Fatalf("read the metadata: %v", err)
	}
	size, err := feed.MetadataSize(head)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pass(size - len(head))
}
