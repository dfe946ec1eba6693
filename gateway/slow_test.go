package gateway

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// liveHeap is what this process holds, in bytes, garbage left out.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// 64 subscribers, of which one never reads and one reads a byte a second: the
// other 62 get everything while the producer never waits, and what the two are
// behind is on the tape and not in memory.
func TestPathologicallySlowReadersHurtNobody(t *testing.T) {
	s := serveTest(t)
	const readers, total = 62, 200_000
	stuck := startedRaw(t, s)
	slow := startedRaw(t, s)
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for b := make([]byte, 1); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := slow.conn.Read(b); err != nil {
					return
				}
			}
		}
	}()
	defer close(stop)
	defer stuck.conn.Close()

	var wg sync.WaitGroup
	for i := range readers {
		c := startedRaw(t, s)
		wg.Go(func() {
			if err := drainTrades(c, total); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	before := liveHeap()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "p", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(metadataOf(feed.SchemaTrades)); err != nil {
		t.Fatal(err)
	}
	for i := range total {
		if err := p.Publish(feed.Record(trade(1, i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil { // every record is acknowledged: ingest went on
		t.Fatal(err)
	}
	wg.Wait()
	const most = total * 48 / 4 // the kernel's buffers hold less than half, so one of the two is further behind than that
	if grown := liveHeap() - before; grown > most {
		t.Errorf("memory grew by %d KiB, want at most %d", grown>>10, most>>10)
	}
	behind := 0
	for _, v := range s.Sessions() {
		if len(v.Cursors) == 1 && v.Cursors[0].LagRecords > 0 {
			behind++
		}
	}
	if behind != 2 {
		t.Errorf("%d sessions are behind, want the two slow ones", behind)
	}
}

// startedRaw is a started live session on trades with the smallest receive
// buffer, so that a slow reader is slow soon.
func startedRaw(t testing.TB, s *Server) *rawClient {
	t.Helper()
	c := dialSmall(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	head := make([]byte, 128+2*320) // metadata, ack and note that nothing is there yet: the session is live now
	if _, err := readFull(c, head); err != nil {
		t.Fatal(err)
	}
	return c
}

// drainTrades checks that trades 0 to n-1 come, in order.
func drainTrades(c *rawClient, n int) error {
	buf := make([]byte, 48)
	for next := 0; next < n; {
		if _, err := readFull(c, buf[:16]); err != nil {
			return fmt.Errorf("after %d records: %w", next, err)
		}
		size := int(buf[0]) * 4
		if size != 48 {
			return fmt.Errorf("after %d records comes one of %d bytes", next, size)
		}
		if _, err := readFull(c, buf[16:]); err != nil {
			return err
		}
		if got := sequence(buf); got != next {
			return fmt.Errorf("record %d where %d was due", got, next)
		}
		next++
	}
	return nil
}

// A slow reader of a book-state schema is moved forward: the error record has
// the exact count, and the stream goes on in order behind it.
func TestSkippedRecordsAreCountedExactly(t *testing.T) {
	for _, filtered := range []bool{false, true} {
		t.Run(fmt.Sprintf("filtered=%v", filtered), func(t *testing.T) {
			s := serveTest(t, func(c *Config) { c.Limits.SlowBytes = 256 << 10 })
			sub := feed.Subscription{Schema: feed.SchemaMbp1}
			if filtered {
				sub.SType, sub.Symbols = feed.STypeInstrumentID, []string{"1"}
			}
			slow := sdkSubscribe(t, s, sub)
			eventually(t, "the session is live", func() bool { v := s.Sessions(); return len(v) == 1 && v[0].SentBytes > 128 })
			const total = 200_000
			var batch [][]byte
			for i := range total {
				batch = append(batch, quote(uint32(i%2+1), i))
			}
			publish(t, s, "1", metadataOf(feed.SchemaMbp1), batch...)
			publish(t, s, "2", metadataOf(feed.SchemaMbp1), quote(1, total))
			eventually(t, "its socket is full", func() bool { v := s.Sessions(); return len(v) == 1 && v[0].Blocked }) // who reads while it is sent is not slow
			received, skipped, last := 0, 0, -1
			take(t, slow, func(r feed.Record) bool {
				if e, ok := feed.View[feed.ErrorMsg](r); ok {
					if e.Code != feed.ErrorSkippedRecords {
						t.Fatalf("error %v: %s", e.Code, e.Text())
					}
					var n int
					if _, err := fmt.Sscanf(e.Text(), "Slow client detected for mbp-1. Skipped %d records", &n); err != nil {
						t.Fatalf("%q: %v", e.Text(), err)
					}
					skipped += n
				}
				if r.RType() == feed.RTypeMbp1 {
					if sequence(r) <= last {
						t.Fatalf("record %d after %d", sequence(r), last)
					}
					last = sequence(r)
					received++
				}
				return last == total || received+skipped == total+1 || filtered && received+skipped == total/2+1
			})
			want := total + 1
			if filtered {
				want = total/2 + 1
			}
			if received+skipped != want || skipped == 0 {
				t.Errorf("%d received and %d skipped, together %d; want %d and some of them skipped", received, skipped, received+skipped, want)
			}
		})
	}
}

// Schemas whose records cannot be inferred from later ones are never skipped,
// whatever the client asks for.
func TestTradesAreNeverSkipped(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.SlowBytes = 64 << 10 })
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset+"|slow_reader_behavior="+lsg.SlowSkip)
	c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	if _, err := readFull(c, make([]byte, 128+2*320)); err != nil {
		t.Fatal(err)
	}
	const total = 300_000
	var batch [][]byte
	for i := range total {
		batch = append(batch, trade(1, i))
	}
	publish(t, s, "1", metadataOf(feed.SchemaTrades), batch...)
	next, warned := 0, false
	buf := make([]byte, feed.MaxRecordSize)
	for next < total {
		if _, err := readFull(c, buf[:16]); err != nil {
			t.Fatal(err)
		}
		r := feed.Record(buf[:int(buf[0])*4])
		if _, err := readFull(c, r[16:]); err != nil {
			t.Fatal(err)
		}
		if r.RType() == feed.RTypeMbp0 {
			if sequence(r) != next {
				t.Fatalf("record %d where %d was due", sequence(r), next)
			}
			next++
			continue
		}
		warned = warned || strings.HasPrefix(systemText(r), "2 Warning: slow reading")
	}
	if !warned {
		t.Error("no slow-reader warning came")
	}
}
