package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

func mapping(id uint32, symbol string) feed.Record {
	return feed.AppendSymbolMapping(nil, feed.SymbolMappingFields{InstrumentID: id, InSymbol: symbol, OutSymbol: symbol, StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp})
}

func tradeOf(id uint32, ts uint64) feed.Record {
	m := new(feed.TradeMsg)
	feed.Init(m, feed.RTypeMbp0)
	m.InstrumentID, m.TsEvent, m.TsRecv = id, ts, ts
	return feed.Bytes(m)
}

func recordFile(t *testing.T, fill func(out recordOutput)) (*feed.Metadata, []byte) {
	t.Helper()
	meta, records, _ := recordFileTold(t, fill)
	return meta, records
}

// recordFileTold gives what was told of the file, too.
func recordFileTold(t *testing.T, fill func(out recordOutput)) (_ *feed.Metadata, records []byte, told string) {
	t.Helper()
	var warn bytes.Buffer
	f, err := os.Create(filepath.Join(t.TempDir(), "x.dbn"))
	if err != nil {
		t.Fatal(err)
	}
	out := newDBNFile(f, feed.Metadata{Version: 3, Dataset: "TEST.ONE", Schema: feed.SchemaTrades, End: feed.UndefTimestamp, StypeIn: feed.STypeRawSymbol}, &warn)
	fill(out)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	dec, err := feed.OpenFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if left, err := filepath.Glob(f.Name() + "?*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return dec.Metadata(), fileRecords(t, f.Name()), warn.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMoreSymbolsThanTheHeaderHasRoomFor(t *testing.T) {
	const count = 5000 // come one by one, each before its first record
	var want []byte
	meta, got := recordFile(t, func(out recordOutput) {
		for id := uint32(1); id <= count; id++ {
			must(t, out.Control(mapping(id, fmt.Sprintf("SYMBOL-%d", id))))
			rec := tradeOf(id, testStart+uint64(id))
			want = append(want, rec...)
			must(t, out.Data(rec))
		}
	})
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of records, want %d", len(got), len(want))
	}
	if len(meta.Mappings) != count || len(meta.Symbols) != count {
		t.Fatalf("%d mappings of %d symbols, want %d", len(meta.Mappings), len(meta.Symbols), count)
	}
	for _, m := range meta.Mappings {
		if id, _ := strconv.Atoi(m.Intervals[0].Symbol); m.RawSymbol != fmt.Sprintf("SYMBOL-%d", id) {
			t.Fatalf("%s is mapped to %s", m.RawSymbol, m.Intervals[0].Symbol)
		}
	}
	if meta.Start != testStart+1 || meta.End != testStart+count+1 {
		t.Errorf("from %d to %d", meta.Start, meta.End)
	}
}

func TestSymbolsOfAnIDThatIsUsedAgain(t *testing.T) {
	const day = 24 * 3600 * 1_000_000_000
	meta, _ := recordFile(t, func(out recordOutput) {
		must(t, out.Control(mapping(7, "OLD")))
		must(t, out.Control(mapping(8, "UNSEEN")))
		must(t, out.Data(tradeOf(7, testStart)))
		must(t, out.Control(mapping(7, "NEW")))
		must(t, out.Data(tradeOf(7, testStart+1))) // on the day of OLD: days cannot tell them apart
		must(t, out.Data(tradeOf(7, testStart+2*day)))
		must(t, out.Data(tradeOf(9, testStart+2*day))) // never mapped
		must(t, out.Control(mapping(7, "EARLIER")))    // an older day that was published later
		must(t, out.Data(tradeOf(7, testStart-4*day)))
	})
	want := []feed.SymbolMapping{
		{RawSymbol: "EARLIER", Intervals: []feed.MappingInterval{{StartDate: 20260101, EndDate: 20260102, Symbol: "7"}}},
		{RawSymbol: "NEW", Intervals: []feed.MappingInterval{{StartDate: 20260107, EndDate: 20260108, Symbol: "7"}}},
	}
	if fmt.Sprint(meta.Mappings) != fmt.Sprint(want) || fmt.Sprint(meta.Symbols) != "[EARLIER NEW]" {
		t.Errorf("mappings %v of %v, want %v", meta.Mappings, meta.Symbols, want)
	}
}

func TestRecordingNothingIsAWholeFile(t *testing.T) {
	meta, records := recordFile(t, func(recordOutput) {})
	if meta.Schema != feed.SchemaTrades || len(records) != 0 {
		t.Errorf("%v with %d bytes", meta, len(records))
	}
}

func TestNamesThatDaysCannotSayAreTold(t *testing.T) {
	const day = 24 * 3600 * 1_000_000_000
	_, _, told := recordFileTold(t, func(out recordOutput) {
		for id := uint32(1); id <= 7; id++ {
			must(t, out.Data(tradeOf(id, testStart+day*uint64(id%2))))
			must(t, out.Control(mapping(id, "OLD")))
			must(t, out.Data(tradeOf(id, testStart+day*uint64(id%2))))
			must(t, out.Control(mapping(id, "NEW")))
			must(t, out.Data(tradeOf(id, testStart+day*uint64(id%2)+1)))
			must(t, out.Data(tradeOf(id, testStart+5*day))) // a whole day of NEW
		}
	})
	for i, want := range []string{"2 was nobody known, OLD, NEW on 2026-01-05", "4 was", "6 was", "1 was nobody known, OLD, NEW on 2026-01-06", "3 more"} {
		if lines := strings.Split(told, "\n"); len(lines) != 6 || !strings.Contains(lines[i], want) {
			t.Errorf("told in line %d:\n%s\nwant %q and five lines", i, told, want)
		}
	}
	if _, _, told := recordFileTold(t, func(out recordOutput) {
		must(t, out.Control(mapping(1, "ONE")))
		must(t, out.Data(tradeOf(1, testStart)))
		must(t, out.Control(mapping(1, "TWO")))
		must(t, out.Data(tradeOf(1, testStart+day)))
	}); told != "" {
		t.Errorf("nothing is left out, and yet: %s", told)
	}
}
