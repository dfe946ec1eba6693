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

// marks are a tape's, by Seq. Readers count them, so each keeps its number when those
// before the first kept record make room: nobody comes to them any more.
type marks struct {
	dropped int // how many made room: the number of the first in list
	list    []Mark
}

// Marks is what a reader of kept records must be told when it reaches Seq, in order of Seq. The slice is never changed.
func (t *Tape) Marks() []Mark {
	_, list := t.MarksFrom(0)
	return list
}

// MarksFrom is Marks from number n on, or from the first that is there on, and that one's number. A mark keeps its number as long as the journal is open, and
// new ones only come at the end: so a reader has to look at what is new only. A mark is there before the first record that needs it is committed: load the tail
// first, then the marks. Records of other producers may have been committed meanwhile, so a new mark may lie below the tail: a reader that is past it is told at once.
func (t *Tape) MarksFrom(n int) (first int, list []Mark) {
	m := t.marks.Load()
	if m == nil {
		return n, nil
	}
	first = max(n, m.dropped)
	from := min(first-m.dropped, len(m.list))
	return first, m.list[from:len(m.list):len(m.list)]
}

func gapMark(t *Tape, g *Gap) (Mark, bool) {
	if _, to := g.lost(); to > 0 || g.isExpired() || g.Cause == CauseCorrected {
		return Mark{}, false // told by Tape.NextHole or lostBeginning, or no gap
	}
	return Mark{Seq: seqIn(g.At, t.schema), Gap: g}, g.Schema == anySchema || g.Schema == t.schema
}

// lostBeginning tells what is lost before the first kept record to who begins there, as nobody comes to a hole before it. It is of the hole and not of the ledger,
// which goes on saying what was lost after the file was put back.
func (t *Tape) lostBeginning() (list []Mark) {
	for _, h := range t.Holes() {
		if h.Cause == CauseQuarantined {
			list = append(list, Mark{Seq: h.To, Gap: new(h.gap(t.schema))})
		}
	}
	return list
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
	var now marks
	if old := t.marks.Load(); old != nil {
		now = *old
	}
	if n := len(now.list); n > 0 {
		m.Seq = max(m.Seq, now.list[n-1].Seq)
	}
	if len(now.list) == cap(now.list) { // it would be copied anyway
		now = now.kept(t.First())
	}
	now.list = append(now.list, m) // beyond the length of every list published before, so no reader sees the store
	t.marks.Store(&now)
}

// kept is a copy without those before record first.
func (m marks) kept(first uint64) marks {
	n := 0
	for n < len(m.list) && m.list[n].Seq < first {
		n++
	}
	kept := m.list[n:]
	return marks{dropped: m.dropped + n, list: append(make([]Mark, 0, 2*len(kept)+marksSlack), kept...)}
}

// buildMarks gathers a tape's marks from the ledger and its holes, before any reader sees the tape. The caller holds marksMu or is alone.
func (d *Dataset) buildMarks(t *Tape) {
	list := t.lostBeginning()
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
	t.marks.Store(&marks{list: list})
}
