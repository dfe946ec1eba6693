package journal

import (
	"cmp"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// What a symbol takes in DBN metadata, at most: in the list of symbols, and as a mapping with one interval.
const (
	intervalBytes = 4 + 4 + 71
	symbolBytes   = 71 + (71 + 4) + intervalBytes
)

// metadataBytes is DBN metadata without any symbol.
const metadataBytes = 128

// headerBytes is how large the header region of the tape's next segment should be: once written it never grows, since records follow it.
func (d *Dataset) headerBytes(t *Tape) int64 {
	return min(roundUp(metadataBytes+segmentHeader+symbolBytes*d.namesWanted(t), headerUnit), maxHeader)
}

// namedIn is what a sealed segment tells of how many names the next ones may need.
type namedIn struct {
	names int64 // intervals in its header
	known int64 // ids in the symbol table then
}

// namesWanted is for how many names a segment must have room: twice as many as in the tape's last sealed one, and those that came since; twice all
// that are known when none is sealed yet.
func (d *Dataset) namesWanted(t *Tape) int64 {
	known := int64(d.symbols.NumIDs())
	last := t.named.Load()
	if segs := *t.segs.Load(); last == nil {
		for i := len(segs) - 1; i >= 0; i-- {
			if !segs[i].sealed.Load() {
				continue
			}
			if names, err := segs[i].countNames(); err == nil { // else it costs room, and nothing else
				last = &namedIn{names, known}
				t.named.CompareAndSwap(nil, last)
			}
			break
		}
	}
	if last == nil {
		return 2 * known
	}
	return 2 * (last.names + known - last.known)
}

// countNames counts the intervals in the header of a sealed segment.
func (s *Segment) countNames() (n int64, err error) {
	if err := s.acquire(); err != nil {
		return 0, err
	}
	defer s.Release()
	region := make([]byte, s.header)
	if _, err := s.ReadAt(region, 0); err != nil {
		return 0, err
	}
	m, err := feed.ParseMetadata(region)
	return intervals(m.Mappings), err
}

func intervals(list []feed.SymbolMapping) (n int64) {
	for i := range list {
		n += int64(len(list[i].Intervals))
	}
	return n
}

// metadata is a tape's, before anything is known of a segment's records.
func (d *Dataset) metadata(s feed.Schema) *feed.Metadata { return tapeMetadata(d.name, s) }

func tapeMetadata(dataset string, s feed.Schema) *feed.Metadata {
	return &feed.Metadata{
		Version: 3, Dataset: dataset, Schema: s, End: undefTime, StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID,
	}
}

// idDay is an instrument on one day.
type idDay struct {
	id  uint32
	day Day
}

// steadyRecords is how many records are asked at once whether a mapping takes effect among them.
const steadyRecords = 4096

// namedDays is what NameAt calls each instrument of the segment, day by day. An instrument that changes its name on a day, or gets or loses it, is left out of
// that day: mixed says how many such days there are, and example is one.
func (s *Segment) namedDays() (names map[idDay]string, mixed int, example string) {
	symbols, schema, size := s.tape.d.symbols, s.tape.schema, uint64(s.tape.size)
	names = map[idDay]string{}
	out := map[idDay]bool{}
	seen := map[idDay]struct{}{} // since a mapping took effect
	inEffect, last := -1, idDay{}
	data := s.Mapped(s.base, s.limit)
	steadyTo := s.base // no mapping takes effect in the records before it
	for seq := s.base; seq < s.limit; seq++ {
		r := feed.Record(data[(seq-s.base)*size:][:size])
		is := idDay{r.InstrumentID(), DayOf(r.IndexTime())}
		n := inEffect
		if seq >= steadyTo {
			n = symbols.InEffect(schema, seq)
			if end := min(seq+steadyRecords, s.limit); symbols.InEffect(schema, end-1) == n {
				steadyTo = end
			}
		}
		if n != inEffect {
			inEffect = n
			clear(seen)
		} else if is == last {
			continue
		}
		last = is
		if _, again := seen[is]; again {
			continue
		}
		seen[is] = struct{}{}
		name, _ := symbols.NameAt(is.id, schema, seq, is.day)
		if was, ok := names[is]; ok && was != name && !out[is] {
			out[is] = true
			example = strconv.FormatUint(uint64(is.id), 10) + " on " + is.day.String() + ": " + was + ", then " + name
		}
		names[is] = name
	}
	for is := range out {
		delete(names, is)
	}
	return names, len(out), example
}

// mappings tells which symbol each instrument of the segment had, by day as DBN does.
func (s *Segment) mappings() []feed.SymbolMapping {
	symbols := s.tape.d.symbols
	if symbols.Len() == 0 {
		return nil // nobody named an instrument: no need to look for those of the segment
	}
	names, mixed, example := s.namedDays()
	if mixed > 0 {
		s.tape.d.log.Warn("instruments change their name within a day, which days cannot say: they have none in the file on those days; the stream tells each",
			zap.String("tape", s.tape.name()), zap.Uint64("segment", s.ordinal), zap.Int("days", mixed), zap.String("example", example))
	}
	days := make([]idDay, 0, len(names))
	for is, name := range names {
		if name != "" && is.day != NoDay {
			days = append(days, is)
		}
	}
	slices.SortFunc(days, func(a, b idDay) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.day, b.day)) })
	bySymbol := map[string][]feed.MappingInterval{}
	for i := 0; i < len(days); {
		first, name := days[i], names[days[i]]
		end := first.day + 1
		for i++; i < len(days) && days[i].id == first.id && days[i].day == end && names[days[i]] == name; i++ {
			end++
		}
		bySymbol[name] = append(bySymbol[name], feed.MappingInterval{
			StartDate: first.day.Date(), EndDate: end.Date(), Symbol: strconv.FormatUint(uint64(first.id), 10),
		})
	}
	out := make([]feed.SymbolMapping, 0, len(bySymbol))
	for symbol, intervals := range bySymbol {
		slices.SortStableFunc(intervals, func(a, b feed.MappingInterval) int { return cmp.Compare(a.StartDate, b.StartDate) })
		out = append(out, feed.SymbolMapping{RawSymbol: symbol, Intervals: intervals})
	}
	slices.SortFunc(out, func(a, b feed.SymbolMapping) int { return cmp.Compare(a.RawSymbol, b.RawSymbol) })
	return out
}

// fitting is the first of the mappings that a header region has room for.
func fitting(list []feed.SymbolMapping, header int64) []feed.SymbolMapping {
	room := header - metadataBytes - segmentHeader
	for i := range list {
		if room -= symbolBytes + intervalBytes*int64(len(list[i].Intervals)-1); room < 0 {
			return list[:i]
		}
	}
	return list
}
