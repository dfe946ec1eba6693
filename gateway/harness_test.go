package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tapewire/tapewire/feed"
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

// serveMemory runs a gateway on a disk that can be filled up, with the smallest
// segments, and looks for room again every retry.
func serveMemory(t testing.TB, retry time.Duration, change ...func(*Config)) (*Server, *journal.MemDisk) {
	t.Helper()
	disk := journal.NewMemDisk()
	j, err := journal.Open("/data", journal.Options{Disk: disk, RetryInterval: retry, MinSegment: 64 << 10, MaxSegment: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{SendPath: SendWrite, Logger: zap.NewNop()}
	for _, f := range change {
		f(&cfg)
	}
	return serveJournal(t, j, cfg), disk
}

// serveJournal runs a gateway on a journal and closes both at the end.
func serveJournal(t testing.TB, j *journal.Journal, cfg Config) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	setDefault(&cfg.Limits.Drain, 100*time.Millisecond)
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

// withMapping adds to metadata that an id stands for a symbol.
func withMapping(m feed.Metadata, id uint32, symbol string) feed.Metadata {
	m.Symbols = append(m.Symbols, symbol)
	m.Mappings = append(m.Mappings, feed.SymbolMapping{RawSymbol: symbol, Intervals: []feed.MappingInterval{
		{StartDate: 20230101, EndDate: 20240101, Symbol: fmt.Sprint(id)}, // eventTime's days
	}})
	return m
}

// mappingRecord says from its place on that id stands for a symbol.
func mappingRecord(id uint32, symbol string) []byte {
	return feed.AppendSymbolMapping(nil, feed.SymbolMappingFields{
		InstrumentID: id, InSymbol: symbol, OutSymbol: symbol, StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp,
	})
}

// trades makes n trades of one instrument.
func trades(id uint32, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = trade(id, i)
	}
	return all
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
