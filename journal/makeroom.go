package journal

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// mostMappings is how many entries of the symbol table kept records may need.
func (d *Dataset) mostMappings() int64 {
	if d.o.mappings > 0 {
		return int64(d.o.mappings)
	}
	return MaxMappings
}

// crowded says whether the table, or its log, is so full that what nobody needs has to make room.
func (d *Dataset) crowded() bool {
	l := d.symbols.log
	return d.symbols.needed.Load() >= d.mostMappings()*tableWarn/100 || l.bytes() >= maxSideLog*tableWarn/100
}

// roomer is what is known of the last time that room was made in the symbol table.
type roomer struct {
	mu      sync.Mutex // one at a time
	garbage int        // entries of the log that are gone; under mu

	// Of roomRound.
	ended time.Time
	took  time.Duration
	at    int64 // entries that were needed then
}

// warnOfSymbols says it once that the table fills up. The caller holds Symbols.mu.
func (d *Dataset) warnOfSymbols(before, after int64) {
	from := d.mostMappings() * tableWarn / 100
	if before < from && after >= from {
		d.log.Warn("the symbol table fills up; entries that no kept record needs make room, and beyond its limit none is entered",
			zap.Int64("entries", after), zap.Int64("limit", d.mostMappings()))
	}
}

// roomRound makes room in the symbol table when it is crowded: not again before it has grown, or records have expired, and never twice in a row.
func (d *Dataset) roomRound() (again bool) {
	if d.closed.Load() || !d.crowded() {
		return false
	}
	r, used := &d.roomer, d.symbols.needed.Load()
	step := max(d.mostMappings()/100, 1)
	if !r.ended.IsZero() && used < d.mostMappings()-step && used < r.at+step && !d.roomDue.Load() {
		return false
	}
	if !r.ended.IsZero() && time.Since(r.ended) < max(roomEvery, 10*r.took) {
		return true
	}
	d.roomDue.Store(false)
	begun := time.Now()
	if err := d.makeRoom(); err != nil {
		d.log.Warn("no room could be made in the symbol table; it is tried again", zap.Error(err))
	}
	r.ended, r.took, r.at = time.Now(), time.Since(begun), d.symbols.needed.Load()
	return false
}

// makeRoom lets go what no kept record needs: in memory, then in the log.
func (d *Dataset) makeRoom() error {
	d.roomer.mu.Lock()
	defer d.roomer.mu.Unlock()
	d.j.retaining.Lock()
	k := d.kept(d.j.pinned)
	d.j.retaining.Unlock()
	return d.makeRoomFor(k)
}

func (d *Dataset) makeRoomFor(k keptRecords) error {
	s := d.symbols
	p := s.planRoom(k.inEffect, k.day)
	if p.count > 0 {
		holds := func() bool { return min(d.declaredDay(), Day(d.declaredSince.Load())) >= p.day }
		if !s.apply(p, holds) {
			d.roomDue.Store(true) // a producer came with older days
			return nil
		}
		s.thinIndexes()
		d.roomer.garbage += p.count
		d.log.Info("entries of the symbol table that no kept record needs have made room", zap.Int("entries", p.count), zap.Int64("kept", s.needed.Load()),
			zap.Stringer("oldest_day", p.day))
	}
	if d.roomer.garbage == 0 || s.log.old.Load() { // the next entry brings an old log to the present version first
		return nil
	}
	err := s.rewrite()
	if err == nil {
		d.roomer.garbage = 0
	}
	return err
}

// declaredDay is the oldest day that a connected producer has entered something for, or has found to be there.
func (d *Dataset) declaredDay() Day {
	d.mu.Lock()
	defer d.mu.Unlock()
	day := NoDay
	for _, w := range d.writers {
		day = min(day, Day(w.declared.Load()))
	}
	return day
}

// declares notes the days of mappings before the table is asked for them, so that none of them makes room meanwhile.
func (w *Writer) declares(list []DatedMapping) {
	day := NoDay
	for i := range list {
		day = min(day, list[i].From)
	}
	for _, least := range []*atomic.Uint32{&w.declared, &w.d.declaredSince} {
		for old := least.Load(); uint32(day) < old && !least.CompareAndSwap(old, uint32(day)); old = least.Load() {
		}
	}
}

// apply lets the plan's entries go; false when it does not hold any more. Their numbers stay, and so do their places in memory until the table is loaded again: a reader
// may be on its way from one to the next.
func (s *Symbols) apply(p *roomPlan, holds func() bool) bool {
	gone := s.goneBatches(p)
	swap := map[int]*[chunkLen]entry{}
	take := func(c int) {
		chunk := *(*s.list.dir.Load())[c]
		for i := range chunk {
			if k := c*chunkLen + i; k < p.n && p.isGone(k) {
				e := &chunk[i]
				e.batch = gone[s.batches.at(int(e.batch)).spot]
			}
		}
		swap[c] = &chunk
	}
	has := func(c int) bool {
		words := p.gone[c*chunkLen/64 : min((c+1)*chunkLen/64, len(p.gone))]
		return slices.ContainsFunc(words, func(w uint64) bool { return w != 0 })
	}
	for c := range p.n / chunkLen { // nobody stores to these any more
		if has(c) {
			take(c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !holds() {
		return false
	}
	if c := p.n / chunkLen; p.n%chunkLen > 0 && has(c) {
		take(c)
	}
	s.list.swap(swap)
	for _, id := range p.emptied {
		s.sawPage(id)
	}
	s.needed.Add(-int64(p.count))
	return true
}

// goneBatches is a batch for each spot of what goes: the entries keep their place in the order of effects.
func (s *Symbols) goneBatches(p *roomPlan) map[uint32]uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := map[uint32]uint32{}
	for k := range p.n {
		if !p.isGone(k) {
			continue
		}
		spot := s.batches.at(int(s.list.at(k).batch)).spot
		if _, ok := gone[spot]; !ok {
			gone[spot] = uint32(s.batches.len())
			s.batches.add(batch{spot: spot, kind: kindGone})
		}
	}
	return gone
}

// thinIndexes makes the indexes of ids anew that have entries which are gone, each for itself: writers come in between.
func (s *Symbols) thinIndexes() {
	gone := func(at uint32) bool { return s.isGone(s.list.at(int(at - 1))) }
	s.busy.Range(func(id, _ any) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		v, _ := s.busy.Load(id)
		if fresh := v.(*idIndex).without(gone); fresh != nil {
			s.busy.Store(id, fresh)
		}
		return true
	})
}

// isGone says whether an entry has made room.
func (s *Symbols) isGone(e *entry) bool { return s.batches.at(int(e.batch)).kind == kindGone }

// rewrite writes the log anew without what is gone. Most of the work is done before the log is held.
func (s *Symbols) rewrite() error {
	n := s.list.len()
	payloads := s.encode(s.notes(), 0, n, false)
	return s.log.rewrite(func(emit func([]byte)) int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range s.encode(payloads, n, s.list.len(), true) {
			emit(p)
		}
		return s.log.size.Load()
	})
}

// notes is what the table knows besides its entries: the ids that are taken.
func (s *Symbols) notes() (payloads [][]byte) {
	s.mu.Lock()
	next, covered := s.next, s.covered
	s.mu.Unlock()
	if next > 0 {
		payloads = append(payloads, appendMappings(nil, []Mapping{{ID: next, Kind: kindNext, Time: uint64(covered)}}))
	}
	pages := s.pages.Load()
	var list []Mapping
	flush := func() {
		if len(list) > 0 {
			payloads = append(payloads, appendMappings(nil, list))
			list = list[:0]
		}
	}
	for n := range uint32(numPages) {
		if pages.has(n * pageIDs) {
			if list = append(list, Mapping{ID: n * pageIDs, Kind: kindSeen}); len(list) == enterAtOnce {
				flush()
			}
		}
	}
	flush()
	return payloads
}

// encode appends payloads of the entries [from, to) that are not gone, and with seen those of ids that records have used: what was entered together stays together.
func (s *Symbols) encode(payloads [][]byte, from, to int, seen bool) [][]byte {
	var list []Mapping
	last := uint32(0)
	flush := func() {
		if len(list) > 0 {
			payloads = append(payloads, appendMappings(nil, list))
			list = list[:0]
		}
	}
	for k := from; k < to; k++ {
		e := s.list.at(k)
		switch b := s.batches.at(int(e.batch)); {
		case b.kind == kindGone || b.kind == kindSeen && !seen:
			continue
		case e.batch != last || len(list) == enterAtOnce:
			flush()
			last = e.batch
		}
		list = append(list, s.mapping(e))
	}
	flush()
	return payloads
}

// makeRoom is that of the dataset, before anybody uses it: the table is loaded again, and takes no more memory than what it has.
func (o *opening) makeRoom() error {
	d := o.d
	if !d.crowded() {
		return nil
	}
	before := d.symbols.needed.Load()
	err := d.makeRoomFor(d.kept(nil))
	if errors.Is(err, ErrDiskFull) {
		d.log.Warn("no room could be made in the symbol table; it is tried again", zap.Error(err))
		return nil
	}
	if err != nil || d.symbols.needed.Load() == before {
		return err
	}
	payloads := d.symbols.encode(d.symbols.notes(), 0, d.symbols.Len(), false)
	s, err := loadSymbols(d.symbols.log, payloads, o.result.places)
	if err == nil {
		d.symbols = s
	}
	return err
}
