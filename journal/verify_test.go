package journal

import (
	"path"
	"slices"
	"strings"
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
			data := hurt.nodes[name].data
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

func TestLostSealedSegmentIsToldAndTheRestIsServed(t *testing.T) {
	disk := NewMemDisk()
	o := memOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 1500)})
	sealAll(t, d, trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segs := *d.Tape(trades).segs.Load()
	disk.drop(segmentPath(d.Tape(trades).dir, 2, sealedSuffix))
	for range 2 { // the second opening must not tell again
		j = open(t, "j", o)
		d = j.Lookup(testDataset)
		tape := d.Tape(trades)
		if tape.First() != segs[2].base || tape.Tail() != 1500 {
			t.Errorf("serves %d to %d, want %d to 1500", tape.First(), tape.Tail(), segs[2].base)
		}
		if b, err := readTape(tape); err != nil || string(b) != string(records(trades, 1, tape.First(), int(1500-tape.First()))) {
			t.Errorf("rest of the tape: %v", err)
		}
		gaps := d.Gaps()
		if len(gaps) != 1 || gaps[0].Cause != CauseQuarantined || gaps[0].Records != tape.First() {
			t.Errorf("ledger: %+v", gaps)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := disk.List(d.Tape(trades).dir)
	if err != nil || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "00000001.dbn") }) {
		t.Errorf("the segment before the lost one was deleted: %v", names)
	}
}
