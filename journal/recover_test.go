package journal

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// written is a journal on a heap-backed disk with two streams over two tapes: synced up to some point, then more.
type written struct {
	disk        *MemDisk
	synced, all map[uint32]uint64
	syncedTails [2]uint64 // trades, mbp1
	tails       [2]uint64
}

func memOptions(disk *MemDisk) Options {
	return Options{Disk: disk, Sync: SyncPolicy{Bytes: maxSyncBytes}, MinSegment: smallestSegment, MaxSegment: 32 << 10, nextEpoch: followingEpoch}
}

// followingEpoch numbers epochs one by one, so that a test can say which it wants.
func followingEpoch(last uint64) uint64 { return last + 1 }

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
	if unsyncedBatches > 0 { // needed by what follows
		if err := w[0].Map(1, "ONE"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range unsyncedBatches {
		step(i)
	}
	v.tails = [2]uint64{d.Tape(trades).Tail(), d.Tape(mbp1).Tail()}
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

// What an opening lacks for the moment says nothing of what is on disk: whatever it cannot do for that, the next one finds everything.
func TestShortageDuringAnOpeningCutsNothing(t *testing.T) {
	v := write(t, 30, 7)
	for _, lack := range []error{syscall.EMFILE, syscall.ENOMEM} {
		for nth := 0; ; nth++ {
			disk := v.disk.Clone(false)
			steps := 0
			disk.Fault(func(op, _ string) error {
				if op == "open" || op == "map" {
					if steps++; steps == nth+1 {
						return lack
					}
				}
				return nil
			})
			if j, err := Open("j", wholeOptions(disk)); err == nil {
				abandon(j)
			}
			disk.Fault(nil)
			if steps <= nth {
				if nth < 10 {
					t.Errorf("an opening takes %d steps only: the test does not see them", nth)
				}
				break
			}
			j, err := Open("j", wholeOptions(disk.Clone(false)))
			if err != nil {
				t.Fatalf("%v at step %d: %v", lack, nth, err)
			}
			d := j.Lookup(testDataset)
			if d == nil {
				t.Fatalf("%v at step %d: %v", lack, nth, j.Damaged(testDataset))
			}
			if err := checkStreams(d, v.all); err != nil || len(d.Gaps()) > 0 {
				t.Fatalf("%v at step %d: %v, gaps %v", lack, nth, err, d.Gaps())
			}
			abandon(j)
		}
	}
}

// After a start of the machine, with everything that was stored written back by chance, nothing is missing and nothing is cut. Where anything is, the sync log
// says what is kept.
func TestPowerCutKeepsWhatWasSyncedAndCountsIt(t *testing.T) {
	state := path.Join("j", testDataset, stateName)
	for name, c := range map[string]struct {
		harm func(*MemDisk)
		all  bool // all sums are true all the same
	}{
		"nothing lost":             {func(*MemDisk) {}, true},
		"torn sync entry":          {tearSyncLog, true},
		"torn side logs":           {tearSideLogs, true},
		"state page gone":          {func(d *MemDisk) { d.Remove(state) }, false},
		"state page zero":          {func(d *MemDisk) { clear(d.node(state).data) }, false},
		"unsynced lost":            {func(d *MemDisk) { loseBeyond(d, 0) }, false},
		"unsynced garbage":         {func(d *MemDisk) { loseBeyond(d, 0xA5) }, false},
		"a bit of the last record": {func(d *MemDisk) { flipUnsynced(d) }, false},
		"counts not written back":  {func(d *MemDisk) { clear(d.node(state).data[stateStreams : stateStreams+4096]) }, false},
		"slots torn":               {func(d *MemDisk) { clear(d.node(state).data[stateSlots+64 : stateSlots+2*slotBytes]) }, false},
		"a mapping lost":           {func(d *MemDisk) { cutEnd(d, symbolsName) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := write(t, 30, 7)
			disk := v.disk.Clone(true)
			c.harm(disk)
			d := open(t, "j", memOptions(disk)).Lookup(testDataset)
			counts := accepted(t, d)
			if err := checkStreams(d, counts); err != nil {
				t.Fatal(err)
			}
			want, tails := v.synced, v.syncedTails
			if c.all {
				want, tails = v.all, v.tails
			}
			for id, n := range want {
				if counts[id] != n {
					t.Errorf("stream %d: %d records, want %d", id, counts[id], n)
				}
			}
			if d.Epoch() != 2 {
				t.Errorf("epoch %d, want a new one", d.Epoch())
			}
			first := d.Epochs()[1].First
			if seqIn(first, trades) != tails[0] || seqIn(first, mbp1) != tails[1] {
				t.Errorf("the new epoch begins at %v, want %v", first, tails)
			}
			if gaps := d.Gaps(); c.all && len(gaps) > 0 {
				t.Errorf("nothing was cut, told is %+v", gaps)
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

// flipUnsynced changes a bit of the newest trade.
func flipUnsynced(d *MemDisk) {
	p := (&statePage{b: d.node(path.Join("j", testDataset, stateName)).data}).place(int(trades))
	n := d.node(segmentPath(path.Join("j", testDataset, trades.String()), p.ordinal, activeSuffix))
	n.data[headerUnit+int64(p.tail-p.base)*48-20] ^= 1
}

// cutEnd takes the last entry of a side log.
func cutEnd(d *MemDisk, name string) {
	n := d.node(path.Join("j", testDataset, name))
	n.data = n.data[:len(n.data)-1]
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

// distrusted is what a power cut leaves of a disk when the state page was not written back.
func distrusted(d *MemDisk) *MemDisk {
	c := d.Clone(true)
	clear(c.node(path.Join("j", testDataset, stateName)).data)
	return c
}

// What recovery cuts is told in one entry for each tape, however many segments it lay in, and kept in the very files that held it: not a byte of those
// changes, as a socket may still hold their pages.
func TestCutIsToldExactlyAndItsFilesNeverChange(t *testing.T) {
	for name, unsynced := range map[string]int{"in one segment": 7, "over many": 400} {
		t.Run(name, func(t *testing.T) {
			v := write(t, 30, unsynced)
			disk := distrusted(v.disk)
			before := map[string]*memNode{}
			held := map[*memNode]string{}
			for i, s := range []feed.Schema{trades, mbp1} {
				for ordinal := lastPlaces(disk)[int(s)].ordinal; ; ordinal++ {
					p := segmentPath(path.Join("j", testDataset, s.String()), ordinal, activeSuffix)
					n := disk.node(p)
					if n == nil {
						break
					}
					before[p], held[n] = n, string(n.data)
				}
				_ = i
			}
			j := open(t, "j", memOptions(disk))
			d := j.Lookup(testDataset)
			w := openWriter(t, d, "p1", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, w.Accepted(), 900)})
			sealAll(t, d, trades)
			for n, data := range held {
				if string(n.data[headerUnit:]) != data[headerUnit:] {
					t.Error("the bytes of a file that held cut records have changed")
				}
			}
			for i, s := range []feed.Schema{trades, mbp1} {
				want := v.tails[i] - v.syncedTails[i]
				var told []Gap
				for _, g := range d.Gaps() {
					if g.Schema == s {
						told = append(told, g)
					}
				}
				if len(told) != 1 || told[0].Cause != CauseCut || told[0].Records != want || seqIn(told[0].At, s) != v.syncedTails[i] {
					t.Errorf("%s: told %+v, want %d records cut at %d", s, told, want, v.syncedTails[i])
				}
			}
			dir := path.Join("j", testDataset, quarantineDir)
			names, err := disk.List(dir)
			if err != nil {
				t.Fatal(err)
			}
			kept := map[*memNode]bool{}
			for _, n := range names {
				kept[disk.node(path.Join(dir, n))] = true
			}
			for p, n := range before {
				if !allZero(n.data[headerUnit:]) && !kept[n] {
					t.Errorf("%s held records that were cut and is not in quarantine: %v", p, names)
				}
			}
			// What was cut is not found a second time.
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			again := distrusted(disk)
			open(t, "j", memOptions(again))
			if now, _ := again.List(dir); !slices.Equal(now, names) {
				t.Errorf("quarantine after another power cut: %v, before: %v", now, names)
			}
		})
	}
}

// A second cut at the record of an earlier one is another loss, and told.
func TestTwoCutsAtOneRecordAreBothTold(t *testing.T) {
	v := write(t, 30, 7)
	disk := distrusted(v.disk)
	for round := range 2 {
		j := open(t, "j", memOptions(disk))
		d := j.Lookup(testDataset)
		cut := 0
		for _, g := range d.Gaps() {
			if g.Schema == trades && g.Cause == CauseCut && seqIn(g.At, trades) == v.syncedTails[0] {
				cut++
			}
		}
		if cut != round+1 {
			t.Fatalf("%d cuts told after %d", cut, round+1)
		}
		w := openWriter(t, d, "p1", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, w.Accepted(), 63)})
		abandon(j)
		disk = distrusted(disk)
	}
}

// Without room for the file that a cut tape goes on in, its records are served and none are taken; with room it goes on by itself. A restart in between
// changes nothing of that.
func TestCutWithoutRoomIsReadOnlyUntilThereIs(t *testing.T) {
	v := write(t, 30, 7)
	for _, restart := range []bool{false, true} {
		disk := distrusted(v.disk)
		full := true
		disk.Fault(func(op, name string) error {
			if op == "allocate" && full && strings.HasSuffix(name, activeSuffix+tmpSuffix) {
				return syscall.ENOSPC
			}
			return nil
		})
		j := open(t, "j", memOptions(disk))
		if restart {
			abandon(j)
			disk = disk.Clone(false)
			disk.Fault(func(op, name string) error {
				if op == "allocate" && full && strings.HasSuffix(name, activeSuffix+tmpSuffix) {
					return syscall.ENOSPC
				}
				return nil
			})
			j = open(t, "j", memOptions(disk))
		}
		d := j.Lookup(testDataset)
		counts := accepted(t, d)
		if err := checkStreams(d, counts); err != nil {
			t.Fatal(err)
		}
		w := openWriter(t, d, "p1", "s")
		n, err := w.Append([]Run{{trades, records(trades, 1, counts[1], 1)}})
		if n > 0 || !errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrNotReady) {
			t.Errorf("restart %v: an append without room: %d, %v", restart, n, err)
		}
		if err := d.Err(); !errors.Is(err, ErrDiskFull) {
			t.Errorf("restart %v: the state is %v", restart, err)
		}
		held, err := d.Tape(trades).Segment(0)
		if err != nil {
			t.Fatal(err)
		}
		disk.mu.Lock()
		full = false
		disk.mu.Unlock()
		mustAppend(t, w, Run{trades, records(trades, 1, counts[1], 50)})
		held.Release()
		counts[1] += 50
		if err := checkStreams(d, counts); err != nil {
			t.Errorf("restart %v: %v", restart, err)
		}
		eventually(t, "there is room", func() bool { return d.Err() == nil })
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if r, err := verify(disk, "j", nil); err != nil || len(r.Problems) > 0 {
			t.Errorf("restart %v: verify: %v %v", restart, r.Problems, err)
		}
	}
}

func TestRecoveringTwiceGivesTheSame(t *testing.T) {
	v := write(t, 30, 7)
	for _, reboot := range []bool{false, true} {
		once := v.disk.Clone(false)
		if reboot {
			once = distrusted(v.disk)
		}
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

// Each operation that changes something may be the last: what follows fails, as if the power had gone.
func TestRecoveryInterruptedAtEachStepIsFinishedByTheNext(t *testing.T) {
	t.Run("the state page is hurt", func(t *testing.T) { interruptRecovery(t, write(t, 30, 7), 2, distrusted) })
	// The segment whose records fail their sum is put aside, and must not be taken for one that somebody removed.
	t.Run("records in a segment behind are hurt", func(t *testing.T) {
		interruptRecovery(t, write(t, 30, 400), 2, func(disk *MemDisk) *MemDisk {
			disk = disk.Clone(false)
			hurt := 0
			for ordinal := uint64(3); ; ordinal++ {
				n := disk.node(segmentPath("j/"+testDataset+"/trades", ordinal, activeSuffix))
				if n == nil {
					break
				}
				n.data[headerUnit+100] ^= 1
				hurt++
			}
			if hurt < 2 {
				t.Fatalf("%d segments are hurt", hurt)
			}
			return disk
		})
	})
	// What is put aside is named by the very entry that fails: without the file, that would seem to be sound, and so would a state page that sums up none of it.
	for name, start := range map[string]func(*MemDisk) *MemDisk{
		"the state page is hurt":         distrusted,
		"the state page sums up no more": func(disk *MemDisk) *MemDisk { return disk.Clone(true) },
	} {
		t.Run("records that the sync log vouches for are hurt, "+name, func(t *testing.T) {
			v, ordinal := syncedBeyond(t)
			interruptRecovery(t, v, 1, func(disk *MemDisk) *MemDisk {
				disk = start(disk)
				disk.node(segmentPath("j/"+testDataset+"/trades", ordinal, activeSuffix)).data[headerUnit+100] ^= 1
				return disk
			})
		})
	}
}

// syncedBeyond is written with one more sync, of trades alone, that reaches into another segment: its ordinal.
func syncedBeyond(t *testing.T) (*written, uint64) {
	t.Helper()
	v := &written{disk: NewMemDisk(), synced: map[uint32]uint64{}, all: map[uint32]uint64{}}
	j := open(t, "j", memOptions(v.disk))
	defer abandon(j)
	d := create(t, j)
	w := [2]*Writer{openWriter(t, d, "p1", "s"), openWriter(t, d, "p2", "s")}
	batch := func() {
		for i, w := range w {
			id := uint32(1 + i)
			mustAppend(t, w, Run{trades, records(trades, id, v.all[id], 9)})
			v.all[id] += 9
		}
	}
	for range 50 {
		batch()
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for id, n := range v.all {
		v.synced[id] = n
	}
	for ordinal := d.Tape(trades).active.ordinal; d.Tape(trades).active.ordinal == ordinal; {
		batch()
	}
	batch()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	return v, d.Tape(trades).active.ordinal
}

func interruptRecovery(t *testing.T, v *written, gaps int, hurt func(*MemDisk) *MemDisk) {
	errGone := errors.New("power is gone")
	for stop := 0; ; stop++ {
		disk := hurt(v.disk)
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
		if len(d.Gaps()) != gaps {
			t.Fatalf("stopped at step %d: %d gaps, want %d, each told once", stop, len(d.Gaps()), gaps)
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
	if _, err := p.read(&newest); err != nil {
		t.Fatal(err)
	}
	// The next commit, half written into the other slot: it never happened.
	next := newest
	next.count += 5
	next.tapes[0].place.tail += 5
	filled := slices.Clone(page)
	(&statePage{b: filled}).fill(no+1, 12345, &next)
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
		words = append(words, at, at+8, at+16, at+24, at+32)
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
	if err := checkStreams(d, v.all); err != nil || d.Epoch() != 2 || len(d.Gaps()) > 0 {
		t.Errorf("epoch %d, gaps %v, %v", d.Epoch(), d.Gaps(), err)
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

// A copy has all that its sums vouch for, and is another history from there; so is the directory itself from another mount.
func TestCopyOfADirectoryIsAnotherHistory(t *testing.T) {
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
	for name, c := range map[string]struct {
		without string
		records uint64
	}{"whole": {"", 800}, "without the state page": {stateName, 710}} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "j")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if c.without != "" {
				if err := os.Remove(filepath.Join(copied, testDataset, c.without)); err != nil {
					t.Fatal(err)
				}
			}
			d := open(t, copied, o).Lookup(testDataset)
			if n := openWriter(t, d, "p1", "s").Accepted(); n != c.records || d.Epoch() != 2 {
				t.Errorf("%d records in epoch %d, want %d in a new epoch", n, d.Epoch(), c.records)
			}
			if err := checkStreams(d, map[uint32]uint64{1: c.records}); err != nil {
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
