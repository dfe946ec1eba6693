package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFullDiskIsAStateThatPasses(t *testing.T) {
	disk := NewMemDisk()
	o := Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment, RetryInterval: time.Millisecond}
	j := open(t, "j", o)
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	disk.Limit(disk.Used())
	n := fill(t, w, 10)
	eventually(t, "the state", func() bool { return errors.Is(d.Err(), ErrDiskFull) })
	if _, err := w.Append([]Run{{trades, record(trades, 1, n)}}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("append on a full disk: %v", err)
	}
	// Readers, and another process's look, go on; so does a restart.
	if err := checkStreams(d, map[uint32]uint64{1: n}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait on a full disk: %v", err)
	}
	restarted := disk.Clone(false)
	restarted.Limit(restarted.Used())
	o2 := o
	o2.Disk = restarted
	d2 := open(t, "j", o2).Lookup(testDataset)
	if err := checkStreams(d2, map[uint32]uint64{1: n}); err != nil {
		t.Errorf("after a restart on a full disk: %v", err)
	}
	disk.Limit(-1)
	mustAppend(t, w, Run{trades, records(trades, 1, n, 1000)})
	if err := checkStreams(d, map[uint32]uint64{1: n + 1000}); err != nil {
		t.Error(err)
	}
	eventually(t, "the state to pass", func() bool { return d.Err() == nil })
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// Room for many records must not be refused because it is not enough for a segment of the size that the tape's rate asks for.
func TestFullDiskIsUsedUpBySmallerSegmentsAndTheyGrowAgain(t *testing.T) {
	for _, room := range []int64{diskReserve + 3<<20, diskReserve + 100<<10, diskReserve + smallestSegment} {
		disk := NewMemDisk()
		j := open(t, "j", Options{Disk: disk, MinSegment: 1 << 20, MaxSegment: 16 << 20, RetryInterval: time.Millisecond})
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
		eventually(t, "the next segment is there", func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.tapes[trades].next != nil
		})
		before := disk.Used()
		disk.Limit(before + room)
		n := fill(t, w, 10)
		if left := room - (disk.Used() - before); left >= diskReserve+smallestSegment {
			t.Errorf("with room for %d bytes records wait though %d are left", room, left)
		}
		if least := uint64(room-diskReserve) / 48 / 2; n < least {
			t.Errorf("room for %d bytes took %d records, want %d at least", room, n, least)
		}
		if err := d.Sync(); err != nil {
			t.Errorf("a sync on the full disk: %v", err)
		}
		disk.Limit(-1)
		mustAppend(t, w, Run{trades, records(trades, 1, n, 200_000)})
		if err := checkStreams(d, map[uint32]uint64{1: n + 200_000}); err != nil {
			t.Error(err)
		}
		segs := *d.Tape(trades).segs.Load()
		if last := segs[len(segs)-1]; last.Offset(last.limit) < 1<<20-headerUnit {
			t.Errorf("with room again the newest segment has %d bytes", last.Offset(last.limit))
		}
	}
}

// fill appends until the disk is full and says how many records of stream 1 there are.
func fill(t *testing.T, w *Writer, n uint64) uint64 {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		got, err := w.Append([]Run{{trades, records(trades, 1, n, 20)}})
		n += uint64(got)
		if errors.Is(err, ErrDiskFull) {
			return n
		}
		if err != nil && !errors.Is(err, ErrNotReady) {
			t.Fatal(err)
		}
	}
	t.Fatal("the disk does not fill")
	return 0
}

func TestFullTmpfsNeitherKillsNorLosesAndRecoversWithoutRestart(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("cannot mount a small tmpfs here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, filepath.Join(dir, "j"), Options{MinSegment: 256 << 10, MaxSegment: 256 << 10})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	n := fill(t, w, 0)
	if _, err := j.Create("OTHER"); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Errorf("creating a dataset on a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, n, 5000)})
	if err := checkStreams(d, map[uint32]uint64{1: n + 5000}); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestFailedSyncEndsWritingForGoodAndReadersGoOn(t *testing.T) {
	for _, file := range []string{".tape", syncLogName} {
		t.Run(file, func(t *testing.T) {
			disk := NewMemDisk()
			j := open(t, "j", memOptions(disk))
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, w, Run{trades, records(trades, 1, 10, 10)})
			disk.Fault(func(op, path string) error {
				if op == "sync" && (filepath.Ext(path) == file || filepath.Base(path) == file) {
					return syscall.EIO
				}
				return nil
			})
			if err := d.Sync(); !errors.Is(err, ErrSyncFailed) {
				t.Fatalf("sync: %v", err)
			}
			disk.Fault(nil) // the next one would succeed, and prove nothing
			if err := d.Sync(); !errors.Is(err, ErrSyncFailed) {
				t.Errorf("second sync: %v", err)
			}
			if n, err := w.Append([]Run{{trades, records(trades, 1, 20, 1)}}); n != 0 || !errors.Is(err, ErrSyncFailed) {
				t.Errorf("append: %d, %v", n, err)
			}
			if err := w.Wait(context.Background()); !errors.Is(err, ErrSyncFailed) {
				t.Errorf("wait: %v", err)
			}
			if w.Accepted() != 20 || w.Synced() != 10 {
				t.Errorf("accepted %d synced %d, want 20 and 10", w.Accepted(), w.Synced())
			}
			if err := checkStreams(d, map[uint32]uint64{1: 20}); err != nil {
				t.Error(err)
			}
			if err := j.Close(); !errors.Is(err, ErrSyncFailed) {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestFullDiskUnderTheSyncLogOnlyDelaysSyncs(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", memOptions(disk))
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	d.syncLog.span = syncLogSpan // a fresh log is due
	disk.Fault(func(op, path string) error {
		if op == "allocate" && filepath.Ext(path) == tmpSuffix {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := d.Sync(); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("sync: %v", err)
	}
	if w.Synced() != 0 {
		t.Errorf("synced %d without an entry", w.Synced())
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 10, 10)})
	disk.Fault(nil)
	if err := d.Sync(); err != nil || w.Synced() != 20 {
		t.Errorf("sync with room again: %v, synced %d, want 20", err, w.Synced())
	}
	abandon(j)
	d = open(t, "j", memOptions(disk.Clone(true))).Lookup(testDataset)
	if err := checkStreams(d, map[uint32]uint64{1: 20}); err != nil {
		t.Error(err)
	}
}

func TestFaultInMappedMemoryEndsWritingNotTheProcess(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{MinSegment: 256 << 10})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	// Somebody else cuts the live file.
	if err := os.Truncate(segmentPath(d.Tape(trades).dir, 1, activeSuffix), 8192); err != nil {
		t.Fatal(err)
	}
	_, err := w.Append([]Run{{trades, records(trades, 1, 10, 1000)}})
	if !errors.Is(err, ErrFault) {
		t.Fatalf("append: %v", err)
	}
	if w.Accepted() != 10 || d.Tape(trades).Tail() != 10 {
		t.Errorf("accepted %d, tail %d, want 10", w.Accepted(), d.Tape(trades).Tail())
	}
	if !errors.Is(d.Err(), ErrFault) {
		t.Errorf("state: %v", d.Err())
	}
	if err := j.Close(); !errors.Is(err, ErrFault) {
		t.Errorf("close: %v", err)
	}
}

// TestADiskThatTakesNoEntriesIsNoticedWithoutRecords: nobody publishes, so no sync fails; the first who comes finds out, and the operator is told.
func TestADiskThatTakesNoEntriesIsNoticedWithoutRecords(t *testing.T) {
	disk := NewMemDisk()
	d := create(t, open(t, "j", memOptions(disk)))
	openWriter(t, d, "p", "s")
	disk.Fault(func(op, path string) error {
		if op == "write" && filepath.Base(path) == streamsName {
			return syscall.EIO
		}
		return nil
	})
	if _, err := d.OpenWriter(WriterOptions{Producer: "p2", Stream: "s"}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a new stream: %v", err)
	}
	if err := d.Err(); !errors.Is(err, ErrFault) || !errors.Is(err, syscall.EIO) {
		t.Errorf("the dataset says %v", err)
	}
	disk.Fault(nil)
	openWriter(t, d, "p2", "s")
	if err := d.Err(); err != nil {
		t.Errorf("after the disk has come back it says %v", err)
	}
}
