package gateway

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// definition says that id stands for symbol.
func definition(id uint32, symbol string) []byte {
	var d feed.InstrumentDefMsg
	feed.Init(&d, feed.RTypeInstrumentDef)
	d.InstrumentID, d.TsEvent = id, eventTime(int(id))
	copy(d.RawSymbol[:], symbol)
	return append([]byte(nil), feed.Bytes(&d)...)
}

// onDay puts a definition on a day.
func onDay(b []byte, day journal.Day) []byte {
	ns := uint64(day) * uint64(24*time.Hour)
	binary.LittleEndian.PutUint64(b[8:], ns)
	binary.LittleEndian.PutUint64(b[16:], ns)
	return b
}

// On a new tape the journal has records wait for its first segment. A refusal
// found behind them must not have them taken twice, nor lost.
func TestGoodRecordsBeforeARefusedOneAreCommittedOnce(t *testing.T) {
	s := serveTest(t)
	p := dialRaw(t, s)
	p.produce("1")
	p.send("instrument=AAA\n")
	if got := p.line(); got != "instrument=AAA|instrument_id=1" {
		t.Fatalf("the reply is %q", got)
	}
	p.begin(metadataOf(feed.SchemaTrades), trade(1, 0), trade(1, 1), trade(1, 2), trade(8, 3))
	if got := p.rest(); !strings.Contains(got, "error=unknown_instrument|record=3") {
		t.Errorf("the producer is told %q", got)
	}
	if tail := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades).Tail(); tail != 3 {
		t.Errorf("the tape holds %d records, 3 good ones were sent", tail)
	}
}

// Definitions enter their symbols as they are read. Those before the one that
// is refused are records of the stream like any.
func TestDefinitionsBeforeAConflictStay(t *testing.T) {
	s := serveTest(t)
	meta := metadataOf(feed.SchemaDefinition)
	holder := dialRaw(t, s) // of id 5, as long as it is there
	holder.produceAs(testDataset, "holder", "1")
	holder.begin(meta, definition(5, "X"))
	holder.await("ack=1|")
	p := dialRaw(t, s)
	p.produce("1")
	p.begin(meta, definition(1, "A"), definition(2, "B"), definition(3, "C"), definition(5, "Y"), definition(6, "Z"))
	if got := p.rest(); !strings.Contains(got, "error=id_conflict") {
		t.Errorf("the second producer is told %q", got)
	}
	d := s.journal.Lookup(testDataset)
	if tail := d.Tape(feed.SchemaDefinition).Tail(); tail != 4 {
		t.Errorf("the tape holds %d definitions, want the first producer's and the three before the refused one", tail)
	}
	if got, ok := d.Symbols().Symbol(6); ok {
		t.Errorf("id 6 stands for %q, but its definition came behind the refused one", got)
	}
}

// A name that nobody could ask for costs its instrument the name, and nobody the feed.
func TestNameThatCannotBeAskedForIsPassedOverAlone(t *testing.T) {
	for what, symbol := range map[string]string{
		"empty": "", "control character": "A\x01B", "late control character": "A\u0085B", "comma": "A,B", "bar": "A|B", "all": "ALL_SYMBOLS",
	} {
		t.Run(what, func(t *testing.T) {
			s := serveTest(t)
			p := dialRaw(t, s)
			p.produce("1")
			meta := withMapping(metadataOf(feed.SchemaNone), 2, "GOOD")
			if symbol != "" && !strings.Contains(symbol, "\x01") { // what metadata can carry
				meta = withMapping(meta, 1, symbol)
			}
			p.begin(meta, mappingRecord(1, symbol), definition(3, symbol), trade(1, 0), trade(2, 1), trade(3, 2))
			p.await("ack=4|")
			table := s.journal.Lookup(testDataset).Symbols()
			for id, want := range map[uint32]string{1: "", 2: "GOOD", 3: ""} {
				if got, _ := table.Symbol(id); got != want {
					t.Errorf("id %d is %q, want %q", id, got, want)
				}
			}
			if n := s.metrics.badSymbols.Get(); n == 0 {
				t.Error("no metric tells of it")
			}
		})
	}
}

// TestAQuestionForAStreamIsNoReject: `publish FILE` asks under which name a file was published, and whoever is alerted on rejects would be for nothing.
func TestAQuestionForAStreamIsNoReject(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Datasets = 1 })
	for _, dataset := range []string{"NEW.SET", testDataset} {
		c := dialRaw(t, s)
		got := c.auth(testKey, producerFields(dataset, "p", "s")+"|existing=1")
		if !strings.Contains(got, "error="+lsg.CodeNoStream) {
			t.Errorf("the answer is %q", got)
		}
		dialRaw(t, s).produceAs(testDataset, "other", "s") // now there is a dataset, and not this stream
	}
	if n := s.rejected("producer"); n != 0 {
		t.Errorf("%d rejects", n)
	}
	if got := dialRaw(t, s).produceAs("ANOTHER", "p", "s"); !strings.HasPrefix(got, "success=0") || s.rejected("producer") != 1 {
		t.Errorf("a refused producer is told %q, and %d are counted", got, s.rejected("producer"))
	}
}
