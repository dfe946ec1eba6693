package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// symbolDays collects, from a stream's mapping records, what the metadata of a DBN file says of symbols: which instrument id a symbol had, day by
// day. Readers look a record's symbol up by id and by the UTC day of its index time.
type symbolDays struct {
	now        map[uint32]string  // what the stream said last of each id
	days       map[idDay]string   // what it said at the records of a day; empty: nothing
	mixed      map[idDay][]string // days on which an id changed its name: its names, in their order; empty: none
	start, end uint64             // of the records' index times, ns; end is exclusive, 0: none yet

	last idDay // as of the record before
}

// idDay is an instrument on one day.
type idDay struct {
	id  uint32
	day journal.Day
}

func newSymbolDays() *symbolDays {
	return &symbolDays{now: map[uint32]string{}, days: map[idDay]string{}, mixed: map[idDay][]string{}, start: feed.UndefTimestamp}
}

// learn takes a mapping record; other control records say nothing here. An empty name ends the one that the id had.
func (d *symbolDays) learn(rec feed.Record) {
	if m, ok := feed.View[feed.SymbolMappingMsg](rec); ok {
		d.now[m.InstrumentID] = m.OutSymbol()
		d.last = idDay{}
	}
}

// sighting is who a record is.
type sighting struct {
	name  string // empty: nobody knows
	day   journal.Day
	news  bool // what is known of the id on that day has changed by this record
	mixed bool // the id has had several names on that day
}

// see takes a data record. A record without a time has no day, and says nothing of any.
func (d *symbolDays) see(rec feed.Record) sighting {
	at, id := rec.IndexTime(), rec.InstrumentID()
	is := idDay{id, journal.DayOf(at)}
	s := sighting{name: d.now[id], day: is.day}
	if at == feed.UndefTimestamp {
		return s
	}
	d.start, d.end = min(d.start, at), max(d.end, at+1)
	if is == d.last {
		_, s.mixed = d.mixed[is]
		return s
	}
	d.last = is
	was, known := d.days[is]
	names, mixed := d.mixed[is]
	if !known {
		d.days[is], s.news = s.name, true
		return s
	}
	if !mixed && was == s.name {
		return s
	}
	if !mixed {
		names = []string{was}
	}
	if !slices.Contains(names, s.name) {
		names = append(names, s.name)
	}
	d.mixed[is], s.mixed, s.news = names, true, !mixed
	return s
}

// fill sets the symbols, the mappings and the time range of m by what was seen. A day on which an id changes its name is left out: days cannot say which
// record had which. withUnseen keeps symbols without records, as room for what may come.
func (d *symbolDays) fill(m *feed.Metadata, withUnseen bool) {
	m.Symbols, m.Mappings = nil, nil
	intervals := map[string][]feed.MappingInterval{}
	add := func(name string, id uint32, from, to journal.Day) {
		intervals[name] = append(intervals[name], feed.MappingInterval{StartDate: from.Date(), EndDate: to.Date(), Symbol: strconv.FormatUint(uint64(id), 10)})
	}
	seen := make([]idDay, 0, len(d.days))
	ids := map[uint32]struct{}{}
	for is, name := range d.days {
		if _, out := d.mixed[is]; name != "" && !out {
			seen = append(seen, is)
			ids[is.id] = struct{}{}
		}
	}
	slices.SortFunc(seen, func(a, b idDay) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.day, b.day)) })
	for i := 0; i < len(seen); {
		first, name := seen[i], d.days[seen[i]]
		end := first.day + 1
		for i++; i < len(seen) && seen[i] == (idDay{first.id, end}) && d.days[seen[i]] == name; i++ {
			end++
		}
		add(name, first.id, first.day, end)
	}
	for id, name := range d.now {
		if _, has := ids[id]; withUnseen && !has && name != "" {
			add(name, id, 0, 1)
		}
	}
	for symbol, list := range intervals {
		slices.SortFunc(list, func(a, b feed.MappingInterval) int {
			return cmp.Or(cmp.Compare(a.StartDate, b.StartDate), cmp.Compare(a.Symbol, b.Symbol))
		})
		m.Symbols = append(m.Symbols, symbol)
		m.Mappings = append(m.Mappings, feed.SymbolMapping{RawSymbol: symbol, Intervals: list})
	}
	slices.Sort(m.Symbols)
	slices.SortFunc(m.Mappings, func(a, b feed.SymbolMapping) int { return cmp.Compare(a.RawSymbol, b.RawSymbol) })
	if d.end > 0 {
		m.Start, m.End = d.start, d.end
	}
}

// mixedNamed is how many of the days that are left out are named.
const mixedNamed = 4

// tellMixed says which names fill leaves out.
func (d *symbolDays) tellMixed(w io.Writer, file string) {
	if len(d.mixed) == 0 {
		return
	}
	list := slices.SortedFunc(maps.Keys(d.mixed), func(a, b idDay) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.id, b.id)) })
	for _, is := range list[:min(mixedNamed, len(list))] {
		names := slices.Clone(d.mixed[is])
		if i := slices.Index(names, ""); i >= 0 {
			names[i] = "nobody known"
		}
		fmt.Fprintf(w, "%s: instrument %d was %s on %s, and its records of that day have no name in it: a header names by days\n",
			file, is.id, lsg.Printable(firstOf(names)), is.day)
	}
	if more := len(list) - mixedNamed; more > 0 {
		fmt.Fprintf(w, "%s: so it is for %s more of an instrument and a day\n", file, grouped(uint64(more)))
	}
}

// utcDay is the UTC day of a time as the number YYYYMMDD.
func utcDay(ns uint64) uint32 {
	t := time.Unix(int64(ns/1e9), 0).UTC()
	return uint32(t.Year()*10000 + int(t.Month())*100 + t.Day())
}
