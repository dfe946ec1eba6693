package journal

import (
	"math"

	"github.com/tapewire/tapewire/feed"
)

// keptRecords is what the records of a dataset that can still be read need of its symbol table.
type keptRecords struct {
	inEffect int // entries that hold for all of them
	day      Day // the oldest of their days, and of those that connected producers have declared something for; 0 when it is not known
}

// kept looks at all tapes, and at what has expired and is still held by readers: pinned. The caller holds Journal.retaining, or is alone.
func (d *Dataset) kept(pinned []*Segment) keptRecords {
	d.declaredSince.Store(uint32(NoDay))
	declared := d.declaredDay() // before the records are looked at: who ends meanwhile has committed them
	k := keptRecords{inEffect: d.symbols.Len(), day: NoDay}
	add := func(s *Segment, to uint64) {
		k.inEffect = min(k.inEffect, d.symbols.InEffect(s.tape.schema, s.base))
		if s.base < to {
			k.day = min(k.day, s.oldestDay(to))
		}
	}
	for _, s := range pinned {
		if s.tape.d == d && s.held() {
			add(s, s.limit)
		}
	}
	d.mu.Lock()
	tapes := d.tapes
	d.mu.Unlock()
	for _, t := range tapes {
		if t == nil {
			continue
		}
		for _, s := range t.expired {
			if s.held() {
				add(s, s.limit)
			}
		}
		k.inEffect = min(k.inEffect, d.symbols.InEffect(t.schema, t.First()))
		tail := t.Tail()
		for _, s := range *t.segs.Load() {
			add(s, min(s.limit, tail))
		}
	}
	if k.day == NoDay { // no record has a time: nothing is to be learned from that
		k.day = 0
	}
	k.day = min(k.day, declared)
	return k
}

// held says whether a reader has the segment open.
func (s *Segment) held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil
}

// oldestDay is not after the least day of the segment's records, up to record to: by the index when it is sealed, remembered; else by the records. NoDay when none
// has a time; 0 when they cannot be read.
func (s *Segment) oldestDay(to uint64) Day {
	if known := s.oldest.Load(); known != 0 {
		return Day(known - 1)
	}
	if s.acquire() != nil {
		return 0
	}
	defer s.Release()
	sealed := s.sealed.Load()
	ts, err := s.leastTime(to, sealed)
	if err != nil {
		return 0
	}
	day := DayOf(ts)
	if sealed && day < math.MaxUint32 {
		s.oldest.Store(uint32(day) + 1)
	}
	return day
}

// leastTime is not above the least index time of the records up to to. An index leaves outliers out of its spans: around one the records are looked at.
func (s *Segment) leastTime(to uint64, sealed bool) (uint64, error) {
	if !sealed {
		return s.scanLeast(s.base, to)
	}
	blocks, err := s.cachedIndex()
	if err != nil {
		return 0, err
	}
	least, steps := undefTime, s.tape.outlierSteps()
	for i := range *blocks {
		b := &(*blocks)[i]
		ts := min(b.span.MinEvent, b.span.MinRecv)
		if b.top > b.span.top() || b.top == 0 && steps != nil {
			if ts, err = s.scanLeast(b.first, b.first+uint64(b.count)); err != nil {
				return 0, err
			}
		}
		least = min(least, ts)
	}
	return least, nil
}

func (s *Segment) scanLeast(from, to uint64) (uint64, error) {
	l, least := &layouts[s.tape.schema], undefTime
	err := eachChunk(s, s.info(), from, to, func(b []byte) error {
		for ; len(b) >= l.size; b = b[l.size:] {
			least = min(least, feed.Record(b[:l.size]).IndexTime())
		}
		return nil
	})
	return least, err
}
