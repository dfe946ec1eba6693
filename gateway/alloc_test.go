package gateway

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// hotIngest is a producer in the middle of its stream, without a socket.
func hotIngest(t testing.TB, s *Server) *producer {
	t.Helper()
	p := &producer{srv: s, client: &client{}, out: discardLines{}, req: lsg.AuthRequest{Dataset: testDataset, Producer: "hot", Stream: "1", Ack: lsg.AckWritten}, told: make(chan struct{})}
	p.claims = s.budgets.producerClaims(nil)
	p.acks.init(p)
	if err := p.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.opened = true
	p.ingest.init(p)
	p.ingest.blocking = true
	p.acks.start()
	m := metadataOf(feed.SchemaNone)
	if _, err := p.ingest.consume(append([]byte("start_session\n"), metadataBytes(t, m)...)); err != nil {
		t.Fatal(err)
	}
	return p
}

type discardLines struct{}

func (discardLines) line([]byte)     {}
func (discardLines) lastLine([]byte) {}
func (discardLines) wake()           {}
func (discardLines) busy() bool      { return false }

// hotSession is a live session whose socket is one end of a pair.
func hotSession(t testing.TB, s *Server, filtered bool) (sess *session, peer int) {
	t.Helper()
	line := "schema=trades|symbols=ALL_SYMBOLS"
	if filtered {
		line = "schema=trades|stype_in=instrument_id|symbols=1"
	}
	return hotSessionOn(t, idleLoop(t, s), line)
}

// idleLoop is an egress loop that nobody runs.
func idleLoop(t testing.TB, s *Server) *loop {
	l, err := newLoop(s, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
	return l
}

// hotSessionOn is a live session on a loop that nobody runs.
func hotSessionOn(t testing.TB, l *loop, line string) (sess *session, peer int) {
	t.Helper()
	s := l.srv
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	for _, fd := range pair {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	s.sockets.Add(1)
	sess = &session{loop: l, id: s.nextSession.Add(1), fd: pair[0], auth: lsg.AuthRequest{Dataset: testDataset}, claims: s.budgets.claims(nil)}
	l.adopt(sess)
	sess.becameWritable()
	sess.line(line)
	sess.line("start_session")
	sess.pump(s.limits.Turn)
	drain(t, pair[1])
	return sess, pair[1]
}

func drain(t testing.TB, fd int) (n int) {
	t.Helper()
	for {
		k, err := unix.Read(fd, drainBuffer[:])
		if errors.Is(err, unix.EAGAIN) {
			return n
		}
		if err != nil || k == 0 {
			t.Fatalf("drain: %d, %v", k, err)
		}
		n += k
	}
}

var drainBuffer [1 << 20]byte

const hotBatch = 1000

// hotBytes is a batch as it lies in the read buffer; mixed alternates schemas.
func hotBytes(mixed bool) []byte {
	var b []byte
	for i := range hotBatch {
		if mixed && i%2 == 1 {
			b = append(b, quote(uint32(i%4), i)...)
			continue
		}
		b = append(b, trade(uint32(i%4), i)...)
	}
	return b
}

// The two hot paths must not allocate for a record, nor for a batch.
func TestHotPathsDoNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name            string
		mixed, filtered bool
	}{{"one schema", false, false}, {"two schemas", true, false}, {"filtered", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			s := serveTest(t)
			p, b := hotIngest(t, s), hotBytes(c.mixed)
			consume(t, p, b)
			sess, peer := hotSession(t, s, c.filtered)
			consume(t, p, b)
			sess.pump(s.limits.Turn)
			drain(t, peer)
			if n := medianAllocs(func() { consume(t, p, b) }); n > 0 {
				t.Errorf("ingest allocates %d times a batch of %d records", n, hotBatch)
			}
			sess.pump(s.limits.Turn)
			drain(t, peer)
			if n := medianAllocs(func() {
				consume(t, p, b)
				sess.pump(s.limits.Turn)
				drain(t, peer)
			}); n > 0 {
				t.Errorf("fan-out allocates %d times a batch of %d records", n, hotBatch)
			}
		})
	}
}

// medianAllocs is how often f allocates as a rule. Now and then a batch waits
// for the next segment, which does.
func medianAllocs(f func()) uint64 {
	counts := make([]uint64, 101)
	var before, after runtime.MemStats
	for i := range counts {
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		counts[i] = after.Mallocs - before.Mallocs
	}
	slices.Sort(counts)
	return counts[len(counts)/2]
}

func consume(t testing.TB, p *producer, b []byte) {
	if _, err := p.ingest.consume(b); err != nil {
		t.Fatal(err)
	}
}

// One op is one record: validated, committed to a mapped tape.
func BenchmarkIngest(b *testing.B) {
	for _, c := range []struct {
		name  string
		mixed bool
	}{{"schemas=1", false}, {"schemas=2", true}} {
		b.Run(c.name, func(b *testing.B) {
			s := serveTest(b)
			p, batch := hotIngest(b, s), hotBytes(c.mixed)
			consume(b, p, batch)
			b.SetBytes(int64(len(batch) / hotBatch))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += hotBatch {
				consume(b, p, batch)
			}
		})
	}
}

// One op is one record through a session's turn into a socket, and out of it.
func BenchmarkFanOut(b *testing.B) {
	for _, c := range []struct {
		name     string
		filtered bool
	}{{"all", false}, {"filtered", true}} {
		b.Run(c.name, func(b *testing.B) {
			s := serveTest(b)
			p, batch := hotIngest(b, s), hotBytes(false)
			consume(b, p, batch)
			sess, peer := hotSession(b, s, c.filtered)
			b.ReportAllocs()
			for n := 0; n < b.N; n += hotBatch {
				b.StopTimer()
				consume(b, p, batch)
				b.StartTimer()
				sess.pump(s.limits.Turn)
				drain(b, peer)
			}
		})
	}
}
