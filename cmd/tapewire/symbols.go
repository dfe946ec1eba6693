package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// symbolDays collects, from a stream's mapping records, what the metadata of a DBN file says of symbols: which instrument id a symbol had, day by
// day. Readers look a record's symbol up by id and by the UTC day of its index time.
type symbolDays struct {
	now map[uint32]*symbolSpan // the mapping in effect for each id
	all []*symbolSpan
}

// symbolSpan is one symbol of one id while it was in effect.
type symbolSpan struct {
	id          uint32
	symbol      string
	first, last uint64 // index times of its records, ns; first > last: none yet
}

func newSymbolDays() *symbolDays { return &symbolDays{now: map[uint32]*symbolSpan{}} }

// learn takes a mapping record; other control records say nothing here.
func (d *symbolDays) learn(rec feed.Record) {
	m, ok := feed.View[feed.SymbolMappingMsg](rec)
	if !ok {
		return
	}
	symbol := m.OutSymbol()
	if old := d.now[m.InstrumentID]; old != nil && old.symbol == symbol {
		return
	}
	if symbol == "" { // the id has no name from here on
		delete(d.now, m.InstrumentID)
		return
	}
	span := &symbolSpan{id: m.InstrumentID, symbol: symbol, first: feed.UndefTimestamp}
	d.now[m.InstrumentID] = span
	d.all = append(d.all, span)
}

// see takes a data record.
func (d *symbolDays) see(rec feed.Record) {
	span, at := d.now[rec.InstrumentID()], rec.IndexTime()
	if span == nil || at == feed.UndefTimestamp {
		return
	}
	span.first, span.last = min(span.first, at), max(span.last, at)
}

// fill sets the symbols, the mappings and the time range of m by what was seen. withUnseen keeps symbols without records, as room for what may come.
func (d *symbolDays) fill(m *feed.Metadata, withUnseen bool) {
	m.Symbols, m.Mappings = nil, nil
	byID := map[uint32]uint32{} // the day that the id's earlier spans reach to
	intervals := map[string][]feed.MappingInterval{}
	start, end := feed.UndefTimestamp, uint64(0)
	for _, span := range d.all {
		if span.first > span.last && !withUnseen {
			continue
		}
		if span.first <= span.last {
			start, end = min(start, span.first), max(end, span.last+1)
		}
		// Days cannot say that an id changed its symbol within one: the earlier symbol keeps that day.
		from, to := max(utcDay(span.first), byID[span.id]), utcDay(span.last+uint64(24*time.Hour))
		if from >= to && !withUnseen {
			continue
		}
		byID[span.id] = to
		intervals[span.symbol] = append(intervals[span.symbol], feed.MappingInterval{StartDate: from, EndDate: to, Symbol: strconv.FormatUint(uint64(span.id), 10)})
	}
	for symbol, list := range intervals {
		slices.SortFunc(list, func(a, b feed.MappingInterval) int { return cmp.Compare(a.StartDate, b.StartDate) })
		m.Symbols = append(m.Symbols, symbol)
		m.Mappings = append(m.Mappings, feed.SymbolMapping{RawSymbol: symbol, Intervals: list})
	}
	slices.Sort(m.Symbols)
	slices.SortFunc(m.Mappings, func(a, b feed.SymbolMapping) int { return cmp.Compare(a.RawSymbol, b.RawSymbol) })
	if end > 0 {
		m.Start, m.End = start, end
	}
}

// utcDay is the UTC day of a time as the number YYYYMMDD.
func utcDay(ns uint64) uint32 {
	t := time.Unix(int64(ns/1e9), 0).UTC()
	return uint32(t.Year()*10000 + int(t.Month())*100 + t.Day())
}
