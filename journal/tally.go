package journal

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
)

// What a gateway's metrics ask of a journal. Nothing here is asked by who appends or reads.

// CauseOther stands in GapTotals for the words of their own that producers report.
const CauseOther = "other"

// gapCauses are the causes that GapTotals tells apart.
var gapCauses = [...]string{CauseUpstream, CauseCut, CauseDamaged, CauseQuarantined, CauseExpired, CauseCorrected, CauseOther}

// GapTotals is what the ledger has of one cause.
type GapTotals struct {
	Cause   string // one of the causes that a ledger has, or CauseOther
	Gaps    uint64 // that the ledger holds, each report of several at one place counted
	Records uint64 // missing in them, as far as that is known
	Entered uint64 // gaps that were entered since the journal was opened
}

// gapsEntered counts what was entered, by the place of the cause in gapCauses.
type gapsEntered [len(gapCauses)]atomic.Uint64

// causeNumber is the place of a cause in gapCauses.
func causeNumber(cause string) int {
	if i := slices.Index(gapCauses[:], cause); i >= 0 {
		return i
	}
	return len(gapCauses) - 1
}

// GapTotals sums up the ledger, one entry for each cause, also where there is none of it.
func (d *Dataset) GapTotals() []GapTotals {
	all := make([]GapTotals, len(gapCauses))
	for i, cause := range gapCauses {
		all[i] = GapTotals{Cause: cause, Entered: d.ledger.entered[i].Load()}
	}
	for _, c := range *d.ledger.list.Load() {
		g := c.gap.Load()
		t := &all[causeNumber(g.Cause)]
		t.Gaps += g.Merged + 1
		t.Records += g.Records
	}
	return all
}

// Producers is the names that the dataset's streams have, that of the newest stream first.
func (d *Dataset) Producers() []string {
	d.openMu.Lock()
	defer d.openMu.Unlock()
	newest := map[string]uint64{}
	for _, s := range d.streams {
		newest[s.producer] = max(newest[s.producer], s.entered)
	}
	return slices.SortedFunc(maps.Keys(newest), func(a, b string) int {
		return cmp.Or(cmp.Compare(newest[b], newest[a]), cmp.Compare(a, b))
	})
}

// DiskBytes is what the dataset's segments take on disk, with the room that is reserved for records to come. Block indexes, logs and what lies in
// quarantine are beside.
func (d *Dataset) DiskBytes() (n int64) {
	for i := range d.visible {
		if t := d.visible[i].Load(); t != nil {
			for _, s := range *t.segs.Load() {
				n += s.Offset(s.limit)
			}
		}
	}
	return n
}

// DiskUsage is how many bytes of the journal's filesystem are in use, of those that are in use or may be used.
func (j *Journal) DiskUsage() (used, size int64, err error) { return j.o.Disk.Usage(j.dir) }

// oldestTime is the time of a tape's first kept record.
type oldestTime struct{ seq, time uint64 }

// OldestTime is the time of the oldest kept record, in ns: ts_recv, or ts_event for schemas without. It looks into a file only when another record is the
// oldest than when it was asked last; false: there is no record, it has no time, or it cannot be read.
func (t *Tape) OldestTime() (ns uint64, ok bool) {
	first := t.First()
	if first >= t.Tail() {
		return 0, false
	}
	if known := t.oldest.Load(); known != nil && known.seq == first {
		return known.time, known.time != undefTime
	}
	s, err := t.Segment(first)
	if err != nil {
		return 0, false // asked again: the next time it may be there
	}
	defer s.Release()
	at := recordTime(s.file, s.info(), first, s.tape.committedIn(s))
	t.oldest.Store(&oldestTime{first, at})
	return at, at != undefTime
}
