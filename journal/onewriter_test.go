package journal

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// linkTree copies a directory as cp -al does: every file of the copy is one of the original's, under a second name.
func linkTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, _ := filepath.Rel(from, path)
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, below), dirMode)
		}
		return os.Link(path, filepath.Join(to, below))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// treeBytes is every file below dir, by its path there.
func treeBytes(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A dataset's directory that is mounted into a second data directory is one directory: the second gateway would store over what the first one acknowledged.
func TestDatasetThatIsServedElsewhereIsNotServedUntilItIsFree(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "j"), Options{AnyFilesystem: true}
	j := open(t, dir, o)
	mustAppend(t, openWriter(t, create(t, j), "p", "s"), Run{trades, records(trades, 1, 0, 100)})
	if _, err := j.Create("OTHER"); err != nil {
		t.Fatal(err)
	}
	elsewhere := func() error { // what a gateway does that has the directory under another path
		lock, err := OSDisk{}.LockDir(filepath.Join(dir, testDataset))
		if err == nil {
			lock.Close()
		}
		return err
	}
	if err := elsewhere(); !errors.Is(err, ErrLocked) {
		t.Fatalf("while it is served: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := OSDisk{}.LockDir(filepath.Join(dir, testDataset))
	if err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
	before := treeBytes(t, filepath.Join(dir, testDataset))
	if err := RemoveDataset(dir, testDataset); !errors.Is(err, ErrLocked) {
		t.Errorf("remove at rest: %v", err)
	}
	j = open(t, dir, o)
	if j.Lookup(testDataset) != nil || j.Lookup("OTHER") == nil {
		t.Fatal("it is served all the same, or the other one is not")
	}
	why := j.Damaged(testDataset)
	if !errors.Is(why, ErrLocked) || !strings.Contains(why.Error(), "another gateway serves these files") || !strings.Contains(why.Error(), "unmount") {
		t.Errorf("%v, want cause and remedy", why)
	}
	if _, err := j.Create(testDataset); !errors.Is(err, ErrLocked) {
		t.Errorf("create: %v", err)
	}
	if err := j.Remove(testDataset); !errors.Is(err, ErrLocked) {
		t.Errorf("remove: %v", err)
	}
	if !maps.Equal(before, treeBytes(t, filepath.Join(dir, testDataset))) {
		t.Error("its files were changed")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, o)
	lock.Close()
	eventually(t, "it is served", func() bool { return j.Lookup(testDataset) != nil })
	if err := checkStreams(j.Lookup(testDataset), map[uint32]uint64{1: 100}); err != nil {
		t.Error(err)
	}
	if err := elsewhere(); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is served again: %v", err)
	}
}

// A copy by cp -al of a running directory has the very state page that the gateway commits by.
func TestHardLinkedCopyOfARunningDirectoryWaitsForItsEndThenBothGoOn(t *testing.T) {
	root, o := t.TempDir(), Options{AnyFilesystem: true}
	here, there := filepath.Join(root, "here"), filepath.Join(root, "there")
	j := open(t, here, o)
	w := openWriter(t, create(t, j), "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 100)})
	linkTree(t, filepath.Join(here, testDataset), filepath.Join(there, testDataset))
	copied := open(t, there, o)
	if why := copied.Damaged(testDataset); !errors.Is(why, ErrLocked) || !strings.Contains(why.Error(), "hard links") {
		t.Fatalf("the copy of what runs: %v", why)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 100, 50)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy is served", func() bool { return copied.Lookup(testDataset) != nil })
	j = open(t, here, o)
	for _, one := range []*Journal{j, copied} {
		d := one.Lookup(testDataset)
		if d == nil {
			t.Fatal(one.Damaged(testDataset))
		}
		w := openWriter(t, d, "p", "s")
		if w.Accepted() != 150 {
			t.Errorf("%d records are accepted, want 150", w.Accepted())
		}
		mustAppend(t, w, Run{trades, records(trades, 1, 150, 20)})
		if err := d.Sync(); err != nil {
			t.Error(err)
		}
	}
	a, b := j.Lookup(testDataset), copied.Lookup(testDataset)
	if a.Epoch() == b.Epoch() {
		t.Errorf("both go on in epoch %d: (epoch, seq) names two records", a.Epoch())
	}
	for _, d := range []*Dataset{a, b} {
		if err := checkStreams(d, map[uint32]uint64{1: 170}); err != nil {
			t.Error(err)
		}
	}
}

// Nothing that is stored through one name may be seen through the other: a copy of hard links is begun from, entered to, sealed and closed, and the original stays
// as it is, byte for byte.
func TestHardLinkedCopyIsNeverStoredToInTheOriginal(t *testing.T) {
	root := t.TempDir()
	o := Options{AnyFilesystem: true, MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}, RetryInterval: time.Millisecond}
	j := open(t, filepath.Join(root, "runs"), o)
	running := create(t, j)
	mustAppend(t, openWriter(t, running, "p", "s"), Run{trades, records(trades, 1, 0, 800)})
	eventually(t, "nothing is left to prepare", func() bool { // or a file goes while it is copied
		running.mu.Lock()
		defer running.mu.Unlock()
		return running.tapes[trades].next != nil
	})
	original := filepath.Join(root, "original") // as killed: two segments are full and not sealed
	if err := os.CopyFS(original, os.DirFS(filepath.Join(root, "runs"))); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	linkTree(t, original, filepath.Join(root, "copy"))
	before := treeBytes(t, original)
	if before[testDataset+"/trades/00000002.tape"] == "" {
		t.Fatal("no segment is full and not sealed")
	}
	j = open(t, filepath.Join(root, "copy"), o)
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal(j.Damaged(testDataset))
	}
	w := openWriter(t, d, "q", "new")
	if _, err := w.Instrument(Instrument{Symbol: "AAPL"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Gap(Gap{Schema: trades, Records: 1, Cause: "test"}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 2, 0, 800)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	sealAll(t, d, trades)
	if err := checkStreams(d, map[uint32]uint64{1: 800, 2: 800}); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for path, was := range treeBytes(t, original) {
		if was != before[path] && !strings.HasSuffix(path, lockName) {
			t.Errorf("%s is not what it was", path)
		}
	}
	d = open(t, original, o).Lookup(testDataset)
	if err := checkStreams(d, map[uint32]uint64{1: 800}); err != nil {
		t.Error(err)
	}
}

// Where segments alone were linked, beside copies of the other files, an opening goes on in them, see isCopys. What was committed when the copy was made is there all
// the same, whatever the original stores behind it, and both go on in files of their own once the copy is opened.
func TestCopyWithLinkedSegmentsKeepsWhatWasCommitted(t *testing.T) {
	for name, more := range map[string]int{"as it was": 0, "in use": 5, "filled and sealed": 400} { // the linked segment, when the copy is opened
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			o := Options{AnyFilesystem: true, MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}}
			here, there := filepath.Join(root, "here"), filepath.Join(root, "there")
			j := open(t, here, o)
			d := create(t, j)
			mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 500)})
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "nothing is left to prepare", func() bool {
				d.mu.Lock()
				defer d.mu.Unlock()
				return d.tapes[trades].next != nil
			})
			abandon(j)
			if err := os.CopyFS(filepath.Join(there, testDataset), os.DirFS(filepath.Join(here, testDataset))); err != nil {
				t.Fatal(err)
			}
			tape := filepath.Join(there, testDataset, "trades")
			if err := os.RemoveAll(tape); err != nil {
				t.Fatal(err)
			}
			linkTree(t, filepath.Join(here, testDataset, "trades"), tape)
			epoch := d.Epoch()
			if d = served(t, here, o); d.Epoch() != epoch {
				t.Fatal("another epoch has begun: this test shows nothing")
			}
			grow(t, d, 1, more)
			copied := served(t, there, o)
			if err := checkStreams(copied, map[uint32]uint64{1: 500}); err != nil {
				t.Errorf("the copy: %v", err)
			}
			grow(t, copied, 2, 5)
			grow(t, d, 1, 500)
			grow(t, copied, 2, 400)
			if err := checkStreams(d, map[uint32]uint64{1: uint64(1000 + more)}); err != nil {
				t.Error(err)
			}
			if err := checkStreams(copied, map[uint32]uint64{1: 500, 2: 405}); err != nil {
				t.Errorf("the copy: %v", err)
			}
		})
	}
}

// grow appends n records of a stream, and has all sealed that can be.
func grow(t *testing.T, d *Dataset, stream uint32, n int) {
	t.Helper()
	w := openWriter(t, d, "p", strings.Repeat("s", int(stream)))
	mustAppend(t, w, Run{trades, records(trades, stream, w.Accepted(), n)})
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	sealAll(t, d, trades)
}

// One name in the same data directory is one name too many: each dataset goes on in its own files.
func TestHardLinkedDatasetsOfOneDirectoryAreTwo(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "j"), Options{AnyFilesystem: true}
	j := open(t, dir, o)
	mustAppend(t, openWriter(t, create(t, j), "p", "s"), Run{trades, records(trades, 1, 0, 100)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	linkTree(t, filepath.Join(dir, testDataset), filepath.Join(dir, "COPY"))
	j = open(t, dir, o)
	for i, name := range []string{testDataset, "COPY"} {
		w := openWriter(t, j.Lookup(name), "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, w.Accepted(), 10*(i+1))})
	}
	for i, name := range []string{testDataset, "COPY"} {
		if err := checkStreams(j.Lookup(name), map[uint32]uint64{1: 100 + 10*uint64(i+1)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j.Lookup(testDataset).Epoch() == j.Lookup("COPY").Epoch() {
		t.Error("both go on in one epoch")
	}
}
