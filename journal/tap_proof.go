package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sort"
)

// MissingError is what Next returns where records cannot be given: a Tap has gone on behind them, and the next call returns what follows. It matches
// ErrDamaged.
type MissingError struct {
	From, To uint64 // records
	Cause    string // as of a Hole
	why      error
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%v: records %d to %d: %v", ErrDamaged, e.From, e.To, e.why)
}

func (e *MissingError) Unwrap() error { return ErrDamaged }

// loadChunks is what a segment's records are held against, as a server does with what an earlier process wrote: the blocks of a sealed segment, the ranges
// that the sync log vouches for of another. What was committed since is the memory of who commits.
func (t *Tap) loadChunks(k kept) []chunk {
	info := k.info
	if info.sealed && info.limit() <= t.Tail() { // else it is in use again, see frozen
		_, blocks, err := readIndex(OSDisk{}, filepath.Join(t.dir, t.schema.String()), info, true)
		if err != nil {
			return headerChunks(info)
		}
		list := make([]chunk, len(blocks))
		for i, k := range blocks {
			list[i] = chunk{from: k.first, to: k.first + uint64(k.count), crc: k.crc, known: true}
		}
		return list
	}
	entries, _, err := readSyncLog(OSDisk{}, t.dir)
	if err != nil {
		return nil // the server goes on from its state page, and so do we
	}
	return rangeChunks(entries, info, min(t.Tail(), k.end))
}

// headerChunks is for a segment whose index is lost: only headers can be looked at.
func headerChunks(info segmentInfo) []chunk {
	var list []chunk
	per := blockRecords(info.recordSize)
	for at, end := info.base, info.limit(); at < end; at += per {
		list = append(list, chunk{from: at, to: min(at+per, end)})
	}
	return list
}

// rangeChunks is the ranges of a segment below end in the sync log, in order and without overlap.
func rangeChunks(entries []*syncEntry, info segmentInfo, end uint64) []chunk {
	var list []chunk
	for _, e := range entries {
		for _, r := range e.ranges {
			if r.schema != info.schema || r.ordinal != info.ordinal || r.from < info.base || r.to > end || r.from >= r.to {
				continue
			}
			if n := len(list); n > 0 && list[n-1].to > r.from {
				continue
			}
			list = append(list, chunk{from: r.from, to: r.to, crc: r.crc, known: true})
		}
	}
	return list
}

// prove holds what comes next against its sum, a chunk at a time and each once, and returns where the records that may be given end.
func (t *Tap) prove(end uint64) (uint64, error) {
	s := t.seg
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].to > t.seq })
	if i == len(s.chunks) {
		s.chunks = nil // all that follows was committed since
		return end, nil
	}
	c := &s.chunks[i]
	if c.from > t.seq {
		return min(end, c.from), nil
	}
	if c.state == chunkUnseen {
		if s.why = guarded(func() error { return s.look(c) }); s.why == nil {
			c.state = chunkSound
		} else if err := t.cut(); err != nil {
			return 0, err
		} else {
			c.state = chunkDamaged
		}
	}
	if c.state == chunkDamaged {
		return 0, &MissingError{From: t.seq, To: c.to, Cause: CauseDamaged, why: s.why}
	}
	return min(end, c.to), nil
}

// cut is a *MissingError when the file that is mapped does not give the next record any more: somebody cut it since, or took it away.
func (t *Tap) cut() error {
	f, err := t.look()
	if err != nil || f.ordinalOf(t.seq) > 0 {
		return err
	}
	t.leave()
	return t.without(f)
}

func (s *tapSegment) look(c *chunk) error {
	b := s.data[s.offset(c.from):s.offset(c.to)]
	if wholeRecords(b, s.info.schema, s.info.recordSize)*s.info.recordSize < len(b) {
		return errors.New("a record's header is not one of its schema")
	}
	if crc := crc32c(b); c.known && crc != c.crc {
		return fmt.Errorf("CRC32C is %08x, written was %08x", crc, c.crc)
	}
	return nil
}

// ExpiredIn is what was removed from the tape for its age of records whose replay time lies in [start, end), as Tape.ExpiredIn.
func (t *Tap) ExpiredIn(start, end uint64) (Gap, bool, error) {
	if err := t.history.loadGaps(); err != nil {
		return Gap{}, false, err
	}
	gaps, err := parseGaps(t.history.gaps)
	for _, g := range gaps {
		if g.isExpired() && g.Schema == t.schema {
			g, ok := g.in(start, end)
			return g, ok, err
		}
	}
	return Gap{}, false, err
}
