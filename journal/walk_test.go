package journal

import (
	"errors"
	"path"
	"testing"
)

// A sealed segment that is missing, short or hurt in its header while the sync log still speaks of it costs what it held and nothing else: the walk over the log
// goes on behind it, and the hole has its exact bounds, told once.
func TestSealedSegmentHurtInTheSyncLogsWindowCostsOnlyItself(t *testing.T) {
	const total = 3000
	for name, hurt := range map[string]func(t *testing.T, f File, s *Segment) (from uint64){
		"missing": nil,
		"short": func(t *testing.T, f File, s *Segment) uint64 {
			if err := f.Truncate(s.header); err != nil {
				t.Fatal(err)
			}
			return s.base
		},
		"hurt in its header": func(t *testing.T, f File, s *Segment) uint64 {
			if _, err := f.WriteAt(make([]byte, segmentHeader), s.header-segmentHeader); err != nil {
				t.Fatal(err)
			}
			return s.base
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := NewMemDisk()
			j := open(t, "j", memOptions(disk))
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			for n := uint64(0); n < total; n += 100 {
				mustAppend(t, w, Run{trades, records(trades, 1, n, 100)})
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			sealAll(t, d, trades)
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			segs := *d.Tape(trades).segs.Load()
			if len(segs) < 4 || !segs[2].sealed.Load() {
				t.Fatalf("%d segments: too few to hurt one between others", len(segs))
			}
			victim := segs[1]
			abandon(j)
			disk = distrusted(disk)
			file := path.Join("j", testDataset, trades.String(), path.Base(segmentPath("", victim.ordinal, sealedSuffix)))
			from := victim.base
			if hurt == nil {
				if err := disk.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else {
				f, err := disk.Open(file, false)
				if err != nil {
					t.Fatal(err)
				}
				from = hurt(t, f, victim)
				f.Close()
			}
			for _, round := range []string{"after a power cut", "once more"} {
				j := open(t, "j", memOptions(disk))
				d := j.Lookup(testDataset)
				if d == nil {
					t.Fatal(j.Damaged(testDataset))
				}
				tape := d.Tape(trades)
				if tape.Tail() != total || openWriter(t, d, "p", "s").Accepted() != total {
					t.Fatalf("%s: tail %d, want %d", round, tape.Tail(), total)
				}
				served, err := readTape(tape)
				if errors.Is(err, ErrDamaged) { // that a file is short is found by its first reader
					served, err = readTape(tape)
				}
				if err != nil {
					t.Fatal(err)
				}
				if all := records(trades, 1, 0, total); string(served) != string(all[:from*48])+string(all[victim.limit*48:]) {
					t.Errorf("%s: %d records are served, want %d", round, len(served)/48, total-(victim.limit-from))
				}
				want := Hole{from, victim.limit, CauseDamaged}
				if holes := tape.Holes(); len(holes) != 1 || holes[0] != want {
					t.Errorf("%s: holes %v, want %v", round, holes, want)
				}
				told := 0
				for _, g := range d.Gaps() {
					if g.Records == victim.limit-from && seqIn(g.At, trades) == from && g.Cause == CauseDamaged {
						told++
					}
				}
				if told != 1 || len(d.Gaps()) != 1 {
					t.Errorf("%s: the ledger has %+v, want one of records %d to %d", round, d.Gaps(), from, victim.limit)
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A commit that this process did not make means that another one writes to the same page, or that this one was restored from a checkpoint: nothing more is
// taken, or (epoch, seq) would be used twice.
func TestCommitOfAnotherProcessIsAFaultAndNothingIsTaken(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", memOptions(disk))
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	d.mu.Lock()
	d.state.store(stateCommit, d.state.load(stateCommit)+1)
	d.mu.Unlock()
	n, err := w.Append([]Run{{trades, records(trades, 1, 10, 10)}})
	if n != 0 || !errors.Is(err, ErrFault) {
		t.Errorf("append: %d, %v", n, err)
	}
	if w.Accepted() != 10 || d.Tape(trades).Tail() != 10 {
		t.Errorf("accepted %d, tail %d, want 10", w.Accepted(), d.Tape(trades).Tail())
	}
	if err := d.Err(); !errors.Is(err, ErrFault) {
		t.Errorf("the state is %v", err)
	}
	if err := checkStreams(d, map[uint32]uint64{1: 10}); err != nil {
		t.Error(err)
	}
}
