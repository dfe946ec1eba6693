package journal

// What the sync log vouches for is summed up in it, range by range. A fresh log carries the sums of all segments that are not sealed yet over, so that an
// opening, and Verify, can hold every record against something; a sealed segment has its block index for that.

// sumBytes is how long a range is let grow, in bytes, before the next one begins: few enough sums for a log, short enough ranges to read at once.
const sumBytes = 4 << 20

// spareSums is how many ranges a segment may have beyond those that sumBytes asks for, one for each process that added records to it.
const spareSums = 64

// joinSums adds a range to those of the same segment before it.
func joinSums(list []syncRange, r syncRange) []syncRange {
	r.segment = nil
	size := uint64(r.schema.RecordSize())
	if n := len(list); n > 0 {
		last := &list[n-1]
		if !last.apart && last.ordinal == r.ordinal && last.to == r.from && (r.to-last.from)*size <= sumBytes {
			last.crc = joinCRC(last.crc, r.crc, xpow8(int((r.to-r.from)*size)))
			last.to = r.to
			return list
		}
	}
	return append(list, r)
}

// unsealedSums is the sums of everything that is on disk and not sealed, with those of e. The caller holds syncer.mu.
func (d *Dataset) unsealedSums(e *syncEntry) []syncRange {
	d.mu.Lock()
	tapes := d.tapes
	d.mu.Unlock()
	var list []syncRange
	for schema, t := range tapes {
		if t == nil {
			continue
		}
		segs := *t.segs.Load()
		for _, s := range unsealedOf(segs) {
			sums := s.sums[:len(s.sums):len(s.sums)]
			for _, r := range e.ranges {
				if int(r.schema) == schema && r.ordinal == s.ordinal {
					sums = joinSums(append([]syncRange(nil), sums...), r)
				}
			}
			list = append(list, sums...)
		}
	}
	return list
}

// keepSums adds what e vouches for to the segments' sums. The caller holds syncer.mu.
func (e *syncEntry) keepSums() {
	for _, r := range e.ranges {
		r.segment.sums = joinSums(r.segment.sums, r)
	}
}

// carriedSums is what the sync log at the opening has about a segment, below end. What an earlier process left may have been hurt since, and nobody has looked at it
// yet: so nothing is joined to it that comes later, or a loss would grow over what is whole.
func (o *opening) carriedSums(s *Segment, end uint64) (list []syncRange) {
	for i, e := range o.entries {
		for _, r := range e.ranges {
			inside := r.from >= s.base && r.to <= end && r.from < r.to
			inOrder := len(list) == 0 || list[len(list)-1].to <= r.from
			if r.schema == s.tape.schema && r.ordinal == s.ordinal && inside && inOrder {
				list = joinSums(list, r)
				list[len(list)-1].apart = i == 0 // of the checkpoint: what was there before that process, too
			}
		}
	}
	for i := range list {
		list[i].apart = true
	}
	return list
}

// joinSound makes fewer ranges of too many, of those that are what they were.
func (s *Segment) joinSound(list []syncRange) (joined []syncRange) {
	if len(list) <= spareSums+int((s.limit-s.base)*uint64(s.tape.size)/sumBytes) {
		return list
	}
	for _, r := range list {
		r.apart = s.look(&chunk{from: r.from, to: r.to, crc: r.crc, known: true}) != nil
		if r.apart {
			joined = append(joined, r)
		} else {
			joined = joinSums(joined, r)
		}
	}
	for i := range joined {
		joined[i].apart = true
	}
	return joined
}

// proofOf is what the segment's records below end are to be held against: where it was left, a block index that was made before, which tells most exactly what is
// hurt; else its carried sums, as far as there are any; else no more than their headers.
func (s *Segment) proofOf(sums []syncRange, end uint64) *proof {
	if end == s.limit {
		if list, err := s.indexChunks(); err == nil && agree(list, sums, s.tape.size) {
			return &proof{index: true, chunks: list, left: len(list)}
		}
	}
	p := &proof{}
	at := s.base
	for _, r := range sums {
		p.chunks = append(s.headerChunks(p.chunks, at, r.from), chunk{from: r.from, to: r.to, crc: r.crc, known: true})
		at = r.to
	}
	p.chunks = s.headerChunks(p.chunks, at, end)
	if p.left = len(p.chunks); p.left == 0 {
		return nil
	}
	return p
}

// agree says whether the blocks of an index have the sum that the sync log has of all their records. An index is written once the log vouches for the last of them:
// where it does not, the index is another history's, which a copy was put back over.
func agree(list []chunk, sums []syncRange, size int) bool {
	if len(list) == 0 || len(sums) == 0 || sums[0].from != list[0].from {
		return false
	}
	blocks, synced, at := uint32(0), uint32(0), list[0].from
	for _, c := range list {
		blocks = joinCRC(blocks, c.crc, xpow8(int(c.to-c.from)*size))
	}
	for _, r := range sums {
		if r.from != at {
			return false
		}
		synced, at = joinCRC(synced, r.crc, xpow8(int(r.to-r.from)*size)), r.to
	}
	return at == list[len(list)-1].to && blocks == synced
}
