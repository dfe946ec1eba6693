package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tapewire/tapewire/feed"
)

// promised is what a journal's users know, and may hold it to.
type promised struct {
	created      bool
	sent, synced [3]uint64 // records by stream: accepted, and acknowledged as on disk
	mapped       []uint32  // instrument ids that were entered; the first syncedMapped of them are on disk
	syncedMapped int
	gaps         int
	told         []string // causes of gaps that were entered; the first syncedTold of them are on disk
	syncedTold   int

	// As of the crash:
	epoch uint64
	cuts  int                    // gaps that tell of a cut
	kept  []string               // segment files in quarantine
	tapes map[feed.Schema][]byte // every record that a reader could ever have seen, also those that expired
}

// remember takes down what readers could see at the moment of a crash.
func (w *world) remember() {
	if w.d == nil {
		return
	}
	before := w.tapes
	w.epoch, w.tapes = w.d.Epoch(), map[feed.Schema][]byte{}
	w.cuts, w.kept = w.countCuts(), w.quarantined()
	for _, s := range worldSchemas {
		t := w.d.Tape(s)
		if t != nil {
			w.tapes[s] = slices.Clone(before[s][:int(t.First())*s.RecordSize()])
		}
		w.tapes[s] = append(w.tapes[s], committed(t)...)
	}
}

// whole is what expired of a tape, as it is remembered, and what it holds.
func (w *world) whole(s feed.Schema) ([]byte, error) {
	t := w.d.Tape(s)
	if t == nil {
		return nil, nil
	}
	at := int(t.First()) * s.RecordSize()
	if at > len(w.tapes[s]) {
		return nil, fmt.Errorf("%s begins with record %d, and had %d bytes", s, t.First(), len(w.tapes[s]))
	}
	if h, ok := t.NextHole(0); at > 0 && (!ok || h != Hole{0, t.First(), CauseExpired}) {
		return nil, fmt.Errorf("%s begins with record %d, and its holes are %v", s, t.First(), t.Holes())
	}
	got, err := readTape(t)
	return append(slices.Clone(w.tapes[s][:at]), got...), err
}

// committed is what a tape's mappings hold; it asks nothing of the disk, which may be gone. Sealed segments that nobody holds have none: those are read from
// what the disk has in memory.
func committed(t *Tape) []byte {
	var out []byte
	if t == nil {
		return nil
	}
	for _, s := range *t.segs.Load() {
		to := min(t.Tail(), s.limit)
		if to <= s.base {
			continue
		}
		if b := s.Mapped(s.base, to); b != nil {
			out = append(out, b...)
			continue
		}
		n := t.d.disk.(*MemDisk).node(s.path())
		out = append(out, n.data[s.Offset(s.base):s.Offset(to)]...)
	}
	return out
}

// checkKill: the page cache outlives a process, so all that was committed is there and nothing else.
func (w *world) checkKill() error {
	if w.moved && w.d.Epoch() <= w.epoch {
		return fmt.Errorf("epoch %d on another mount, it was %d", w.d.Epoch(), w.epoch)
	}
	if !w.moved && w.d.Epoch() != w.epoch && w.epoch != 0 {
		return fmt.Errorf("epoch %d after a kill, it was %d", w.d.Epoch(), w.epoch)
	}
	if n := w.countCuts(); n != w.cuts {
		return fmt.Errorf("%d cuts are told after a kill, %d before: %v", n, w.cuts, w.d.Gaps())
	}
	if kept := w.quarantined(); !w.moved && !slices.Equal(kept, w.kept) {
		return fmt.Errorf("quarantine after a kill: %v, before: %v", kept, w.kept)
	}
	w.moved = false
	for id := uint32(1); id <= worldStreams; id++ {
		if n := w.writers[id].Accepted(); n != w.sent[id] {
			return fmt.Errorf("stream %d counts %d after a kill, sent were %d", id, n, w.sent[id])
		}
	}
	for _, s := range worldSchemas {
		got, err := w.whole(s)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, w.tapes[s]) {
			return fmt.Errorf("%s holds %d bytes after a kill, committed were %d", s, len(got), len(w.tapes[s]))
		}
	}
	if err := w.checkTables(len(w.mapped), len(w.told)); err != nil {
		return err
	}
	return w.checkWhole()
}

// checkPowerCut: what was acknowledged is there, each tape is a prefix of what it was, and where anything is missing the epoch says so.
func (w *world) checkPowerCut() error {
	w.moved = false
	cut := false
	for id := uint32(1); id <= worldStreams; id++ {
		n := w.writers[id].Accepted()
		if n < w.synced[id] || n > w.sent[id] {
			return fmt.Errorf("stream %d counts %d after a power cut; sent were %d, acknowledged as on disk %d", id, n, w.sent[id], w.synced[id])
		}
		cut = cut || n < w.sent[id]
	}
	for _, s := range worldSchemas {
		got, err := w.whole(s)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(w.tapes[s], got) {
			return fmt.Errorf("%s is no prefix of what it was: %d bytes, before %d", s, len(got), len(w.tapes[s]))
		}
		if len(got) == len(w.tapes[s]) {
			continue
		}
		if err := w.checkEpoch(s, uint64(len(got)/s.RecordSize())); err != nil {
			return err
		}
	}
	if err := w.checkBeyond(); err != nil {
		return err
	}
	if cut && w.d.Epoch() <= w.epoch {
		return fmt.Errorf("records are missing in epoch %d, which is that of before", w.d.Epoch())
	}
	if err := w.checkTables(w.syncedMapped, w.syncedTold); err != nil {
		return err
	}
	w.settle()
	return w.checkWhole()
}

// checkEpoch: a tape that lost records from seq on begins a later epoch at or before it, and its ledger tells of the loss when it was kept in quarantine.
func (w *world) checkEpoch(s feed.Schema, seq uint64) error {
	for _, e := range w.d.Epochs() {
		if e.Number <= w.epoch {
			continue
		}
		if w.d.Tape(s) == nil {
			return nil // nothing of the tape is left: an epoch names tapes with records
		}
		for _, p := range e.First {
			if p.Schema == s && p.Seq <= seq {
				return nil
			}
		}
	}
	return fmt.Errorf("%s lost records from %d on, and no epoch after %d begins there: %+v", s, seq, w.epoch, w.d.Epochs())
}

// checkTables: entries of the symbol table and the ledger are there, in order and once; the first of them for sure.
func (w *world) checkTables(mapped, told int) error {
	for _, id := range w.mapped[:mapped] {
		if m := w.d.Symbols().present(id); m == nil || m.Symbol != fmt.Sprint("S", id) {
			return fmt.Errorf("the mapping of %d is lost", id)
		}
	}
	var causes []string
	for _, g := range w.d.Gaps() {
		if g.Producer == "p2" {
			causes = append(causes, g.Cause)
		}
	}
	if len(causes) < told || len(causes) > len(w.told) || !slices.Equal(causes, w.told[:len(causes)]) {
		return fmt.Errorf("ledger has %v of the producers', entered were %v, of which %d were on disk", causes, w.told, told)
	}
	return nil
}

// settle takes what recovery left for what there is: it is all on disk, and told as such.
func (w *world) settle() {
	for id := uint32(1); id <= worldStreams; id++ {
		w.sent[id] = w.writers[id].Accepted()
		w.synced[id] = w.sent[id]
	}
	gaps := 0
	for _, g := range w.d.Gaps() {
		if g.Producer == "p2" {
			gaps++
		}
	}
	w.told, w.syncedTold = w.told[:gaps], gaps
	w.mapped = slices.DeleteFunc(w.mapped, func(id uint32) bool { return w.d.Symbols().present(id) == nil })
	w.syncedMapped = len(w.mapped)
	w.remember()
}

// checkWhole: counts equal records, each stream once and in order over its tapes, and verify finds nothing.
func (w *world) checkWhole() error {
	counts := map[uint32]uint64{}
	for id := uint32(1); id <= worldStreams; id++ {
		counts[id] = w.writers[id].Accepted()
	}
	maps.DeleteFunc(counts, func(_ uint32, n uint64) bool { return n == 0 })
	w.remember()
	if err := checkStreamsIn(func(s feed.Schema) ([]byte, error) { return w.tapes[s], nil }, counts); err != nil {
		return err
	}
	report, err := verify(w.disk, "j", nil)
	if err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errors.New("verify: " + report.Problems[0].String())
	}
	return nil
}
