package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

var smallSegments = Options{AnyFilesystem: true, Sync: SyncPolicy{Bytes: maxSyncBytes}, MinSegment: smallestSegment, MaxSegment: smallestSegment}

// fullFor is a disk without room for new files of one kind.
type fullFor struct {
	Disk
	suffix string
	on     *atomic.Bool
}

func (n fullFor) Create(p string) (File, error) {
	if n.on.Load() && strings.HasSuffix(p, n.suffix) {
		return nil, &os.PathError{Op: "open", Path: p, Err: unix.ENOSPC}
	}
	return n.Disk.Create(p)
}

func (n fullFor) beginFull() fullFor {
	n.Disk, n.on = OSDisk{}, &atomic.Bool{}
	n.on.Store(true)
	return n
}

func served(t *testing.T, dir string, o Options) *Dataset {
	t.Helper()
	j := open(t, dir, o)
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal(j.Damaged(testDataset))
	}
	return d
}

// Without room for the log of outliers none are judged; records are taken, acknowledged and synced all the same.
func TestALogThatThereWasNoRoomForHoldsUpNoAck(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "j"), smallSegments
	j := open(t, dir, o)
	mustAppend(t, openWriter(t, create(t, j), "p", "s"), Run{trades, records(trades, 1, 0, 500)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, testDataset, outliersName)); err != nil {
		t.Fatal(err)
	}
	o.Disk = fullFor{suffix: outliersName + tmpSuffix}.beginFull()
	d := served(t, dir, o)
	if !d.outliers.off {
		t.Fatal("there was room")
	}
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 500, 20)})
	if err := d.Present(); err != nil {
		t.Error(err)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// An operator may look at what is in quarantine, and make a directory there.
func TestADirectoryInQuarantineIsNoDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, smallSegments)
	mustAppend(t, openWriter(t, create(t, j), "p", "s"), Run{trades, records(trades, 1, 0, 20)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, testDataset, quarantineDir, "looked-at"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, testDataset, "trades", "00000001.tape"), filepath.Join(t.TempDir(), "backup")); err != nil {
		t.Fatal(err)
	}
	if tail := served(t, dir, smallSegments).Tape(trades).Tail(); tail != 20 {
		t.Errorf("tail %d, want 20", tail)
	}
}

func TestATapHasTheNamesBehindAHurtEntryAsAServerDoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, smallSegments)
	w := openWriter(t, create(t, j), "p", "s")
	for i, symbol := range []string{"AA", "BB", "CC", "DD"} {
		if err := w.Map(uint32(i+1), symbol); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 20)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, testDataset, symbolsName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("BB"))] ^= 1
	if err := os.WriteFile(path, b, 0o640); err != nil {
		t.Fatal(err)
	}
	server, _ := served(t, dir, smallSegments).Symbols().Symbol(4)
	if tap, _ := openTestTap(t, dir).Symbol(4); server != "DD" || tap != "DD" {
		t.Errorf("id 4 is %q to a server and %q to a tap, want DD", server, tap)
	}
}

// All datasets ask whether the directory is still taken: the first one that finds the lock file gone makes another, and the others have it too.
func TestTheLockIsTakenAgainWhoeverAsks(t *testing.T) {
	dir := t.TempDir()
	l, err := OSDisk{}.Lock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 20 {
		if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := l.Held(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

// An older copy that was closed properly is another history; the newer files that it was put back among are kept aside, not removed.
func TestABackupPutBackAmongNewerFilesRemovesNothing(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "j"), filepath.Join(t.TempDir(), "copy")
	j := open(t, dir, smallSegments)
	w := openWriter(t, create(t, j), "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 500)})
	sealAll(t, j.Lookup(testDataset), trades)
	if err := Backup(dir, copied, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Map(7, "X"); err != nil { // a side log is longer than the copy's state page says
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 500, 700)})
	sealAll(t, j.Lookup(testDataset), trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	before := recordsIn(t, filepath.Join(dir, testDataset, "trades"))
	runTool(t, []string{"cp", "-a", "--remove-destination", "FROM/.", "TO/"}, copied, dir)
	d := served(t, dir, smallSegments)
	if tail := d.Tape(trades).Tail(); tail != 500 || len(d.Gaps()) > 0 {
		t.Errorf("tail %d, gaps %+v", tail, d.Gaps())
	}
	after := recordsIn(t, filepath.Join(dir, testDataset, "trades"))
	for r := range recordsIn(t, filepath.Join(dir, testDataset, quarantineDir)) {
		after[r] = true
	}
	for r := range before {
		if !after[r] {
			t.Fatalf("%d of %d records are left, the tape's and those in quarantine", len(after), len(before))
		}
	}
}

// recordsIn is the trades that a directory's segment files hold.
func recordsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	names, err := OSDisk{}.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(name, activeSuffix) && !strings.Contains(name, sealedSuffix) || strings.HasSuffix(name, tmpSuffix) { // the last is made just now
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := OSDisk{}.Open(filepath.Join(dir, name), true)
		if err != nil {
			t.Fatal(err)
		}
		info, err := readSegmentInfo(f, name)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for r := range slices.Chunk(b[info.header:], info.recordSize) {
			if !allZero(r) {
				all[string(r)] = true
			}
		}
	}
	return all
}
