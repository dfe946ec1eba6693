package gateway

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// tradeOn is trade i of an id on a day after firstDay.
func tradeOn(id uint32, i, day int) []byte {
	r := trade(id, i)
	for _, at := range []int{8, 32} {
		binary.LittleEndian.PutUint64(r[at:], (uint64(firstDay)+uint64(day))*86_400e9+uint64(i))
	}
	return r
}

// capture is all that a session is sent of a replay of some schemas: the header as it is, and every record, control records too.
func capture(t *testing.T, s *Server, schemas ...string) (meta feed.Metadata, records [][]byte) {
	t.Helper()
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	for _, schema := range schemas {
		c.send("schema=" + schema + "|symbols=ALL_SYMBOLS|start=0\n")
	}
	c.send("start_session\n")
	header := make([]byte, 128)
	if _, err := readFull(c, header); err != nil {
		t.Fatal(err)
	}
	meta, err := feed.ParseMetadata(header)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, feed.MaxRecordSize)
	for finished := 0; finished < len(schemas); {
		r := c.next(buf)
		records = append(records, slices.Clone(r))
		if strings.Contains(systemText(r), "Finished") {
			finished++
		}
	}
	return meta, records
}

// calledIn is what the captured trades are called, by their number.
func calledIn(records [][]byte) map[int]string {
	now, called := map[uint32]string{}, map[int]string{}
	for _, r := range records {
		if m, ok := feed.View[feed.SymbolMappingMsg](feed.Record(r)); ok {
			now[m.InstrumentID] = m.OutSymbol()
		}
		if r := feed.Record(r); r.RType() == feed.RTypeMbp0 {
			called[sequence(r)] = now[r.InstrumentID()]
		}
	}
	return called
}

// A live stream that was captured is published as it is: who had no name in it has none, however it was called before, and who gets one later has that.
// To publish it again changes nothing.
func TestACapturedStreamIsPublishedWithTheNamesItHas(t *testing.T) {
	s := serveTest(t)
	x := newScribe(t, s, 1, 1, 1)
	name := func(id uint32, symbol string, day int, kind journal.Kind) {
		t.Helper()
		from := firstDay + journal.Day(day)
		if _, err := x.w.MapDated([]journal.DatedMapping{{ID: id, Symbol: symbol, From: from, To: from + 1, Kind: kind}}); err != nil {
			t.Fatal(err)
		}
	}
	name(1, "AAPL", 0, journal.KindDated)
	name(1, "MSFT", 4, journal.KindDated)
	name(2, "ZM", 0, journal.KindDefinition)
	name(2, "", 1, journal.KindDeletion)
	want := map[int]string{}
	for i, is := range []struct {
		id  uint32
		day int
		as  string
	}{{1, 0, "AAPL"}, {2, 0, "ZM"}, {1, 2, ""}, {2, 1, "ZM"}, {2, 3, ""}, {1, 4, "MSFT"}, {1, 5, ""}, {2, 5, ""}} {
		x.append(feed.SchemaTrades, tradeOn(is.id, i, is.day))
		want[i] = is.as
	}
	meta, stream := capture(t, s, "trades")
	if got := calledIn(stream); !maps.Equal(got, want) {
		t.Fatalf("captured as %v, want %v", got, want)
	}
	other := serveTest(t)
	again := func(stream [][]byte) {
		t.Helper()
		p := dialRaw(t, other)
		p.produce("1")
		p.begin(meta, append(stream, feed.AppendSystem(nil, 0, feed.SystemUnset, "end_session"))...)
		p.rest()
	}
	again(stream)
	_, got := capture(t, other, "trades")
	if got := calledIn(got); !maps.Equal(got, want) {
		t.Errorf("published as %v, want %v", got, want)
	}
	// What follows of that id has no name, until somebody says one.
	table := other.journal.Lookup(testDataset).Symbols()
	n := table.Len()
	again(stream[:0])
	again([][]byte{unnamingRecord(1), unnamingRecord(2), unnamingRecord(77)})
	if table.Len() != n {
		t.Errorf("%d entries, there were %d", table.Len(), n)
	}
	publish(t, other, "2", metadataOf(feed.SchemaTrades), tradeOn(1, 8, 6), mappingRecord(1, "BACK"), tradeOn(1, 9, 6))
	want[8], want[9] = "", "BACK"
	_, got = capture(t, other, "trades")
	if got := calledIn(got); !maps.Equal(got, want) {
		t.Errorf("afterwards %v, want %v", got, want)
	}
}

// unnamingRecord says that from its place on nobody knows who an id is.
func unnamingRecord(id uint32) []byte {
	return feed.AppendSymbolMapping(nil, feed.SymbolMappingFields{InstrumentID: id, InSymbol: "WAS", StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp})
}

// A live session is told at once that an id has no name any more.
func TestALiveSessionIsToldThatAnIDLostItsName(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), mappingRecord(0, "ZERO"), mappingRecord(1, "ONE"), trade(0, 0), trade(1, 1))
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	live := func(r feed.Record) bool { return strings.HasPrefix(systemText(r), "1 ") }
	names := map[uint32]string{}
	note := func(r feed.Record) {
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			names[m.InstrumentID] = m.OutSymbol()
		}
	}
	take(t, sub, func(r feed.Record) bool { note(r); return live(r) })
	publish(t, s, "2", metadataOf(feed.SchemaTrades), unnamingRecord(0), unnamingRecord(1), trade(0, 2), trade(1, 3))
	take(t, sub, func(r feed.Record) bool {
		note(r)
		return r.RType() == feed.RTypeMbp0 && sequence(r) == 3
	})
	if fmt.Sprint(names) != "map[0: 1:]" {
		t.Errorf("the client knows %v", names)
	}
}

// A file says of days what a definition that is carried on says too. That is no repetition: a definition that is filled in before them takes the days in between
// and not those. To publish all of it again enters nothing, and who asks for a symbol gets each of its days.
func TestFilledInDefinitionLeavesTheDaysOfAFileTheirNames(t *testing.T) {
	s := serveTest(t)
	file := metadataOf(feed.SchemaTrades)
	for i, symbol := range []string{"AAPL", "MSFT"} { // the later day first
		file = withMapping(file, 1, symbol)
		from := firstDay + journal.Day(10-2*i)
		file.Mappings[i].Intervals[0].StartDate, file.Mappings[i].Intervals[0].EndDate = from.Date(), (from + 1).Date()
	}
	defined := func(stream string, symbol string, day journal.Day) {
		publish(t, s, stream, metadataOf(feed.SchemaDefinition), onDay(definition(1, symbol), firstDay+day))
	}
	defined("a", "AAPL", 6)
	publish(t, s, "b", file, tradeOn(1, 0, 6), tradeOn(1, 1, 7), tradeOn(1, 2, 8), tradeOn(1, 3, 9), tradeOn(1, 4, 10))
	table := s.journal.Lookup(testDataset).Symbols()
	n := table.Len()
	publish(t, s, "b", file)
	defined("c", "AAPL", 6)
	if table.Len() != n {
		t.Errorf("published again: %d entries, there were %d", table.Len(), n)
	}
	defined("d", "AAPL", 12)
	defined("e", "ZM", 11)
	publish(t, s, "f", metadataOf(feed.SchemaTrades), tradeOn(1, 5, 10), tradeOn(1, 6, 11), tradeOn(1, 7, 12), tradeOn(1, 8, 15))
	_, got := capture(t, s, "trades")
	want := map[int]string{0: "AAPL", 1: "AAPL", 2: "MSFT", 3: "", 4: "AAPL", 5: "AAPL", 6: "ZM", 7: "AAPL", 8: "AAPL"}
	if got := calledIn(got); !maps.Equal(got, want) {
		t.Errorf("called %v, want %v", got, want)
	}
	data, _ := replayed(t, s, feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"AAPL"}})
	if fmt.Sprint(data) != "[0 1 4 5 7 8]" {
		t.Errorf("records %v of AAPL", data)
	}
}
