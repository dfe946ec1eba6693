package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// bystanders are a healthy producer and a healthy subscriber beside whatever a
// test does to their server: every record must arrive, in order and in time.
type bystanders struct {
	t    *testing.T
	stop func()
	done chan error // of the producer, then of the subscriber
	sent int
	late time.Duration // the longest that a record took
	got  atomic.Int64  // records that came
}

const (
	bystanderID = 4_000_000
	// bystanderLate is far above what a busy machine and the race detector cost,
	// and far below what a loop that hangs does.
	bystanderLate = 5 * time.Second
	// bystanderAhead bounds the records on their way: where the machine serves fewer
	// than are offered, what is measured must not be how long that went on.
	bystanderAhead = 500
)

// beside starts both. Their records are of mbp-1, so tests use trades.
func beside(t *testing.T, s *Server) *bystanders {
	t.Helper()
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaMbp1, SType: feed.STypeInstrumentID, Symbols: []string{fmt.Sprint(bystanderID)}, Start: new(uint64)})
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "bystander", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(metadataOf(feed.SchemaMbp1)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	b := &bystanders{t: t, stop: sync.OnceFunc(func() { close(stop) }), done: make(chan error, 2)}
	var wg sync.WaitGroup
	wg.Go(func() { b.done <- b.publish(ctx, p, stop) })
	wg.Go(func() { b.done <- b.receive(ctx, sub) })
	t.Cleanup(func() {
		b.stop()
		cancel()
		wg.Wait()
	})
	return b
}

// publish sends some records each millisecond, and one with sequence 0 as the last.
func (b *bystanders) publish(ctx context.Context, p *feed.Producer, stop <-chan struct{}) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	send := func(n int) error {
		r := quote(bystanderID, n)
		binary.LittleEndian.PutUint64(r[8:], uint64(time.Now().UnixNano()))
		return p.Publish(r)
	}
	for {
		select {
		case <-stop:
			if err := send(0); err != nil {
				return fmt.Errorf("the healthy producer: %w", err)
			}
			return p.Close(ctx)
		case <-tick.C:
		}
		for range 5 {
			if b.sent-int(b.got.Load()) >= bystanderAhead {
				break
			}
			b.sent++
			if err := send(b.sent); err != nil {
				return fmt.Errorf("the healthy producer, after %d records: %w", b.sent, err)
			}
		}
	}
}

// receive checks that every record comes, in order, up to the last.
func (b *bystanders) receive(ctx context.Context, sub *feed.Subscriber) error {
	next := 1
	for r, err := range sub.Records(ctx) {
		if err != nil {
			return fmt.Errorf("the healthy subscriber, after %d records: %w", next-1, err)
		}
		if r.RType() != feed.RTypeMbp1 {
			continue
		}
		b.late = max(b.late, time.Since(time.Unix(0, int64(r.TsEvent()))))
		switch n := sequence(r); n {
		case 0:
			if next <= 1 {
				return fmt.Errorf("the healthy subscriber got nothing")
			}
			return nil
		case next:
			next++
			b.got.Add(1)
		default:
			return fmt.Errorf("the healthy subscriber got record %d where %d was due", n, next)
		}
	}
	return fmt.Errorf("the healthy subscriber's stream ended after %d records", next-1)
}

// unharmed ends both and checks that neither noticed anything.
func (b *bystanders) unharmed() {
	b.t.Helper()
	b.stop()
	for range 2 {
		if err := <-b.done; err != nil {
			b.t.Error(err)
		}
	}
	if b.late > bystanderLate {
		b.t.Errorf("a record took %v to the healthy subscriber", b.late)
	}
	b.t.Logf("bystanders: %d records, the slowest took %v", b.sent, b.late)
}

// footprint is what a process holds.
type footprint struct {
	files, goroutines int
	sockets           int64
	heap              uint64
}

// footprintOf waits until a server has no other connections than it should.
func footprintOf(t testing.TB, s *Server, sockets int64) footprint {
	t.Helper()
	eventually(t, "nobody else is connected", func() bool { return s.sockets.Load() == sockets })
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return footprint{files: len(files), goroutines: runtime.NumGoroutine(), sockets: sockets, heap: heapInUse()}
}

// heapInUse is what is left on the heap after a collection.
func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers held
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Room for what a server that goes on may have more of: segments, timers.
const (
	moreFiles      = 12
	moreGoroutines = 12
	moreHeap       = 8 << 20
)

// restored waits until nothing is left of what a test did.
func (f footprint) restored(t testing.TB, s *Server) {
	t.Helper()
	var now footprint
	eventually(t, "sockets, files and goroutines are given back", func() bool {
		if s.sockets.Load() > f.sockets {
			return false
		}
		files, _ := os.ReadDir("/proc/self/fd")
		now.files, now.goroutines = len(files), runtime.NumGoroutine()
		return now.files <= f.files+moreFiles && now.goroutines <= f.goroutines+moreGoroutines
	})
	if now := heapInUse(); now > f.heap+moreHeap {
		t.Errorf("the heap has %d MiB, %d before", now>>20, f.heap>>20)
	}
	if n := s.metrics.panics.Get(); n != 0 {
		t.Errorf("%d panics were contained", n)
	}
	if n := s.sockets.Load(); n != f.sockets {
		t.Errorf("%d sockets are counted, %d before", n, f.sockets)
	}
}

// rejected is how often something was refused, by the metric's code.
func (s *Server) rejected(code string) int { return int(s.metrics.rejects(code).Get()) }

// reset ends a connection with RST, as a process does that dies with input unread.
func (c *rawClient) reset() {
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	c.conn.Close()
}

// control runs f on a connection's descriptor.
func control(t testing.TB, conn net.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// delivered waits until what was sent lies with the server's kernel.
func (c *rawClient) delivered() {
	c.t.Helper()
	eventually(c.t, "the server's kernel has what was sent", func() (ok bool) {
		control(c.t, c.conn, func(fd int) error {
			n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
			ok = n == 0
			return err
		})
		return ok
	})
}

// dialQuiet connects without asking by itself whether the server is there, with
// the smallest receive buffer.
func dialQuiet(t testing.TB, s *Server) *rawClient {
	t.Helper()
	d := net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10) })
	}}
	conn, err := d.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return rawOn(t, conn)
}
