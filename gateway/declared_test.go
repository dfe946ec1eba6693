package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// declared sends an instrument line and gives the id of the answer, which is the
// next line whatever else is going on.
func (c *rawClient) declared(line string) uint32 {
	c.t.Helper()
	c.send(line + "\n")
	reply, err := lsg.ParseInstrumentReply(c.line())
	if err != nil {
		c.t.Fatalf("the answer to %q: %v", line, err)
	}
	return reply.ID
}

func inBand(text string) string {
	return string(feed.AppendSystem(nil, eventTime(0), feed.SystemUnset, text))
}

// definitionsOf is what the tape of definitions holds.
func definitionsOf(t testing.TB, d *journal.Dataset) (all []feed.InstrumentDefMsg) {
	t.Helper()
	tape := d.Tape(feed.SchemaDefinition)
	if tape == nil {
		return nil
	}
	for seq := tape.First(); seq < tape.Tail(); seq++ {
		b, err := readRecords(tape, seq, seq+1)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := feed.View[feed.InstrumentDefMsg](feed.Record(b))
		if !ok {
			t.Fatalf("record %d is no definition", seq)
		}
		all = append(all, *m)
	}
	return all
}

const btc = "instrument=BTCUSDT|price_increment=0.01|lot=0.00001|asset=BTC|quote=USDT|class=X|exchange=BINA"

func TestDeclaredInstrumentIsADefinitionWithItsTickAndLot(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	id := c.declared(btc)
	all := definitionsOf(t, s.journal.Lookup(testDataset)) // it is there with the answer
	if len(all) != 1 {
		t.Fatalf("%d definitions, want 1", len(all))
	}
	m := all[0]
	want := feed.NewDefinition(id, "BTCUSDT")
	want.MinPriceIncrement, want.UnitOfMeasureQty, want.MinLotSizeRoundLot = 10_000_000, 10_000, 1
	copy(want.Asset[:], "BTC")
	copy(want.UnitOfMeasure[:], "BTC")
	copy(want.Secsubtype[:], "USDT")
	copy(want.Exchange[:], "BINA")
	want.InstrumentClass, want.PublisherID, want.SecurityUpdateAction = feed.ClassFXSpot, 60001, 'A'
	want.TsEvent, want.TsRecv = m.TsEvent, m.TsEvent
	if m != want || m.TsEvent == 0 || m.TsEvent == feed.UndefTimestamp {
		t.Errorf("definition is\n%+v, want\n%+v", m, want)
	}
	c.begin(metadataOf(feed.SchemaTrades), trade(id, 0))
	if got := c.line(); got != "ack=1|level=written" {
		t.Errorf("told %q: the definition was counted", got)
	}
}

// One for each id and change: also when the same is declared again, written
// otherwise, or after a process that was killed between the entry and the record.
func TestDefinitionIsMadeOnceForEachChange(t *testing.T) {
	dir := t.TempDir()
	count := func(want string, lines ...string) {
		t.Helper()
		t.Run(want, func(t *testing.T) {
			s := serveDir(t, dir)
			c := dialRaw(t, s)
			c.produce("1")
			for _, line := range lines {
				c.declared(line)
			}
			var got []string
			for _, m := range definitionsOf(t, s.journal.Lookup(testDataset)) {
				got = append(got, fmt.Sprintf("%d%c", m.InstrumentID, m.SecurityUpdateAction))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("definitions %v, want %s", got, want)
			}
		})
	}
	count("1A", btc, btc)
	count("1A", btc, "instrument=BTCUSDT", "instrument=BTCUSDT|price_increment=0.010|lot=0.000010") // again, less, and written otherwise
	count("1A 1M", btc+"|publisher_id=60001", btc+"|publisher_id=7")
	count("1A 1M 2A", "instrument=BTCUSDT|lot=0.001", "instrument=BTCUSDT|lot=0.001")
	killed, err := journal.Open(dir, journal.Options{AnyFilesystem: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := killed.Lookup(testDataset).OpenWriter(journal.WriterOptions{Producer: "raw", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := w.Instrument(journal.Instrument{Symbol: "ETHUSDT", Lot: "0.1"}); err != nil || id != 3 {
		t.Fatal(id, err)
	}
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	count("1A 1M 2A 3A", "instrument=ETHUSDT|lot=0.1", "instrument=ETHUSDT|lot=0.1")
}

func TestAnotherLotOrTickIsAnotherIDAndTheSymbolMeansBoth(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	ids := []uint32{c.declared("instrument=BTCUSDT|price_increment=0.01|lot=0.00001")}
	c.begin(metadataOf(feed.SchemaNone), trade(ids[0], 0))
	c.await("ack=1")
	for n, text := range []string{"instrument=BTCUSDT|lot=0.001", "instrument=BTCUSDT|price_increment=0.1"} {
		c.send(inBand(text))
		reply, err := lsg.ParseInstrumentReply(c.line())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, reply.ID)
		c.send(string(trade(ids[n+1], 2*n+1)) + string(trade(ids[n], 2*n+2))) // one that was on its way keeps the old id
		c.await(fmt.Sprintf("ack=%d|", 2*n+3))
	}
	if ids[0] == ids[1] || ids[1] == ids[2] || ids[0] == ids[2] {
		t.Fatalf("ids %v, want three", ids)
	}
	lots := map[uint32]int64{}
	for _, m := range definitionsOf(t, s.journal.Lookup(testDataset)) {
		lots[m.InstrumentID] = m.UnitOfMeasureQty
	}
	if lots[ids[0]] != 10_000 || lots[ids[1]] != 1_000_000 || lots[ids[2]] != 1_000_000 {
		t.Errorf("lots by id: %v", lots)
	}
	sub := dialRaw(t, s)
	sub.auth(testKey, "dataset="+testDataset)
	sub.send("schema=trades|stype_in=raw_symbol|symbols=BTCUSDT|start=0\nstart_session\n")
	names, buf, got := map[uint32]string{}, make([]byte, feed.MaxRecordSize+8), 0
	sub.metadata()
	for got < 5 {
		r := sub.next(buf)
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			names[m.InstrumentID] = m.OutSymbol()
		} else if r.RType() == feed.RTypeMbp0 {
			if got++; names[r.InstrumentID()] != "BTCUSDT" {
				t.Errorf("a trade of id %d, which was called %q", r.InstrumentID(), names[r.InstrumentID()])
			}
		}
	}
}

func TestPublishedDefinitionIsNotMadeAgainAndItsLotIsKept(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	own := c.declared("instrument=ESH6")
	def := feed.NewDefinition(own, "ESH6")
	def.TsEvent, def.TsRecv, def.MinPriceIncrement, def.UnitOfMeasureQty, def.Expiration = eventTime(0), eventTime(0), 250_000_000, 50*feed.PriceScale, eventTime(9)
	c.begin(metadataOf(feed.SchemaNone), feed.Bytes(&def))
	c.await("ack=1")
	for _, text := range []string{"instrument=ESH6", "instrument=ESH6|price_increment=0.25|lot=50"} {
		c.send(inBand(text))
		if got, want := c.line(), fmt.Sprintf("instrument=ESH6|instrument_id=%d", own); got != want {
			t.Errorf("%s: told %q, want %q", text, got, want)
		}
	}
	if n := len(definitionsOf(t, s.journal.Lookup(testDataset))); n != 2 {
		t.Errorf("%d definitions, want the first and the published one", n)
	}
	c.send(inBand("instrument=ESH6|class=F"))
	c.line()
	all := definitionsOf(t, s.journal.Lookup(testDataset))
	if m := all[len(all)-1]; len(all) != 3 || m.InstrumentClass != feed.ClassFuture || m.SecurityUpdateAction != 'M' || m.Expiration != def.Expiration {
		t.Errorf("what was added to a published definition: %+v", all)
	}
	c.send(inBand("instrument=ESH6|lot=1"))
	if got := c.line(); got == fmt.Sprintf("instrument=ESH6|instrument_id=%d", own) {
		t.Errorf("another lot than the published one got %q", got)
	}
}

func TestRefusedInstrumentIsRefusedAlone(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	for line, want := range map[string]string{
		"instrument=A,B|lot=1":      "error=bad_symbol|instrument=A,B|",
		"instrument=ALL_SYMBOLS":    "error=bad_symbol|instrument=ALL_SYMBOLS|",
		"instrument=X|tick=0.01":    "error=bad_instrument|instrument=X|",
		"instrument=Y|lot=1e-5":     "error=bad_instrument|instrument=Y|",
		"instrument=Z|class=SPOT":   "error=bad_instrument|instrument=Z|",
		"instrument=X|lott=0.00001": "error=bad_instrument|instrument=X|",
	} {
		c.send(line + "\n")
		if got := c.line(); !strings.HasPrefix(got, want) || !strings.Contains(got, "text=") {
			t.Errorf("%s: told %q, want %s", line, got, want)
		}
	}
	id := c.declared("instrument=GOOD")
	c.begin(metadataOf(feed.SchemaTrades), trade(id, 0))
	c.await("ack=1")
	c.send(string(trade(id+1, 1)))
	if got := c.line(); !strings.HasPrefix(got, "error=unknown_instrument|record=1|") {
		t.Errorf("a record of an instrument that was refused: %q", got)
	}
}

func TestPricesOffTheTickAreCountedAndRefusedOnlyWhenAsked(t *testing.T) {
	s := serveTest(t)
	for _, strict := range []string{"", "|strict=1"} {
		c := dialRaw(t, s)
		c.auth(testKey, producerFields(testDataset, "raw", "s"+strings.Trim(strict, "|="))+strict)
		id, free := c.declared("instrument=X|price_increment=0.02"), c.declared("instrument=FREE")
		c.begin(metadataOf(feed.SchemaTrades), trade(free, 1), trade(id, 0), trade(id, 1), trade(id, 2)) // 100.01 is off
		if strict == "" {
			c.await("ack=4")
		} else if lines := c.await("error="); !strings.HasPrefix(lines[len(lines)-1], "error=off_tick|record=2|") {
			t.Errorf("told %q", lines)
		}
	}
	if n := s.producers.offTick(testDataset); n != 2 {
		t.Errorf("%d records counted, want 2", n)
	}
}

// A line that has to wait for the disk is taken again, by then with an id of its own:
// what it leaves out is what the newest definition of the id before says, also when
// others declared that id, and published its definition meanwhile.
func TestADeclarationThatWaitedBeginsWithTheNewestDefinition(t *testing.T) {
	s := serveTest(t)
	other := dialRaw(t, s)
	other.produceAs(testDataset, "other", "1")
	first := other.declared("instrument=ESH6|lot=1|exchange=XCME")
	publishes := func(n int, change func(*feed.InstrumentDefMsg)) {
		def := feed.NewDefinition(first, "ESH6")
		def.TsEvent, def.TsRecv, def.UnitOfMeasureQty = eventTime(n), eventTime(n), 50*feed.PriceScale
		change(&def)
		other.send(string(feed.Bytes(&def)))
		other.await(fmt.Sprintf("ack=%d|", n))
	}
	other.begin(metadataOf(feed.SchemaNone))
	publishes(1, func(m *feed.InstrumentDefMsg) { m.Expiration = eventTime(8) })

	// As far as the first attempt came: the id is there, its definition is not.
	w, err := s.journal.Lookup(testDataset).OpenWriter(journal.WriterOptions{Producer: "raw", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := w.InstrumentAnew(journal.Instrument{Symbol: "ESH6", Lot: "1"})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	publishes(2, func(m *feed.InstrumentDefMsg) { m.Expiration, m.InstrumentClass = eventTime(9), feed.ClassFuture })

	c := dialRaw(t, s)
	c.produce("1")
	if id := c.declared("instrument=ESH6|lot=1"); id != waiting {
		t.Fatalf("id %d, want %d, which the first attempt made", id, waiting)
	}
	all := definitionsOf(t, s.journal.Lookup(testDataset))
	if m := all[len(all)-1]; m.InstrumentID != waiting || m.UnitOfMeasureQty != feed.PriceScale || m.Expiration != eventTime(9) || m.InstrumentClass != feed.ClassFuture {
		t.Errorf("the definition is %+v, want what was published last, with a lot of 1", m)
	}
}
