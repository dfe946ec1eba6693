package main

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tapewire/tapewire/feed"
)

// testStart is the time of the first generated record, in ns: 2026-01-05 14:00 UTC. Each follows a millisecond after the one before.
const testStart = 1_767_621_600_000_000_000

var testSymbols = []string{"ALFA", "BRAVO", "CHARLIE"}

// scriptDBN is `dbn FILE DATASET COUNT [FIRST [GAP]]`: it writes trades number FIRST to FIRST+COUNT-1 of one endless made-up day; negative ones lie before it. With GAP, the
// file says after so many records that some are missing.
func scriptDBN(ts *testscript.TestScript, neg bool, args []string) {
	numbers := []int{0, 0, -1}
	for i, arg := range args[2:] {
		n, err := strconv.Atoi(arg)
		ts.Check(err)
		numbers[i] = n
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(writeTrades(f, args[1], numbers[0], numbers[1], numbers[2]))
	ts.Check(f.Close())
}

func writeTrades(f *os.File, dataset string, count, first, gap int) error {
	meta := feed.Metadata{Version: 3, Dataset: dataset, Schema: feed.SchemaTrades, Start: testStart, End: feed.UndefTimestamp,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID}
	meta.Symbols, meta.Mappings = testSymbols, testMappings()
	var b bytes.Buffer
	enc, err := feed.NewEncoder(&b, meta)
	if err != nil {
		return err
	}
	for i := first; i < first+count; i++ {
		if i-first == gap {
			if err := enc.Write(feed.AppendSystem(nil, testStart, feed.SystemUnset, "gap|cause=upstream")); err != nil {
				return err
			}
		}
		if err := enc.Write(testTrade(i)); err != nil {
			return err
		}
	}
	_, err = f.Write(b.Bytes())
	return err
}

// scriptSwapped is `swapped FILE DATASET`: it writes 12 trades of two days. Ab and aB have each other's id on the second; kPEPE keeps its own.
func scriptSwapped(ts *testscript.TestScript, neg bool, args []string) {
	span := func(from uint32, id string) feed.MappingInterval {
		return feed.MappingInterval{StartDate: from, EndDate: from + 1, Symbol: id}
	}
	meta := feed.Metadata{Version: 3, Dataset: args[1], Schema: feed.SchemaTrades, Start: testStart, End: feed.UndefTimestamp,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID, Symbols: []string{"Ab", "aB", "kPEPE"}, Mappings: []feed.SymbolMapping{
			{RawSymbol: "Ab", Intervals: []feed.MappingInterval{span(20260105, "1"), span(20260106, "2")}},
			{RawSymbol: "aB", Intervals: []feed.MappingInterval{span(20260105, "2"), span(20260106, "1")}},
			{RawSymbol: "kPEPE", Intervals: []feed.MappingInterval{span(20260105, "3"), span(20260106, "3")}},
		}}
	var b bytes.Buffer
	enc, err := feed.NewEncoder(&b, meta)
	ts.Check(err)
	const dayMs = 24 * 3600 * 1000
	for i := range 12 {
		ts.Check(enc.Write(testTrade(i + i/6*dayMs)))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o666))
}

// scriptNameless is `nameless FILE DATASET ID COUNT`: it writes trades of one instrument, which nothing names.
func scriptNameless(ts *testscript.TestScript, neg bool, args []string) {
	id, err := strconv.ParseUint(args[2], 10, 32)
	ts.Check(err)
	count, err := strconv.Atoi(args[3])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), namelessTrades(args[1], uint32(id), count), 0o666))
}

func namelessTrades(dataset string, id uint32, count int) []byte {
	var b bytes.Buffer
	enc, err := feed.NewEncoder(&b, feed.Metadata{Version: 3, Dataset: dataset, Schema: feed.SchemaTrades, Start: testStart, End: feed.UndefTimestamp,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID})
	for i := 0; i < count && err == nil; i++ {
		rec := testTrade(i)
		m, _ := feed.View[feed.TradeMsg](rec)
		m.InstrumentID = id
		err = enc.Write(rec)
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

func testMappings() (list []feed.SymbolMapping) {
	for i, symbol := range testSymbols {
		list = append(list, feed.SymbolMapping{RawSymbol: symbol, Intervals: []feed.MappingInterval{{StartDate: 20260105, EndDate: 20260106, Symbol: strconv.Itoa(i + 1)}}})
	}
	return list
}

// mod is positive also for the records of a day before.
func mod(i, n int) int { return (i%n + n) % n }

// testTrade is trade number i; all its values follow from i, so that none can be mistaken for another.
func testTrade(i int) feed.Record {
	m := new(feed.TradeMsg)
	feed.Init(m, feed.RTypeMbp0)
	m.PublisherID, m.InstrumentID = 1, uint32(mod(i, len(testSymbols))+1)
	m.TsEvent = testStart + uint64(i)*1e6
	m.TsRecv = m.TsEvent + 150_000
	m.Price = feed.Price(100*feed.PriceScale + mod(i, 997)*10_000_000)
	m.Size, m.Action, m.Side, m.Sequence = uint32(1+mod(i, 500)), 'T', 'B', uint32(i+1)
	return feed.Bytes(m)
}

// scriptZstd is `zst FILE`: it compresses FILE to FILE.zst.
func scriptZstd(ts *testscript.TestScript, neg bool, args []string) {
	enc, err := zstd.NewWriter(nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".zst"), enc.EncodeAll([]byte(ts.ReadFile(args[0])), nil), 0o666))
}

// scriptSameRecords is `samerecords COUNT FILE FILE...`: the first file holds COUNT data records, and the others together the same ones, byte for byte.
func scriptSameRecords(ts *testscript.TestScript, neg bool, args []string) {
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	want, n := dataRecords(ts, args[1])
	if n != count {
		ts.Fatalf("%s holds %d records, want %d", args[1], n, count)
	}
	var got []byte
	for _, path := range args[2:] {
		b, _ := dataRecords(ts, path)
		got = append(got, b...)
	}
	if !bytes.Equal(got, want) {
		ts.Fatalf("%s holds %d bytes of records, want the %d of %s", strings.Join(args[2:], " and "), len(got), len(want), args[1])
	}
}

func dataRecords(ts *testscript.TestScript, path string) (b []byte, n int) {
	dec, err := feed.OpenFile(ts.MkAbs(path))
	ts.Check(err)
	defer dec.Close()
	for rec, err := range dec.Records() {
		ts.Check(err)
		if !rec.RType().IsControl() {
			b, n = append(b, rec...), n+1
		}
	}
	return b, n
}

// scriptFlip is `flip FILE`: it changes one bit in the last byte of a file.
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	b[len(b)-1] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

// scriptShorten is `shorten FILE BYTES`: it cuts a file where it lies, as whoever has it open will notice.
func scriptShorten(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// scriptWhole is `whole FILE`: it sets WHOLE to the stream's ID that FILE had before files could grow.
func scriptWhole(ts *testscript.TestScript, neg bool, args []string) {
	src, err := (&publishCmd{}).fileSource(context.Background(), ts.MkAbs(args[0]), nil)
	ts.Check(err)
	ts.Setenv("WHOLE", src.whole)
}
