package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// streamed is a record's name as it was given to a stream, and where it was read from it: by who follows it, and by who goes by dates as Python's DBNStore does.
type streamed struct{ given, followed, dated string }

// datedName is a mapping as DBNStore keeps it.
type datedName struct {
	name     string
	from, to journal.Day
}

// resolve is DBNStore's way: of those that begin last on or before the day the one that came last, if it covers the day.
func resolve(list []datedName, day journal.Day) string {
	best := datedName{}
	for _, m := range list {
		if m.from <= day && m.from >= best.from {
			best = m
		}
	}
	if day < best.to {
		return best.name
	}
	return ""
}

// streamNames writes records of instruments, "day id name" each, and reads their names back.
func streamNames(t *testing.T, schema feed.Schema, records ...string) (list []streamed, meta *feed.Metadata) {
	t.Helper()
	var b bytes.Buffer
	out := newDBNStream(newDelayedWriter(&b, nil), io.Discard, feed.Metadata{Version: 3, Dataset: "TEST.ONE", Schema: schema, End: feed.UndefTimestamp, StypeIn: feed.STypeRawSymbol})
	for _, text := range records {
		var day, id int
		var name string
		if _, err := fmt.Sscanf(text, "%d %d %s", &day, &id, &name); err != nil {
			t.Fatal(err)
		}
		name = strings.Trim(name, "-")
		list = append(list, streamed{given: name})
		must(t, out.Control(mapping(uint32(id), name)))
		at := (journal.DayOf(testStart) + journal.Day(day)).Start() + 1
		if day == 99 {
			at = feed.UndefTimestamp
		}
		must(t, out.Data(tradeOf(uint32(id), at)))
	}
	must(t, out.Close())
	dec, err := feed.NewDecoder(&b)
	must(t, err)
	var followed feed.SymbolMap
	dated, days, n := map[uint32][]datedName{}, []journal.Day{}, 0
	ids := []uint32{}
	for rec, err := range dec.Records() {
		must(t, err)
		id := rec.InstrumentID()
		if m, ok := feed.View[feed.SymbolMappingMsg](rec); ok {
			if m.OutSymbol() == "" && m.StartTs != m.EndTs {
				t.Errorf("no name from %d to %d: DBNStore shows an empty one", m.StartTs, m.EndTs)
			}
			followed.Learn(rec)
			dated[id] = append(dated[id], datedName{m.OutSymbol(), journal.DayOf(m.StartTs), journal.DayOf(m.EndTs)})
			continue
		}
		list[n].followed, _ = followed.Name(id)
		days, ids, n = append(days, journal.DayOf(rec.IndexTime())), append(ids, id), n+1
	}
	if n != len(records) {
		t.Fatalf("%d records, want %d", n, len(records))
	}
	for i := range list {
		if days[i] != journal.NoDay {
			list[i].dated = resolve(dated[ids[i]], days[i])
		}
	}
	return list, dec.Metadata()
}

func TestAStreamToldOfTwoDaysNamesEachByItsOwn(t *testing.T) {
	for _, c := range []struct {
		what    string
		records []string
		unnamed string // those that dates cannot name, by their numbers
	}{
		{"ids that are swapped", []string{"0 1 AAPL", "0 2 MSFT", "1 1 MSFT", "1 2 AAPL", "1 1 MSFT"}, ""},
		{"a day without a name", []string{"0 1 AAPL", "1 1 -", "2 1 AAPL"}, ""},
		{"an older day that has no name, and came first", []string{"5 1 -", "0 1 AAPL", "5 1 -"}, ""},
		{"a name that changes within a day", []string{"0 1 AAPL", "1 1 AAPL", "1 1 MSFT", "2 1 MSFT"}, "12"},
		{"and changes back", []string{"0 1 AAPL", "0 1 MSFT", "0 1 AAPL", "0 1 AAPL"}, "0123"},
		{"and is lost within it", []string{"0 1 AAPL", "0 1 -", "1 1 AAPL"}, "0"},
		{"days that alternate", []string{"1 1 B", "0 1 A", "1 1 B", "0 1 A", "2 1 C", "0 1 A"}, ""},
		{"an older day that has two names, of which the stream told the second last", []string{"0 1 A", "1 1 B", "0 1 B", "1 1 B"}, "02"},
		{"a record without a day", []string{"0 1 A", "99 1 B", "1 1 A"}, "1"},
	} {
		got, meta := streamNames(t, feed.SchemaTrades, c.records...)
		if len(meta.Mappings) > 0 || meta.Schema != feed.SchemaNone {
			t.Errorf("%s: the header says %v of %v", c.what, meta.Schema, meta.Mappings)
		}
		for i, is := range got {
			want := is.given
			if strings.Contains(c.unnamed, fmt.Sprint(i)) {
				want = ""
			}
			if is.followed != is.given || is.dated != want {
				t.Errorf("%s, record %d: %+v, want %q by dates", c.what, i, is, want)
			}
		}
	}
}

func TestAStreamOfTbboStaysOne(t *testing.T) {
	var b, warn bytes.Buffer
	out := newDBNStream(newDelayedWriter(&b, nil), &warn, feed.Metadata{Version: 3, Dataset: "TEST.ONE", Schema: feed.SchemaTbbo, End: feed.UndefTimestamp})
	m := new(feed.Mbp1Msg)
	feed.Init(m, feed.RTypeMbp1)
	m.InstrumentID, m.TsEvent, m.TsRecv = 1, testStart, testStart
	must(t, out.Control(mapping(1, "AAPL")))
	must(t, out.Data(feed.Bytes(m)))
	must(t, out.Close())
	dec, err := feed.NewDecoder(&b)
	must(t, err)
	if meta := dec.Metadata(); meta.Schema != feed.SchemaTbbo || len(meta.Mappings) > 0 {
		t.Errorf("%v with %v", meta.Schema, meta.Mappings)
	}
	if rec, err := dec.Next(); err != nil || rec.RType() != feed.RTypeMbp1 {
		t.Errorf("the first record is %v, %v: a reader takes all for the header's schema", rec, err)
	}
	if !strings.Contains(warn.String(), "no names") {
		t.Errorf("told: %s", warn.String())
	}
}
