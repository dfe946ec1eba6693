package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// inTwo sends b cut at a byte, the first part delivered before the second
// leaves; a cut at 0 is one segment.
func (c *rawClient) inTwo(b string, cut int) {
	c.t.Helper()
	if cut > 0 {
		c.send(b[:cut])
		c.delivered()
	}
	c.send(b[cut:])
}

// challenged reads the greeting and returns the authentication that answers it.
func (c *rawClient) challenged(fields string) string {
	c.t.Helper()
	c.line()
	challenge, ok := strings.CutPrefix(c.line(), "cram=")
	if !ok {
		c.t.Fatal("no challenge")
	}
	return "auth=" + lsg.Response(challenge, testKey) + "|" + fields + "\n"
}

// atEachCut runs f for every place where b may be cut, several at a time.
func atEachCut(n int, f func(cut int)) {
	const atOnce = 8
	var wg sync.WaitGroup
	for first := range atOnce {
		wg.Go(func() {
			for cut := first; cut < n; cut += atOnce {
				f(cut)
			}
		})
	}
	wg.Wait()
}

// A whole subscriber's side in one segment, and cut at every byte: what lies
// behind the authentication must not be lost when the session is detached.
func TestPipelinedSubscriberIsServedWhereverItIsCut(t *testing.T) {
	const total = 50
	s := serveTest(t)
	good := beside(t, s)
	publish(t, s, "a", withMapping(metadataOf(feed.SchemaTrades), 1, "AAA"), trades(1, total)...)
	before := footprintOf(t, s, 2)
	const lines = "schema=trades|stype_in=raw_symbol|symbols=AAA|start=0|id=5\nschema=mbo|symbols=ALL_SYMBOLS|id=6\nstart_session\n"
	whole := len("auth=") + 64 + 6 + len("|dataset="+testDataset+"\n") + len(lines)
	atEachCut(whole, func(cut int) {
		c := dialRaw(t, s)
		defer c.conn.Close()
		c.inTwo(c.challenged("dataset="+testDataset)+lines, cut)
		if got := c.line(); !strings.HasPrefix(got, "success=1|") {
			t.Errorf("cut at byte %d the reply is %q", cut, got)
			return
		}
		c.pass(128)
		acks, mapped, next := 0, 0, 0
		for buf := make([]byte, feed.MaxRecordSize); next < total; {
			switch r := c.next(buf); {
			case r.RType() == feed.RTypeMbp0 && sequence(r) == next:
				next++
			case r.RType() == feed.RTypeSymbolMapping:
				mapped++
			case strings.HasPrefix(systemText(r), "1 Subscription request"):
				acks++
			case r.RType() != feed.RTypeSystem:
				t.Errorf("cut at byte %d, after %d records, comes %x", cut, next, []byte(r))
				return
			}
		}
		if acks != 2 || mapped != 2 { // by its name, and as one of all symbols
			t.Errorf("cut at byte %d there are %d acks and %d mappings", cut, acks, mapped)
		}
	})
	before.restored(t, s)
	good.unharmed()
}

// A whole producer's side in one segment, and cut at every byte.
func TestPipelinedProducerIsTakenWhereverItIsCut(t *testing.T) {
	const n = 3
	s := serveTest(t)
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	rest := "instrument=AAA\nstart_session\n" + string(metadataBytes(t, metadataOf(feed.SchemaTrades)))
	var want []byte
	for i := range n {
		rest += string(trade(1, i))
		want = append(want, trade(1, i)...)
	}
	whole := len("auth=") + 64 + 6 + len("|"+producerFields(testDataset, "p000", "1")+"\n") + len(rest)
	atEachCut(whole, func(cut int) {
		c := dialRaw(t, s)
		defer c.conn.Close()
		c.inTwo(c.challenged(producerFields(testDataset, fmt.Sprintf("p%03d", cut), "1"))+rest, cut)
		lines := c.await(fmt.Sprintf("ack=%d|", n))
		if !strings.HasPrefix(lines[0], "success=1|") || !strings.HasSuffix(lines[0], "|accepted=0") || len(lines) < 3 || !strings.HasPrefix(lines[1], "instrument=AAA|instrument_id=") {
			t.Errorf("cut at byte %d the producer is told %q", cut, lines)
		}
	})
	before.restored(t, s)
	got := tapeBytes(t, s.journal.Lookup(testDataset).Tape(feed.SchemaTrades))
	if len(got) != whole*len(want) {
		t.Errorf("the tape has %d bytes, want %d", len(got), whole*len(want))
	}
	if n := countTrades(got, n); n != [3]int{whole, whole, whole} {
		t.Errorf("of the %d producers' three records the tape has %v", whole, n)
	}
	good.unharmed()
}

// countTrades counts the records of a tape by their sequence, and checks that
// each is what trade makes.
func countTrades(tape []byte, n int) (counts [3]int) {
	for size := feed.SchemaTrades.RecordSize(); len(tape) >= size; tape = tape[size:] {
		if i := sequence(tape[:size]); i < n && bytes.Equal(tape[:size], trade(1, i)) {
			counts[i]++
		}
	}
	return counts
}
