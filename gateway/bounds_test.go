package gateway

import (
	"bytes"
	"fmt"
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

// A producer that is owed a line cannot be moved to where TCP holds it back.
// While it waits for the disk, what it sends on is collected up to a bound.
func TestBacklogOfAParkedProducerThatReadsNothingIsBounded(t *testing.T) {
	s, disk := serveMemory(t, 50*time.Millisecond, func(c *Config) { c.Limits.Parked = 256 << 10 })
	p := dialSmall(t, s)
	p.produce("1")
	live := s.producers.list()[0]
	if err := live.client.conn.SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
	lines, ok := live.lines().(*gnetLines)
	if !ok {
		t.Fatalf("its lines go through %T", live.lines())
	}
	table := s.journal.Lookup(testDataset).Symbols()
	for n := 0; lines.kept.Load() <= 64<<10; { // in parts, or it would be moved before it is owed anything
		var part strings.Builder
		for range 1000 {
			fmt.Fprintf(&part, "instrument=%060d\n", n)
			n++
		}
		p.send(part.String())
		eventually(t, "the instruments are declared", func() bool { return table.Len() == n && lines.owed.Load() == 0 })
	}
	disk.Limit(disk.Used())
	defer disk.Limit(1 << 40)
	p.begin(metadataOf(feed.SchemaTrades))
	if !p.sendUntilCut(bytes.Repeat(trade(1, 0), 1000), 32<<20) {
		t.Errorf("%d bytes are collected for a producer that waits, the bound is 2 * %d", 32<<20, s.limits.Parked)
	}
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
