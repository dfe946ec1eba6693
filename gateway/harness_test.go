package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// patience is how long a test waits for what must come; nothing sleeps for it.
const patience = 20 * time.Second

const (
	testDataset = "TEST.WIRE"
	testKey     = "db-0123456789ABCDEFGHIJKLMNOPabc"
)

// serveTest runs a gateway on a free port with a journal of its own.
func serveTest(t testing.TB, change ...func(*Config)) *Server {
	t.Helper()
	return serveDir(t, t.TempDir(), change...)
}

func serveDir(t testing.TB, dir string, change ...func(*Config)) *Server {
	t.Helper()
	log := zap.NewNop()
	if testing.Verbose() {
		log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	j, err := journal.Open(dir, journal.Options{Logger: log, AnyFilesystem: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Logger: log}
	for _, f := range change {
		f(&cfg)
	}
	return serveJournal(t, j, cfg)
}

// serveJournal runs a gateway on a journal and closes both at the end.
func serveJournal(t testing.TB, j *journal.Journal, cfg Config) *Server {
	t.Helper()
	cfg.Listen, cfg.Limits.Drain = "127.0.0.1:0", 100*time.Millisecond
	s, err := New(j, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("close the journal: %v", err)
		}
	})
	return s
}

// rawClient speaks the protocol byte by byte, as no well-behaved client would.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
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

func rawOn(t testing.TB, conn net.Conn) *rawClient {
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return &rawClient{t: t, conn: conn, r: bufio.NewReaderSize(conn, 1<<14)}
}

func readFull(c *rawClient, b []byte) (int, error) { return io.ReadFull(c.r, b) }

func (c *rawClient) line() string {
	c.t.Helper()
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

// producerLine begins a publishing session by hand and returns its reply.
func (c *rawClient) produce(stream string) string {
	c.t.Helper()
	return c.auth(testKey, "dataset="+testDataset+"|encoding=dbn|role=producer|producer=raw|stream="+stream+"|ack=written")
}

// trade makes the i-th trade of a test: everything in it follows from i.
func trade(id uint32, i int) []byte {
	b := make([]byte, feed.SchemaTrades.RecordSize())
	header(b, feed.RTypeMbp0, id, i)
	binary.LittleEndian.PutUint64(b[16:], uint64(100_000_000_000+int64(i)*10_000_000))
	binary.LittleEndian.PutUint32(b[24:], uint32(i%100+1))
	b[28], b[29] = 'T', 'B'
	binary.LittleEndian.PutUint64(b[32:], eventTime(i)+500)
	binary.LittleEndian.PutUint32(b[44:], uint32(i))
	return b
}

// quote makes the i-th mbp-1 record of a test.
func quote(id uint32, i int) []byte {
	b := make([]byte, feed.SchemaMbp1.RecordSize())
	header(b, feed.RTypeMbp1, id, i)
	b[28], b[29] = 'A', 'B'
	binary.LittleEndian.PutUint64(b[32:], eventTime(i)+500)
	binary.LittleEndian.PutUint32(b[44:], uint32(i))
	return b
}

func header(b []byte, rt feed.RType, id uint32, i int) {
	b[0], b[1] = uint8(len(b)/4), uint8(rt)
	binary.LittleEndian.PutUint16(b[2:], 1)
	binary.LittleEndian.PutUint32(b[4:], id)
	binary.LittleEndian.PutUint64(b[8:], eventTime(i))
}

func eventTime(i int) uint64 { return 1_700_000_000_000_000_000 + uint64(i)*1000 }

// sequence is the number that trade and quote put into a record.
func sequence(r feed.Record) int { return int(binary.LittleEndian.Uint32(r[44:])) }

func metadataOf(schema feed.Schema) feed.Metadata {
	return feed.Metadata{
		Version: 3, Dataset: testDataset, Schema: schema, Start: 0, End: feed.UndefTimestamp,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID,
	}
}

func metadataBytes(t testing.TB, m feed.Metadata) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// publish sends records through the SDK and waits until they are committed.
func publish(t testing.TB, s *Server, stream string, meta feed.Metadata, records ...[]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: meta.Dataset, Name: "producer-" + stream, Stream: stream})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(meta); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := p.Publish(feed.Record(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// sdkSubscribe opens a started session through the SDK.
func sdkSubscribe(t testing.TB, s *Server, subs ...feed.Subscription) *feed.Subscriber {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Close() })
	for _, x := range subs {
		if err := sub.Subscribe(x); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	return sub
}

// take reads records until stop says so. Control records come, too.
func take(t testing.TB, sub *feed.Subscriber, stop func(feed.Record) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for r, err := range sub.Records(ctx) {
		if err != nil {
			t.Fatalf("receive: %v", err)
		}
		if stop(r) {
			return
		}
	}
	t.Fatal("the stream ended early")
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func systemText(r feed.Record) string {
	if m, ok := feed.View[feed.SystemMsg](r); ok {
		return fmt.Sprintf("%d %s", m.Code, m.Text())
	}
	return ""
}
