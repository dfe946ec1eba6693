package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
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

// addHole takes records out of service; holes of one cause that touch become one, and of two that overlap the one that begins first stays whole. It reports
// whether any of them were in service.
func (t *Tape) addHole(h Hole) (news bool) {
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
	news = !slices.Equal(merged, t.Holes())
	t.holes.Store(&merged)
	return news
}

// damaged takes records out of service and tells the ledger, for people: readers are told by the hole itself, and when a file was restored from a copy there
// is none at the next opening.
func (t *Tape) damaged(h Hole, why error) {
	if !t.addHole(h) {
		return // several readers found it
	}
	t.d.log.Error("records are damaged and not served; everything else is, and the file stays as it is", zap.String("tape", t.name()),
		zap.Uint64("from", h.From), zap.Uint64("to", h.To), zap.Error(why))
	if err := t.d.enterHole(t, h); err != nil {
		t.d.log.Warn("the ledger could not be told of damaged records", zap.Error(err))
	}
}

// lost takes the records of a sealed segment out of service whose file is gone while we run, and those of the segments beside it that are gone too, so that
// what belongs together is told in one piece. It reports whether that is the reason why a segment could not be opened.
func (t *Tape) lost(s *Segment, why error) bool {
	if !errors.Is(why, fs.ErrNotExist) || s.limit <= t.First() || t.d.closed.Load() {
		return false
	}
	segs := *t.segs.Load()
	at := slices.Index(segs, s)
	if at < 0 {
		return false // it was removed for its age just now
	}
	from, to := at, at
	for from > 0 && segs[from-1].missing() {
		from--
	}
	for to+1 < len(segs) && segs[to+1].missing() {
		to++
	}
	t.damaged(Hole{segs[from].base, t.committedIn(segs[to]), CauseDamaged}, why)
	return true
}

// missing says whether the file of a sealed segment that nobody holds is gone.
func (s *Segment) missing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil || !s.sealed.Load() {
		return false
	}
	f, err := s.tape.d.disk.Open(s.path(), true)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, fs.ErrNotExist)
}

// Shortened takes the records out of service that the file does not hold any more, when somebody cut it, and those of the block that it ends in, when they were
// not held against its sum before. It reports whether that happened. The caller holds the segment.
func (s *Segment) Shortened() bool {
	end, size, cut := s.cutAt()
	if !cut {
		return false
	}
	if s.proof != nil {
		s.proof.mu.Lock()
		defer s.proof.mu.Unlock()
	}
	s.cutOff(end, size)
	return true
}

// lookAtSize is Shortened, once for each time that the file is opened: who comes meanwhile looks, too, and so knows of the hole before it reads.
func (s *Segment) lookAtSize() bool {
	cut := s.Shortened()
	s.looked.Store(true)
	return cut
}

// cutAt says whether the file, of size bytes, does not hold all that is committed in it, and the first record that it does not.
func (s *Segment) cutAt() (end uint64, size int64, cut bool) {
	size, err := s.file.Size()
	if err != nil || size >= s.Offset(s.tape.committedIn(s)) {
		return 0, 0, false
	}
	return s.base + uint64(max(size-s.header, 0))/uint64(s.tape.size), size, true
}

// cutOff enters what a file that was cut does not give. The caller holds proof.mu where there is one.
func (s *Segment) cutOff(end uint64, size int64) {
	s.tape.damaged(Hole{s.unproven(end), s.tape.committedIn(s), CauseDamaged}, fmt.Errorf("%w: somebody cut %s to %d bytes", ErrCorrupt, s.path(), size))
}

// enterHole enters of a hole what the ledger does not have: each record that is lost is in one entry, in whatever pieces and by whomever it was found, in this
// process and in others.
func (d *Dataset) enterHole(t *Tape, h Hole) error {
	d.ledger.holes.Lock()
	defer d.ledger.holes.Unlock()
	for _, h := range d.ledger.untaken(t.schema, h) {
		if err := d.enterGap(nil, h.gap(t.schema)); err != nil {
			return err
		}
	}
	return nil
}

// gap is what the ledger says of a hole.
func (h Hole) gap(schema feed.Schema) Gap {
	at := h.From
	if h.Cause == CauseQuarantined {
		at = h.To // it is told to who begins with what is kept
	}
	return Gap{Schema: schema, FromTs: undefTime, ToTs: undefTime, Records: h.To - h.From, Cause: h.Cause, At: []Position{{schema, at}}}
}

// untaken is the parts of a hole that no entry has, in order.
func (l *ledger) untaken(schema feed.Schema, h Hole) (rest []Hole) {
	var taken []Hole
	for _, c := range *l.list.Load() {
		g := c.gap.Load()
		if from, to := g.lost(); g.Schema == schema && from < h.To && h.From < to {
			taken = append(taken, Hole{From: from, To: to})
		}
	}
	slices.SortFunc(taken, func(a, b Hole) int { return cmp.Compare(a.From, b.From) })
	for _, x := range taken {
		if h.From < x.From {
			rest = append(rest, Hole{h.From, x.From, h.Cause})
		}
		h.From = max(h.From, x.To)
	}
	if h.From < h.To {
		rest = append(rest, h)
	}
	return rest
}

// isHole says whether the journal itself entered the gap for damaged records.
func (g *Gap) isHole() bool { return g.Cause == CauseDamaged && g.Producer == "" }

// lost is the records of the tape that an entry of the journal itself says are there no more; none when it is about something else.
func (g *Gap) lost() (from, to uint64) {
	at := seqIn(g.At, g.Schema)
	switch {
	case g.isHole():
		return at, at + g.Records
	case g.Cause == CauseQuarantined && g.Producer == "":
		return at - min(at, g.Records), at
	}
	return 0, 0
}
