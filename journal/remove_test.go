package journal

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// A name that is used again must not give the positions of the old dataset another meaning.
func TestRemovedDatasetLeavesItsNameFreeAndItsPositionsOfAnotherHistory(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		dir += "/x"
		if err := disk.Mkdir(dir[:len(dir)-2]); err != nil {
			t.Fatal(err)
		}
		o := Options{Disk: disk, AnyFilesystem: true}
		seen := map[uint64]bool{}
		for round := range 3 {
			j := open(t, dir, o)
			d := create(t, j)
			if seen[d.Epoch()] {
				t.Fatalf("round %d: epoch %d was there before", round, d.Epoch())
			}
			for _, e := range d.Epochs() {
				if seen[e.Number] {
					t.Errorf("round %d: the dataset says that it had epoch %d", round, e.Number)
				}
			}
			seen[d.Epoch()] = true
			w := openWriter(t, d, "p", "s")
			if w.Accepted() != 0 || d.Tape(trades) != nil {
				t.Errorf("round %d: something is left: %d records of the stream", round, w.Accepted())
			}
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 100)})
			if err := removeDataset(disk, dir, testDataset); !errors.Is(err, ErrLocked) {
				t.Fatalf("while it is in use: %v", err)
			}
			epoch := d.Epoch()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, dir, o) // also after a restart
			if d = j.Lookup(testDataset); d == nil || d.Epoch() != epoch || d.Tape(trades).Tail() != 100 {
				t.Fatalf("after a restart: %v", j.Damaged(testDataset))
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			remove := removeDataset
			if round == 1 { // by hand
				remove = func(disk Disk, dir, name string) error { return removeTree(disk, dir+"/"+name) }
			}
			if err := remove(disk, dir, testDataset); err != nil {
				t.Fatal(err)
			}
			if _, err := disk.List(dir + "/" + testDataset); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the directory: %v", err)
			}
			if r, err := verify(disk, dir, nil); err != nil || len(r.Problems) > 0 {
				t.Errorf("verify: %+v, %v", r, err)
			}
		}
		if err := removeDataset(disk, dir, testDataset); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("twice: %v", err)
		}
	})
}

// The worker that makes room in a table takes the lock that a removal holds while it waits for the workers: it has to end before.
func TestRemovalWaitsForNoWorkerThatWaitsForIt(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	j.retaining.Lock() // as a round of Retain
	removed := make(chan error, 1)
	go func() { removed <- j.Remove(testDataset) }()
	eventually(t, "the worker has ended", func() bool {
		select {
		case <-d.room.done:
			return true
		default:
			return false
		}
	})
	j.retaining.Unlock()
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

// A removal that a crash interrupts leaves the dataset whole, or gone.
func TestRemovalThatIsInterruptedIsAllOrNothing(t *testing.T) {
	for stop := range 30 {
		disk := NewMemDisk()
		o := memOptions(disk)
		j := open(t, "j", o)
		d := create(t, j)
		mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 700)})
		sealAll(t, d, trades)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		ops := 0
		disk.Fault(func(op, path string) error {
			if op != "open" && op != "read" && op != "list" {
				if ops++; ops > stop {
					return errGone
				}
			}
			return nil
		})
		err := removeDataset(disk, "j", testDataset)
		disk.Fault(nil)
		j = open(t, "j", o)
		if d := j.Lookup(testDataset); d != nil {
			if err := checkStreams(d, map[uint32]uint64{1: 700}); err != nil || j.Damaged(testDataset) != nil {
				t.Errorf("stopped after %d steps: %v", stop, err)
			}
			continue
		}
		if j.Damaged(testDataset) != nil {
			t.Errorf("stopped after %d steps it is there in part: %v", stop, j.Damaged(testDataset))
		}
		if names, err := disk.List("j"); err != nil || strings.Contains(strings.Join(names, " "), testDataset+tmpSuffix) {
			t.Errorf("stopped after %d steps this is left: %v, %v", stop, names, err)
		}
		if _, err := j.Create(testDataset); err != nil {
			t.Errorf("made again: %v", err)
		}
		if err == nil {
			return
		}
	}
	t.Error("it is never finished")
}
