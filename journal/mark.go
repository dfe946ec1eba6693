package journal

import (
	"slices"
	"sort"
)

// Mark is something a reader must be told before it is given record Seq of a tape: that records are missing there, or that from there on an instrument id
// stands for another symbol. Exactly one of Gap and Mapping is set; what they point to never changes.
type Mark struct {
	Seq     uint64
	Gap     *Gap
	Mapping *Mapping
}

func gapMark(t *Tape, g *Gap) (Mark, bool) {
	return Mark{Seq: seqIn(g.At, t.schema), Gap: g}, g.Schema == anySchema || g.Schema == t.schema
}

// addMark adds to each tape the mark that of makes for it, if any. Under the same lock it calls enter, which publishes what the marks are about:
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
			insertMark(t, m)
		}
	}
}

// insertMark keeps the order: positions are taken before the log is written, so two entries may arrive in the other order.
func insertMark(t *Tape, m Mark) {
	old := t.Marks()
	i := sort.Search(len(old), func(i int) bool { return old[i].Seq > m.Seq })
	list := slices.Insert(slices.Clone(old), i, m)
	t.marks.Store(&list)
}

// buildMarks gathers a tape's marks from the ledger and the symbol table. The caller holds marksMu or is alone.
func (d *Dataset) buildMarks(t *Tape) {
	var list []Mark
	gaps := d.ledger.all()
	for i := range gaps {
		if m, ok := gapMark(t, &gaps[i]); ok {
			list = append(list, m)
		}
	}
	symbol := map[uint32]string{}
	mappings := *d.symbols.list.Load()
	for i := range mappings {
		m := &mappings[i]
		if old, known := symbol[m.ID]; known && old != m.Symbol {
			list = append(list, Mark{Seq: seqIn(m.At, t.schema), Mapping: m})
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
