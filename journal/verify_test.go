package journal

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestVerifyFindsOneFlippedBitAnywhereInTheRecords(t *testing.T) {
	disk := NewMemDisk()
	o := memOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 400)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 400, 300)})
	sealAll(t, d, trades)
	abandon(j)
	r, err := verify(disk, "j", nil)
	if err != nil || len(r.Problems) > 0 || r.Tapes[0].Records != 700 || r.Tapes[0].Ranges == 0 || r.Tapes[0].Blocks == 0 {
		t.Fatalf("verify of a whole journal: %+v, %v", r, err)
	}
	rnd := newRand(t)
	for ordinal, suffix := range map[uint64]string{1: sealedSuffix, 3: activeSuffix} {
		name := segmentPath(path.Join("j", testDataset, "trades"), ordinal, suffix)
		for range 20 {
			hurt := disk.Clone(false)
			data := hurt.node(name).data
			records := uint64(700)
			if suffix == sealedSuffix {
				records = uint64(len(data)-headerUnit) / 48
			} else {
				records -= 2 * 256
			}
			at := headerUnit + rnd.IntN(int(records)*48)
			data[at] ^= 1 << rnd.IntN(8)
			if r, err := verify(hurt, "j", nil); err != nil || len(r.Problems) == 0 {
				t.Errorf("a flipped bit at byte %d of %s is not found (%v)", at, name, err)
			}
		}
	}
}

func TestInspectAndVerifyBesideARunningServer(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		j := open(t, dir, Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment})
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 5, 400)})
		stop := make(chan struct{})
		done := make(chan error, 1)
		if dir != "j" { // on the heap a look at the state page from outside is a data race by nature
			go func() {
				n := uint64(405)
				for {
					select {
					case <-stop:
						done <- nil
						return
					default:
					}
					if err := appendAll(w, Run{trades, records(trades, 1, n, 10)}); err != nil {
						done <- err
						return
					}
					n += 10
				}
			}()
		} else {
			done <- nil
		}
		for range 5 {
			list, err := inspect(disk, dir)
			if err != nil || len(list) != 1 || list[0].Problem != "" || !list[0].Exact || len(list[0].Tapes) != 1 {
				t.Fatalf("inspect: %+v, %v", list, err)
			}
			tape := list[0].Tapes[0]
			if tape.Tail < 400 || tape.FirstTime != 5 || tape.LastTime != tape.Tail+4 || list[0].Streams[0].Records != tape.Tail {
				t.Errorf("inspect: %+v", list[0])
			}
			if r, err := verify(disk, dir, func(Progress) {}); err != nil || len(r.Problems) > 0 {
				t.Errorf("verify: %v, %v", r.Problems, err)
			}
		}
		close(stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLostSealedSegmentIsAHoleAndTheRestIsServed(t *testing.T) {
	disk := NewMemDisk()
	o := memOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 1500)})
	sealAll(t, d, trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	lost := (*d.Tape(trades).segs.Load())[1]
	if err := disk.Remove(segmentPath(d.Tape(trades).dir, 2, sealedSuffix)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second opening must not tell again
		j = open(t, "j", o)
		d = j.Lookup(testDataset)
		tape := d.Tape(trades)
		if tape.First() != 0 || tape.Tail() != 1500 {
			t.Errorf("serves %d to %d, want 0 to 1500", tape.First(), tape.Tail())
		}
		if h, ok := tape.NextHole(0); !ok || h != (Hole{lost.base, lost.limit, CauseDamaged}) || len(tape.Holes()) != 1 {
			t.Errorf("holes: %v, want the lost segment", tape.Holes())
		}
		if _, err := tape.Segment(lost.base + 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("a record of the lost segment: %v", err)
		}
		all := records(trades, 1, 0, 1500)
		want := append(slices.Clone(all[:48*lost.base]), all[48*lost.limit:]...)
		if b, err := readTape(tape); err != nil || string(b) != string(want) {
			t.Errorf("rest of the tape: %v", err)
		}
		gaps := d.Gaps()
		if len(gaps) != 1 || gaps[0].Cause != CauseDamaged || gaps[0].Records != lost.limit-lost.base || gaps[0].At[0].Seq != lost.base {
			t.Errorf("ledger: %+v", gaps)
		}
		if m := tape.Marks(); len(m) != 0 {
			t.Errorf("marks: %+v; a hole tells itself", m)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamageIsToldBeforeWhatCannotBeRead: of blocks in a row some fail their sums, and the disk does not give back the next one.
func TestDamageIsToldBeforeWhatCannotBeRead(t *testing.T) {
	dir := makeHoleJournal(t)
	flipRecord(t, dir, "00000002.dbn", 20)
	v, err := loadView(OSDisk{}, filepath.Join(dir, testDataset))
	sure(err)
	x := &verifier{view: v, report: &Report{}, told: map[Problem]bool{}, tape: &TapeReport{}}
	f, info, _, err := x.open(trades, 2)
	sure(err)
	defer f.Close()
	err = x.checkBlocks(unreadableFile{f, info.header + holeBlock*48}, info)
	want := fmt.Sprintf("records %d to %d fail", holePer, holePer+holeBlock)
	if p := x.report.Problems; !errors.Is(err, syscall.EIO) || len(p) != 1 || !strings.Contains(p[0].Text, want) {
		t.Errorf("told is %v, want that %s: %v", p, want, err)
	}
}
