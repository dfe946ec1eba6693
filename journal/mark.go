package journal

import "slices"

// Mark is something a reader must be told before it is given record Seq of a tape: that records are missing there. What Gap points to never changes. Names
// have no marks: see Symbols.Effect.
//
// Seq is the position in Gap.At, or above it where a mark further on was there first.
type Mark struct {
	Seq uint64
	Gap *Gap
}

func gapMark(t *Tape, g *Gap) (Mark, bool) {
	if g.isHole() || g.isExpired() || g.Cause == CauseCorrected {
		return Mark{}, false // told by Tape.NextHole, or no gap
	}
	m := Mark{Seq: seqIn(g.At, t.schema), Gap: g}
	if _, to := g.lost(); to > 0 && g.Schema == t.schema {
		if h, ok := t.NextHole(to - 1); ok && h.Cause == g.Cause && h.From < to {
			m.Seq = h.To // what lies between was entered before, and nobody begins there
		}
	}
	return m, g.Schema == anySchema || g.Schema == t.schema
}

// addMark adds to each tape the mark that of makes for it, if any. Under the same lock it calls enter, which publishes what the mark is about:
// a tape that comes to exist meanwhile finds either both or neither.
func (d *Dataset) addMark(enter func(), of func(*Tape) (Mark, bool)) {
	d.marksMu.Lock()
	defer d.marksMu.Unlock()
	enter()
	d.mu.Lock()
	tapes := d.tapes
	d.mu.Unlock()
	for _, t := range tapes {
		if t == nil {
			continue
		}
		if m, ok := of(t); ok {
			t.addMark(m)
		}
	}
}

// addMark publishes one more mark at the end of the list. Positions are taken before the log is written, so a mark may come behind one further on; readers count marks, so it must not be put in before it. It holds from there on instead: the tail is there
// already, and no record that needs the mark is committed yet. The caller holds marksMu.
func (t *Tape) addMark(m Mark) {
	var list []Mark
	if old := t.marks.Load(); old != nil {
		list = *old
	}
	if n := len(list); n > 0 {
		m.Seq = max(m.Seq, list[n-1].Seq)
	}
	list = append(list, m) // beyond the length of every list published before, so no reader sees the store
	t.marks.Store(&list)
}

// buildMarks gathers a tape's marks from the ledger, before any reader sees the tape. The caller holds marksMu or is alone.
func (d *Dataset) buildMarks(t *Tape) {
	var list []Mark
	for _, c := range *d.ledger.list.Load() {
		if m, ok := gapMark(t, c.gap.Load()); ok {
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, func(a, b Mark) int {
		switch {
		case a.Seq < b.Seq:
			return -1
		case a.Seq > b.Seq:
			return 1
		}
		return 0
	})
	t.marks.Store(&list)
}
