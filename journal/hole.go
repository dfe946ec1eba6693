package journal

import (
	"cmp"
	"slices"

	"go.uber.org/zap"
)

// Hole is a stretch of a tape that cannot be served: its records are on disk but damaged, their file is missing, or they were removed for their age. What
// lies around it is served.
type Hole struct {
	From, To uint64
	Cause    string // CauseDamaged, CauseQuarantined or CauseExpired
}

// NextHole is the first hole that ends beyond seq. A reader that stands in it is told so and goes on behind it.
func (t *Tape) NextHole(seq uint64) (Hole, bool) {
	list := t.holes.Load()
	if list == nil { // as always, on a sound disk
		return Hole{}, false
	}
	for _, h := range *list {
		if h.To > seq {
			return h, true
		}
	}
	return Hole{}, false
}

// Holes is all that are known, in order. The slice is never changed.
func (t *Tape) Holes() []Hole {
	if list := t.holes.Load(); list != nil {
		return *list
	}
	return nil
}

// addHole takes records out of service; holes of one cause that touch become one, and of two that overlap the one that begins first stays whole.
func (t *Tape) addHole(h Hole) {
	t.holesMu.Lock()
	defer t.holesMu.Unlock()
	list := slices.Clone(t.Holes())
	list = append(list, h)
	slices.SortStableFunc(list, func(a, b Hole) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(b.To, a.To)) })
	merged := list[:1]
	for _, h := range list[1:] {
		last := &merged[len(merged)-1]
		switch {
		case h.From <= last.To && h.Cause == last.Cause:
			last.To = max(last.To, h.To)
		case h.To > last.To:
			h.From = max(h.From, last.To)
			merged = append(merged, h)
		}
	}
	t.holes.Store(&merged)
}

// damaged takes records out of service and tells the ledger, for people: readers are told by the hole itself, and when a file was restored from a copy there
// is none at the next opening.
func (t *Tape) damaged(h Hole, why error) {
	t.addHole(h)
	t.d.log.Error("records are damaged and not served; everything else is, and the file stays as it is", zap.String("tape", t.name()),
		zap.Uint64("from", h.From), zap.Uint64("to", h.To), zap.Error(why))
	if err := t.d.enterHole(t, h); err != nil {
		t.d.log.Warn("the ledger could not be told of damaged records", zap.Error(err))
	}
}

// enterHole enters a hole into the ledger, once.
func (d *Dataset) enterHole(t *Tape, h Hole) error {
	for _, g := range d.ledger.all() {
		if g.isHole() && g.Schema == t.schema && seqIn(g.At, t.schema) == h.From && g.Records == h.To-h.From {
			return nil
		}
	}
	return d.enterGap(nil, Gap{
		Schema: t.schema, FromTs: undefTime, ToTs: undefTime, Records: h.To - h.From, Cause: CauseDamaged, At: []Position{{t.schema, h.From}},
	})
}

// isHole says whether the journal itself entered the gap for damaged records.
func (g *Gap) isHole() bool { return g.Cause == CauseDamaged && g.Producer == "" }
