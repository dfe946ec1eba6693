package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tape whose file must not be stored to goes on in another one, once there is room. Who read the old file must not read there on: bytes lie there that were cut.

// freeze makes a journal in dir of which 20 trades are kept, and "cut!" follows them in the file; it is served from a disk without room for another file.
func freeze(t *testing.T, dir string) (*Dataset, fullFor) {
	t.Helper()
	j := open(t, dir, frozenOptions(OSDisk{}))
	d := create(t, j)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 20)})
	seg, err := d.Tape(trades).Segment(0)
	if err != nil {
		t.Fatal(err)
	}
	off := seg.Offset(20)
	seg.Release()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, testDataset, "trades", "00000001.tape"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("cut!"), 12*30), off); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Chmod(filepath.Join(dir, testDataset, stateName), 0o600); err != nil { // another history begins, and keeps what lies beyond the tail
		t.Fatal(err)
	}
	disk := fullFor{suffix: activeSuffix + tmpSuffix}.beginFull()
	d = served(t, dir, frozenOptions(disk))
	if tape := d.Tape(trades); tape.frozen == nil || tape.Tail() != 20 {
		t.Fatalf("frozen %v, tail %d: this test shows nothing", tape.frozen != nil, tape.Tail())
	}
	return d, disk
}

func frozenOptions(disk Disk) Options {
	return Options{Disk: disk, AnyFilesystem: true, Sync: SyncPolicy{Bytes: maxSyncBytes}, RetryInterval: 20 * time.Millisecond}
}

func TestAReaderOfAFrozenTapeTakesTheNewFileForWhatComesThen(t *testing.T) {
	d, disk := freeze(t, filepath.Join(t.TempDir(), "j"))
	tape := d.Tape(trades)
	seg, err := tape.Segment(20)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Release()
	disk.on.Store(false)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 20, 5)})
	if seg.Limit() > 20 {
		t.Errorf("the old file is read up to record %d, its tape goes on in another from 20 on", seg.Limit())
	}
	again, err := tape.Segment(20)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if got := again.Mapped(20, 25); !bytes.Equal(got, records(trades, 1, 20, 5)) {
		t.Errorf("records 20 to 25 are %q", got[:8])
	}
}

// The state page is the same before and after: nothing there tells a tap that the tail lies in another file now.
func TestATapOfAFrozenTapeTakesTheNewFileForWhatComesThen(t *testing.T) {
	for name, goOn := range map[string]func(t *testing.T, dir string, d *Dataset, disk fullFor) *Dataset{
		"there is room": func(_ *testing.T, _ string, d *Dataset, disk fullFor) *Dataset {
			disk.on.Store(false)
			return d
		},
		"another server has room": func(t *testing.T, dir string, d *Dataset, _ fullFor) *Dataset {
			if err := d.j.Close(); err != nil {
				t.Fatal(err)
			}
			return served(t, dir, frozenOptions(OSDisk{}))
		},
	} {
		for from := range uint64(2) {
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "j")
				d, disk := freeze(t, dir)
				tap := openTestTap(t, dir)
				if err := tap.Seek(10); err != nil {
					t.Fatal(err)
				}
				if from == 1 { // it has read all that there was, and stands at the tail
					if _, _, err := readTap(tap, 20); err != nil {
						t.Fatal(err)
					}
				}
				d = goOn(t, dir, d, disk)
				w := openWriter(t, d, "p", "s")
				for n := uint64(20); n < 50; n += 10 {
					mustAppend(t, w, Run{trades, records(trades, 1, n, 10)})
					if told, _, err := readTap(tap, n+10); err != nil || len(told) > 0 {
						t.Fatalf("missing %v, %v", told, err)
					}
				}
				if err := tap.check(); err != nil {
					t.Errorf("the tap has to be opened again, which this test is not about: %v", err)
				}
			})
		}
	}
}

// notAtFirst is a disk that once has no descriptor for a file that is to be stored to.
type notAtFirst struct {
	Disk
	suffix string
	done   *atomic.Bool
}

func (n notAtFirst) Open(p string, readOnly bool) (File, error) {
	if !readOnly && strings.HasSuffix(p, n.suffix) && !n.done.Swap(true) {
		return nil, &os.PathError{Op: "open", Path: p, Err: unix.EMFILE}
	}
	return n.Disk.Open(p, readOnly)
}

// The preparer closes the old file at any moment: what the sealer cannot read of it then would be taken for damaged.
func TestTheSealerLeavesAFrozenSegmentAlone(t *testing.T) {
	d, _ := freeze(t, filepath.Join(t.TempDir(), "j"))
	old := d.Tape(trades).active
	if again := d.sealRound(); again || old.blocks.Load() != nil {
		t.Errorf("the old file was read, and its index made: %v", again)
	}
}

// A recovery can go back into a segment that was sealed since: what follows the tail there is cut, and may be anything by now.
func TestATapOfAFrozenSealedSegmentIsGivenWhatIsKept(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "j"), filepath.Join(t.TempDir(), "copy")
	o := smallSegments
	j := open(t, dir, o)
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 500)})
	if err := Backup(dir, copied, nil); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 500, 700)})
	sealAll(t, d, trades)
	segs := *d.Tape(trades).segs.Load()
	in := segs[slices.IndexFunc(segs, func(s *Segment) bool { return s.limit > 500 })]
	path, at := segmentPath(in.tape.dir, in.ordinal, sealedSuffix), in.Offset(500)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := OSDisk{}.List(filepath.Join(copied, testDataset))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names { // but for the tapes
		if !strings.HasSuffix(name, "/") {
			cloneFile(t, filepath.Join(copied, testDataset, name), filepath.Join(dir, testDataset, name))
		}
	}
	if err := os.Remove(filepath.Join(dir, testDataset, stateName)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("cut!"), at); err != nil {
		t.Fatal(err)
	}
	f.Close()
	disk := fullFor{suffix: activeSuffix + tmpSuffix}.beginFull()
	o.Disk, o.RetryInterval = notAtFirst{disk, activeSuffix, &atomic.Bool{}}, 20*time.Millisecond
	d = served(t, dir, o)
	if tape := d.Tape(trades); tape.frozen == nil || tape.frozen.path != path || tape.Tail() != 500 {
		t.Fatalf("frozen %+v, tail %d: this test shows nothing", tape.frozen, tape.Tail())
	}
	tap := openTestTap(t, dir)
	if err := tap.Seek(0); err != nil {
		t.Fatal(err)
	}
	if told, _, err := readTap(tap, 500); err != nil || len(told) > 0 {
		t.Fatalf("missing %v, %v", told, err)
	}
	disk.on.Store(false)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 500, 40)})
	if told, _, err := readTap(tap, 540); err != nil || len(told) > 0 {
		t.Fatalf("missing %v, %v", told, err)
	}
}
