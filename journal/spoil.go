package journal

// spareBlocks is how many blocks the index of a segment may have beyond those of a whole one.
const spareBlocks = 256

// spoil makes the sums of damaged records wrong on purpose: an index made from them must not vouch for them. A block that is damaged in part is divided, so that
// the rest of it stays what it is: records that were served are served on.
func (s *Segment) spoil(blocks []block) []block {
	if s.proof == nil {
		return blocks
	}
	list, spare := make([]block, 0, len(blocks)), spareBlocks
	for _, k := range blocks {
		parts := s.parts(k)
		if len(parts)-1 > spare {
			k.crc = ^k.crc
			parts = []block{k}
		}
		spare -= len(parts) - 1
		list = append(list, parts...)
	}
	return list
}

// parts divides a block where holes begin and end. The caller holds the segment, which is mapped.
func (s *Segment) parts(k block) (list []block) {
	end := k.first + uint64(k.count)
	for at := k.first; at < end; {
		to, hurt := end, false
		if h, ok := s.tape.NextHole(at); ok && h.From <= at {
			to, hurt = min(h.To, end), true
		} else if ok {
			to = min(h.From, end)
		}
		part := k
		if to-at < uint64(k.count) {
			part = makeBlock(at, s.Mapped(at, to), s.tape.schema, s.tape.size, s.tape.outlierSteps())
		}
		if hurt {
			part.crc = ^part.crc
		}
		list, at = append(list, part), to
	}
	return list
}
