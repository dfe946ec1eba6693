package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// Seek is the first committed record whose time by the clock c is not before ts (ns), feed.ClockReplay for a start=; the tail when there is none. Records without that time do not count,
// nor do outliers, and times need not be in order: no record before the one found has such a time. It reads index files and up to one block of the tape from disk.
func (t *Tape) Seek(c feed.Clock, ts uint64) (seq uint64, err error) {
	tail := t.Tail()
	if ts == undefTime {
		return tail, nil
	}
	defer t.d.j.files.look()()
	for _, s := range *t.segs.Load() {
		if s.base >= tail {
			break
		}
		err := s.pin(true)
		var ok bool
		if err == nil {
			seq, ok, err = s.seek(c, ts, min(tail, s.limit))
			s.Release()
		}
		if s.limit <= t.First() {
			continue // it was removed meanwhile, and its index with it
		}
		if t.lost(s, err) || err != nil && s.cut() {
			continue // what its records say nobody knows
		}
		if ok {
			seq = t.behindDamage(seq)
		}
		if ok || err != nil {
			return seq, err
		}
	}
	return tail, nil
}

// behindDamage is where a reader begins whose first record is seq: before damaged records that end there, since they may be what it asks for. It is told then.
func (t *Tape) behindDamage(seq uint64) uint64 {
	for _, h := range t.Holes() {
		if h.To == seq && h.Cause == CauseDamaged {
			return h.From
		}
	}
	return seq
}

// cut says whether the segment could not be read because somebody cut its file.
func (s *Segment) cut() bool {
	if s.acquire() != nil {
		return false
	}
	defer s.Release()
	return s.Shortened()
}

// seek looks for the record among those below end. The first block whose greatest time is not before ts holds it: all before have only earlier times. A block
// of an index of version 1 may have none by the replay clock, and then it is the next.
func (s *Segment) seek(c feed.Clock, ts, end uint64) (uint64, bool, error) {
	if total := s.total.Load(); total != nil && !total.has(c, ts) {
		return 0, false, nil
	}
	var blocks []block
	if !s.sealed.Load() && s.data != nil { // so who comes next finds what was looked at; one that was left for a new file is not mapped any more
		if err := guarded(func() error { s.extendIndex(end); return nil }); err != nil {
			return 0, false, err
		}
	}
	if list := s.blocks.Load(); list != nil {
		blocks = *list
	} else if s.sealed.Load() {
		var err error
		if blocks, err = s.loadIndex(c, ts); err != nil {
			return 0, false, err
		}
	}
	from := s.base
	for i := range blocks {
		k := &blocks[i]
		if k.span.has(c, ts) {
			if seq, ok, err := s.scan(c, ts, k.first, min(k.first+uint64(k.count), end)); ok || err != nil {
				return seq, ok, err
			}
		}
		from = k.first + uint64(k.count)
	}
	return s.scan(c, ts, from, end)
}

// scan looks at the records themselves.
func (s *Segment) scan(c feed.Clock, ts, from, to uint64) (uint64, bool, error) {
	per, l := blockRecords(s.tape.size), &layouts[s.tape.schema]
	var buf []byte
	for ; from < to; from += per {
		n := min(per, to-from)
		b := s.Mapped(from, from+n)
		if b == nil {
			if buf == nil {
				buf = make([]byte, int(per)*s.tape.size)
			}
			b = buf[:int(n)*s.tape.size]
			if _, err := s.ReadAt(b, s.Offset(from)); err != nil {
				return 0, false, err
			}
		}
		for i := range n {
			r := b[int(i)*s.tape.size:][:s.tape.size]
			if v := l.at(c, r); v >= ts && v != undefTime && !s.tape.Outlier(from+i, r) {
				return from + i, true, nil
			}
		}
	}
	return 0, false, nil
}

// info is what the segment's file header holds, for those who need it beside the index.
func (s *Segment) info() segmentInfo {
	return segmentInfo{
		schema: s.tape.schema, recordSize: s.tape.size, ordinal: s.ordinal, sealed: s.sealed.Load(),
		base: s.base, records: s.limit - s.base, header: s.header,
	}
}

// loadIndex reads a sealed segment's blocks, or one without times when its total says that no block has the time.
func (s *Segment) loadIndex(c feed.Clock, ts uint64) ([]block, error) {
	if total, _, err := readIndex(s.tape.d.disk, s.tape.dir, s.info(), false); err == nil {
		s.total.Store(&total)
		if !total.has(c, ts) {
			return []block{{first: s.base, count: uint32(s.limit - s.base), span: noTimes}}, nil
		}
	}
	list, err := s.cachedIndex()
	if err != nil {
		return nil, err
	}
	return *list, nil
}

// readBlocks reads a sealed segment's blocks. An index that is lost or damaged is made again.
func (s *Segment) readBlocks() ([]block, error) {
	d := s.tape.d
	total, blocks, err := readIndex(d.disk, s.tape.dir, s.info(), true)
	if err == nil {
		s.total.Store(&total)
		return blocks, nil
	}
	d.log.Warn("making a block index again", zap.String("tape", s.tape.name()), zap.Uint64("segment", s.ordinal), zap.Error(err))
	kept := error(nil)
	if errors.Is(err, ErrVersion) {
		kept = s.keepIndex()
	}
	if blocks, err = makeBlocks(s, s.info(), s.base, s.limit, s.tape.outlierSteps()); err != nil {
		return nil, err
	}
	total = totalTimes(blocks)
	s.total.Store(&total)
	if kept == nil {
		kept = writeIndex(d.disk, s.tape.dir, s.info(), blocks)
	}
	if kept != nil {
		d.log.Warn("block index could not be written; it will be made again when needed", zap.Error(kept))
	}
	return blocks, nil
}

// keepIndex puts an index of another version aside: the release that wrote it may want it back, for it has the only sums of the segment's records.
func (s *Segment) keepIndex() error {
	d := s.tape.d
	q := quarantine{d.disk, d.dir, d.log}
	path := segmentPath(s.tape.dir, s.ordinal, indexSuffix)
	return q.move(path, fmt.Sprintf("%s.%s", s.tape.schema, filepath.Base(path)))
}
