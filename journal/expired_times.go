package journal

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// timeSpan is the least and the greatest replay time of some of the records that expired.
type timeSpan struct{ from, to uint64 }

// joinSpans is the spans by time, those that overlap joined; and, as long as there are more than maxExpiredSpans, those that are the closest to each other. So days that
// came out of order do not make a gap of what lies between them.
func joinSpans(list []timeSpan) []timeSpan {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b timeSpan) int { return cmp.Compare(a.from, b.from) })
	joined := list[:0]
	for _, s := range list {
		if n := len(joined); n > 0 && s.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, s.to)
			continue
		}
		joined = append(joined, s)
	}
	if len(joined) <= maxExpiredSpans {
		return joined
	}
	before := make([]int, len(joined)-1) // the distance before which of them, the largest first
	for i := range before {
		before[i] = i + 1
	}
	slices.SortFunc(before, func(i, k int) int { return cmp.Compare(joined[k].from-joined[k-1].to, joined[i].from-joined[i-1].to) })
	keep := before[:maxExpiredSpans-1]
	slices.Sort(keep)
	least, from := make([]timeSpan, 0, maxExpiredSpans), 0
	for _, i := range append(keep, len(joined)) {
		least = append(least, timeSpan{joined[from].from, joined[i-1].to})
		from = i
	}
	return least
}

// expiredSpans is what an entry about expired records says of their times. One of an earlier release has the least and the greatest alone, and not by the replay
// clock; what lay in the future when it was entered was a broken clock's.
func (g *Gap) expiredSpans() []timeSpan {
	if len(g.spans) > 0 || g.FromTs == undefTime {
		return g.spans
	}
	to := g.ToTs
	if to == undefTime || to > g.Time {
		to = max(g.FromTs, g.Time)
	}
	return []timeSpan{{g.FromTs, to}}
}

// ExpiredIn is what was removed for its age of records whose replay time lies in [start, end): the ledger's entry with the times of those, the last one exclusive.
// False: nothing of that time is known to be missing.
func (t *Tape) ExpiredIn(start, end uint64) (Gap, bool) {
	g, ok := t.Expired()
	if !ok {
		return Gap{}, false
	}
	return g.in(start, end)
}

func (g Gap) in(start, end uint64) (Gap, bool) {
	found := false
	for _, s := range g.expiredSpans() {
		if s.to < start || s.from >= end {
			continue
		}
		if !found {
			g.FromTs = max(s.from, start)
		}
		g.ToTs, found = min(s.to, end-1)+1, true
	}
	return g, found
}

// appendSpans is how the ledger has them, at the end of an entry: u8 n, then n times {u64 from, u64 to}.
func appendSpans(dst []byte, list []timeSpan) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(dst, uint8(len(list)))
	for _, s := range list {
		dst = binary.LittleEndian.AppendUint64(dst, s.from)
		dst = binary.LittleEndian.AppendUint64(dst, s.to)
	}
	return dst
}

// spans reads what may be at the end of an entry.
func (f *fields) spans() (list []timeSpan) {
	if len(f.b) == 0 {
		return nil
	}
	for n := f.u8(); n > 0 && !f.bad; n-- {
		list = append(list, timeSpan{f.u64(), f.u64()})
	}
	return list
}
