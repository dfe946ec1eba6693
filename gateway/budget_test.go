package gateway

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// Each session keeps its limit; it is their sum that would fill the memory. What
// one key holds leaves the others their half, and what is given back is free again.
func TestSymbolsOfAllSessionsTogetherAreBounded(t *testing.T) {
	keys := newKeys(t, Key{Name: "greedy"}, Key{Name: "other"})
	s := keys.serve(func(c *Config) { c.Limits.SymbolsInAll = 4000 })
	ask := func(name string, symbols int) (*rawClient, string) {
		c := dialRaw(t, s)
		c.auth(keys.secret(name), "dataset="+testDataset)
		var list []string
		for i := range symbols {
			list = append(list, fmt.Sprintf("S%d", i))
		}
		c.send("schema=trades|stype_in=raw_symbol|symbols=" + strings.Join(list, ",") + "\nstart_session\n")
		head := make([]byte, 8)
		if _, err := readFull(c, head); err != nil {
			t.Fatal(err)
		}
		c.pass(int(binary.LittleEndian.Uint32(head[4:])))
		r := c.next(make([]byte, feed.MaxRecordSize))
		if m, ok := feed.View[feed.ErrorMsg](r); ok {
			return c, m.Text()
		}
		return c, ""
	}
	var held []*rawClient
	for range 2 { // 900 of each count: a hundred are everybody's
		c, refused := ask("greedy", 1000)
		if refused != "" {
			t.Fatalf("refused with %q", refused)
		}
		held = append(held, c)
	}
	if _, refused := ask("greedy", 1000); !strings.Contains(refused, "half of the 4000 symbols") {
		t.Errorf("beyond half of all: %q", refused)
	}
	if _, refused := ask("greedy", 100); refused != "" {
		t.Errorf("what everybody may have: %q", refused)
	}
	if _, refused := ask("other", 1000); refused != "" {
		t.Errorf("another key: %q", refused)
	}
	if n := s.rejected("symbols_in_all"); n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
	held[0].conn.Close()
	eventually(t, "what a session held is free again", func() bool { return s.budgets.symbols.inUse() == 1800 })
	if _, refused := ask("greedy", 1000); refused != "" {
		t.Errorf("after one was closed: %q", refused)
	}
	for _, c := range held {
		c.conn.Close()
	}
}

// Metadata that comes piece by piece is held until it is whole: for all producers
// together, not for each.
func TestMetadataOfAllProducersTogetherIsBounded(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Metadata = 8 << 20; c.Limits.MetadataInAll = 12 << 20 })
	begin := func(name string) *rawClient {
		c := dialRaw(t, s)
		if got := c.produceAs(testDataset, name, "1"); !strings.HasPrefix(got, "success=1|") {
			t.Fatal(got)
		}
		c.send("start_session\nDBN\x03" + string(binary.LittleEndian.AppendUint32(nil, 7<<20)) + strings.Repeat("\x00", 100_000))
		return c
	}
	first := begin("first")
	eventually(t, "the first one's is held", func() bool { return s.budgets.metadata.inUse() > 6<<20 })
	if got := begin("second").rest(); !strings.Contains(got, "error=limit") || !strings.Contains(got, "retry=later") || !strings.Contains(got, "MetadataInAll") {
		t.Errorf("the second one is told %q", got)
	}
	first.conn.Close()
	eventually(t, "it is free again", func() bool { return s.budgets.metadata.inUse() == 0 })
	publish(t, s, "third", metadataOf(feed.SchemaTrades), trades(1, 10)...)
}

// Long metadata is taken as it was sent, however it is cut.
func TestLongMetadataIsTakenInPieces(t *testing.T) {
	s := serveTest(t)
	m := metadataOf(feed.SchemaTrades)
	const symbols = 3000
	for i := range symbols {
		m = withMapping(m, uint32(i+1), fmt.Sprintf("LONG%d", i))
	}
	b := metadataBytes(t, m)
	if len(b) < 3*metadataPiece {
		t.Fatalf("%d bytes of metadata are not long", len(b))
	}
	c := dialRaw(t, s)
	c.produceAs(testDataset, "p", "1")
	c.send("start_session\n")
	sent := 0
	for _, cut := range []int{3, 10, inlineMetadata, inlineMetadata + 1, 2 * metadataPiece, len(b)} {
		c.send(string(b[sent:cut]))
		sent = cut
	}
	c.send(string(trade(symbols, 0)))
	c.await("ack=1|")
	if got, ok := s.journal.Lookup(testDataset).Symbols().Symbol(symbols); !ok || got != fmt.Sprintf("LONG%d", symbols-1) {
		t.Errorf("the last symbol is %q", got)
	}
	if n := s.budgets.metadata.inUse(); n != 0 {
		t.Errorf("%d bytes of metadata are held on", n)
	}
}

// What the kernel keeps for those who do not read has a bound on the sum, and
// none of them is turned away.
func TestSocketsThatAreNotReadShareTheirMemory(t *testing.T) {
	const most, readers = 1 << 20, 20
	s := serveTest(t, func(c *Config) { c.Limits.SocketMemory = most })
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 300_000)...)
	for range readers {
		c := dialSmall(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	}
	eventually(t, "all have full sockets", func() bool {
		full := 0
		for _, v := range s.Sessions() {
			if v.Blocked {
				full++
			}
		}
		return full == readers
	})
	queued := 0
	s.eachSession(func(sess *session) {
		n, err := unix.IoctlGetInt(sess.fd, unix.SIOCOUTQ)
		if err != nil {
			t.Error(err)
		}
		queued += n
	})
	const slack = readers * (64<<10 + 64<<10) // one piece more than a queue is to hold, and what is on its way
	if queued > most+readers*leastSendQueue+slack {
		t.Errorf("%d sockets that nobody reads hold %d KiB", readers, queued>>10)
	}
	t.Logf("%d KiB in %d sockets", queued>>10, readers)
	if n := s.budgets.sockets.inUse(); n > most {
		t.Errorf("%d bytes of send queues are granted, of %d", n, most)
	}
}
