package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// fuzzServer is a gateway without a listener and without goroutines of its own
// loops: what gnet and the loops would do is done in place, so that the same
// bytes in the same pieces always take the same way.
type fuzzServer struct {
	srv    *Server
	front  front
	events []unix.EpollEvent
	used   int // connections so far
}

// fuzzReuse is how many connections a fuzzServer serves before another takes
// its place: tapes only grow.
const fuzzReuse = 300

// fuzzLimits are small, so that their edges are found.
var fuzzLimits = Limits{Datasets: 4, Metadata: 1 << 16, InstrumentsPerProducer: 20, SubscriptionsPerSession: 20, SymbolsPerSession: 50}

func newFuzzServer(t testing.TB) *fuzzServer {
	t.Helper()
	j, err := journal.Open("/data", journal.Options{Disk: journal.NewMemDisk(), RetryInterval: time.Millisecond, MinSegment: 64 << 10, MaxSegment: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(j, Config{SendPath: SendWrite, Limits: fuzzLimits, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	for _, cold := range []bool{false, true} {
		l, err := newLoop(s, cold)
		if err != nil {
			t.Fatal(err)
		}
		s.loops, s.cold = append(s.loops, l), l
	}
	return &fuzzServer{srv: s, front: front{srv: s}, events: make([]unix.EpollEvent, loopEvents)}
}

func (h *fuzzServer) close() {
	for _, l := range h.srv.loops {
		l.release()
	}
	h.srv.producers.unwatch()
	h.srv.cancel()
	h.srv.wg.Wait()
	_ = h.srv.journal.Close() // in memory
}

// fuzzPair is two servers that are told the same, one at once and one in pieces.
type fuzzPair struct{ whole, pieces *fuzzServer }

// next sees to servers for the next connection: after some they are fresh.
func (p *fuzzPair) next(t testing.TB, setup func(*fuzzServer)) (fresh bool) {
	if p.whole != nil && p.whole.used < fuzzReuse {
		return false
	}
	p.close()
	p.whole, p.pieces = newFuzzServer(t), newFuzzServer(t)
	if setup != nil {
		setup(p.whole)
		setup(p.pieces)
	}
	return true
}

func (p *fuzzPair) close() {
	if p.whole != nil {
		p.whole.close()
		p.pieces.close()
	}
}

// fuzzConn stands in for gnet's connection. What is not defined here is not used.
type fuzzConn struct {
	gnet.Conn
	ctx any
	in  []byte // what OnTraffic finds
	fd  int    // of the socket that lines are written to and a session gets
	out []byte
	mu  sync.Mutex
	end bool
}

func (c *fuzzConn) SetContext(ctx any)    { c.ctx = ctx }
func (c *fuzzConn) Context() any          { return c.ctx }
func (c *fuzzConn) RemoteAddr() net.Addr  { return &net.TCPAddr{} }
func (c *fuzzConn) Fd() int               { return c.fd }
func (c *fuzzConn) LocalAddr() net.Addr   { return &net.TCPAddr{} }
func (c *fuzzConn) Dup() (int, error)     { return unix.Dup(c.fd) }
func (c *fuzzConn) OutboundBuffered() int { return 0 }

func (c *fuzzConn) Wake(gnet.AsyncCallback) error { return nil }

func (c *fuzzConn) Next(int) ([]byte, error) {
	b := c.in
	c.in = nil
	return b, nil
}

func (c *fuzzConn) Write(b []byte) (int, error) {
	c.out = append(c.out, b...)
	return len(b), nil
}

func (c *fuzzConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = true
	return nil
}

func (c *fuzzConn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}

// talk is one connection to a fuzzServer.
type talk struct {
	t    testing.TB
	h    *fuzzServer
	conn *fuzzConn
	peer int // the client's end of a detached session's socket
	gone bool
}

// say opens a connection, sends b in pieces as cuts says and hangs up. With
// hurry, pieces do not wait for a producer that waits. It returns what the
// client was told.
func (h *fuzzServer) say(t testing.TB, b, cuts []byte, hurry bool) []byte {
	t.Helper()
	h.used++
	h.srv.nextSession.Store(0)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{t: t, h: h, conn: &fuzzConn{fd: pair[0]}, peer: pair[1]}
	out, action := h.front.OnOpen(k.conn)
	k.conn.out = append(k.conn.out, out...)
	k.act(action)
	for i := 0; len(b) > 0 && !k.gone; i++ {
		n := len(b)
		if len(cuts) > 0 {
			n = min(n, int(cuts[i%len(cuts)])+1)
		}
		k.send(bytes.Clone(b[:n])) // of its own: the server may write to it
		if !hurry {
			k.settle()
		}
		b = b[n:]
	}
	k.hangUp()
	k.left()
	k.check()
	return k.conn.out
}

// act does what gnet does with a callback's result.
func (k *talk) act(action gnet.Action) {
	if action != gnet.Close && !k.conn.ended() || k.gone {
		return
	}
	k.h.front.OnClose(k.conn, nil)
	if !k.client().detached {
		k.gone = true
	}
	unix.Close(k.conn.fd)
	k.conn.fd = -1
	_ = k.conn.Close()
}

func (k *talk) client() *client { return k.conn.ctx.(*client) }

// send delivers one piece, to the front or, once it is detached, to the loops.
func (k *talk) send(b []byte) {
	if !k.client().detached {
		k.conn.in = b
		k.act(k.h.front.OnTraffic(k.conn))
		if !k.client().detached {
			k.hear()
			return
		}
		k.exchange()
		return
	}
	for len(b) > 0 && !k.gone {
		n, err := unix.Write(k.peer, b)
		switch {
		case errors.Is(err, unix.EAGAIN):
		case err != nil:
			k.gone = true
		default:
			b = b[n:]
		}
		k.exchange()
	}
}

// settle waits until a producer has taken what it was sent.
func (k *talk) settle() {
	p := k.client().producer
	for p != nil && p.parked != nil && !k.gone {
		<-p.parked.over
		k.act(k.h.front.OnTraffic(k.conn))
		k.hear()
	}
}

// hear reads what has been said, and reports whether that was something or the end.
func (k *talk) hear() (some, end bool) {
	var b [64 << 10]byte
	n, err := unix.Read(k.peer, b[:])
	k.conn.out = append(k.conn.out, b[:max(n, 0)]...)
	return n > 0, n == 0 || err != nil && !errors.Is(err, unix.EAGAIN)
}

// exchange runs the loops until they have nothing to do, and reads what they say.
func (k *talk) exchange() {
	if !k.client().detached {
		return
	}
	for again := true; again; {
		k.h.step()
		var end bool
		again, end = k.hear()
		k.gone = k.gone || end
		for _, l := range k.h.srv.loops {
			for _, s := range l.sessions {
				again = again || s != nil && k.bounded(s) && s.started && !s.begun && !s.ending && s.farewell == "" && !s.shutDown // a seek is on its way
			}
		}
	}
}

// step is one round of each loop, again until nothing is left.
func (h *fuzzServer) step() {
	for busy := true; busy; {
		busy = false
		for _, l := range h.srv.loops {
			n, err := l.poll.wait(h.events, false)
			if err != nil {
				panic(err)
			}
			l.now = time.Now()
			for i := range h.events[:n] {
				l.event(&h.events[i])
			}
			busy = busy || n > 0 || len(l.ready) > 0
			l.turns()
		}
	}
}

// bounded checks what a session may hold.
func (k *talk) bounded(s *session) bool {
	if len(s.requests) > fuzzLimits.SubscriptionsPerSession || s.lines > 2*fuzzLimits.SubscriptionsPerSession+1 || len(s.cursors) > feed.NumSchemas {
		k.t.Fatalf("a session holds %d requests and %d cursors after %d lines", len(s.requests), len(s.cursors), s.lines)
	}
	symbols := 0
	for _, r := range s.requests {
		symbols += len(r.symbols)
	}
	if symbols > fuzzLimits.SymbolsPerSession || cap(s.out) > k.h.srv.limits.Staging {
		k.t.Fatalf("a session holds %d symbols and %d bytes that are staged", symbols, cap(s.out))
	}
	return true
}

func (k *talk) hangUp() {
	k.settle()
	p := k.client().producer
	if !k.client().detached {
		if p != nil && !k.gone {
			k.checkProducer(p)
		}
		if !k.gone {
			k.h.front.OnClose(k.conn, unix.ECONNRESET) // an orderly end would move a producer to a goroutine
			unix.Close(k.conn.fd)
			_ = k.conn.Close()
		}
		unix.Close(k.peer)
		return
	}
	unix.Close(k.peer)
	k.h.step()
	for k.seeks() { // whose client is gone leaves when it is there
		k.h.step()
	}
}

// seeks reports whether the place of a start is on its way to a session.
func (k *talk) seeks() bool {
	for _, l := range k.h.srv.loops {
		for _, s := range l.sessions {
			if s != nil && s.seeking {
				return true
			}
		}
	}
	return false
}

// left waits until a producer that hung up while it waited has left.
func (k *talk) left() {
	if p := k.client().producer; p != nil && p.parked != nil {
		<-p.parked.over
		p.leave()
	}
}

// checkProducer checks what a producer's parser may hold between two reads.
func (k *talk) checkProducer(p *producer) {
	in := &p.ingest
	if len(in.text) > producerLine || len(in.header) > fuzzLimits.Metadata || len(in.partial) >= feed.MaxRecordSize || len(in.runs) > 0 || len(in.held) > 0 {
		k.t.Fatalf("between two reads %d bytes of a line, %d of metadata, %d of a record, %d runs and %d bytes that wait are kept",
			len(in.text), len(in.header), len(in.partial), len(in.runs), len(in.held))
	}
}

// check looks at what the server is left with.
func (k *talk) check() {
	s := k.h.srv
	for _, l := range s.loops {
		for _, sess := range l.sessions {
			if sess != nil {
				k.t.Fatalf("session %d is left over: started %v, begun %v, ending %v", sess.id, sess.started, sess.begun, sess.ending)
			}
		}
	}
	if n := s.sockets.Load(); n != 0 {
		k.t.Fatalf("%d sockets are counted after the last one", n)
	}
	if n := len(s.producers.list()); n != 0 {
		k.t.Fatalf("%d producers are left over", n)
	}
	if n := s.metrics.panics.Get(); n != 0 {
		k.t.Fatal("a panic was contained: run with the recover calls of front.go and loop.go taken out to see it")
	}
}

// told is what a producer was told, acks aside: when they come depends on time.
func told(out []byte) (lines []string) {
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "ack=") && !strings.HasPrefix(line, "cram=") {
			lines = append(lines, line)
		}
	}
	return lines
}

// fuzzMark is how far a dataset was looked at.
type fuzzMark struct {
	tails    [feed.NumSchemas]uint64
	symbols  int
	accepted uint64
}

// growth is what was added to a dataset.
type growth struct {
	records  int
	accepted uint64
	tapes    [feed.NumSchemas][]byte
	names    [feed.NumSchemas][]string // of the records
	symbols  []journal.Mapping
}

// fuzzBegan is older than each definition that a server makes of an instrument line.
var fuzzBegan = uint64(time.Now().UnixNano())

// madeHere counts those, which are of nobody's stream.
func madeHere(schema feed.Schema, b []byte) (n int) {
	for size := schema.RecordSize(); schema == feed.SchemaDefinition && len(b) > 0; b = b[size:] {
		if m, ok := feed.View[feed.InstrumentDefMsg](feed.Record(b[:size])); ok && m.TsEvent == m.TsRecv && m.TsEvent >= fuzzBegan && m.TsEvent != feed.UndefTimestamp {
			n++
		}
	}
	return n
}

// growth reads what a dataset has beyond m, and moves m on.
func (h *fuzzServer) growth(t testing.TB, name string, m *fuzzMark) (g growth) {
	d := h.srv.journal.Lookup(name)
	if d == nil {
		return g
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		tape := d.Tape(schema)
		if tape == nil {
			continue
		}
		tail := tape.Tail()
		for seq := m.tails[schema]; seq < tail; {
			seg, err := tape.Segment(seq)
			if err != nil {
				t.Fatal(err)
			}
			end := min(seg.Limit(), tail)
			b := make([]byte, int(end-seq)*tape.RecordSize())
			if _, err := seg.ReadAt(b, seg.Offset(seq)); err != nil {
				t.Fatal(err)
			}
			seg.Release()
			g.tapes[schema], seq = append(g.tapes[schema], b...), end
		}
		g.records += int(tail-m.tails[schema]) - madeHere(schema, g.tapes[schema])
		m.tails[schema] = tail
		checkWhole(t, schema, g.tapes[schema])
	}
	table := d.Symbols()
	for schema, b := range g.tapes {
		s := feed.Schema(schema)
		for size, seq := s.RecordSize(), m.tails[s]-uint64(len(b)/max(s.RecordSize(), 1)); len(b) > 0; b, seq = b[size:], seq+1 {
			r := feed.Record(b[:size])
			name, _ := table.NameAt(r.InstrumentID(), s, seq, journal.DayOf(r.IndexTime()))
			g.names[s] = append(g.names[s], name)
		}
	}
	g.accepted = h.accepted(t, name) - m.accepted
	m.accepted += g.accepted
	for ; m.symbols < table.Len(); m.symbols++ {
		entry := table.At(m.symbols)
		entry.Time = 0
		entry.At = slices.Clone(entry.At)
		if entry.Kind == journal.KindDefinition {
			// Of a run of definitions of several ids it holds from the first on, which the
			// pieces decide; whom it names does not depend on them.
			entry.At = slices.DeleteFunc(entry.At, func(p journal.Position) bool { return p.Schema == feed.SchemaDefinition })
		}
		g.symbols = append(g.symbols, entry)
	}
	return g
}

// accepted is the count of the stream that FuzzProducerConnection sends.
func (h *fuzzServer) accepted(t testing.TB, dataset string) uint64 {
	w, err := h.srv.journal.Lookup(dataset).OpenWriter(journal.WriterOptions{Producer: "fuzz", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.Accepted()
}

// checkWhole checks that b is whole records of a schema and nothing else.
func checkWhole(t testing.TB, schema feed.Schema, b []byte) {
	size := schema.RecordSize()
	if len(b)%size != 0 {
		t.Fatalf("%d bytes on the tape of %v, whose records have %d", len(b), schema, size)
	}
	for at := 0; at < len(b); at += size {
		r := feed.Record(b[at : at+size])
		if s, ok := feed.SchemaOf(r.RType(), schema); !ok || s != schema || r.Size() != size {
			t.Fatalf("on the tape of %v lies %v of %d bytes", schema, r.RType(), r.Size())
		}
	}
}

// withoutTimes clears what was read off the clock between from and to, wherever
// it lies in b.
func withoutTimes(b []byte, from, to time.Time) []byte {
	low, high := uint64(from.UnixNano()), uint64(to.UnixNano())
	for i := 0; i+8 <= len(b); i++ {
		if ns := binary.LittleEndian.Uint64(b[i:]); ns >= low && ns <= high {
			clear(b[i : i+8])
		}
	}
	return b
}

// fuzzPublish puts something on the tapes of a fuzzServer's dataset.
func fuzzPublish(t testing.TB, h *fuzzServer) {
	t.Helper()
	m := withMapping(metadataOf(feed.SchemaNone), 1, "AAA")
	b := append([]byte("auth=x|"+producerFields(testDataset, "setup", "1")+"\nstart_session\n"), metadataBytes(t, m)...)
	for i := range 100 {
		b = append(append(b, trade(uint32(i%3), i)...), quote(uint32(i%3), i)...)
	}
	h.say(t, b, nil, false)
	if d := h.srv.journal.Lookup(testDataset); d == nil || d.Tape(feed.SchemaTrades) == nil || d.Tape(feed.SchemaTrades).Tail() != 100 {
		t.Fatal("the records of the setup are not on the tape")
	}
}
