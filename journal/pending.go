package journal

// pending is the commit in the making: records are copied above the tails, nobody sees them yet.
type pending struct {
	slot    slot
	index   [MaxTapes]int8 // by schema: 1 + its entry in slot, 0 when it has none
	segs    [slotEntries]*Segment
	summed  [slotEntries]uint64 // up to where slot has the sum of the tape's records
	records int                 // in this commit
	bytes   int64
	done    int // records of the call that were committed
}

// sumStep is about how many bytes are copied before they are summed up: so few that they are still in the cache, and more than one record where schemas take turns.
const sumStep = 16 << 10

// sumUp brings the sum of a tape's entry up to its tail.
func (p *pending) sumUp(i int) {
	if t, seg := &p.slot.tapes[i], p.segs[i]; seg != nil && p.summed[i] < t.place.tail {
		t.fresh.crc = updateCRC(t.fresh.crc, seg.Mapped(p.summed[i], t.place.tail))
		p.summed[i] = t.place.tail
	}
}

// entry is the tape's place in the pending commit.
func (d *Dataset) entry(t *Tape) int {
	p := &d.pend
	if i := p.index[t.schema]; i > 0 {
		return int(i - 1)
	}
	i := p.slot.n
	p.slot.n++
	p.index[t.schema] = int8(i + 1)
	p.slot.tapes[i].schema = int(t.schema)
	p.segs[i] = t.active
	p.slot.tapes[i].place = place{tail: t.tail.Load()}
	p.summed[i] = p.slot.tapes[i].place.tail
	p.slot.tapes[i].fresh = d.state.fresh(int(t.schema))
	if t.active != nil {
		p.slot.tapes[i].place.ordinal, p.slot.tapes[i].place.base = t.active.ordinal, t.active.base
	}
	return i
}

// keepCommitted drops entries that nothing was copied for: a tape's place must not be named before its first record.
func (d *Dataset) keepCommitted(s *slot) {
	p := &d.pend
	for i := 0; i < s.n; {
		if p.segs[i] != nil {
			i++
			continue
		}
		p.index[s.tapes[i].schema] = 0
		s.n--
		s.tapes[i], p.segs[i], p.segs[s.n] = s.tapes[s.n], p.segs[s.n], nil
	}
}
