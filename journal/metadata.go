package journal

import (
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// What a symbol takes in DBN metadata, at most: in the list of symbols, and as a mapping with one interval.
const symbolBytes = 71 + (71 + 4) + (4 + 4 + 71)

// metadataBytes is DBN metadata without any symbol.
const metadataBytes = 128

// headerBytes is how large the header region of a new segment is: room for twice the symbols there are now.
func (d *Dataset) headerBytes(segment int64) int64 {
	want := roundUp(metadataBytes+segmentHeader+2*symbolBytes*int64(d.symbols.Len()), headerUnit)
	most := min(maxHeader, segment/headerShare/headerUnit*headerUnit)
	return max(min(want, most), headerUnit)
}

// metadata is a tape's, before anything is known of a segment's records.
func (d *Dataset) metadata(s feed.Schema) *feed.Metadata {
	return &feed.Metadata{
		Version: 3, Dataset: d.name, Schema: s, End: undefTime, StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID,
	}
}

func recordID(b []byte) uint32 { return binary.LittleEndian.Uint32(b[4:]) }

// mappings tells which symbol each instrument of the segment had, by day as DBN does: the day of a change belongs to the new symbol.
// from and to are the records' first and last time (ns).
func (s *Segment) mappings(from, to uint64) []feed.SymbolMapping {
	if from > to {
		return nil
	}
	symbols := s.tape.d.symbols
	if symbols.Len() == 0 {
		return nil // nobody named an instrument: no need to look for those of the segment
	}
	bySymbol := map[string][]feed.MappingInterval{}
	for _, id := range s.instruments() {
		text := strconv.FormatUint(uint64(id), 10)
		end := date(to, 1)
		at := symbols.entries(id)
		list := *symbols.list.Load() // after the entries: it holds all they speak of
		for i := len(at) - 1; i >= 0; i-- {
			m := &list[at[i]]
			seq := seqIn(m.At, s.tape.schema)
			if seq >= s.limit && i > 0 {
				continue // came into effect after this segment
			}
			start := date(from, 0)
			if seq > s.base && seq < s.limit && i > 0 {
				start = max(start, date(s.timeAt(seq, from), 0))
			}
			if start < end {
				bySymbol[m.Symbol] = append(bySymbol[m.Symbol], feed.MappingInterval{StartDate: start, EndDate: end, Symbol: text})
				end = start
			}
			if seq <= s.base {
				break
			}
		}
	}
	out := make([]feed.SymbolMapping, 0, len(bySymbol))
	for symbol, intervals := range bySymbol {
		slices.SortFunc(intervals, func(a, b feed.MappingInterval) int { return int(a.StartDate) - int(b.StartDate) })
		out = append(out, feed.SymbolMapping{RawSymbol: symbol, Intervals: intervals})
	}
	slices.SortFunc(out, func(a, b feed.SymbolMapping) int {
		if a.RawSymbol < b.RawSymbol {
			return -1
		}
		return 1
	})
	return out
}

// timeAt is the index time of a record; other when it has none.
func (s *Segment) timeAt(seq, other uint64) uint64 {
	if ts := feed.Record(s.Mapped(seq, seq+1)).IndexTime(); ts != undefTime {
		return ts
	}
	return other
}

// date is the UTC day of a time in ns, some days later, as YYYYMMDD.
func date(ns uint64, days int) uint32 {
	t := time.Unix(int64(ns/1e9), 0).UTC().AddDate(0, 0, days)
	return uint32(t.Year()*10000 + int(t.Month())*100 + t.Day())
}
