package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// replayed takes a replay to its end: the data records, and the symbol that was
// told last for each id before the first record of that id.
func replayed(t *testing.T, s *Server, x feed.Subscription) (data []int, told map[uint32]string) {
	t.Helper()
	x.Start = new(uint64)
	mapped := map[uint32]string{}
	told = map[uint32]string{}
	take(t, sdkSubscribe(t, s, x), func(r feed.Record) bool {
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			mapped[m.InstrumentID] = m.OutSymbol()
		}
		if r.RType() == feed.RTypeMbp0 {
			if id := r.InstrumentID(); told[id] == "" {
				told[id] = mapped[id]
			}
			data = append(data, sequence(r))
		}
		return strings.Contains(systemText(r), "Finished")
	})
	return data, told
}

// A symbol that first appears in the middle of the tape is told before its
// first record, and its records are not lost on a reader that came before them.
func TestSymbolMappedMidTapeIsNotLostInReplay(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "a", withMapping(metadataOf(feed.SchemaTrades), 1, "AAA"), trade(1, 0), trade(1, 1), trade(1, 2))
	publish(t, s, "b", withMapping(metadataOf(feed.SchemaTrades), 2, "BBB"), trade(2, 3), trade(2, 4))
	data, told := replayed(t, s, feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"BBB"}})
	if fmt.Sprint(data, told) != "[3 4] map[2:BBB]" {
		t.Errorf("BBB alone: records %v and mappings %v", data, told)
	}
	data, told = replayed(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	if fmt.Sprint(data, told) != "[0 1 2 3 4] map[1:AAA 2:BBB]" {
		t.Errorf("all symbols: records %v and mappings %v", data, told)
	}
}

// The mapping of a symbol that appears while the session is behind waits for the
// session to come there; it is not dropped because it lies ahead.
func TestSymbolThatAppearsAheadOfALaggingSessionIsNotLost(t *testing.T) {
	s := serveTest(t)
	c := dialSmall(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|symbols=AAA,BBB\nstart_session\n")
	c.pass(128 + 3*320) // metadata, the ack, and two symbols nobody has published
	const n = 200_000   // more than the sockets hold
	publish(t, s, "a", withMapping(metadataOf(feed.SchemaTrades), 1, "AAA"), trades(1, n)...)
	eventually(t, "the session lags", func() bool { return s.Sessions()[0].Blocked })
	publish(t, s, "b", withMapping(metadataOf(feed.SchemaTrades), 2, "BBB"), trade(2, n))
	publish(t, s, "c", metadataOf(feed.SchemaTrades), trade(1, n+1))
	buf := make([]byte, feed.MaxRecordSize)
	for next := 0; next < n+2; {
		if r := c.next(buf); r.RType() == feed.RTypeMbp0 {
			if sequence(r) != next {
				t.Fatalf("record %d where %d was due", sequence(r), next)
			}
			next++
		}
	}
}

// Metadata may give a symbol several ids: each is its id.
func TestEveryIntervalOfAMetadataMappingCounts(t *testing.T) {
	s := serveTest(t)
	m := withMapping(metadataOf(feed.SchemaTrades), 1, "ES")
	m.Mappings[0].Intervals = append(m.Mappings[0].Intervals, feed.MappingInterval{StartDate: 20230101, EndDate: 20240101, Symbol: "2"})
	publish(t, s, "a", m, trade(1, 0), trade(2, 1))
	data, told := replayed(t, s, feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"ES"}})
	if fmt.Sprint(data, told) != "[0 1] map[1:ES 2:ES]" {
		t.Errorf("records %v and mappings %v", data, told)
	}
}

// A symbol with several ids does not lose one where the staging buffer ends.
func TestEveryIDOfASymbolIsToldHoweverLittleRoom(t *testing.T) {
	for _, first := range []int{0, 1} { // both places of a pair at the buffer's end
		t.Run(fmt.Sprintf("after %d single ids", first), func(t *testing.T) {
			s := serveTest(t, func(c *Config) { c.Limits.Staging = 1000 }) // three control records
			older, newer := metadataOf(feed.SchemaTrades), metadataOf(feed.SchemaTrades)
			var symbols []string
			for i := range first {
				symbols = append(symbols, fmt.Sprintf("ONE%d", i))
				older = withMapping(older, uint32(900+i), symbols[i])
			}
			for i := range uint32(40) {
				symbol := fmt.Sprintf("S%d", i)
				symbols = append(symbols, symbol)
				older, newer = withMapping(older, 1000+i, symbol), withMapping(newer, 2000+i, symbol)
			}
			publish(t, s, "a", older, trade(1000, 0))
			publish(t, s, "b", newer, trade(2000, 1))
			sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: symbols})
			eventually(t, "the session is live", func() bool { v := s.Sessions(); return len(v[0].Cursors) == 1 && v[0].SentBytes > 80*176 })
			publish(t, s, "c", metadataOf(feed.SchemaTrades), trade(2000, 2))
			ids := map[uint32]bool{}
			take(t, sub, func(r feed.Record) bool {
				if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
					ids[m.InstrumentID] = true
				}
				return r.RType() == feed.RTypeMbp0 && sequence(r) == 2
			})
			if len(ids) != 80+first {
				t.Errorf("%d of %d ids were told", len(ids), 80+first)
			}
		})
	}
}

// ALL_SYMBOLS in one chunk of a request is all of them, whatever the others name.
func TestAllSymbolsInOneChunkIsAllOfThem(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "a", withMapping(withMapping(metadataOf(feed.SchemaTrades), 1, "AAA"), 2, "BBB"), trade(1, 0), trade(2, 1))
	for _, chunks := range [][2]string{{"AAA", "ALL_SYMBOLS"}, {"ALL_SYMBOLS", "AAA"}} {
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		for i, symbols := range chunks {
			c.send(fmt.Sprintf("schema=trades|symbols=%s|id=1|is_last=%d|start=0\n", symbols, i))
		}
		c.send("start_session\n")
		c.pass(128)
		got := 0
		for buf := make([]byte, feed.MaxRecordSize); ; {
			r := c.next(buf)
			if r.RType() == feed.RTypeMbp0 {
				got++
			}
			if strings.Contains(systemText(r), "Finished") {
				break
			}
		}
		if got != 2 {
			t.Errorf("chunks %q: %d of 2 records", chunks, got)
		}
	}
}

// A reader that is moved forward over remaps of its symbol is told the exact
// count of what it would have received.
func TestSkipOverMappingsCountsExactly(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.SlowBytes = 128 << 10 })
	meta := withMapping(withMapping(metadataOf(feed.SchemaMbp1), 1, "AAA"), 2, "BBB")
	publish(t, s, "0", meta, quote(2, 0))
	c := dialSmall(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=mbp-1|symbols=AAA\nstart_session\n")
	c.pass(128 + 320 + 176)
	const n, every = 240_000, 10_000
	var records [][]byte
	want, id := 0, uint32(1)
	for i := 1; i <= n; i++ {
		records = append(records, quote(uint32(i%2+1), i))
		if uint32(i%2+1) == id {
			want++
		}
		if i%every == 0 { // the symbols change places
			records = append(records, mappingRecord(id, "BBB"), mappingRecord(3-id, "AAA"))
			id = 3 - id
		}
	}
	publish(t, s, "0", metadataOf(feed.SchemaMbp1), records...)
	eventually(t, "the session lags", func() bool { return s.Sessions()[0].Blocked })
	received, skipped, last := 0, 0, -1
	for buf := make([]byte, feed.MaxRecordSize); received+skipped < want; {
		r := c.next(buf)
		if r.RType() == feed.RTypeMbp1 {
			if sequence(r) <= last {
				t.Fatalf("record %d after %d", sequence(r), last)
			}
			last = sequence(r)
			received++
		}
		if e, ok := feed.View[feed.ErrorMsg](r); ok {
			var k int
			if _, err := fmt.Sscanf(e.Text(), "Slow client detected for mbp-1. Skipped %d records", &k); err != nil {
				t.Fatalf("%q: %v", e.Text(), err)
			}
			skipped += k
		}
	}
	if received+skipped != want || skipped == 0 {
		t.Errorf("%d received and %d skipped, together %d; want %d and some of them skipped", received, skipped, received+skipped, want)
	}
}

// What gives an id another symbol holds from its place in the stream on, also
// when hundreds of them and the records between them come in one read, for
// which the event loop takes several turns.
func TestMappingsAmongRecordsHoldFromTheirPlacesOn(t *testing.T) {
	const n, id = 1_000, 5 // several times inlineEntries
	day := func(i int) journal.Day { return journal.Day(20_000 + i) }
	for name, say := range map[string]func(symbol string, i int) []byte{
		"mapping records": func(symbol string, _ int) []byte { return mappingRecord(id, symbol) },
		"definitions":     func(symbol string, i int) []byte { return onDay(definition(id, symbol), day(i)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serveTest(t)
			p := dialRaw(t, s)
			p.produce("1")
			var stream [][]byte
			records := 0
			for i := range n {
				r := say(fmt.Sprintf("S%d", i), i)
				stream = append(stream, r, trade(id, i))
				if records++; !feed.Record(r).RType().IsControl() {
					records++
				}
			}
			go p.begin(metadataOf(feed.SchemaNone), stream...)
			p.await(fmt.Sprintf("ack=%d|", records))
			d := s.journal.Lookup(testDataset)
			if got := tapeBytes(t, d.Tape(feed.SchemaTrades)); !bytes.Equal(got, bytes.Join(trades(id, n), nil)) {
				t.Errorf("the tape has %d bytes, not the %d that were sent", len(got), n*feed.SchemaTrades.RecordSize())
			}
			for i := range n {
				if got, ok := d.Symbols().NameAt(id, feed.SchemaTrades, uint64(i), day(i)); !ok || got != fmt.Sprintf("S%d", i) {
					t.Fatalf("at record %d the id stands for %q", i, got)
				}
			}
		})
	}
}
