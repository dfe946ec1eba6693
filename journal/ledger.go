package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

const ledgerName = "ledger.log"

// The causes of gaps, by the names of package lsg, which says what each means.
const (
	CauseUpstream    = lsg.CauseUpstream
	CauseSkipped     = lsg.CauseSkipped
	CauseCut         = lsg.CauseCut
	CauseExpired     = lsg.CauseExpired
	CauseQuarantined = lsg.CauseQuarantined
	CauseDamaged     = lsg.CauseDamaged
	CauseCorrected   = lsg.CauseCorrected // who made it, of what, and when
)

// Gap is an entry of the ledger: records that are known to be missing.
type Gap struct {
	Schema     feed.Schema // whose tape; SchemaNone: every tape
	FromTs     uint64      // ns; UndefTimestamp: not known
	ToTs       uint64
	FromRecord uint64 // of the producer's stream, when the gap is in its numbering
	ToRecord   uint64 // exclusive; 0: not known
	Records    uint64 // how many are missing; 0: not known
	Producer   string
	Stream     string
	Cause      string // one of the causes above, or another word of at most MaxCause bytes

	Merged uint64     // how many more reports of the producer at this place it stands for
	Time   uint64     // wall ns when it was entered, the first of them; set by the journal
	At     []Position // each tape's tail then; set by the journal

	spans []timeSpan // by the replay clock, of records that expired; see expiredSpans
}

// ledger is the list of gaps. Reading takes no lock.
type ledger struct {
	log  *sideLog
	list atomic.Pointer[[]*gapCell] // appended to when changed, or another one: what a published list holds at an index never changes
	lost atomic.Uint64              // gaps that could not be entered

	entered gapsEntered // since the journal was opened

	holes sync.Mutex // orders the entries of holes, each of which is what is not entered yet

	mu     sync.Mutex // orders appends, and guards what follows
	newest map[gapKey]*gapCell
	of     map[string]int    // entries by producer; "" is the journal itself
	frames int               // entries of the log, of which those that were merged or dropped need no room
	tried  uint64            // sum of the tapes' first records when making room found nothing to drop; 0: not tried
	untold map[*gapCell]*Gap // what readers are not told yet of reports at one place
	told   time.Time         // when they were last
}

// gapCell is one entry. More reports at its place change what it holds, never its place in the list.
type gapCell struct {
	gap  atomic.Pointer[Gap]
	told int // reports that readers were told one by one
}

// all is a copy of the entries.
func (l *ledger) all() []Gap {
	cells := *l.list.Load()
	list := make([]Gap, len(cells))
	for i, c := range cells {
		list[i] = *c.gap.Load()
	}
	return list
}

// find is the first entry that is, and must not be changed; nil when there is none.
func (l *ledger) find(is func(*Gap) bool) *Gap {
	for _, c := range *l.list.Load() {
		if g := c.gap.Load(); is(g) {
			return g
		}
	}
	return nil
}

// has says whether the gap of a stream's records is entered already.
func (l *ledger) has(producer, stream string, from, to uint64) bool {
	return l.find(func(g *Gap) bool {
		return g.Producer == producer && g.Stream == stream && g.FromRecord <= from && to <= g.ToRecord
	}) != nil
}

// skippedBefore is how many records of a stream directly before record n are entered as gaps in its numbering.
func (l *ledger) skippedBefore(producer, stream string, n uint64) uint64 {
	from := n
	for _, c := range slices.Backward(*l.list.Load()) {
		if g := c.gap.Load(); g.Producer == producer && g.Stream == stream && g.ToRecord == from && g.FromRecord < from {
			from = g.FromRecord
		}
	}
	return n - from
}

// Gap enters a gap at the present tails; producer and stream are the writer's, and the cause is one that a producer may report (lsg.ProducerCause).
// Live readers and later replays are told when they get there.
// It writes to a side file (no sync). Errors: ErrTableFull (nothing was entered, Tables counts it, and the writer goes on), ErrName, ErrRecord, ErrLimit,
// ErrDiskFull (nothing was entered; try again after Wait), ErrFenced, ErrClosed.
func (w *Writer) Gap(g Gap) error {
	w.d.mu.Lock()
	err := w.usable()
	w.d.mu.Unlock()
	if err != nil {
		return err
	}
	g.Producer, g.Stream, g.Merged, g.At = w.producer, w.stream.name, 0, w.d.positions()
	g.Cause = lsg.ProducerCause(g.Cause)
	if g.Records > maxSeq {
		g.Records = 0 // more than a tape can hold says nothing
	}
	err = w.d.enterGap(w, g)
	if err != nil && !errors.Is(err, ErrDiskFull) {
		if n := w.d.ledger.lost.Add(1); n&(n-1) == 0 { // the first, and then ever more rarely
			w.d.log.Warn("a gap that a producer reported could not be entered; its records go on", zap.String("producer", w.producer), zap.Uint64("so_far", n), zap.Error(err))
		}
	}
	return err
}

// enterGap appends a gap whose positions are set; w is nil for what the journal itself enters.
func (d *Dataset) enterGap(w *Writer, g Gap) error {
	if err := checkName("cause", g.Cause, MaxCause); err != nil {
		return err
	}
	if g.Schema != anySchema && !g.Schema.Valid() {
		return fmt.Errorf("%w: gap in schema %d, which is none", ErrRecord, g.Schema)
	}
	g.Time = d.now()
	l := d.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	into := l.mergesInto(&g)
	if into == nil && !l.hasRoom(g.Producer) {
		if d.dropGaps(); !l.hasRoom(g.Producer) {
			return fmt.Errorf("%w: the ledger of %s has %d gaps, %d of them of producer %s, all at records that are kept", ErrTableFull, d.name, len(*l.list.Load()), l.of[g.Producer], g.Producer)
		}
	}
	if err := d.appendSide(w, l.log, g.append(nil)); err != nil {
		return err
	}
	d.enterInMemory(g, into)
	return nil
}

// enterUnwritten enters what a recovery must tell, for as long as this process lives: that the log does not take it is no reason not to serve what is kept.
func (d *Dataset) enterUnwritten(g Gap, why error) {
	d.log.Error("what a recovery cut is told to readers until the next start only: the ledger could not be written", zap.Error(why))
	l := d.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	g.Time = d.now()
	d.enterInMemory(g, l.mergesInto(&g))
}

// enterInMemory publishes a gap, and marks the tapes where it lies. The caller holds ledger.mu.
func (d *Dataset) enterInMemory(g Gap, into *gapCell) {
	l := d.ledger
	l.frames++
	l.entered[causeNumber(g.Cause)].Add(1)
	tell := true
	if into != nil {
		if into.told++; into.told > gapsToldSingly {
			tell = false
			l.later(into, g)
			d.tidier.kick()
		}
	}
	d.addMark(func() { l.enter(g, into) }, func(t *Tape) (Mark, bool) {
		m, ok := gapMark(t, &g)
		return m, ok && tell
	})
	if n := l.reported(); into == nil && n == MaxReportedGaps*tableWarn/100 {
		d.log.Warn("the ledger fills up; beyond its limit no gap is entered until records expire, and tapewire_gaps_not_entered_total counts", zap.Int("gaps", n), zap.Int("limit", MaxReportedGaps))
	}
	if l.rewriteDue() {
		d.tidier.kick()
	}
}

func (g *Gap) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, uint16(g.Schema))
	for _, v := range []uint64{g.FromTs, g.ToTs, g.FromRecord, g.ToRecord, g.Records, g.Time} {
		dst = le.AppendUint64(dst, v)
	}
	for _, t := range []string{g.Producer, g.Stream, g.Cause} {
		dst = appendText(dst, t)
	}
	dst = appendSpans(appendPositions(dst, g.At), g.spans)
	if g.Merged > 0 {
		if len(g.spans) == 0 {
			dst = append(dst, 0) // no spans come before it
		}
		dst = le.AppendUint64(dst, g.Merged)
	}
	return dst
}

func parseGap(b []byte) (Gap, error) {
	f := fields{b: b}
	g := Gap{Schema: feed.Schema(f.u16())}
	for _, v := range []*uint64{&g.FromTs, &g.ToTs, &g.FromRecord, &g.ToRecord, &g.Records, &g.Time} {
		*v = f.u64()
	}
	g.Producer, g.Stream, g.Cause = f.text(), f.text(), f.text()
	if g.Producer != "" && g.Cause != CauseCorrected { // earlier versions took any word
		g.Cause = lsg.ProducerCause(g.Cause)
	}
	g.At = f.positions()
	g.spans = f.spans()
	if len(f.b) > 0 {
		g.Merged = f.u64()
	}
	if !f.done() {
		return g, fmt.Errorf("%w: entry of %s", ErrCorrupt, ledgerName)
	}
	return g, nil
}
