package journal

import (
	"fmt"
	"sync"
)

// Times takes the times of records [seq, to), to > seq and to <= end, so that a reader who wants those of a stretch of time alone knows which records need no
// look: all of them when both ends lie within it, none when they lie outside. They may be those of more records than these: of the whole block that the index
// has. Records that are not indexed yet are looked at, once for all readers. The records are committed, see Tail.
//
// Outliers are among them: who wants no more than a stretch has to look at the records around one. It may read a segment's index from disk, or the segment itself when that is lost. Errors: ErrBeyondTail, ErrAgedOut, ErrDamaged, or the disk's own.
func (t *Tape) Times(seq, end uint64) (times Times, to uint64, err error) {
	if tail := t.Tail(); seq >= end || end > tail {
		return noTimes, seq, fmt.Errorf("%w: records %d to %d of %s, tail is %d", ErrBeyondTail, seq, end, t.name(), tail)
	}
	s, err := t.Segment(seq)
	if err != nil {
		return noTimes, seq, err
	}
	defer s.Release()
	return s.blockTimes(seq, min(end, s.limit))
}

// blockTimes is the times of the block that seq lies in, as far as it is committed.
func (s *Segment) blockTimes(seq, end uint64) (Times, uint64, error) {
	per := blockRecords(s.tape.size)
	first := s.base + (seq-s.base)/per*per
	end = min(end, first+per)
	list := s.blocks.Load()
	if list == nil && s.sealed.Load() {
		var err error
		if list, err = s.cachedIndex(); err != nil {
			return noTimes, seq, err
		}
	}
	if list != nil {
		if k, ok := blockAt(*list, seq); ok {
			return k.all(), min(end, k.first+uint64(k.count)), nil
		}
	}
	times, err := s.newest.times(s, first, end)
	return times, end, err
}

// all is the times of all records of a block, also of the outliers: how far those may be off is known, not which clock they are by.
func (k *block) all() Times {
	t := k.span
	if k.top <= t.top() {
		return t
	}
	for _, greatest := range []*uint64{&t.MaxEvent, &t.MaxRecv, &t.MaxReplay} {
		*greatest = max(*greatest, k.top)
	}
	if t.MinReplay == undefTime { // nothing but outliers
		t.MinEvent, t.MinRecv, t.MinReplay = 0, 0, 0
	}
	return t
}

// tailLook remembers the times of the newest records, which no index has yet: everybody who follows a tape asks for them.
type tailLook struct {
	mu       sync.Mutex
	from, to uint64
	span     Times
}

// times is those of records [from, at least to); from is where a block begins.
func (k *tailLook) times(s *Segment, from, to uint64) (Times, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.from != from || k.to <= from {
		k.from, k.to, k.span = from, from, noTimes
	}
	if k.to >= to {
		return k.span, nil
	}
	err := guarded(func() error {
		b := s.Mapped(k.to, to)
		if b == nil { // it was sealed just now
			b = make([]byte, int(to-k.to)*s.tape.size)
			if _, err := s.ReadAt(b, s.Offset(k.to)); err != nil {
				return err
			}
		}
		k.span.add(layouts[s.tape.schema].times(b))
		return nil
	})
	if err != nil {
		k.to = k.from
		return noTimes, err
	}
	k.to = to
	return k.span, nil
}

// indexCache holds the indexes of sealed segments that somebody reads. An index goes with the last reader of its segment, and the oldest when there are more
// than indexCacheBytes.
type indexCache struct {
	mu    sync.Mutex
	list  []*Segment // oldest first
	bytes int
}

// cachedIndex is the blocks of a sealed segment, read once for all who hold it. The caller holds it too.
func (s *Segment) cachedIndex() (*[]block, error) {
	if list := s.cached.Load(); list != nil {
		return list, nil
	}
	s.indexing.Lock() // one reads, the others wait for it
	defer s.indexing.Unlock()
	if list := s.cached.Load(); list != nil {
		return list, nil
	}
	list, err := s.readBlocks()
	if err != nil {
		return nil, err
	}
	s.tape.d.j.indexes.add(s, &list)
	return &list, nil
}

func (c *indexCache) add(s *Segment, list *[]block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.cached.Store(list)
	c.list = append(c.list, s)
	c.bytes += len(*list) * indexEntry
	for c.bytes > indexCacheBytes && len(c.list) > 1 {
		c.remove(0)
	}
}

// drop lets go of the index of a segment that nobody holds any more.
func (c *indexCache) drop(s *Segment) {
	if s.cached.Load() == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.list {
		if c.list[i] == s {
			c.remove(i)
			return
		}
	}
}

func (c *indexCache) remove(i int) {
	s := c.list[i]
	c.bytes -= len(*s.cached.Load()) * indexEntry
	s.cached.Store(nil)
	c.list = append(c.list[:i], c.list[i+1:]...)
}
