package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSlowSyncHoldsNobodyUpUntilTheBoundThenAppendsWait(t *testing.T) {
	const bound = 100 * 48
	disk := NewMemDisk()
	begun, release := make(chan struct{}, 100), make(chan struct{})
	j := open(t, "j", Options{Disk: disk, Sync: SyncPolicy{Each: true}, MaxUnsynced: bound})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 1)})
	eventually(t, "the first record is on disk", func() bool { return w.Synced() == 1 })
	disk.SlowSync(func(path string) {
		if strings.HasSuffix(path, activeSuffix) {
			begun <- struct{}{}
			<-release
		}
	})
	mustAppend(t, w, Run{trades, records(trades, 1, 1, 1)})
	<-begun // from here on the disk hangs
	// Up to the bound an append does not notice, and readers see what it commits.
	if n, err := w.Append([]Run{{trades, records(trades, 1, 2, 99)}}); n != 99 || err != nil {
		t.Fatalf("append while a sync hangs: %d, %v", n, err)
	}
	if got, err := readTape(d.Tape(trades)); err != nil || string(got) != string(records(trades, 1, 0, 101)) {
		t.Errorf("a reader while a sync hangs: %d bytes, %v", len(got), err)
	}
	// At the bound it waits, and nothing is taken that could not be kept.
	if n, err := w.Append([]Run{{trades, records(trades, 1, 101, 1)}}); n != 0 || !errors.Is(err, ErrNotReady) {
		t.Errorf("append beyond the bound: %d, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait while the disk hangs: %v", err)
	}
	if d.Unsynced() != bound || w.Synced() != 1 {
		t.Errorf("%d bytes not on disk, %d records are; want %d and 1", d.Unsynced(), w.Synced(), bound)
	}
	close(release)
	mustAppend(t, w, Run{trades, records(trades, 1, 101, 500)})
	if err := d.Sync(); err != nil || d.Unsynced() != 0 || w.Synced() != 601 {
		t.Errorf("after it passed: %d bytes not on disk, %d records are, %v", d.Unsynced(), w.Synced(), err)
	}
}

func TestRemovedDirectoryIsNoticedBeforeMoreIsAcknowledged(t *testing.T) {
	for name, remove := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"replaced": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"-away"), os.CopyFS(dir, os.DirFS(dir+"-away")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			j, err := Open(dir, Options{MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}, AnyFilesystem: true})
			if err != nil {
				t.Fatal(err)
			}
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "nothing is left to prepare", func() bool { // which would notice first
				d.mu.Lock()
				defer d.mu.Unlock()
				return d.tapes[trades].next != nil
			})
			if err := remove(filepath.Join(dir, testDataset)); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, w, Run{trades, records(trades, 1, 10, 10)})
			if err := d.Sync(); !errors.Is(err, ErrSyncFailed) || !strings.Contains(err.Error(), name) {
				t.Errorf("sync: %v", err)
			}
			if w.Synced() != 10 {
				t.Errorf("%d records are acknowledged as on disk, want the 10 of before", w.Synced())
			}
			// Readers of what is open go on.
			if err := checkStreams(d, map[uint32]uint64{1: 20}); err != nil {
				t.Error(err)
			}
			_ = j.Close() // it says again what Sync said
		})
	}
}

func TestRemovedDirectoryEndsWritingAtTheNextSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j, err := Open(dir, Options{MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}, AnyFilesystem: true, RetryInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	eventually(t, "the directory is removed", func() bool { // a segment may be made while it goes
		return os.RemoveAll(filepath.Join(dir, testDataset)) == nil
	})
	err = appendAll(w, Run{trades, records(trades, 1, 10, 2000)})
	if !errors.Is(err, ErrFault) || errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "removed") {
		t.Errorf("append: %v", err)
	}
	_ = j.Close()
}

func TestClockSteppingBackADayChangesNoOrder(t *testing.T) {
	var clock atomic.Int64 // ns
	clock.Store(time.Now().UnixNano())
	o := memOptions(NewMemDisk())
	o.Now = func() time.Time { return time.Unix(0, clock.Load()) }
	j := open(t, "j", o)
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	for i := range uint64(6) {
		mustAppend(t, w, Run{trades, records(trades, 1, 400*i, 400)})
		if err := w.Gap(Gap{Schema: trades, Records: 1, Cause: "test"}); err != nil {
			t.Fatal(err)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		clock.Add(-int64(24 * time.Hour))
	}
	sealAll(t, d, trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, "j", o).Lookup(testDataset)
	if err := checkStreams(d, map[uint32]uint64{1: 2400}); err != nil {
		t.Error(err)
	}
	for i, g := range d.Gaps() {
		if at := seqIn(g.At, trades); at != 400*uint64(i+1) {
			t.Errorf("gap %d lies at %d", i, at)
		}
	}
	if report, err := verify(o.Disk, "j", nil); err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

func TestUnreadableRecordsAreAHoleAndWritingGoesOn(t *testing.T) {
	j := open(t, "j", memOptions(NewMemDisk()))
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 700)})
	tape := d.Tape(trades)
	seg, err := tape.Segment(300)
	if err != nil {
		t.Fatal(err)
	}
	seg.Unreadable(300, errors.New("input/output error"))
	seg.Release()
	h, ok := tape.NextHole(0)
	if !ok || h.From > 300 || h.To <= 300 || len(d.Gaps()) != 1 || d.Gaps()[0].Records != h.To-h.From {
		t.Errorf("hole %v, ledger %+v", h, d.Gaps())
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 700, 300)})
	all := records(trades, 1, 0, 1000)
	if got, err := readTape(tape); err != nil || string(got) != string(all[:48*h.From])+string(all[48*h.To:]) {
		t.Errorf("what lies around it: %d bytes, %v", len(got), err)
	}
}

// What was committed to files that nobody will find again must not be acknowledged, at either level.
func TestFilesThatWereTakenAwayAreNoticedBeforeTheNextAck(t *testing.T) {
	for name, take := range map[string]func(dir string) error{
		"the dataset removed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, testDataset)) },
		"the dataset moved":   func(dir string) error { return os.Rename(filepath.Join(dir, testDataset), dir+"-away") },
		"the dataset replaced": func(dir string) error {
			dir = filepath.Join(dir, testDataset)
			return errors.Join(os.Rename(dir, dir+"-away"), os.CopyFS(dir, os.DirFS(dir+"-away")))
		},
		"the data directory moved": func(dir string) error { return os.Rename(dir, dir+"-away") },
		"a tape removed":           func(dir string) error { return os.RemoveAll(filepath.Join(dir, testDataset, "trades")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			j, err := Open(dir, Options{Sync: SyncPolicy{Bytes: maxSyncBytes}, AnyFilesystem: true})
			if err != nil {
				t.Fatal(err)
			}
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
			if err := d.Present(); err != nil {
				t.Fatalf("nothing was touched: %v", err)
			}
			if err := take(dir); err != nil {
				t.Fatal(err)
			}
			if err := d.Present(); !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), "somebody re") || !strings.Contains(err.Error(), "restore") {
				t.Errorf("%v, want what happened and the remedy", err)
			}
			if _, err := w.Append([]Run{{trades, records(trades, 1, 10, 1)}}); !errors.Is(err, ErrFault) {
				t.Errorf("more is accepted: %v", err)
			}
			_ = j.Close()
		})
	}
}

// A second gateway on one directory would overwrite what the first one acknowledged.
func TestLockHoldsWhateverIsDoneToTheLockFile(t *testing.T) {
	for name, hurt := range map[string]func(lock string) error{
		"removed": os.Remove,
		"renamed": func(lock string) error { return os.Rename(lock, lock+".old") },
		"replaced": func(lock string) error {
			return errors.Join(os.Remove(lock), os.WriteFile(lock, []byte("1\n"), fileMode))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			o := Options{AnyFilesystem: true}
			j := open(t, dir, o)
			d := create(t, j)
			if err := hurt(filepath.Join(dir, lockName)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, o); !errors.Is(err, ErrLocked) {
				t.Errorf("a second one: %v", err)
			}
			if name == "renamed" {
				return // it is still ours, and the directory is
			}
			if err := d.Present(); err != nil {
				t.Errorf("the first one: %v", err)
			}
			// A release that knows the file alone is kept out again.
			f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
				t.Errorf("the lock file can be locked: %v", err)
			}
		})
	}
}

// An older release, which locks the file alone, came in before we looked: two would write.
func TestLockFileThatAnotherProcessTookEndsWriting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, Options{AnyFilesystem: true})
	d := create(t, j)
	lock := filepath.Join(dir, lockName)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := d.Present(); !errors.Is(err, ErrFault) || !errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
}
