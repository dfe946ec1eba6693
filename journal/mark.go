package journal

import "slices"

// Mark is something a reader must be told before it is given record Seq of a tape: that records are missing there, or that from there on an instrument id
// stands for a symbol. Exactly one of Gap and Mapping is set; what they point to never changes.
//
// Each gap of the tape has one. A mapping has one when the id stood for another symbol before, or for none and the tape had records already: whoever begins
// to read before it must not be told too early. A first mapping at record 0 has none: the symbol table tells of it, to everybody. Nor has one that only
// declares more about an instrument.
//
// Seq is the position in Gap.At or Mapping.At, or above it where a mark further on was there first.
type Mark struct {
	Seq     uint64
	Gap     *Gap
	Mapping *Mapping
}

func gapMark(t *Tape, g *Gap) (Mark, bool) {
	if g.isHole() || g.isExpired() {
		return Mark{}, false // told by Tape.NextHole
	}
	return Mark{Seq: seqIn(g.At, t.schema), Gap: g}, g.Schema == anySchema || g.Schema == t.schema
}

// mappingMark is the mark of a mapping, if it has one on this tape; old is what the id stood for before, "" when for nothing.
func mappingMark(t *Tape, m Mapping, old string) (Mark, bool) {
	seq := seqIn(m.At, t.schema)
	return Mark{Seq: seq, Mapping: &m}, m.Symbol != old && m.Kind != kindSeen && (old != "" || seq > 0)
}

// addMark adds to each tape the mark that of makes for it, if any. Under the same lock it calls enter, which publishes what the mark is about:
// a tape that comes to exist meanwhile finds either both or neither.
func (d *Dataset) addMark(enter func(), of func(*Tape) (Mark, bool)) {
	d.addMarks(enter, 1, func(t *Tape, _ int) (Mark, bool) { return of(t) })
}

// addMarks is addMark for several.
func (d *Dataset) addMarks(enter func(), n int, of func(t *Tape, i int) (Mark, bool)) {
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
		for i := range n {
			if m, ok := of(t, i); ok {
				t.addMark(m)
			}
		}
	}
}

// addMark publishes one more mark at the end of the list. Positions are taken before the log is written, and gaps and mappings take different locks, so a
// mark may come behind one further on; readers count marks, so it must not be put in before it. It holds from there on instead: the tail is there
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

// buildMarks gathers a tape's marks from the ledger and the symbol table, before any reader sees the tape. The caller holds marksMu or is alone.
func (d *Dataset) buildMarks(t *Tape) {
	var list []Mark
	for _, c := range *d.ledger.list.Load() {
		if m, ok := gapMark(t, c.gap.Load()); ok {
			list = append(list, m)
		}
	}
	symbol := map[uint32]string{}
	for i := range d.symbols.Len() {
		m := d.symbols.At(i)
		if mark, ok := mappingMark(t, m, symbol[m.ID]); ok {
			list = append(list, mark)
		}
		symbol[m.ID] = m.Symbol
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
