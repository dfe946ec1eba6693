package journal

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// proof is what an earlier process left to hold a segment's records against, before they are given to anybody for the first time. A segment that this
// process made has none: its records never left our hands.
type proof struct {
	done  atomic.Bool // every chunk is sound
	index bool        // they are of the block index that there is, of the time when all was sound

	mu     sync.Mutex
	chunks []chunk // by from; nil: not loaded yet
	left   int     // not looked at yet, or damaged
	buf    []byte  // proofBytes, or one record that is larger
}

// chunk is a stretch of records with a sum.
type chunk struct {
	from, to uint64
	crc      uint32
	known    bool // crc is; else only the records' headers can be looked at
	state    chunkState
}

type chunkState uint8

const (
	chunkUnseen chunkState = iota
	chunkSound
	chunkDamaged
)

// proofBytes is how much is read at once.
const proofBytes = blockBytes

// Check holds records [from, to) against their checksums, unless that was done before or this process wrote them. It returns the end of those that are
// sound, beyond from. The records are committed and lie within the segment; the first look at them reads them. Error: ErrDamaged when record from is not
// what was written; the tape has a Hole there from now on.
func (s *Segment) Check(from, to uint64) (uint64, error) {
	if s.proof == nil || s.proof.done.Load() {
		return to, nil
	}
	return s.prove(from, to)
}

func (s *Segment) prove(from, to uint64) (uint64, error) {
	p := s.proof
	p.mu.Lock()
	defer p.mu.Unlock()
	s.load()
	i := sort.Search(len(p.chunks), func(i int) bool { return p.chunks[i].to > from })
	for ; i < len(p.chunks) && p.chunks[i].from < to; i++ {
		c := &p.chunks[i]
		if c.state == chunkUnseen {
			if err := s.look(c); err == nil {
				c.state = chunkSound
				p.left--
			} else if c.state = chunkDamaged; !s.cutWithin(c) {
				s.tape.damaged(Hole{c.from, c.to, CauseDamaged}, err)
			}
		}
		switch {
		case c.state == chunkDamaged && c.from > from:
			return c.from, nil
		case c.state == chunkDamaged:
			return from, fmt.Errorf("%w: records %d to %d of %s", ErrDamaged, c.from, c.to, s.tape.name())
		}
	}
	if p.left == 0 {
		p.done.Store(true)
		p.chunks, p.buf = []chunk{}, nil
	}
	return to, nil
}

// cutWithin says whether a chunk is damaged because the file was cut there or before it, and enters all that is gone by that, in one piece. The caller holds proof.mu.
func (s *Segment) cutWithin(c *chunk) bool {
	end, size, cut := s.cutAt()
	if !cut || end >= c.to {
		return false
	}
	s.cutOff(end, size)
	return true
}

// unproven is where the records end that a file which ends with record end can still give: there, or where the chunk begins that it ends in, when that was not held
// against its sum before. The caller holds proof.mu.
func (s *Segment) unproven(end uint64) uint64 {
	p := s.proof
	if p == nil || p.done.Load() {
		return end
	}
	s.load()
	i := sort.Search(len(p.chunks), func(i int) bool { return p.chunks[i].to > end })
	if i < len(p.chunks) && p.chunks[i].from < end && p.chunks[i].state != chunkSound {
		return p.chunks[i].from
	}
	return end
}

// load makes the list of chunks, once. The caller holds proof.mu.
func (s *Segment) load() {
	if p := s.proof; p.chunks == nil {
		p.chunks = s.loadChunks()
		p.left = len(p.chunks)
	}
}

// loadChunks is a sealed segment's blocks. A lost index leaves only the records' headers to look at.
func (s *Segment) loadChunks() []chunk {
	list, err := s.indexChunks()
	if err == nil {
		return list
	}
	s.tape.d.log.Warn("no block index to hold records against, only their headers are looked at", zap.String("tape", s.tape.name()), zap.Uint64("segment", s.ordinal), zap.Error(err))
	return s.headerChunks(nil, s.base, s.limit)
}

// indexChunks is the blocks of the index that was made when the segment was sealed.
func (s *Segment) indexChunks() ([]chunk, error) {
	_, blocks, err := readIndex(s.tape.d.disk, s.tape.dir, s.info(), true)
	list := make([]chunk, 0, len(blocks))
	for _, k := range blocks {
		list = append(list, chunk{from: k.first, to: k.first + uint64(k.count), crc: k.crc, known: true})
	}
	return list, err
}

// headerChunks adds records [from, to), of which there is no sum, block by block.
func (s *Segment) headerChunks(list []chunk, from, to uint64) []chunk {
	for per := blockRecords(s.tape.size); from < to; {
		end := min(s.base+(from-s.base)/per*per+per, to)
		list = append(list, chunk{from: from, to: end})
		from = end
	}
	return list
}

// look reads a chunk. The caller holds proof.mu.
func (s *Segment) look(c *chunk) error {
	size := s.tape.size
	per := max(uint64(proofBytes/size), 1)
	if s.proof.buf == nil {
		s.proof.buf = make([]byte, int(per)*size)
	}
	crc := uint32(0)
	for at := c.from; at < c.to; at += per {
		n := int(min(per, c.to-at)) * size
		b := s.proof.buf[:n]
		if _, err := s.file.ReadAt(b, s.Offset(at)); err != nil {
			return err
		}
		if wholeRecords(b, s.tape.schema, size)*size < n {
			return errors.New("a record's header is not one of its schema")
		}
		crc = updateCRC(crc, b)
	}
	if c.known && crc != c.crc {
		return fmt.Errorf("CRC32C is %08x, written was %08x", crc, c.crc)
	}
	return nil
}

// Unreadable takes the records around seq out of service, because the disk does not give them back: as many as are read at once.
func (s *Segment) Unreadable(seq uint64, why error) {
	if s.Shortened() {
		return
	}
	per := blockRecords(s.tape.size)
	from := s.base + (seq-s.base)/per*per
	s.tape.damaged(Hole{from, min(from+per, s.tape.committedIn(s)), CauseDamaged}, why)
}

// proveAll looks at everything that an earlier process left in the segment: the sealer's work, so that a sum it makes vouches for what was written.
func (s *Segment) proveAll(end uint64) {
	for at := s.base; s.proof != nil && at < end && !s.proof.done.Load(); {
		good, err := s.Check(at, end)
		if at = good; err != nil {
			if h, ok := s.tape.NextHole(at); ok {
				at = max(h.To, at+1)
			}
		}
	}
}
