package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// sendUntilCut sends b again and again, and reports whether the server ends the
// connection before most bytes are sent.
func (c *rawClient) sendUntilCut(b []byte, most int) bool {
	for sent := 0; sent < most; sent += len(b) {
		if _, err := c.conn.Write(b); err != nil {
			return true
		}
	}
	return false
}

// sendUntilBlocked sends b again and again until the socket takes no more, and
// returns how much it took; most is where it gives up.
func (c *rawClient) sendUntilBlocked(b []byte, most int) (sent int) {
	c.t.Helper()
	defer c.conn.SetWriteDeadline(time.Time{})
	for sent < most {
		_ = c.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.conn.Write(b)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return sent
		}
		if err != nil {
			c.t.Fatalf("after %d bytes: %v", sent, err)
		}
	}
	return sent
}

// Each instrument line has a reply. Who sends on and reads none must not make
// the server keep them all.
func TestRepliesThatNobodyReadsAreBounded(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.InstrumentsPerProducer = 1 << 30 })
	p := dialSmall(t, s)
	p.produce("1")
	lines := bytes.Repeat([]byte("instrument="+strings.Repeat("A", 60)+"\n"), 1000)
	if !p.sendUntilCut(lines, 8*replyBacklog) {
		t.Errorf("%d bytes of replies that nobody reads are kept, the bound is %d", 8*replyBacklog, replyBacklog)
	}
}

// gnet goes on reading what a producer sends while it waits for the disk, so it is
// moved to where TCP holds it back: also one that is owed lines, and reads none.
func TestWaitingProducerThatReadsNothingIsHeldBack(t *testing.T) {
	s, disk := serveMemory(t, 50*time.Millisecond, func(c *Config) { c.Limits.Parked = 256 << 10 })
	p := dialSmall(t, s)
	p.produce("1")
	live := s.producers.list()[0]
	if err := live.client.conn.SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	const instruments = 1000
	for n := range instruments {
		fmt.Fprintf(&lines, "instrument=%060d\n", n)
	}
	p.send(lines.String())
	table := s.journal.Lookup(testDataset).Symbols()
	eventually(t, "the instruments are declared", func() bool { return table.Len() == instruments })
	disk.Limit(disk.Used())
	defer disk.Limit(1 << 40)
	p.begin(metadataOf(feed.SchemaTrades))
	const most = 256 << 20
	sent := p.sendUntilBlocked(bytes.Repeat(trade(1, 0), 1000), most)
	if sent == most {
		t.Fatalf("%d bytes are taken from a producer that waits", sent)
	}
	if _, moved := live.lines().(*tcpLines); !moved {
		t.Errorf("after %d bytes its lines go through %T", sent, live.lines())
	}
	// It did nothing wrong: with room on the disk and somebody who reads, it goes on.
	disk.Limit(1 << 40)
	p.await("resume=1")
}

// A producer may send all its instruments before it reads a reply, and go on with
// records in the same breath: whatever it takes to serve it, its lines come in order.
func TestProducerThatPipelinesMoreThanIsHeldIsServed(t *testing.T) {
	const instruments, records = 40_000, 30_000
	s := serveTest(t, func(c *Config) { c.Limits.Parked = 64 << 10 })
	p := dialSmall(t, s)
	p.produce("1")
	var all bytes.Buffer
	for n := range instruments {
		fmt.Fprintf(&all, "instrument=S%d\n", n)
	}
	all.WriteString("start_session\n")
	all.Write(metadataBytes(t, metadataOf(feed.SchemaTrades)))
	for i := range records {
		all.Write(trade(uint32(i%instruments+1), i))
	}
	go p.conn.Write(all.Bytes())
	for n := range instruments {
		if want, got := fmt.Sprintf("instrument=S%d|instrument_id=%d", n, n+1), p.line(); got != want {
			t.Fatalf("line %d is %q, want %q", n, got, want)
		}
	}
	p.await(fmt.Sprintf("ack=%d|", records))
}

// An instrument that is declared again in another way is another entry of the
// symbol table: lines count, not symbols.
func TestDeclarationsOfOneInstrumentAreBounded(t *testing.T) {
	const most = 10
	s := serveTest(t, func(c *Config) { c.Limits.InstrumentsPerProducer = most })
	p := dialRaw(t, s)
	p.produce("1")
	var lines strings.Builder
	for i := range most + 1 {
		fmt.Fprintf(&lines, "instrument=A|lot=%d\n", i%2+1)
	}
	p.send(lines.String())
	if got := p.rest(); strings.Count(got, "instrument=A|") != most || !strings.Contains(got, "error=limit") {
		t.Errorf("%d lines are answered with %q", most+1, got)
	}
	if n := s.journal.Lookup(testDataset).Symbols().Len(); n > most {
		t.Errorf("one session with a limit of %d entered %d mappings", most, n)
	}
}

// Datasets hold open files, and running out of those would end the event loop:
// one too many is refused, and everybody else goes on.
func TestOneDatasetTooManyIsRefusedByName(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Datasets = 2 })
	for _, dataset := range []string{"D0", "D1"} {
		if got := dialRaw(t, s).produceAs(dataset, "p", "1"); !strings.HasPrefix(got, "success=1|") {
			t.Fatalf("dataset %s: %q", dataset, got)
		}
	}
	if got := dialRaw(t, s).produceAs("D2", "p", "1"); !strings.HasPrefix(got, "success=0|error=this gateway has 2 datasets, which is its limit") {
		t.Errorf("the dataset beyond the limit: %q", got)
	}
	if got := dialRaw(t, s).produceAs("D1", "p", "2"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("a dataset that is there: %q", got)
	}
	if n := len(s.journal.Datasets()); n != 2 {
		t.Errorf("the journal has %d datasets", n)
	}
}

// The operator gets rid of a session that reads nothing, though it cannot be
// told why it ends.
func TestSessionThatDoesNotReadCanBeClosed(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Linger = 100 * time.Millisecond })
	startedRaw(t, s)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 200_000)...)
	eventually(t, "the reader is behind", func() bool { return s.Sessions()[0].Blocked })
	if !s.CloseSession(s.Sessions()[0].ID) {
		t.Fatal("no such session")
	}
	eventually(t, "the session is gone", func() bool { return len(s.Sessions()) == 0 })
}
