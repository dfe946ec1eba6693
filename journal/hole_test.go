package journal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	holePer   = 5376 // trades in a segment of these tests: three blocks of 1,365 and one of 1,281
	holeTotal = 3*holePer + 100
	holeBlock = 1365
)

func holeOptions() Options {
	return Options{MinSegment: 256 << 10, MaxSegment: 256 << 10, Sync: SyncPolicy{Bytes: maxSyncBytes}, AnyFilesystem: true}
}

// openHoleJournal is a journal with holeTotal trades; record n has the number n.
func openHoleJournal(t *testing.T) (dir string, j *Journal, d *Dataset) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "j")
	j = open(t, dir, holeOptions())
	d = create(t, j)
	w := openWriter(t, d, "p", "s")
	for at := uint64(0); at < holeTotal; at += 100 {
		mustAppend(t, w, Run{trades, records(trades, 1, at, int(min(100, holeTotal-at)))})
	}
	return dir, j, d
}

// makeHoleJournal is one that is closed: three sealed segments and one in use.
func makeHoleJournal(t *testing.T) string {
	t.Helper()
	dir, j, d := openHoleJournal(t)
	sealAll(t, d, trades)
	if segs := *d.Tape(trades).segs.Load(); segs[1].base != holePer || segs[1].limit != 2*holePer {
		t.Fatalf("the second segment has records %d to %d", segs[1].base, segs[1].limit)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readServed reads records of a tape as a session does, a few at a time, and counts those that it gets. Each is what was written.
func readServed(tape *Tape, from, to uint64) (got uint64, err error) {
	const size, few = 48, 50
	b := make([]byte, few*size)
	for seq := from; seq < to; {
		if h, ok := tape.NextHole(seq); ok && h.From <= seq {
			seq = h.To
			continue
		}
		s, err := tape.Segment(seq)
		if errors.Is(err, ErrDamaged) {
			continue
		}
		if err != nil {
			return got, err
		}
		end, err := s.Check(seq, min(to, s.Limit(), seq+few))
		if err == nil {
			if h, ok := tape.NextHole(seq); ok {
				end = min(end, max(h.From, seq))
			}
			if _, err = s.ReadAt(b[:(end-seq)*size], s.Offset(seq)); err != nil {
				s.Unreadable(seq, err)
				err = ErrDamaged
			}
		}
		s.Release()
		if errors.Is(err, ErrDamaged) {
			continue
		}
		if err != nil {
			return got, err
		}
		for ; seq < end; seq++ {
			if string(b[:size]) != string(record(trades, 1, seq)) {
				return got, fmt.Errorf("record %d is served and is not what was written", seq)
			}
			got, b = got+1, append(b[size:], b[:size]...)
		}
	}
	return got, nil
}

// lostIn is what the ledger says is lost of the trades, in order. It fails when two entries speak of one record.
func lostIn(d *Dataset) (list []Hole, err error) {
	for _, g := range d.Gaps() {
		if from, to := g.lost(); to > from {
			list = append(list, Hole{from, to, g.Cause})
		}
	}
	slices.SortFunc(list, func(a, b Hole) int { return cmp.Compare(a.From, b.From) })
	for i := range list[min(1, len(list)):] {
		if list[i].To > list[i+1].From {
			err = fmt.Errorf("records are lost twice: %v", list)
		}
	}
	return list, err
}

// checkAccounts holds the ledger against what a reader gets: each record is served, or lost in one entry.
func checkAccounts(d *Dataset, served uint64) error {
	list, err := lostIn(d)
	var lost uint64
	for _, h := range list {
		lost += h.To - h.From
	}
	if lost+served != holeTotal {
		err = errors.Join(err, fmt.Errorf("%d records are served and %d lost of %d: %v, holes %v", served, lost, holeTotal, list, d.Tape(trades).Holes()))
	}
	return err
}

// holeHurts are what happens to the second segment (or the first), one after the other.
func holeHurts() map[string][]func(dir string) error {
	file := func(dir string, n int) string {
		return filepath.Join(dir, testDataset, "trades", fmt.Sprintf("%08d.dbn", n))
	}
	header := func(dir string, n int) (int64, error) {
		f, err := OSDisk{}.Open(file(dir, n), true)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		info, err := readSegmentInfo(f, file(dir, n))
		if errors.Is(err, errShort) {
			err = nil
		}
		return info.header, err
	}
	cut := func(n, record int, more int64) func(string) error {
		return func(dir string) error {
			at, err := header(dir, n)
			return errors.Join(err, os.Truncate(file(dir, n), at+int64(record)*48+more))
		}
	}
	flip := func(n, record int) func(string) error {
		return func(dir string) error {
			at, err := header(dir, n)
			f, err2 := os.OpenFile(file(dir, n), os.O_RDWR, 0)
			if err = errors.Join(err, err2); err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0xff}, at+int64(record)*48+30)
			return err
		}
	}
	to := func(n int, size int64) func(string) error {
		return func(dir string) error { return os.Truncate(file(dir, n), size) }
	}
	gone := func(n int) func(string) error { return func(dir string) error { return os.Remove(file(dir, n)) } }
	type list = []func(string) error
	return map[string][]func(dir string) error{
		"on a block's bound":                         list{cut(2, 2*holeBlock, 0)},
		"within a block":                             list{cut(2, 2*holeBlock+200, 0)},
		"within a record":                            list{cut(2, 2*holeBlock+200, 17)},
		"within the first block":                     list{cut(2, 10, 0)},
		"one byte":                                   list{cut(2, holePer, -1)},
		"to the header":                              list{cut(2, 0, 0)},
		"into the header":                            list{to(2, 100)},
		"to nothing":                                 list{to(2, 0)},
		"hurt: two hurt blocks":                      list{flip(2, 20), flip(2, 2*holeBlock+20)},
		"hurt: two hurt blocks, then short":          list{flip(2, 20), flip(2, 2*holeBlock+20), cut(2, holeBlock+7, 9)},
		"hurt: its last block, then short":           list{flip(2, holePer-1), cut(2, 2*holeBlock+200, 0)},
		"hurt: its last block, then short by little": list{flip(2, holePer-1), cut(2, holePer-5, 0)},
		"a hole that grows":                          list{cut(2, 3*holeBlock+1, 5), cut(2, 2*holeBlock+1, 5), cut(2, holeBlock, 0), cut(2, 7, 0), to(2, 50), gone(2)},
		"hurt: the first segment, bit by bit":        list{flip(1, 3*holeBlock), cut(1, 2*holeBlock+9, 0), cut(1, 0, 0), to(1, 1), gone(1)},
		"all that is sealed, bit by bit":             list{cut(1, holeBlock+9, 0), cut(3, 20, 0), gone(2), to(3, 10), gone(1), gone(3)},
	}
}

// cutFrom is the first record of the second segment that a cut file does not give: the blocks before are whole.
var cutFrom = map[string]uint64{
	"on a block's bound": 2 * holeBlock, "within a block": 2 * holeBlock, "within a record": 2 * holeBlock, "within the first block": 0, "one byte": 3 * holeBlock, "to the header": 0,
}

// TestEachLostRecordIsInOneEntryOfTheLedger: wherever a sealed file was cut, hurt before or after, found by an opening, by a reader, or under one that has read half
// of it. The next openings enter nothing.
func TestEachLostRecordIsInOneEntryOfTheLedger(t *testing.T) {
	whole := makeHoleJournal(t)
	for name, hurts := range holeHurts() {
		for _, found := range []string{"by an opening", "by a reader", "under a reader"} {
			if found == "under a reader" && strings.HasPrefix(name, "hurt") {
				continue // what a reader had once is not held against its sum again
			}
			t.Run(name+" "+found, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "j")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				for i, hurt := range hurts {
					hurtAndRead(t, dir, found, hurt)
					if i < len(hurts)-1 && found == "by an opening" {
						reopenAndRead(t, dir)
					}
				}
				var before []Hole
				for again := range 3 {
					j := open(t, dir, holeOptions())
					d := j.Lookup(testDataset)
					if d == nil {
						t.Fatal(j.Damaged(testDataset))
					}
					if atOnce, err := lostIn(d); again == 0 && found == "by an opening" && !strings.HasPrefix(name, "hurt") && (len(atOnce) == 0 || err != nil) {
						t.Fatalf("the opening enters nothing: %v", err)
					}
					got, err := readServed(d.Tape(trades), d.Tape(trades).First(), holeTotal)
					if err = errors.Join(err, checkAccounts(d, got)); err != nil {
						t.Fatalf("opening %d: %v", again, err)
					}
					now, _ := lostIn(d)
					if again > 0 && !slices.Equal(before, now) {
						t.Fatalf("opening %d enters again: %v, before %v", again, now, before)
					}
					if before = now; len(hurts) == 1 && len(now) != 1 && found != "under a reader" {
						t.Errorf("one damage has %d entries: %v", len(now), now)
					}
					if from, ok := cutFrom[name]; ok && found != "under a reader" && now[0] != (Hole{holePer + from, 2 * holePer, CauseDamaged}) {
						t.Errorf("lost is %v, the file gives its records up to %d", now, from)
					}
					if err := j.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

func reopenAndRead(t *testing.T, dir string) {
	t.Helper()
	j := open(t, dir, holeOptions())
	d := j.Lookup(testDataset)
	got, err := readServed(d.Tape(trades), d.Tape(trades).First(), holeTotal)
	if err = errors.Join(err, checkAccounts(d, got), j.Close()); err != nil {
		t.Fatal(err)
	}
}

// hurtAndRead hurts a journal that is closed, that is open, or that a reader has read half of, and holds the ledger against what is served.
func hurtAndRead(t *testing.T, dir, found string, hurt func(string) error) {
	t.Helper()
	if found == "by an opening" {
		if err := hurt(dir); err != nil {
			t.Fatal(err)
		}
		return
	}
	j := open(t, dir, holeOptions())
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal(j.Damaged(testDataset))
	}
	tape := d.Tape(trades)
	eventually(t, "the next segment: its making looks into the last sealed one", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return tape.next != nil
	})
	half, got := tape.First(), uint64(0)
	var err error
	if found == "under a reader" { // it holds the segment, and has seen the first half
		half = max(half, holePer+holePer/2)
		if got, err = readServed(tape, tape.First(), half); err != nil {
			t.Fatal(err)
		}
		if s, err := tape.Segment(half - 1); err == nil {
			defer s.Release()
		}
	}
	if err := hurt(dir); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // another one comes to it at the same time
		if _, err := readServed(tape, half, holeTotal); err != nil {
			t.Error(err)
		}
	})
	more, err := readServed(tape, half, holeTotal)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if found != "under a reader" {
		err = checkAccounts(d, got+more)
	} else if _, err = lostIn(d); err == nil { // what the reader had already may be lost by now
		for range 2 {
			got, err = readServed(tape, tape.First(), holeTotal)
		}
		err = errors.Join(err, checkAccounts(d, got))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHolesFoundAtOnceAreEnteredOnce: readers that find one damage at the same time each know a part of it.
func TestHolesFoundAtOnceAreEnteredOnce(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 400)})
	tape := d.Tape(trades)
	var wg sync.WaitGroup
	for reader := range uint64(8) {
		wg.Go(func() {
			for i := range uint64(40) {
				if err := d.enterHole(tape, Hole{i * 10, i*10 + 5 + reader, CauseDamaged}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := lostIn(d)
	lost := uint64(0)
	for _, h := range list {
		lost += h.To - h.From
	}
	if err != nil || lost != 40*10+2 {
		t.Errorf("%d are lost, want 402: %v", lost, err)
	}
}

// TestACutFoundByAReaderIsOneDamage: whoever holds the segment has looked at its size before it was cut, so a reader comes upon the end of the file.
func TestACutFoundByAReaderIsOneDamage(t *testing.T) {
	whole := makeHoleJournal(t)
	for name, from := range cutFrom {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			j := open(t, dir, holeOptions())
			d := j.Lookup(testDataset)
			s, err := d.Tape(trades).Segment(holePer)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Release()
			if err := holeHurts()[name][0](dir); err != nil {
				t.Fatal(err)
			}
			got, err := readServed(d.Tape(trades), 0, holeTotal)
			if err = errors.Join(err, checkAccounts(d, got)); err != nil {
				t.Fatal(err)
			}
			want := []Hole{{holePer + from, 2 * holePer, CauseDamaged}}
			if list, _ := lostIn(d); !slices.Equal(list, want) {
				t.Errorf("lost is %v, want %v", list, want)
			}
		})
	}
}

// sizeDisk asks before the size of a sealed segment is looked at.
type sizeDisk struct {
	OSDisk
	ask func()
}

type sizeFile struct {
	File
	ask func()
}

func (d sizeDisk) Open(path string, readOnly bool) (File, error) {
	f, err := d.OSDisk.Open(path, readOnly)
	if err == nil && filepath.Ext(path) == sealedSuffix {
		return sizeFile{f, d.ask}, nil
	}
	return f, err
}

func (f sizeFile) Size() (int64, error) {
	f.ask()
	return f.File.Size()
}

// TestWhoComesWhileACutIsFoundIsToldOfItToo: the first reader of a file that was cut has not looked at its size yet when the second comes, who must not read where nothing is.
func TestWhoComesWhileACutIsFoundIsToldOfItToo(t *testing.T) {
	dir := makeHoleJournal(t)
	disk, second := sizeDisk{}, func() {}
	disk.ask = func() { second() }
	o := holeOptions()
	o.Disk = disk
	tape := open(t, dir, o).Lookup(testDataset).Tape(trades)
	sure(holeHurts()["to the header"][0](dir))
	came := false
	second = func() {
		second = func() {}
		came = true
		if s, err := tape.Segment(holePer); !errors.Is(err, ErrDamaged) {
			t.Errorf("who comes meanwhile gets %v, %v", s, err)
		}
	}
	if _, err := tape.Segment(holePer); !errors.Is(err, ErrDamaged) || !came {
		t.Errorf("who came first gets %v", err)
	}
}
