package journal

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// written is a journal on a heap-backed disk with two streams over two tapes: synced up to some point, then more.
type written struct {
	disk        *MemDisk
	synced, all map[uint32]uint64
	syncedTails [2]uint64 // trades, mbp1
}

func memOptions(disk *MemDisk) Options {
	return Options{Disk: disk, Sync: SyncPolicy{Bytes: maxSyncBytes}, MinSegment: smallestSegment, MaxSegment: 32 << 10}
}

// write makes such a journal and leaves it as a kill would.
func write(t *testing.T, batches, unsyncedBatches int) *written {
	t.Helper()
	v := &written{disk: NewMemDisk(), synced: map[uint32]uint64{}, all: map[uint32]uint64{}}
	j, err := Open("j", memOptions(v.disk))
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	w := [2]*Writer{openWriter(t, d, "p1", "s"), openWriter(t, d, "p2", "s")}
	step := func(i int) {
		id := uint32(1 + i%2)
		n := v.all[id]
		mustAppend(t, w[id-1], Run{trades, records(trades, id, n, 9)}, Run{mbp1, records(mbp1, id, n+9, 4)})
		v.all[id] = n + 13
	}
	for i := range batches {
		step(i)
		if i%5 == 4 || i == batches-1 {
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for id, n := range v.all {
		v.synced[id] = n
		if got := w[id-1].Synced(); got != n {
			t.Fatalf("synced %d of %d", got, n)
		}
	}
	v.syncedTails = [2]uint64{d.Tape(trades).Tail(), d.Tape(mbp1).Tail()}
	for i := range unsyncedBatches {
		step(i)
	}
	abandon(j)
	return v
}

// accepted is the counts that producers are told.
func accepted(t *testing.T, d *Dataset) map[uint32]uint64 {
	t.Helper()
	counts := map[uint32]uint64{}
	for id := uint32(1); id <= 2; id++ {
		counts[id] = openWriter(t, d, fmt.Sprint("p", id), "s").Accepted()
	}
	return counts
}

func TestKillWithUnsyncedRecordsCutsNothing(t *testing.T) {
	v := write(t, 30, 7)
	d := open(t, "j", memOptions(v.disk.Clone(false))).Lookup(testDataset)
	if err := checkStreams(d, v.all); err != nil {
		t.Fatal(err)
	}
	if got := accepted(t, d); got[1] != v.all[1] || got[2] != v.all[2] || d.Epoch() != 1 {
		t.Errorf("counts %v epoch %d, want %v and 1", got, d.Epoch(), v.all)
	}
}

func TestPowerCutKeepsWhatWasSyncedAndCountsIt(t *testing.T) {
	for name, harm := range map[string]func(*MemDisk){
		"nothing else lost": func(*MemDisk) {},
		"state page gone":   func(d *MemDisk) { d.Remove(path.Join("j", testDataset, stateName)) },
		"state page zero":   func(d *MemDisk) { clear(d.node(path.Join("j", testDataset, stateName)).data) },
		"unsynced lost":     func(d *MemDisk) { loseBeyond(d, 0) },
		"unsynced garbage":  func(d *MemDisk) { loseBeyond(d, 0xA5) },
		"torn sync entry":   tearSyncLog,
		"torn side logs":    tearSideLogs,
	} {
		t.Run(name, func(t *testing.T) {
			v := write(t, 30, 7)
			disk := v.disk.Clone(true)
			harm(disk)
			d := open(t, "j", memOptions(disk)).Lookup(testDataset)
			counts := accepted(t, d)
			if err := checkStreams(d, counts); err != nil {
				t.Fatal(err)
			}
			for id, n := range v.synced {
				if counts[id] != n {
					t.Errorf("stream %d: %d records, %d were synced", id, counts[id], n)
				}
			}
			if d.Epoch() != 2 {
				t.Errorf("epoch %d, want a new one", d.Epoch())
			}
			first := d.Epochs()[1].First
			if seqIn(first, trades) != v.syncedTails[0] || seqIn(first, mbp1) != v.syncedTails[1] {
				t.Errorf("the new epoch begins at %v, want %v", first, v.syncedTails)
			}
			// The tapes take records again, and a reader sees no trace of the cut ones.
			w := openWriter(t, d, "p1", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, counts[1], 50)})
			counts[1] += 50
			if err := checkStreams(d, counts); err != nil {
				t.Error(err)
			}
			if r, err := verify(disk, "j", nil); err != nil || len(r.Problems) > 0 {
				t.Errorf("verify: %v %v", r.Problems, err)
			}
		})
	}
}

// lastPlaces is where the sync log's last entry ends.
func lastPlaces(d *MemDisk) map[int]place {
	entries, _, err := readSyncLog(d, path.Join("j", testDataset))
	if err != nil {
		panic(err)
	}
	return entries[len(entries)-1].places
}

// loseBeyond overwrites whatever lies beyond the last synced tails, and drops segments begun after.
func loseBeyond(d *MemDisk, with byte) {
	for schema, p := range lastPlaces(d) {
		dir := path.Join("j", testDataset, feed.Schema(schema).String())
		for ordinal := p.ordinal; ; ordinal++ {
			n := d.node(segmentPath(dir, ordinal, activeSuffix))
			if n == nil {
				break
			}
			f := &memFile{disk: d, node: n}
			info, err := readSegmentInfo(f, dir)
			if err != nil {
				panic(err)
			}
			from := info.header
			if ordinal == p.ordinal {
				from += int64(p.tail-p.base) * int64(info.recordSize)
			}
			for i := range n.data[from:] {
				n.data[from+int64(i)] = with
			}
		}
	}
}

func tearSyncLog(d *MemDisk) {
	name := path.Join("j", testDataset, syncLogName)
	_, end, err := readSyncLog(d, path.Join("j", testDataset))
	if err != nil {
		panic(err)
	}
	e := (&syncEntry{epoch: 1, places: map[int]place{}, counts: []streamCount{{0, 0xFFFFFFFFFF}}, logs: [numSideLogs]int64{logOutliers: -1}}).append(nil)
	torn := appendFrame(nil, e)
	copy(d.node(name).data[end:], torn[:len(torn)-8])
}

func tearSideLogs(d *MemDisk) {
	for _, name := range []string{symbolsName, streamsName, ledgerName, epochsName, outliersName} {
		n := d.node(path.Join("j", testDataset, name))
		n.data = append(n.data, "half an entry"...)
	}
}

func TestPowerCutThatTookSyncedRecordsStopsAtFirstDamage(t *testing.T) {
	v := write(t, 30, 0)
	disk := v.disk.Clone(true)
	// A lying disk: a record that an entry in the middle vouches for is not there. Nothing behind that entry may be taken, on any tape.
	entries, _, err := readSyncLog(disk, path.Join("j", testDataset))
	if err != nil {
		t.Fatal(err)
	}
	var hit int
	for i, e := range entries[2:] {
		r := e.ranges[0]
		name := segmentPath(path.Join("j", testDataset, r.schema.String()), r.ordinal, activeSuffix)
		if n := disk.node(name); n != nil {
			info, err := readSegmentInfo(&memFile{disk: disk, node: n}, name)
			if err != nil {
				t.Fatal(err)
			}
			n.data[info.header+int64(r.from-info.base)*int64(info.recordSize)+20] ^= 1
			hit = i + 2
			break
		}
	}
	if hit == 0 {
		t.Skip("every range lies in a sealed segment")
	}
	d := open(t, "j", memOptions(disk)).Lookup(testDataset)
	for schema, p := range entries[hit-1].places {
		if got := d.Tape(feed.Schema(schema)).Tail(); got != p.tail {
			t.Errorf("%s ends at %d, want %d of the entry before the damage", feed.Schema(schema), got, p.tail)
		}
	}
	if err := checkStreams(d, accepted(t, d)); err != nil {
		t.Error(err)
	}
}

func TestQuarantineHoldsWhatRecoveryCut(t *testing.T) {
	v := write(t, 30, 7)
	before := open(t, "j", memOptions(v.disk.Clone(false))).Lookup(testDataset)
	disk := v.disk.Clone(true)
	j := open(t, "j", memOptions(disk))
	d := j.Lookup(testDataset)
	dir := path.Join("j", testDataset, quarantineDir)
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []feed.Schema{trades, mbp1} {
		all, err := readTape(before.Tape(s))
		if err != nil {
			t.Fatal(err)
		}
		var kept []byte
		for _, n := range names {
			if strings.HasPrefix(n, s.String()+".") {
				kept = append(kept, contents(disk, path.Join(dir, n))...)
			}
		}
		if want := all[v.syncedTails[i]*uint64(s.RecordSize()):]; string(kept) != string(want) {
			t.Errorf("%s: quarantine holds %d bytes, cut were %d", s, len(kept), len(want))
		}
	}
	gaps := d.Gaps()
	if len(gaps) != 2 || gaps[0].Cause != CauseCut || gaps[0].Records == 0 {
		t.Errorf("ledger: %+v", gaps)
	}
	if m := d.Tape(trades).Marks(); len(m) != 1 || m[0].Seq != v.syncedTails[0] {
		t.Errorf("marks: %+v", m)
	}
	// What was cut is not found a second time.
	abandon(j)
	again := disk.Clone(true)
	open(t, "j", memOptions(again))
	if now, _ := again.List(dir); !slices.Equal(now, names) {
		t.Errorf("quarantine after another power cut: %v, before: %v", now, names)
	}
}

func TestRecoveringTwiceGivesTheSame(t *testing.T) {
	v := write(t, 30, 7)
	for _, reboot := range []bool{false, true} {
		once := v.disk.Clone(reboot)
		j := open(t, "j", memOptions(once))
		d := j.Lookup(testDataset)
		counts, epoch := accepted(t, d), d.Epoch()
		abandon(j)
		d = open(t, "j", memOptions(once.Clone(false))).Lookup(testDataset)
		if got := accepted(t, d); got[1] != counts[1] || got[2] != counts[2] || d.Epoch() != epoch {
			t.Errorf("reboot %v: second recovery gives %v in epoch %d, the first %v in %d", reboot, got, d.Epoch(), counts, epoch)
		}
		if err := checkStreams(d, counts); err != nil {
			t.Error(err)
		}
	}
}

// stopDisk ends the world at its n-th operation that changes something: what follows fails, as if the power had gone.
func TestRecoveryInterruptedAtEachStepIsFinishedByTheNext(t *testing.T) {
	v := write(t, 30, 7)
	errGone := errors.New("power is gone")
	for stop := 0; ; stop++ {
		disk := v.disk.Clone(true)
		steps := 0
		disk.Fault(func(op, _ string) error {
			switch op {
			case "open", "read", "list", "map", "populate":
				return nil
			}
			if steps++; steps > stop {
				return errGone
			}
			return nil
		})
		j, err := Open("j", memOptions(disk))
		if err == nil {
			err = j.Damaged(testDataset)
			abandon(j)
		}
		if err == nil {
			if stop < 20 {
				t.Errorf("recovery took %d steps only: the test does not see them", stop)
			}
			return
		}
		disk.Fault(nil)
		after := disk.Clone(true)
		d := open(t, "j", memOptions(after)).Lookup(testDataset)
		counts := accepted(t, d)
		if counts[1] != v.synced[1] || counts[2] != v.synced[2] {
			t.Fatalf("stopped at step %d: counts %v, synced were %v", stop, counts, v.synced)
		}
		if err := checkStreams(d, counts); err != nil {
			t.Fatalf("stopped at step %d: %v", stop, err)
		}
		if len(d.Gaps()) != 2 {
			t.Fatalf("stopped at step %d: %d gaps, want each told once", stop, len(d.Gaps()))
		}
	}
}

func TestCommitSlotTornAnywhereIsAllOrNothing(t *testing.T) {
	v := write(t, 10, 3)
	name := path.Join("j", testDataset, stateName)
	page := v.disk.node(name).data
	p := &statePage{b: page}
	no := p.load(stateCommit)
	var newest slot
	if err := p.read(&newest); err != nil {
		t.Fatal(err)
	}
	// The next commit, half written into the other slot: it never happened.
	next := newest
	next.count += 5
	next.tapes[0].place.tail += 5
	filled := slices.Clone(page)
	(&statePage{b: filled}).fill(no+1, &next)
	other := stateSlots + int((no+1)&1)*slotBytes
	for cut := 0; cut <= slotHeader+next.n*slotEntry; cut++ {
		disk := v.disk.Clone(false)
		copy(disk.node(name).data[other:], filled[other:other+cut])
		checkRecovered(t, disk, v.all, fmt.Sprintf("slot torn at byte %d", cut))
	}
	// The newest commit, decided but applied only in part: it happened in full. Each word may be the old or the new one.
	words := []int{stateStreams + 8*int(newest.stream)}
	for i := range newest.n {
		at := stateTapes + newest.tapes[i].schema*tapeBytes
		words = append(words, at, at+8, at+16)
	}
	for _, w := range words {
		disk := v.disk.Clone(false)
		torn := &statePage{b: disk.node(name).data}
		torn.store(w, torn.load(w)-min(torn.load(w), 1))
		checkRecovered(t, disk, v.all, fmt.Sprintf("word at %d not applied", w))
	}
}

func checkRecovered(t *testing.T, disk *MemDisk, want map[uint32]uint64, what string) {
	t.Helper()
	j, err := Open("j", memOptions(disk))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer abandon(j)
	d := j.Lookup(testDataset)
	got := accepted(t, d)
	if got[1] != want[1] || got[2] != want[2] || d.Epoch() != 1 {
		t.Fatalf("%s: counts %v in epoch %d, want %v in 1", what, got, d.Epoch(), want)
	}
	if err := checkStreams(d, want); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestProperCloseThenAnotherMachineCutsNothing(t *testing.T) {
	v := write(t, 10, 3)
	disk := v.disk.Clone(false)
	j := open(t, "j", memOptions(disk))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d := open(t, "j", memOptions(disk.Clone(true))).Lookup(testDataset)
	if err := checkStreams(d, v.all); err != nil || d.Epoch() != 1 {
		t.Errorf("epoch %d, %v", d.Epoch(), err)
	}
}

func TestDamageThatCannotBeRecoveredIsRefusedAndLeftAlone(t *testing.T) {
	v := write(t, 10, 3)
	disk := v.disk.Clone(true)
	clear(disk.node(path.Join("j", testDataset, syncLogName)).data)
	for range 2 { // the second opening finds what the first one left alone
		j, err := Open("j", memOptions(disk))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Damaged(testDataset); !errors.Is(err, ErrCorrupt) || j.Lookup(testDataset) != nil {
			t.Errorf("damaged: %v", err)
		}
		if _, err := j.Create(testDataset); !errors.Is(err, ErrCorrupt) {
			t.Errorf("create in place of a damaged dataset: %v", err)
		}
		if _, err := j.Create("OTHER"); err != nil {
			t.Errorf("another dataset: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyOfADirectoryRecoversThroughTheSyncLog(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "j"), memOptions(nil)
	o.Disk = OSDisk{}
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	w := openWriter(t, d, "p1", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 700)}, Run{mbp1, records(mbp1, 1, 700, 10)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 710, 90)})
	abandon(j)
	for name, without := range map[string]string{"whole": "", "without the state page": stateName} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "j")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if without != "" {
				if err := os.Remove(filepath.Join(copied, testDataset, without)); err != nil {
					t.Fatal(err)
				}
			}
			d := open(t, copied, o).Lookup(testDataset)
			if n := openWriter(t, d, "p1", "s").Accepted(); n != 710 || d.Epoch() != 2 {
				t.Errorf("%d records in epoch %d, want the 710 synced ones in a new epoch", n, d.Epoch())
			}
			if err := checkStreams(d, map[uint32]uint64{1: 710}); err != nil {
				t.Error(err)
			}
		})
	}
	// The directory itself is on the same boot: nothing is cut.
	d = open(t, dir, o).Lookup(testDataset)
	if err := checkStreams(d, map[uint32]uint64{1: 800}); err != nil || d.Epoch() != 1 {
		t.Errorf("epoch %d, %v", d.Epoch(), err)
	}
}
