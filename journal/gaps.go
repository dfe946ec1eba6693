package journal

import (
	"errors"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// How the ledger stays small: reports of one producer at one place become one entry, and what lies before all kept records makes room.

// gapKey is what reports must have in common to become one entry; they must also lie at the same place. What is known of one must be known of the other, or
// the sum would say less than its parts.
type gapKey struct {
	schema                  feed.Schema
	producer, stream, cause string
	from, to, records       bool // is known
	numbered                bool // in the producer's stream
}

func (g *Gap) key() gapKey {
	return gapKey{g.Schema, g.Producer, g.Stream, g.Cause, g.FromTs != undefTime, g.ToTs != undefTime, g.Records > 0, g.ToRecord > 0}
}

// follows says whether a gap of the same key can become one with b.
func (g *Gap) follows(b *Gap) bool {
	return slices.Equal(g.At, b.At) && g.FromRecord == b.ToRecord
}

// merged is both in one.
func (g *Gap) merged(more *Gap) Gap {
	m := *g
	if g.isHole() { // the stretch from the first to the last that is damaged
		a, b := seqIn(g.At, g.Schema), seqIn(more.At, g.Schema)
		m.At = []Position{{g.Schema, min(a, b)}}
		m.Records = max(a+g.Records, b+more.Records) - min(a, b)
		m.Merged = g.Merged + more.Merged + 1
		return m
	}
	if g.FromTs != undefTime {
		m.FromTs = min(g.FromTs, more.FromTs)
	}
	if g.ToTs != undefTime {
		m.ToTs = max(g.ToTs, more.ToTs)
	}
	m.Records = min(g.Records+more.Records, maxSeq) // each is at most that
	m.ToRecord = more.ToRecord
	m.Merged = g.Merged + more.Merged + 1
	return m
}

// mergesInto is the entry that a report becomes a part of, if any. The journal's own always find one when they are many: a recovery must be able to enter
// what it cut. The caller holds mu.
func (l *ledger) mergesInto(g *Gap) *gapCell {
	c := l.newest[g.key()]
	switch {
	case c == nil, g.isExpired(): // which replaces the one before
		return nil
	case g.Producer == "":
		if l.of[""] < gapsReserved {
			return nil
		}
	case !g.follows(c.gap.Load()):
		return nil
	}
	return c
}

// hasRoom says whether there is room for one more entry. The journal itself enters a few of each cause in each tape. The caller holds mu.
func (l *ledger) hasRoom(producer string) bool {
	return producer == "" || l.reported() < MaxReportedGaps && l.of[producer] < MaxProducerGaps
}

// reported is how many entries are of producers. The caller holds mu.
func (l *ledger) reported() int { return len(*l.list.Load()) - l.of[""] }

// enter puts a gap into the list, or into the entry that it is a part of. The caller holds mu.
func (l *ledger) enter(g Gap, into *gapCell) {
	if into != nil {
		m := into.gap.Load().merged(&g)
		into.gap.Store(&m)
		return
	}
	if g.isExpired() { // it says all that the one before said
		l.keep(func(x *Gap) bool { return !x.isExpired() || x.Schema != g.Schema })
	}
	c := &gapCell{}
	c.gap.Store(&g)
	list := append(*l.list.Load(), c) // beyond the length of every list published before, so no reader sees the store
	l.list.Store(&list)
	l.newest[g.key()] = c
	l.of[g.Producer]++
}

// keep publishes a list of only those entries, when it drops any. The caller holds mu.
func (l *ledger) keep(needed func(*Gap) bool) (dropped int) {
	old := *l.list.Load()
	list := slices.DeleteFunc(slices.Clone(old), func(c *gapCell) bool { return !needed(c.gap.Load()) })
	if len(list) == len(old) {
		return 0
	}
	l.list.Store(&list)
	l.of = map[string]int{}
	kept := map[*gapCell]bool{}
	for _, c := range list {
		kept[c] = true
		l.of[c.gap.Load().Producer]++
	}
	maps.DeleteFunc(l.newest, func(_ gapKey, c *gapCell) bool { return !kept[c] })
	return len(old) - len(list)
}

// dropGaps drops what lies before the first kept record of each tape that it is about: nobody comes there any more. The caller holds ledger.mu.
func (d *Dataset) dropGaps() {
	l := d.ledger
	kept := uint64(1)
	for s := range feed.Schema(feed.NumSchemas) {
		if t := d.Tape(s); t != nil {
			kept += t.First()
		}
	}
	if kept == l.tried {
		return // nothing has expired since
	}
	if n := l.keep(d.needsGap); n > 0 {
		d.log.Info("gaps before the first kept records made room in the ledger", zap.Int("gaps", n))
	}
	l.tried = kept
}

// needsGap says whether a reader may still come to a gap.
func (d *Dataset) needsGap(g *Gap) bool {
	if g.isExpired() {
		return true
	}
	tapes := 0
	for s := range feed.Schema(feed.NumSchemas) {
		t := d.Tape(s)
		if t == nil || g.Schema != anySchema && g.Schema != s {
			continue
		}
		tapes++
		end := seqIn(g.At, s)
		if g.isHole() {
			end += g.Records
		}
		if end >= t.First() {
			return true
		}
	}
	return tapes == 0 // it lies where a tape may still begin
}

// later notes what readers are to be told of reports at one place, of which there are many. The caller holds mu.
func (l *ledger) later(c *gapCell, g Gap) {
	if before := l.untold[c]; before != nil {
		g = before.merged(&g)
	}
	l.untold[c] = &g
}

// rewriteDue says whether most of the log is entries that need no room. The caller holds mu.
func (l *ledger) rewriteDue() bool { return l.frames > 2*len(*l.list.Load())+gapsSlack }

// tidyRound tells readers what enterGap left for later, and writes the logs of gaps and streams anew when that is due.
func (d *Dataset) tidyRound() (again bool) {
	l := d.ledger
	l.mu.Lock()
	if len(l.untold) > 0 {
		if again = time.Since(l.told) < gapsTellEvery && !d.o.manual; !again {
			l.told = time.Now()
			d.tellGaps()
		}
	}
	due := l.rewriteDue()
	l.mu.Unlock()
	var err error
	if due {
		err = l.rewrite()
	}
	if err = errors.Join(err, d.rewriteStreams()); err != nil {
		d.log.Warn("a side log could not be written anew without the entries that nobody needs; it is tried again", zap.Error(err))
	}
	return again || err != nil
}

// tellGaps marks the tapes with what was left for later. The caller holds ledger.mu.
func (d *Dataset) tellGaps() {
	l := d.ledger
	for c, g := range l.untold {
		d.addMark(func() {}, func(t *Tape) (Mark, bool) { return gapMark(t, g) })
		delete(l.untold, c)
	}
}

// rewrite puts one entry in the log for each in the list.
func (l *ledger) rewrite() error {
	superfluous := 0
	err := l.log.rewrite(func(emit func([]byte)) int64 {
		l.mu.Lock()
		gaps := make([]*Gap, 0, len(*l.list.Load()))
		for _, c := range *l.list.Load() {
			gaps = append(gaps, c.gap.Load())
		}
		size := l.log.size.Load()
		superfluous = l.frames - len(gaps)
		l.mu.Unlock()
		var b []byte
		for _, g := range gaps {
			b = g.append(b[:0])
			emit(b)
		}
		return size
	})
	if err == nil {
		l.mu.Lock()
		l.frames -= superfluous
		l.mu.Unlock()
	}
	return err
}

// makeLedger is a ledger with the given entries.
func makeLedger(log *sideLog, gaps []Gap) *ledger {
	l := &ledger{log: log, newest: map[gapKey]*gapCell{}, of: map[string]int{}, untold: map[*gapCell]*Gap{}, frames: len(gaps)}
	l.list.Store(&[]*gapCell{})
	for _, g := range gaps {
		l.enter(g, l.mergesInto(&g))
	}
	return l
}

func loadLedger(log *sideLog, payloads [][]byte, tails map[int]place) (*ledger, error) {
	gaps, err := parseGaps(payloads)
	if err != nil {
		return nil, err
	}
	for i := range gaps {
		clamp(gaps[i].At, tails)
	}
	l := makeLedger(log, gaps)
	l.frames = len(payloads)
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
