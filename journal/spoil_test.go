package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// grownJournal is one whose trades up to record ends[n] were published by its process n, each of whose ranges has a sum; hurt are records that were damaged before
// the last process, which seals what is full.
func grownJournal(t *testing.T, ends []uint64, hurt []uint64) string {
	t.Helper()
	dir, from := filepath.Join(t.TempDir(), "j"), uint64(0)
	for i, end := range append(slices.Clone(ends), holeTotal) {
		if i == len(ends) {
			for _, record := range hurt {
				flipRecord(t, dir, "00000001.tape", record)
			}
		}
		j := open(t, dir, holeOptions())
		d := j.Lookup(testDataset)
		if d == nil {
			d = create(t, j)
		}
		w := openWriter(t, d, "p", "s")
		for ; from < end; from += min(100, end-from) {
			mustAppend(t, w, Run{trades, records(trades, 1, from, int(min(100, end-from)))})
		}
		if i == len(ends) {
			sealAll(t, d, trades)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// flipRecord flips a bit in the price of a record of the first segment.
func flipRecord(t *testing.T, dir, name string, record uint64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, testDataset, "trades", name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := readSegmentInfo(&osFile{f}, name)
	if err != nil {
		t.Fatal(err)
	}
	b, at := []byte{0}, info.header+int64(record)*48+17
	if _, err = f.ReadAt(b, at); err == nil {
		_, err = f.WriteAt([]byte{b[0] ^ 4}, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestALossDoesNotGrowToTheBlocksOfASealedSegment: a range that was damaged while its segment was in use ends within blocks. The rest of them is served after the
// segment was sealed as before, to sessions and taps; each record's times are found; and what is damaged later costs its part alone.
func TestALossDoesNotGrowToTheBlocksOfASealedSegment(t *testing.T) {
	for name, c := range map[string]struct {
		ends, hurt []uint64
		want       []Hole
		version    uint32
	}{
		"none":                     {[]uint64{700}, nil, nil, indexWhole},
		"the first block's begin":  {[]uint64{700}, []uint64{300}, []Hole{{0, 700, CauseDamaged}}, indexVersion},
		"within a block":           {[]uint64{300, 700}, []uint64{300}, []Hole{{300, 700, CauseDamaged}}, indexVersion},
		"two in a block":           {[]uint64{200, 400, 600}, []uint64{199, 599}, []Hole{{0, 200, CauseDamaged}, {400, 600, CauseDamaged}}, indexVersion},
		"from one block into two":  {[]uint64{1000, 3000}, []uint64{2999}, []Hole{{1000, 3000, CauseDamaged}}, indexVersion},
		"a block's bound":          {[]uint64{holeBlock}, []uint64{3}, []Hole{{0, holeBlock, CauseDamaged}}, indexWhole},
		"up to the segment's end":  {[]uint64{5000, holePer}, []uint64{5000}, []Hole{{5000, holePer, CauseDamaged}}, indexVersion},
		"all but the last records": {[]uint64{holePer - 1}, []uint64{0}, []Hole{{0, holePer - 1, CauseDamaged}}, indexVersion},
	} {
		t.Run(name, func(t *testing.T) {
			dir := grownJournal(t, c.ends, c.hurt)
			if err := checkIndexVersion(dir, c.version); err != nil {
				t.Error(err)
			}
			checkServedBut(t, dir, c.want)
			tap := openTestTap(t, dir)
			if err := tap.Seek(0); err != nil {
				t.Fatal(err)
			}
			if holes, _, err := readTap(tap, holeTotal); err != nil || !slices.Equal(holes, c.want) {
				t.Errorf("a tap tells %v, want %v: %v", holes, c.want, err)
			}
			r, err := Verify(dir, nil)
			if err != nil || len(r.Problems) != len(c.want) {
				t.Fatalf("Verify: %v %v", r.Problems, err)
			}
			for i, h := range c.want {
				if want := fmt.Sprintf("records %d to %d fail", h.From, h.To); !strings.Contains(r.Problems[i].Text, want) {
					t.Errorf("Verify tells %q, want %q", r.Problems[i].Text, want)
				}
			}
		})
	}

	dir := grownJournal(t, []uint64{700}, []uint64{300})
	flipRecord(t, dir, "00000001.dbn", 900)
	checkServedBut(t, dir, []Hole{{0, holeBlock, CauseDamaged}})
	dir = grownJournal(t, []uint64{300, 700}, []uint64{500})
	flipRecord(t, dir, "00000001.dbn", 10)
	checkServedBut(t, dir, []Hole{{0, 700, CauseDamaged}})
}

func checkIndexVersion(dir string, want uint32) error {
	b, err := os.ReadFile(filepath.Join(dir, testDataset, "trades", "00000001.idx"))
	if err == nil && uint32(b[8]) != want {
		err = fmt.Errorf("the index has version %d, want %d", b[8], want)
	}
	return err
}

// checkServedBut opens a journal twice: everything is served but the holes, and the times of each record that is served are found.
func checkServedBut(t *testing.T, dir string, holes []Hole) {
	t.Helper()
	for range 2 {
		j := open(t, dir, holeOptions())
		d := j.Lookup(testDataset)
		tape := d.Tape(trades)
		got, err := readServed(tape, 0, holeTotal)
		if err = errors.Join(err, checkAccounts(d, got)); err != nil || !slices.Equal(tape.Holes(), holes) {
			t.Fatalf("%d records are served, holes are %v, want %v: %v", got, tape.Holes(), holes, err)
		}
		for seq := uint64(0); seq < holeTotal; seq += 50 {
			if h, ok := tape.NextHole(seq); ok && h.From <= seq {
				continue
			}
			times, to, err := tape.Times(seq, holeTotal)
			event := layouts[trades].times(record(trades, 1, seq)).MinEvent
			if err != nil || to <= seq || event < times.MinEvent || event > times.MaxEvent {
				t.Fatalf("the times of record %d, %d, are found in %v, up to record %d: %v", seq, event, times, to, err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestALossInADividedBlockDoesNotGrowWhenTheFileIsCut: what a cut leaves of a block that was divided ends where the index divides it, for who has the file open, the openings after
// that, and taps.
func TestALossInADividedBlockDoesNotGrowWhenTheFileIsCut(t *testing.T) {
	for at, want := range map[int64][]Hole{
		1000: {{300, holePer, CauseDamaged}}, 701: {{300, holePer, CauseDamaged}}, 500: {{300, holePer, CauseDamaged}}, 200: {{0, holePer, CauseDamaged}},
		holeBlock + 9: {{300, 700, CauseDamaged}, {holeBlock, holePer, CauseDamaged}},
	} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("to %d records, running %v", at, running), func(t *testing.T) {
				dir := grownJournal(t, []uint64{300, 700}, []uint64{300})
				file := filepath.Join(dir, testDataset, "trades", "00000001.dbn")
				header := headerOf(t, file)
				if running {
					j := open(t, dir, holeOptions())
					sure(os.Truncate(file, header+at*48))
					d := j.Lookup(testDataset)
					got, err := readServed(d.Tape(trades), 0, holeTotal)
					if err = errors.Join(err, checkAccounts(d, got)); err != nil || !slices.Equal(d.Tape(trades).Holes(), want) {
						t.Errorf("who has it open tells %v, want %v: %v", d.Tape(trades).Holes(), want, err)
					}
					sure(j.Close())
				} else {
					sure(os.Truncate(file, header+at*48))
				}
				checkServedBut(t, dir, want)
				tap := openTestTap(t, dir)
				sure(tap.Seek(0))
				if holes, _, err := readTap(tap, holeTotal); err != nil || !slices.Equal(holes, want) {
					t.Errorf("a tap tells %v, want %v: %v", holes, want, err)
				}
			})
		}
	}
}

// headerOf is where the records of a segment's file begin.
func headerOf(t *testing.T, file string) int64 {
	t.Helper()
	f, err := os.Open(file)
	sure(err)
	defer f.Close()
	info, err := readSegmentInfo(&osFile{f}, file)
	sure(err)
	return info.header
}

// TestABlockWithMoreDamagesThanAnIndexHasRoomForIsSpoiledWhole: what an index may be divided into is bounded, as whoever reads it takes no larger one.
func TestABlockWithMoreDamagesThanAnIndexHasRoomForIsSpoiledWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, holeOptions())
	w := openWriter(t, create(t, j), "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, holePer-1)}) // so that the next process finds them
	sure(j.Close())
	j = open(t, dir, holeOptions())
	d := j.Lookup(testDataset)
	want := []Hole{{0, holeBlock, CauseDamaged}}
	for block, n := range []int{spareBlocks/2 + 1, spareBlocks/2 - 10, 11} { // each makes two parts more: the first has no room at all, the third none left
		for i := range uint64(n) {
			h := Hole{uint64(block)*holeBlock + 1 + 2*i, uint64(block)*holeBlock + 2 + 2*i, CauseDamaged}
			d.Tape(trades).addHole(h)
			if block == 1 {
				want = append(want, h)
			}
		}
	}
	want = append(want, Hole{2 * holeBlock, 3 * holeBlock, CauseDamaged})
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, holePer-1, holeTotal-holePer+1)})
	sealAll(t, d, trades)
	sure(j.Close())

	d = open(t, dir, holeOptions()).Lookup(testDataset)
	info := (*d.Tape(trades).segs.Load())[0].info()
	_, blocks, err := readIndex(OSDisk{}, filepath.Join(dir, testDataset, "trades"), info, true)
	if n := 4 + 2*(spareBlocks/2-10); err != nil || len(blocks) != n {
		t.Errorf("the index has %d blocks, want %d: %v", len(blocks), n, err)
	}
	if _, err := readServed(d.Tape(trades), 0, holeTotal); err != nil || !slices.Equal(d.Tape(trades).Holes(), want) {
		t.Errorf("holes are %v, want %v: %v", d.Tape(trades).Holes(), want, err)
	}
}

// TestIndexWhoseBlocksDoNotFollowEachOtherIsRefused: each record has one block, whatever sums an index has of itself.
func TestIndexWhoseBlocksDoNotFollowEachOtherIsRefused(t *testing.T) {
	info := segmentInfo{schema: trades, recordSize: trades.RecordSize(), ordinal: 3, base: 1000, records: 100}
	for name, c := range map[string]struct {
		blocks []block
		sound  bool
	}{
		"they do":                  {[]block{{first: 1000, count: 40}, {first: 1040, count: 60}}, true},
		"records in none":          {[]block{{first: 1000, count: 40}, {first: 1041, count: 59}}, false},
		"records in two":           {[]block{{first: 1000, count: 40}, {first: 1039, count: 61}}, false},
		"the first begins later":   {[]block{{first: 1001, count: 99}}, false},
		"the first begins earlier": {[]block{{first: 999, count: 101}}, false},
		"an empty one":             {[]block{{first: 1000, count: 40}, {first: 1040}, {first: 1040, count: 60}}, false},
		"an empty one at the end":  {[]block{{first: 1000, count: 100}, {first: 1100}}, false},
		"they end early":           {[]block{{first: 1000, count: 99}}, false},
		"they end beyond":          {[]block{{first: 1000, count: 40}, {first: 1040, count: 61}}, false},
		"there are none":           {nil, false},
	} {
		_, blocks, err := parseIndex(appendIndex(nil, info, c.blocks), info, true)
		if c.sound != (err == nil) || !c.sound && !errors.Is(err, ErrCorrupt) || c.sound && len(blocks) != len(c.blocks) {
			t.Errorf("%s: %d blocks, %v", name, len(blocks), err)
		}
	}
}
