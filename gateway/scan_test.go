package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// What is committed is scanned once for all sessions with filters. Whatever they
// ask for, however they read, and whoever joins meanwhile: each gets the records
// of its instruments, all of them, once and in order.
func TestScannedSessionsGetExactlyWhatTheirFiltersPass(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := serveTest(t, func(c *Config) { c.Loops = 1 + rnd.IntN(2) })
	const sessions, instruments, total = 40, 200, 60_000
	feeder := make([]uint32, total) // the instrument of each trade
	for i := range feeder {
		feeder[i] = uint32(1 + rnd.IntN(instruments))
	}
	var wg sync.WaitGroup
	for n := range sessions {
		var ids []uint32
		for range 1 + rnd.IntN(10) {
			ids = append(ids, uint32(1+rnd.IntN(instruments)))
		}
		c := dialSmall(t, s)
		tsOut := rnd.IntN(4) == 0
		c.auth(testKey, fmt.Sprintf("dataset=%s|ts_out=%d", testDataset, btoi(tsOut)))
		c.send("schema=trades|stype_in=instrument_id|symbols=" + join(ids) + "\nstart_session\n")
		c.pass(128)
		pause := rnd.IntN(5) == 0
		wg.Go(func() {
			if err := readFiltered(c, ids, feeder, tsOut, pause); err != nil {
				t.Errorf("seed %d: session %d, instruments %v: %v", seed, n, ids, err)
			}
		})
	}
	eventually(t, "all have begun", func() bool { return len(s.Sessions()) == sessions && allStarted(s) })
	p := hotIngest(t, s)
	for at := 0; at < total; {
		var b []byte
		for k := 1 + rnd.IntN(2000); k > 0 && at < total; k-- {
			b = append(b, trade(feeder[at], at)...)
			at++
		}
		consume(t, p, b)
		if rnd.IntN(10) == 0 { // who comes late gets what comes later, and disturbs nobody
			late := dialRaw(t, s)
			late.auth(testKey, "dataset="+testDataset)
			late.send("schema=trades|stype_in=instrument_id|symbols=1\nstart_session\n")
		}
	}
	wg.Wait()
}

// readFiltered checks that of all trades those of ids come.
func readFiltered(c *rawClient, ids, feeder []uint32, tsOut, pause bool) error {
	tail := 0
	if tsOut {
		tail = 8
	}
	buf := make([]byte, feed.MaxRecordSize+8)
	for i, id := range feeder {
		if !slices.Contains(ids, id) {
			continue
		}
		for {
			if _, err := readFull(c, buf[:feed.HeaderSize]); err != nil {
				return fmt.Errorf("waiting for trade %d: %w", i, err)
			}
			r := feed.Record(buf[:int(buf[0])*4])
			if _, err := readFull(c, r[feed.HeaderSize:]); err != nil {
				return err
			}
			if r.RType() != feed.RTypeMbp0 {
				continue
			}
			if len(r) != 48+tail || sequence(r) != i || r.InstrumentID() != id {
				return fmt.Errorf("trade %d of instrument %d came (%d bytes) where %d of %d was due", sequence(r), r.InstrumentID(), len(r), i, id)
			}
			break
		}
		if pause && i > len(feeder)/3 {
			pause = false
			time.Sleep(100 * time.Millisecond) // a bot that is busy: the point is that it reads nothing
		}
	}
	return nil
}

func join(ids []uint32) string {
	var parts []string
	for _, id := range ids {
		parts = append(parts, fmt.Sprint(id))
	}
	return strings.Join(parts, ",")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A mark in the middle of what a scan takes must not leave its sessions waiting
// for the next commit.
func TestAMarkDoesNotStopAScan(t *testing.T) {
	s := serveTest(t)
	const sessions = inlineSessions + 4 // or commits would serve them inline
	var clients [sessions]*rawClient
	for i := range clients {
		clients[i] = dialRaw(t, s)
		clients[i].auth(testKey, "dataset="+testDataset)
		clients[i].send("schema=trades|symbols=AAA,BBB\nstart_session\n")
		clients[i].pass(128)
	}
	eventually(t, "all have begun", func() bool { return len(s.Sessions()) == sessions && allStarted(s) })
	var records [][]byte
	for i := range 3000 {
		switch i {
		case 0:
			records = append(records, mappingRecord(1, "AAA"))
		case 1000:
			records = append(records, mappingRecord(2, "BBB"))
		case 2000: // the id goes to another symbol
			records = append(records, mappingRecord(1, "CCC"))
		}
		records = append(records, trade(uint32(1+i%3), i))
	}
	publish(t, s, "1", metadataOf(feed.SchemaTrades), records...)
	for n, c := range clients {
		buf := make([]byte, feed.MaxRecordSize)
		for i := range 3000 {
			if id := 1 + i%3; id == 3 || id == 2 && i < 1000 || id == 1 && i >= 2000 {
				continue
			}
			r := c.next(buf)
			for r.RType() != feed.RTypeMbp0 {
				r = c.next(buf)
			}
			if sequence(r) != i {
				t.Fatalf("session %d got trade %d where %d was due", n, sequence(r), i)
			}
		}
	}
}

// deskSessions is 64 sessions of 10 instruments each, out of 5,000, on a loop
// that nobody runs.
func deskSessions(t testing.TB, s *Server) (l *loop, peers []int) {
	l = idleLoop(t, s)
	for n := range 64 {
		var ids []uint32
		for k := range 10 {
			ids = append(ids, uint32(n*78+k+1))
		}
		_, peer := hotSessionOn(t, l, "schema=trades|stype_in=instrument_id|symbols="+join(ids))
		peers = append(peers, peer)
	}
	l.turns()
	return l, peers
}

// deskBatch is records of 5,000 instruments in turn.
func deskBatch(from int) []byte {
	var b []byte
	for i := range hotBatch {
		b = append(b, trade(uint32((from+i)%5000+1), i)...)
	}
	return b
}

// A scan must not allocate, neither for a record nor for a session.
func TestAScanDoesNotAllocate(t *testing.T) {
	s := serveTest(t)
	p := hotIngest(t, s)
	consume(t, p, deskBatch(0))
	l, peers := deskSessions(t, s)
	for i := range 10 {
		consume(t, p, deskBatch(i*hotBatch))
		l.woken()
	}
	batch, got := deskBatch(0), 0
	if n := medianAllocs(func() {
		consume(t, p, batch)
		l.woken()
		for _, peer := range peers {
			got += drain(t, peer)
		}
	}); n > 0 {
		t.Errorf("a scan of %d records for %d sessions allocates %d times", hotBatch, len(peers), n)
	}
	if got == 0 {
		t.Error("nothing came")
	}
}

// One op is one record, looked at for 64 sessions of which one in eight wants it.
func BenchmarkScan(b *testing.B) {
	s := serveTest(b)
	p := hotIngest(b, s)
	consume(b, p, deskBatch(0))
	l, peers := deskSessions(b, s)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += hotBatch {
		b.StopTimer()
		consume(b, p, deskBatch(n))
		for _, peer := range peers {
			drain(b, peer)
		}
		b.StartTimer()
		l.woken()
	}
}

// Filters that pass nearly everything need several writes of one scan. When a
// socket takes only a part of one, the next must wait: what is kept goes first.
func TestADenseFilterKeepsItsOrderOverShortWrites(t *testing.T) {
	s := serveTest(t)
	p := hotIngest(t, s)
	consume(t, p, trade(9, 0))
	l := idleLoop(t, s)
	var dense []*session
	var peers []int
	for range 2 {
		sess, peer := hotSessionOn(t, l, "schema=trades|stype_in=instrument_id|symbols=1")
		_ = unix.SetsockoptInt(sess.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 40<<10) // less than one write of a scan
		dense, peers = append(dense, sess), append(peers, peer)
	}
	l.turns()
	const total = 4000 // three writes of 64 KiB
	var b []byte
	for i := range total {
		b = append(b, trade(1, i)...)
	}
	consume(t, p, b)
	l.woken()
	for n, peer := range peers {
		var got []byte
		buf := make([]byte, 8<<10)
		for idle := 0; len(got) < len(b) && idle < 100; {
			k, err := unix.Read(peer, buf)
			if err == nil && k > 0 {
				got, idle = append(got, buf[:k]...), 0
				continue
			}
			idle++
			dense[n].becameWritable()
			dense[n].turn()
		}
		if !bytes.Equal(got, b) {
			t.Errorf("session %d got %d bytes that are not the %d of its records", n, len(got), len(b))
		}
	}
}

// A member that has run ahead must neither stop the scan of the others, nor get
// anything twice.
func TestMembersOfAScanMayBeApart(t *testing.T) {
	s := serveTest(t)
	p := hotIngest(t, s)
	consume(t, p, trade(9, 0))
	l := idleLoop(t, s)
	var members []*session
	var peers []int
	for range 3 {
		sess, peer := hotSessionOn(t, l, "schema=trades|stype_in=instrument_id|symbols=1")
		members, peers = append(members, sess), append(peers, peer)
	}
	l.turns()
	l.woken()
	l.lease.Lock() // as the loop itself does while it works: no commit serves inline
	defer l.lease.Unlock()
	var b []byte
	for i := range 300 {
		b = append(b, trade(1, i)...)
	}
	consume(t, p, b[:100*48])
	members[0].turn() // 100 ahead of the others
	consume(t, p, b[100*48:])
	lead, end := l.lineUp(members[0].scan)
	if lead == nil || len(l.ready) > 0 {
		t.Fatalf("the scan leaves %d of 3 members to turns of their own", len(l.ready))
	}
	if lead != members[1].cursors[0] && lead != members[2].cursors[0] || end != lead.seq+300 {
		t.Errorf("the scan takes records %d to %d, not the 300 that the last member lacks", lead.seq, end)
	}
	l.woken()
	for n, peer := range peers {
		got := make([]byte, len(b)+48)
		if k, _ := unix.Read(peer, got); !bytes.Equal(got[:k], b) {
			t.Errorf("session %d got %d bytes that are not the %d of its records", n, k, len(b))
		}
	}
}
