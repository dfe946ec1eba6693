package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const holeOlder = 7400 // records on the tape when its second segment was copied first

// rolling is a directory that was copied while it was written, and what an earlier copy had of it.
type rolling struct {
	dir   string // as a power cut leaves it: three sealed segments and one in use, all of them in the sync log's window
	older string // the second segment's tape when the tape had holeOlder records
	empty string // the third segment's when it was prepared
	other string // a tape of another dataset, its first segment
}

func (r *rolling) file(name string) string {
	return filepath.Join(r.dir, testDataset, trades.String(), name)
}

func makeRolling(t *testing.T) rolling {
	t.Helper()
	at := t.TempDir()
	r := rolling{filepath.Join(at, "copy"), filepath.Join(at, "older"), filepath.Join(at, "empty"), filepath.Join(at, "other")}
	j := open(t, filepath.Join(at, "j"), holeOptions())
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	tape := filepath.Join(at, "j", testDataset, trades.String())
	for n := uint64(0); n < holeTotal; n += 100 {
		mustAppend(t, w, Run{trades, records(trades, 1, n, int(min(100, holeTotal-n)))})
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		if n+100 == holeOlder {
			third := filepath.Join(tape, "00000003.tape")
			eventually(t, "the third segment", func() bool { _, err := os.Stat(third); return err == nil })
			cloneFile(t, filepath.Join(tape, "00000002.tape"), r.older)
			cloneFile(t, third, r.empty)
		}
	}
	sealAll(t, d, trades)
	o, err := j.Create("OTHER.SET")
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, openWriter(t, o, "p", "s"), Run{trades, records(trades, 1, 0, 100)})
	cloneFile(t, filepath.Join(at, "j", "OTHER.SET", trades.String(), "00000001.tape"), r.other)
	abandon(j)
	if err := os.CopyFS(r.dir, os.DirFS(filepath.Join(at, "j"))); err != nil {
		t.Fatal(err)
	}
	return r
}

func cloneFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkTwice opens a directory two times and wants the same holes and the same number of records each time, with no count lost.
func (r *rolling) checkTwice(t *testing.T, want []Hole) {
	t.Helper()
	lost := uint64(0)
	for _, h := range want {
		lost += h.To - h.From
	}
	for _, round := range []string{"first", "once more"} {
		j := open(t, r.dir, holeOptions())
		d := j.Lookup(testDataset)
		if d == nil {
			t.Fatal(j.Damaged(testDataset))
		}
		tape := d.Tape(trades)
		got, err := readServed(tape, 0, holeTotal)
		if err != nil {
			t.Fatal(err)
		}
		if n := openWriter(t, d, "p", "s").Accepted(); n != holeTotal || tape.Tail() != holeTotal {
			t.Errorf("%s: %d accepted, tail %d, want %d", round, n, tape.Tail(), holeTotal)
		}
		if got != holeTotal-lost || !slices.Equal(tape.Holes(), want) {
			t.Errorf("%s: %d records served, holes %v, want %d and %v", round, got, tape.Holes(), holeTotal-lost, want)
		}
		if err := checkAccounts(d, got); err != nil {
			t.Errorf("%s: %v", round, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Verify(r.dir, nil)
	if err != nil || (len(report.Problems) > 0) != (len(want) > 0) {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

// A directory that was copied twice into one target has tapes of the first time beside the segments that they were sealed to. They cost nothing.
func TestOlderTapeBesideItsSealedSegmentCostsNothing(t *testing.T) {
	for name, tape := range map[string]func(*rolling) string{
		"older":              func(r *rolling) string { return r.older },
		"prepared":           func(r *rolling) string { return r.empty },
		"of another dataset": func(r *rolling) string { return r.other },
	} {
		t.Run(name, func(t *testing.T) {
			r := makeRolling(t)
			beside := "00000002.tape"
			if name == "prepared" {
				beside = "00000003.tape"
			}
			cloneFile(t, tape(&r), r.file(beside))
			if report, err := Verify(r.dir, nil); err != nil || len(report.Problems) > 0 {
				t.Errorf("verify before: %v, %v", report.Problems, err)
			}
			r.checkTwice(t, nil)
			kept := filepath.Join(r.dir, testDataset, quarantineDir, "trades."+beside)
			if _, err := os.Stat(kept); err != nil {
				t.Errorf("what is not served is not kept: %v", err)
			}
			if list, _ := os.ReadDir(filepath.Dir(kept)); len(list) != 1 {
				t.Errorf("quarantine holds %v, want the stray tape alone", list)
			}
		})
	}
}

// An older tape, or one of something else, in place of a sealed segment costs what only that held: the segments behind it are whole.
func TestStrayTapeInPlaceOfASealedSegmentCostsOnlyThatSegment(t *testing.T) {
	const second, third = holePer, 2 * holePer
	whole := uint64(second + holeBlock) // of the older tape: the block in which it ends is not
	for name, c := range map[string]struct {
		file   func(*rolling) string
		to     string
		remove []string
		want   []Hole
	}{
		"older":            {func(r *rolling) string { return r.older }, "00000002.tape", nil, []Hole{{whole, third, CauseDamaged}}},
		"older, as sealed": {func(r *rolling) string { return r.older }, "00000002.dbn", nil, []Hole{{whole, third, CauseDamaged}}},
		// What the sync log has is one sum of the whole segment.
		"older, without index": {func(r *rolling) string { return r.older }, "00000002.tape", []string{"00000002.dbn", "00000002.idx"}, []Hole{{second, third, CauseDamaged}}},
		"of another dataset":   {func(r *rolling) string { return r.other }, "00000002.tape", []string{"00000002.dbn"}, []Hole{{second, third, CauseDamaged}}},
		"other, as sealed":     {func(r *rolling) string { return r.other }, "00000003.dbn", nil, []Hole{{third, 3 * holePer, CauseDamaged}}},
		"renamed back":         {func(r *rolling) string { return r.file("00000002.dbn") }, "00000002.tape", []string{"00000002.dbn"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := makeRolling(t)
			b, err := os.ReadFile(c.file(&r))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.remove {
				if err := os.Remove(r.file(name)); err != nil {
					t.Fatal(err)
				}
			}
			whole := r.file("00000002.whole")
			if name == "older" {
				if err := os.Rename(r.file("00000002.dbn"), whole); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(r.file(c.to), b, 0o600); err != nil {
				t.Fatal(err)
			}
			r.checkTwice(t, c.want)
			if name == "older" { // the index has its sums still: the file can be put back
				if err := os.Rename(whole, r.file("00000002.dbn")); err != nil {
					t.Fatal(err)
				}
				j := open(t, r.dir, holeOptions())
				if got, err := readServed(j.Lookup(testDataset).Tape(trades), 0, holeTotal); err != nil || got != holeTotal {
					t.Errorf("%d records are served once the file is back, want %d: %v", got, holeTotal, err)
				}
			}
		})
	}
}

// TestABlockIndexOfAnotherHistoryIsNotTakenForASegments: it was left where a copy was put back over, and would call records damaged that are whole. One that the
// segment had before is taken, however many ranges of the sync log its records are in.
func TestABlockIndexOfAnotherHistoryIsNotTakenForASegments(t *testing.T) {
	const size = 48
	ours, theirs := records(trades, 1, 0, 100), records(trades, 2, 0, 100)
	index := func(b []byte) (list []chunk) {
		for at := uint64(0); at < 100; at += 30 {
			to := min(at+30, 100)
			list = append(list, chunk{from: 500 + at, to: 500 + to, crc: crc32c(b[at*size : to*size]), known: true})
		}
		return list
	}
	sums := func(bounds ...uint64) (list []syncRange) {
		for i := range bounds[1:] {
			list = append(list, syncRange{from: 500 + bounds[i], to: 500 + bounds[i+1], crc: crc32c(ours[bounds[i]*size : bounds[i+1]*size])})
		}
		return list
	}
	cases := map[string]struct {
		index []chunk
		sums  []syncRange
		want  bool
	}{
		"ours, one range":         {index(ours), sums(0, 100), true},
		"ours, some ranges":       {index(ours), sums(0, 7, 60, 61, 100), true},
		"theirs, one range":       {index(theirs), sums(0, 100), false},
		"theirs, some ranges":     {index(theirs), sums(0, 7, 60, 61, 100), false},
		"the last are not synced": {index(theirs), sums(0, 90), false},
		"the first have no sum":   {index(theirs), sums(10, 100), false},
		"some between have none":  {index(theirs), append(sums(0, 20), sums(30, 100)...), false},
		"nothing is synced":       {index(theirs), nil, false},
	}
	for name, c := range cases {
		if got := agree(c.index, c.sums, size); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Where nothing else tells two full files of a segment apart, one of them was copied back, as everything else was: the one that came later, whichever that is.
func TestOfTwoFullFilesOfASegmentTheOneThatCameLaterIsServed(t *testing.T) {
	for _, later := range []string{sealedSuffix, activeSuffix} {
		t.Run(later, func(t *testing.T) {
			dir := makeHoleJournal(t)
			if err := open(t, dir, holeOptions()).Close(); err != nil { // the sync log begins anew, and knows the segment in use alone
				t.Fatal(err)
			}
			path := func(suffix string) string {
				return filepath.Join(dir, testDataset, trades.String(), "00000002"+suffix)
			}
			files := map[string][]byte{} // the last byte says which it is
			for _, suffix := range []string{sealedSuffix, activeSuffix} {
				b, err := os.ReadFile(path(sealedSuffix))
				if err != nil {
					t.Fatal(err)
				}
				b[len(b)-1] = suffix[1]
				files[suffix] = b
			}
			if err := os.Remove(path(indexSuffix)); err != nil {
				t.Fatal(err)
			}
			first := activeSuffix
			if later == activeSuffix {
				first = sealedSuffix
			}
			put := func(suffix string) int64 {
				if err := os.WriteFile(path(suffix), files[suffix], 0o600); err != nil {
					t.Fatal(err)
				}
				f, err := OSDisk{}.Open(path(suffix), true)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				stamp, err := f.Stamp()
				if err != nil {
					t.Fatal(err)
				}
				return stamp.Changed
			}
			at := put(first)
			eventually(t, "the kernel's clock to go on", func() bool { return put(later) > at })
			tape := served(t, dir, holeOptions()).Tape(trades)
			seg, err := tape.Segment(2*holePer - 1)
			if err != nil {
				t.Fatal(err)
			}
			defer seg.Release()
			got := make([]byte, 1)
			if _, err := seg.ReadAt(got, seg.Offset(2*holePer)-1); err != nil || got[0] != later[1] {
				t.Errorf("%q is served, %v; want that of %s, which came later", got, err, later)
			}
			kept, err := os.ReadFile(filepath.Join(dir, testDataset, quarantineDir, "trades.00000002"+first))
			if err != nil || kept[len(kept)-1] != first[1] {
				t.Errorf("the other one is not kept: %v", err)
			}
		})
	}
}
