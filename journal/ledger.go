package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

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

	Time uint64     // wall ns when it was entered; set by the journal
	At   []Position // each tape's tail then; set by the journal

	spans []timeSpan // by the replay clock, of records that expired; see expiredSpans
}

// ledger is the list of gaps. Reading takes no lock.
type ledger struct {
	log  *sideLog
	mu   sync.Mutex            // orders appends
	list atomic.Pointer[[]Gap] // copied or appended to when changed: elements of a list that was published never change
}

func (l *ledger) all() []Gap {
	list := *l.list.Load()
	return list[:len(list):len(list)]
}

// has says whether the gap of a stream's records is entered already.
func (l *ledger) has(producer, stream string, from, to uint64) bool {
	for _, g := range l.all() {
		if g.Producer == producer && g.Stream == stream && g.FromRecord == from && g.ToRecord == to {
			return true
		}
	}
	return false
}

// Gap enters a gap at the present tails; producer and stream are the writer's, and the cause is one that a producer may report (lsg.ProducerCause). Live readers and later replays are told when they get there.
// It writes to a side file (no sync). Errors: ErrName, ErrLimit, ErrDiskFull (nothing was entered; try again after Wait), ErrFenced, ErrClosed.
func (w *Writer) Gap(g Gap) error {
	w.d.mu.Lock()
	err := w.usable()
	w.d.mu.Unlock()
	if err != nil {
		return err
	}
	g.Producer, g.Stream, g.At = w.producer, w.stream.name, w.d.positions()
	g.Cause = lsg.ProducerCause(g.Cause)
	return w.d.enterGap(w, g)
}

// enterGap appends a gap whose positions are set; w is nil during recovery.
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
	if n := len(l.all()); n >= MaxGaps {
		return fmt.Errorf("%w: the ledger of %s has %d gaps", ErrLimit, d.name, n)
	}
	if err := d.appendSide(w, l.log, g.append(nil)); err != nil {
		return err
	}
	d.addMark(func() { l.enter(g) }, func(t *Tape) (Mark, bool) { return gapMark(t, &g) })
	return nil
}

func (l *ledger) enter(g Gap) {
	list := *l.list.Load()
	if g.isExpired() { // it says all that the one before said
		list = slices.DeleteFunc(slices.Clone(list), func(x Gap) bool { return x.isExpired() && x.Schema == g.Schema })
	}
	list = append(list, g)
	l.list.Store(&list)
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
	return appendSpans(appendPositions(dst, g.At), g.spans)
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
	if !f.done() {
		return g, fmt.Errorf("%w: entry of %s", ErrCorrupt, ledgerName)
	}
	return g, nil
}

func loadLedger(log *sideLog, payloads [][]byte, tails map[int]place) (*ledger, error) {
	gaps, err := parseGaps(payloads)
	if err != nil {
		return nil, err
	}
	for i := range gaps {
		clamp(gaps[i].At, tails)
	}
	l := &ledger{log: log}
	l.list.Store(&gaps)
	return l, nil
}

// parseGaps is the entries of a ledger; of those that say what has expired, the newest of each tape.
func parseGaps(payloads [][]byte) ([]Gap, error) {
	list, newest := make([]Gap, 0, len(payloads)), map[feed.Schema]bool{}
	for _, p := range slices.Backward(payloads) {
		g, err := parseGap(p)
		if err != nil {
			return nil, err
		}
		if g.isExpired() && newest[g.Schema] {
			continue
		}
		newest[g.Schema] = newest[g.Schema] || g.isExpired()
		list = append(list, g)
	}
	slices.Reverse(list)
	return list, nil
}
