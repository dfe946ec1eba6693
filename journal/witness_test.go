package journal

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// putBackTools are how operators put a copy back over the files that are there.
var putBackTools = [][]string{
	{"cp", "-a", "FROM/.", "TO/"},
	{"cp", "-r", "FROM/.", "TO/"},
	{"rsync", "-a", "FROM/", "TO/"},
	{"rsync", "-a", "--delete", "FROM/", "TO/"},
	{"rsync", "-a", "--inplace", "FROM/", "TO/"},
}

func runTool(t *testing.T, tool []string, from, to string) {
	t.Helper()
	args := []string{}
	for _, a := range tool[1:] {
		args = append(args, strings.NewReplacer("FROM", from, "TO", to).Replace(a))
	}
	if out, err := exec.Command(tool[0], args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", tool, err, out)
	}
}

// age sets the times of a copy back, as if it had been made an hour ago: rsync leaves alone what has the same size and the same second. So it does with the witness,
// of which the copy has the very times.
func age(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == witnessName {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(p, time.Time{}, st.ModTime().Add(-time.Hour))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Boot, mount, device and inodes are those of the files that were copied over, and all sums are true: numbers that were given after the copy must not be given
// again in the same epoch.
func TestCopyThatIsPutBackInPlaceIsAnotherHistory(t *testing.T) {
	for _, tool := range putBackTools {
		t.Run(strings.Join(tool[:len(tool)-2], " "), func(t *testing.T) {
			if _, err := exec.LookPath(tool[0]); err != nil {
				t.Skipf("%s is not installed", tool[0])
			}
			for name, running := range map[string]bool{"copied while it ran": true, "copied when it was closed": false} {
				putBackInPlace(t, tool, name, running)
			}
		})
	}
}

func putBackInPlace(t *testing.T, tool []string, name string, running bool) {
	t.Helper()
	dir, copied := filepath.Join(t.TempDir(), "j"), filepath.Join(t.TempDir(), "copy")
	o := Options{AnyFilesystem: true, Sync: SyncPolicy{Bytes: maxSyncBytes}, MinSegment: smallestSegment, MaxSegment: smallestSegment}
	j := open(t, dir, o)
	d := create(t, j)
	epoch := d.Epoch()
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 500)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if !running {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a copy", func() bool { // cp says so when a file has gone that was made just then
		err := os.RemoveAll(copied)
		return err == nil && exec.Command("cp", "-a", dir, copied).Run() == nil
	})
	age(t, copied)
	if !running {
		j = open(t, dir, o)
		w = openWriter(t, j.Lookup(testDataset), "p", "s")
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 500, 700)})
	sealAll(t, j.Lookup(testDataset), trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	runTool(t, tool, copied, dir)
	tap, err := OpenTap(dir, testDataset, trades)
	if err != nil || tap.Tail() != 500 {
		t.Errorf("%s: a tap: %v", name, err)
	} else {
		tap.Close()
	}
	j = open(t, dir, o)
	if d = j.Lookup(testDataset); d == nil {
		t.Fatalf("%s: %v", name, j.Damaged(testDataset))
	}
	if tail := d.Tape(trades).Tail(); tail != 500 || d.Epoch() == epoch || len(d.Gaps()) > 0 {
		t.Errorf("%s: tail %d in epoch %d, gaps %+v; want 500 in another epoch than %d", name, tail, d.Epoch(), d.Gaps(), epoch)
	}
	// Other records get the numbers of those after the copy.
	w = openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 500, 40)})
	if err := checkStreams(d, map[uint32]uint64{1: 540}); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("%s: verify: %v, %v", name, r.Problems, err)
	}
}

// Nothing of this makes a copy: the epoch goes on.
func TestRestartsAndMovesOfADirectoryAreTheSameHistory(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		o := memOptions(nil)
		o.Disk, o.AnyFilesystem = disk, true
		if _, real := disk.(OSDisk); real {
			dir = filepath.Join(dir, "j")
		}
		j := open(t, dir, o)
		n := uint64(0)
		d := create(t, j)
		for i, end := range []string{"closed", "killed", "killed", "moved", "killed", "closed"} {
			mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, n, 60)})
			n += 60
			if end == "killed" {
				abandon(j)
			} else if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if end == "moved" {
				if err := disk.Rename(dir, dir+"-moved"); err != nil {
					t.Fatal(err)
				}
				dir += "-moved"
			}
			j = open(t, dir, o)
			d = j.Lookup(testDataset)
			if err := checkStreams(d, map[uint32]uint64{1: n}); err != nil || d.Epoch() != 1 {
				t.Fatalf("%s, step %d: epoch %d, want 1; %v", end, i, d.Epoch(), err)
			}
		}
	})
}

// What changes a ctime alone may be a copy with its times set back. It is not, and costs an epoch, once: nothing is cut, no gap is told.
func TestLinkOrRightsOfTheStatePageCostAnEpochAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	o := memOptions(nil)
	o.Disk, o.AnyFilesystem = OSDisk{}, true
	j := open(t, dir, o)
	mustAppend(t, openWriter(t, create(t, j), "p", "s"), Run{trades, records(trades, 1, 0, 60)})
	abandon(j)
	eventually(t, "the kernel's clock to go on", func() bool {
		if err := os.Chmod(filepath.Join(dir, testDataset, stateName), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := OSDisk{}.Open(filepath.Join(dir, testDataset, stateName), true)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		stamp, err := f.Stamp()
		return err == nil && stamp.Changed != stamp.Written
	})
	for range 2 {
		j = open(t, dir, o)
		d := j.Lookup(testDataset)
		if err := checkStreams(d, map[uint32]uint64{1: 60}); err != nil || d.Epoch() != 2 || len(d.Gaps()) > 0 {
			t.Errorf("epoch %d, want 2; gaps %+v, %v", d.Epoch(), d.Gaps(), err)
		}
		abandon(j)
	}
}

// The trace of a copy in the times of the state page must outlive an opening that fails, wherever it does.
func TestFailedOpeningHidesNoCopy(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", memOptions(disk))
	w := openWriter(t, create(t, j), "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 60)})
	abandon(j)
	files := disk.copyFiles("j")
	j = open(t, "j", memOptions(disk))
	mustAppend(t, openWriter(t, j.Lookup(testDataset), "p", "s"), Run{trades, records(trades, 1, 60, 60)})
	abandon(j)
	disk.putBack(files, true, true) // the witness is not touched
	for nth := 1; ; nth++ {
		again, steps := disk.Clone(false), 0
		again.Fault(func(string, string) error {
			if steps++; steps == nth {
				return syscall.ENOSPC
			}
			return nil
		})
		if j, err := Open("j", wholeOptions(again)); err == nil {
			abandon(j)
		}
		again.Fault(nil)
		j, err := Open("j", wholeOptions(again))
		if err != nil {
			t.Fatal(err)
		}
		if d := j.Lookup(testDataset); d == nil || d.Epoch() == 1 {
			t.Fatalf("an opening failed at step %d, and the next one goes on in epoch 1: %v", nth, j.Damaged(testDataset))
		}
		abandon(j)
		if steps < nth {
			return
		}
	}
}

// runningGolden is a dataset that an earlier release left by a kill, on the machine that it ran on, and what its state page holds.
func runningGolden(t *testing.T) (disk *MemDisk, state string, id Identity, epoch uint64) {
	t.Helper()
	disk = NewMemDisk()
	unpackGolden(t, disk, "j", "v2-running")
	state = path.Join("j", testDataset, stateName)
	id, epoch, err := checkState(contents(disk, state))
	if err != nil {
		t.Fatal(err)
	}
	disk.boot, disk.node(state).inode = uint64(id.BootID[0]), id.Inode
	return disk, state, id, epoch
}

// A page of an earlier release has no witness: after a kill its epoch goes on, with one, and from then on a copy of what was is told.
func TestPageOfAnEarlierReleaseIsGivenAWitness(t *testing.T) {
	disk, state, id, epoch := runningGolden(t)
	files := disk.copyFiles("j")
	j := open(t, "j", memOptions(disk))
	d := j.Lookup(testDataset)
	if w := (&statePage{b: contents(disk, state)}).witness(); d.Epoch() != epoch || w == (witness{}) {
		t.Errorf("epoch %d, want %d; witness %+v", d.Epoch(), epoch, w)
	}
	abandon(j)
	disk.putBack(files, false, false)
	disk.node(state).inode = id.Inode // which was used again
	if d := open(t, "j", memOptions(disk)).Lookup(testDataset); d.Epoch() == epoch {
		t.Error("a copy of before is taken for what the later release wrote")
	}
}

// Space that was allocated and not stored to is passed over; no store is, be it in a mapping that no sync has covered.
func TestHolesHideNoStore(t *testing.T) {
	f, err := OSDisk{}.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size, at = 64 << 20, 40<<20 + 5000
	if err := errors.Join(f.Allocate(size), f.Sync()); err != nil {
		t.Fatal(err)
	}
	m, err := f.Map(size)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Unmap()
	m.Bytes()[at] = 1
	for range 2 { // in the page cache, and on disk
		first, err := f.NextData(0)
		behind, errBehind := f.NextData(at + pageSize)
		if err != nil || errBehind != nil || first > at || behind < at {
			t.Errorf("the first data may be at %d, and behind %d at %d, a byte is at %d: %v, %v", first, at+pageSize, behind, at, err, errBehind)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// Without room for a page with a witness the one that there is goes on, in its epoch, and takes records. The opening that has room makes it.
func TestPageWithoutAWitnessGoesOnOnAFullDisk(t *testing.T) {
	disk, state, _, epoch := runningGolden(t)
	disk.Fault(func(op, p string) error {
		if op == "allocate" && p == state+tmpSuffix {
			return syscall.ENOSPC
		}
		return nil
	})
	for i, wants := range []bool{false, false, true} {
		if wants {
			disk.Fault(nil)
		}
		d := served(t, "j", memOptions(disk))
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, w.Accepted(), 10)})
		if has := (&statePage{b: contents(disk, state)}).witness() != (witness{}); d.Epoch() != epoch || has != wants {
			t.Errorf("opening %d: epoch %d, want %d; it has a witness: %v, want %v", i, d.Epoch(), epoch, has, wants)
		}
		abandon(d.j)
	}
}
