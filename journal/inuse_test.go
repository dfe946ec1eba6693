package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// makeKilledJournal has the records of makeHoleJournal, and was killed before a sync: none of its segments is sealed, and nothing but the state page sums up what they hold.
func makeKilledJournal(t *testing.T) string {
	t.Helper()
	dir, j, d := openHoleJournal(t)
	if segs := unsealedOf(*d.Tape(trades).segs.Load()); len(segs) < 4 || segs[1].base != holePer {
		t.Fatalf("%d segments are not sealed", len(segs))
	}
	abandon(j)
	return dir
}

func tapeFile(dir string, ordinal int) string {
	return filepath.Join(dir, testDataset, "trades", fmt.Sprintf("%08d.tape", ordinal))
}

// inUseHurt is what happens to a file that is not sealed, and how many of its records it gives then.
type inUseHurt struct {
	gives int
	do    func(path string, header int64) error
}

func inUseHurts() map[string]inUseHurt {
	cut := func(record int, more int64) func(string, int64) error {
		return func(path string, header int64) error { return os.Truncate(path, header+int64(record)*48+more) }
	}
	remake := func(make func(string) error) func(string, int64) error {
		return func(path string, _ int64) error { return errors.Join(os.Remove(path), make(path)) }
	}
	return map[string]inUseHurt{
		"cut behind its last":     {100, cut(100, 0)},
		"cut between two records": {60, cut(60, 0)},
		"cut within a record":     {60, cut(60, 17)},
		"cut to the header":       {0, cut(0, 0)},
		"cut into the header":     {0, func(path string, _ int64) error { return os.Truncate(path, 100) }},
		"cut to nothing":          {0, func(path string, _ int64) error { return os.Truncate(path, 0) }},
		"gone":                    {0, func(path string, _ int64) error { return os.Remove(path) }},
		"gone with its directory": {0, func(path string, _ int64) error { return os.RemoveAll(filepath.Dir(path)) }},
		"a directory":             {0, remake(func(path string) error { return os.Mkdir(path, 0o755) })},
		"hurt in its header": {0, func(path string, header int64) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0xff}, header-30)
			return err
		}},
		"another segment's file": {0, func(path string, _ int64) error {
			names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "00000003.[dt]*"))
			if err != nil {
				return err
			}
			b, err := os.ReadFile(names[0])
			return errors.Join(err, os.WriteFile(path, b, 0o644))
		}},
	}
}

// TestWhatAHurtSegmentInUseStillGivesIsServed: with what lies before it, and its tape goes on at its tail. The rest is a hole with exact bounds, for each opening and for
// taps, whether the journal was closed or killed.
func TestWhatAHurtSegmentInUseStillGivesIsServed(t *testing.T) {
	sources := map[string]string{"closed": makeHoleJournal(t), "killed": makeKilledJournal(t), "closed, state page gone": makeHoleJournal(t)}
	if err := os.Remove(filepath.Join(sources["closed, state page gone"], testDataset, stateName)); err != nil {
		t.Fatal(err)
	}
	for name, hurt := range inUseHurts() {
		for how, whole := range sources {
			t.Run(name+", "+how, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "j")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				lost := Hole{3*holePer + uint64(hurt.gives), holeTotal, CauseDamaged}
				if name == "gone with its directory" {
					lost = Hole{0, holeTotal, CauseQuarantined}
				}
				if err := hurt.do(tapeFile(dir, 4), headerUnit); err != nil {
					t.Fatal(err)
				}
				if lost.From == lost.To {
					checkHurtInUse(t, dir)
				} else {
					checkHurtInUse(t, dir, lost)
				}
			})
		}
	}
}

// checkHurtInUse opens a journal three times, and publishes more.
func checkHurtInUse(t *testing.T, dir string, lost ...Hole) {
	t.Helper()
	total, gone := uint64(holeTotal), uint64(0)
	for _, h := range lost {
		gone += h.To - h.From
	}
	for again := range 3 {
		j := open(t, dir, holeOptions())
		d := j.Lookup(testDataset)
		if d == nil {
			t.Fatalf("opening %d: %v", again, j.Damaged(testDataset))
		}
		tape := d.Tape(trades)
		got, err := readServed(tape, tape.First(), total)
		if err != nil || got != total-gone {
			t.Errorf("opening %d: %d of %d records are served, lost are %v, %v", again, got, total, lost, err)
		}
		if list, err := lostIn(d); err != nil || !slices.Equal(list, lost) {
			t.Errorf("opening %d: the ledger says %v, %v", again, list, err)
		}
		if told := tapHoles(t, dir, total); !slices.Equal(told, lost) {
			t.Errorf("opening %d: a tap tells %v", again, told)
		}
		w := openWriter(t, d, "p", "s")
		if w.Accepted() != total {
			t.Fatalf("opening %d: the producer has %d records accepted, want %d", again, w.Accepted(), total)
		}
		mustAppend(t, w, Run{trades, records(trades, 1, total, 500)})
		if total += 500; again == 1 {
			sealAll(t, d, trades)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// tapHoles is what a tap is told to be missing.
func tapHoles(t *testing.T, dir string, to uint64) []Hole {
	t.Helper()
	tap := openTestTap(t, dir)
	if err := tap.Seek(0); err != nil {
		t.Fatal(err)
	}
	told, _, err := readTap(tap, to)
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// TestATapReadsAHurtSegmentInUseUpToItsEnd: where no server has been since.
func TestATapReadsAHurtSegmentInUseUpToItsEnd(t *testing.T) {
	whole := makeHoleJournal(t)
	for name, hurt := range inUseHurts() {
		if name == "gone with its directory" {
			continue // no tape is left
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			err := os.CopyFS(dir, os.DirFS(whole))
			if err = errors.Join(err, hurt.do(tapeFile(dir, 4), headerUnit)); err != nil {
				t.Fatal(err)
			}
			want := []Hole{{3*holePer + uint64(hurt.gives), holeTotal, CauseDamaged}}
			if want[0].From == want[0].To {
				want = nil
			}
			if told := tapHoles(t, dir, holeTotal); !slices.Equal(told, want) {
				t.Errorf("a tap tells %v", told)
			}
		})
	}
}

// TestAFullSegmentThatIsNotSealedGivesWhatItHas: after a kill several of a tape's segments may be so, and no entry of the sync log vouches for them. One that is hurt
// takes nothing from those behind it.
func TestAFullSegmentThatIsNotSealedGivesWhatItHas(t *testing.T) {
	whole := makeKilledJournal(t)
	for name, hurt := range inUseHurts() {
		if name == "gone with its directory" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			err := os.CopyFS(dir, os.DirFS(whole))
			if err = errors.Join(err, hurt.do(tapeFile(dir, 2), headerUnit)); err != nil {
				t.Fatal(err)
			}
			checkHurtInUse(t, dir, Hole{holePer + uint64(hurt.gives), 2 * holePer, CauseDamaged})
		})
	}
}

// TestAnOpeningThatIsStoppedWhileItMendsASegmentInUseLosesNothing: at whatever step, by a kill or a power cut; the next one tells the same hole, once.
func TestAnOpeningThatIsStoppedWhileItMendsASegmentInUseLosesNothing(t *testing.T) {
	const kept = 10
	for _, cutPower := range []bool{false, true} {
		for stop := 1; ; stop++ {
			v := write(t, 3, 0)
			disk := v.disk.Clone(false)
			place, data := hurtInUse(t, disk, kept)
			steps := 0
			disk.Fault(func(op, path string) error {
				if op == "read" || op == "open" {
					return nil
				}
				if steps++; steps >= stop {
					return errors.New("stopped")
				}
				return nil
			})
			j, err := Open("j", memOptions(disk))
			done := err == nil && j.Damaged(testDataset) == nil
			if err == nil {
				abandon(j)
			}
			disk.Fault(nil)
			disk = disk.Clone(cutPower)
			j = open(t, "j", memOptions(disk))
			d := j.Lookup(testDataset)
			if d == nil {
				t.Fatalf("stopped at step %d: %v", stop, j.Damaged(testDataset))
			}
			tape := d.Tape(trades)
			want := []Hole{{place.base + kept, place.tail, CauseDamaged}}
			list, err := lostIn(d)
			if err != nil || !slices.Equal(list, want) || !slices.Equal(tape.Holes(), want) || tape.Tail() != place.tail {
				t.Errorf("stopped at step %d: the ledger says %v, readers are told %v, tail %d, want %v and %d: %v", stop, list, tape.Holes(), tape.Tail(), want, place.tail, err)
			}
			s, err := tape.Segment(place.base)
			if err != nil {
				t.Fatalf("stopped at step %d: %v", stop, err)
			}
			got := make([]byte, len(data))
			if _, err := s.ReadAt(got, s.Offset(place.base)); err != nil || string(got) != string(data) {
				t.Errorf("stopped at step %d: the records before the cut are not what they were: %v", stop, err)
			}
			s.Release()
			if err := errors.Join(checkCounts(d, v.all), j.Close()); err != nil {
				t.Errorf("stopped at step %d: %v", stop, err)
			}
			if done {
				break
			}
		}
	}
}

// checkCounts holds the streams' counts against what each producer sent.
func checkCounts(d *Dataset, want map[uint32]uint64) (err error) {
	for n, count := range want {
		if got := d.streams[n-1].count.Load(); got != count {
			err = errors.Join(err, fmt.Errorf("stream %d has %d records accepted, want %d", n, got, count))
		}
	}
	return err
}

// hurtInUse cuts the file that the trades go on in, and returns where the tape ends and the records that are left in it.
func hurtInUse(t *testing.T, disk *MemDisk, kept int64) (place, []byte) {
	t.Helper()
	page, _, err := readState(disk, "j/"+testDataset)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := page.settle(); err != nil {
		t.Fatal(err)
	}
	p := page.place(int(trades))
	path := segmentPath("j/"+testDataset+"/trades", p.ordinal, activeSuffix)
	f, err := disk.Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := readSegmentInfo(f, path)
	data := make([]byte, kept*48)
	if err == nil {
		_, err = f.ReadAt(data, info.header)
	}
	if err = errors.Join(err, f.Truncate(info.header+kept*48+5), f.Sync()); err != nil || p.tail < p.base+uint64(kept)+2 {
		t.Fatalf("%+v: %v", p, err)
	}
	return p, data
}

// TestATapIsToldThatTheSegmentItReadIsNotGoneOnIn: its mapping is of the old file, in which nothing comes any more.
func TestATapIsToldThatTheSegmentItReadIsNotGoneOnIn(t *testing.T) {
	dir := makeHoleJournal(t)
	j := open(t, dir, holeOptions())
	tap := openTestTap(t, dir)
	if err := tap.Seek(holeTotal - 1); err != nil {
		t.Fatal(err)
	}
	if b, err := tap.Next(); len(b) != 48 || err != nil {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if err := errors.Join(j.Close(), os.Remove(tapeFile(dir, 4))); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, holeOptions())
	mustAppend(t, openWriter(t, j.Lookup(testDataset), "p", "s"), Run{trades, records(trades, 1, holeTotal, 10)})
	if err := tap.Wait(t.Context()); !errors.Is(err, ErrReplaced) {
		b, err2 := tap.Next()
		t.Errorf("it is told %v, and reads %d bytes, %v", err, len(b), err2)
	}
}

// TestRecordsThatWereCutBehindAHurtSegmentAreKept: the sync log is all there is, and what it does not vouch for lies in the segment that the tape goes on in.
func TestRecordsThatWereCutBehindAHurtSegmentAreKept(t *testing.T) {
	v := write(t, 3, 400)
	disk := v.disk.Clone(false)
	entries, _, err := readSyncLog(disk, "j/"+testDataset)
	if err != nil {
		t.Fatal(err)
	}
	p := entries[len(entries)-1].places[int(trades)]
	path := func(ordinal uint64) string {
		return segmentPath("j/"+testDataset+"/trades", ordinal, activeSuffix)
	}
	next := disk.node(path(p.ordinal + 1))
	if err := errors.Join(disk.Remove("j/"+testDataset+"/"+stateName), disk.Remove(path(p.ordinal))); err != nil || next == nil || v.tails[0] < p.tail+200 {
		t.Fatalf("%+v, tails %v: %v", p, v.tails, err)
	}
	j := open(t, "j", memOptions(disk))
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal(j.Damaged(testDataset))
	}
	if inQuarantine(disk)[next] == "" {
		t.Errorf("what the next segment had is not in quarantine: %v", inQuarantine(disk))
	}
	mustAppend(t, openWriter(t, d, "p1", "s"), Run{trades, records(trades, 1, v.synced[1], 5)})
	if tape := d.Tape(trades); tape.Tail() != p.tail+5 || !slices.Contains(tape.Holes(), Hole{p.base, p.tail, CauseQuarantined}) {
		t.Errorf("the tail is %d, want %d; holes %v", tape.Tail(), p.tail+5, tape.Holes())
	}
}
