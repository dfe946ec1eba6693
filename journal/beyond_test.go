package journal

import (
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// older is a journal that was cut off from power after its segments were written back, and its state page was not: the page, whose sums are true, knows of
// tails[0], and the files hold records up to tails[1], as acknowledged.
type older struct {
	disk  *MemDisk
	tails [2]map[feed.Schema]uint64
}

func writeOlder(t *testing.T, more int) *older {
	t.Helper()
	v := &older{disk: NewMemDisk()}
	j, err := Open("j", memOptions(v.disk))
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	w := openWriter(t, d, "p1", "s")
	n := uint64(0)
	var page []byte
	for i, count := range []int{100, more} {
		for ; count > 0; count -= 10 {
			mustAppend(t, w, Run{trades, records(trades, 1, n, 7)}, Run{mbp1, records(mbp1, 1, n+7, 3)})
			n += 10
		}
		v.tails[i] = map[feed.Schema]uint64{trades: d.Tape(trades).Tail(), mbp1: d.Tape(mbp1).Tail()}
		if i == 0 {
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			page = contents(v.disk, path.Join("j", testDataset, stateName))
		}
	}
	abandon(j)
	v.disk = v.disk.Clone(true)
	v.disk.node(path.Join("j", testDataset, stateName)).data = page
	return v
}

// inQuarantine is the files there, by what they are.
func inQuarantine(d *MemDisk) map[*memNode]string {
	kept := map[*memNode]string{}
	if dir := d.node(path.Join("j", testDataset, quarantineDir)); dir != nil {
		for name, n := range dir.children {
			kept[n] = name
		}
	}
	return kept
}

// A state page that a power cut left older than its files is trusted, as its sums are true. What lies beyond its tails may have been acknowledged: it is told,
// and the files that hold it are kept and never stored to again.
func TestRecordsBeyondAnOlderStatePageAreKeptAndTold(t *testing.T) {
	for name, more := range map[string]int{"in one segment": 20, "over many": 3000} {
		t.Run(name, func(t *testing.T) {
			v := writeOlder(t, more)
			held := map[*memNode]string{}
			for _, s := range []feed.Schema{trades, mbp1} {
				for _, n := range v.disk.node(path.Join("j", testDataset, s.String())).children {
					held[n] = string(n.data)
				}
			}
			j := open(t, "j", memOptions(v.disk))
			d := j.Lookup(testDataset)
			w := openWriter(t, d, "p1", "s")
			if w.Accepted() != 100 || d.Epoch() == 1 {
				t.Fatalf("the stream counts %d in epoch %d, want 100 in a new one", w.Accepted(), d.Epoch())
			}
			mustAppend(t, w, Run{trades, records(trades, 1, 100, 900)})
			if err := checkStreams(d, map[uint32]uint64{1: 1000}); err != nil {
				t.Error(err)
			}
			kept := inQuarantine(v.disk)
			for n, data := range held {
				if kept[n] != "" && string(n.data) != data {
					t.Errorf("%s has changed", kept[n])
				}
			}
			for s, tail := range v.tails[0] {
				want, found := v.tails[1][s]-tail, 0
				for _, g := range d.Gaps() {
					if g.Schema == s && g.Cause == CauseCut && g.Records == want && seqIn(g.At, s) == tail {
						found++
					}
				}
				if found != 1 {
					t.Errorf("%s: told is %+v, want a cut of %d records at %d", s, d.Gaps(), want, tail)
				}
				whole := 0
				for n, name := range kept {
					if strings.HasPrefix(name, s.String()+".") {
						whole += strings.Count(string(n.data), string(record(s, 1, 0)[:2])+"\x00\x00\x01\x00\x00\x00")
					}
				}
				if uint64(whole) < want {
					t.Errorf("%s: %d records are in quarantine, cut were %d", s, whole, want)
				}
			}
		})
	}
}

// halfBatch is what a kill in mid-append leaves above the tail of trades.
func halfBatch(t *testing.T) (disk *MemDisk, file *memNode) {
	t.Helper()
	disk = NewMemDisk()
	j, err := Open("j", memOptions(disk))
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	mustAppend(t, openWriter(t, d, "p1", "s"), Run{trades, records(trades, 1, 0, 20)})
	s := d.Tape(trades).active
	copy(s.data[s.Offset(20):], records(trades, 1, 20, 30))
	abandon(j)
	return disk, disk.node(path.Join("j", testDataset, "trades", "00000001.tape"))
}

func TestBatchThatAKillLeftHalfCopiedIsNoLoss(t *testing.T) {
	disk, file := halfBatch(t)
	j := open(t, "j", memOptions(disk))
	d := j.Lookup(testDataset)
	if kept := inQuarantine(disk); d.Epoch() != 1 || len(d.Gaps()) > 0 || len(kept) > 0 {
		t.Errorf("after a kill: epoch %d, gaps %+v, in quarantine %v", d.Epoch(), d.Gaps(), kept)
	}
	if !allZero(file.data[headerUnit+20*48:]) {
		t.Error("it is still there: after a power cut it would pass for records that were accepted")
	}
	mustAppend(t, openWriter(t, d, "p1", "s"), Run{trades, records(trades, 1, 20, 5)})
	abandon(j)
	disk = disk.Clone(true)
	d = open(t, "j", memOptions(disk)).Lookup(testDataset)
	if err := checkStreams(d, map[uint32]uint64{1: 25}); err != nil || len(d.Gaps()) > 0 || len(inQuarantine(disk)) > 0 {
		t.Errorf("after another boot: %v, gaps %+v, in quarantine %v", err, d.Gaps(), inQuarantine(disk))
	}
}

// A container that starts again is killed, and sees the same files by another mount: nothing was lost, and what lies above the tail is no gap. It is kept, as
// a volume that was pulled, or rolled back, looks the same.
func TestBatchThatAContainerLeftHalfCopiedIsKeptAndNoGap(t *testing.T) {
	disk, file := halfBatch(t)
	disk.mount++
	before := string(file.data)
	d := open(t, "j", memOptions(disk)).Lookup(testDataset)
	mustAppend(t, openWriter(t, d, "p1", "s"), Run{trades, records(trades, 1, 20, 5)})
	if inQuarantine(disk)[file] == "" || string(file.data) != before {
		t.Error("the file that holds it is not kept as it was")
	}
	if err := checkStreams(d, map[uint32]uint64{1: 25}); err != nil || d.Epoch() == 1 || len(d.Gaps()) > 0 {
		t.Errorf("epoch %d, gaps %+v, %v", d.Epoch(), d.Gaps(), err)
	}
}

// unreadable fails reads of segments beyond an offset.
type unreadable struct {
	*MemDisk
	from int64
}

type unreadableFile struct {
	File
	from int64
}

func (d unreadable) Open(name string, readOnly bool) (File, error) {
	f, err := d.MemDisk.Open(name, readOnly)
	if err == nil && path.Ext(name) == activeSuffix {
		return unreadableFile{f, d.from}, nil
	}
	return f, err
}

func (f unreadableFile) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(b, off)
}

func (d unreadable) Names(name string, f File) (bool, error) {
	if u, ok := f.(unreadableFile); ok {
		f = u.File
	}
	return d.MemDisk.Names(name, f)
}

// What is beyond a tail keeps nobody from what is below, also where the disk does not give it back.
func TestUnreadableBytesBeyondATailAreKeptAndTheRestIsServed(t *testing.T) {
	v := writeOlder(t, 20)
	o := memOptions(nil)
	o.Disk = unreadable{v.disk, headerUnit + int64(v.tails[0][trades])*48}
	j := open(t, "j", o)
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal(j.Damaged(testDataset))
	}
	if got := d.Tape(trades).Tail(); got != v.tails[0][trades] || len(inQuarantine(v.disk)) == 0 {
		t.Errorf("tail %d, want %d; in quarantine %v", got, v.tails[0][trades], inQuarantine(v.disk))
	}
}

// Who changes the owner or the rights of all files after a power cut, as who moves a disk to another machine's users, hides no loss: they are these very files.
func TestRightsChangedAfterAPowerCutHideNoLoss(t *testing.T) {
	v := writeOlder(t, 20)
	for _, n := range v.disk.files() {
		v.disk.restamp(n)
	}
	d := open(t, "j", memOptions(v.disk)).Lookup(testDataset)
	for s, tail := range v.tails[0] {
		lost := uint64(0)
		for _, g := range d.Gaps() {
			if g.Schema == s && g.Cause == CauseCut && seqIn(g.At, s) == tail {
				lost += g.Records
			}
		}
		if want := v.tails[1][s] - tail; lost != want {
			t.Errorf("%s: told is a loss of %d, want %d", s, lost, want)
		}
	}
}

// A copy of a closed journal says that nothing lies beyond its tails. Put back over these very inodes, before the machine starts again, it is not believed: newer
// segments that the copy passed over hold records there.
func TestAClosedCopyPutBackBeforeABootHidesNoNewerRecords(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", memOptions(disk))
	mustAppend(t, openWriter(t, create(t, j), "p1", "s"), Run{trades, records(trades, 1, 0, 100)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	copied := disk.copyFiles("j")
	tape := path.Join("j", testDataset, "trades", "00000001.tape")
	delete(copied, tape)
	j = open(t, "j", memOptions(disk))
	mustAppend(t, openWriter(t, j.Lookup(testDataset), "p1", "s"), Run{trades, records(trades, 1, 100, 50)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	disk.putBack(copied, true, true)
	disk = disk.Clone(true)
	file := disk.node(tape)
	before := string(file.data)
	d := open(t, "j", memOptions(disk)).Lookup(testDataset)
	if err := checkStreams(d, map[uint32]uint64{1: 100}); err != nil {
		t.Error(err)
	}
	if inQuarantine(disk)[file] == "" || string(file.data) != before {
		t.Error("the file that holds 50 records more is not kept as it was")
	}
}
