package journal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A file of another dataset that has the schema, the ordinal and the base of ours, with the block index that it was sealed with or with none, has nothing wrong with
// it but that it is not ours.
func TestASegmentOfAnotherDatasetIsAHole(t *testing.T) {
	for name, suffixes := range map[string][]string{"without index": {sealedSuffix}, "with its index": {sealedSuffix, indexSuffix}} {
		for _, segment := range []string{"00000001", "00000002", "00000003"} {
			t.Run(name+", "+segment, func(t *testing.T) {
				dir := makeHoleJournal(t)
				tape := filepath.Join(dir, testDataset, "trades")
				other := filepath.Join(makeOther(t, "OTHER"), "OTHER", "trades")
				if err := os.Remove(filepath.Join(tape, segment+indexSuffix)); err != nil {
					t.Fatal(err)
				}
				for _, suffix := range suffixes {
					cloneFile(t, filepath.Join(other, segment+suffix), filepath.Join(tape, segment+suffix))
				}
				from := uint64(holePer * (int(segment[7]) - '1'))
				want := []Hole{{from, from + holePer, CauseDamaged}}
				if from == 0 {
					want[0].Cause = CauseQuarantined
				}
				if got := tapAll(t, dir); !slices.Equal(got, want) {
					t.Errorf("a tap misses %v, want %v", got, want)
				}
				report, err := Verify(dir, nil)
				if err != nil || len(report.Problems) == 0 || !strings.Contains(report.Problems[0].String(), "OTHER") {
					t.Errorf("verify: %v, %v", report.Problems, err)
				}
				d := served(t, dir, holeOptions())
				got, err := readServed(d.Tape(trades), d.Tape(trades).First(), holeTotal)
				if err != nil || !slices.Equal(d.Tape(trades).Holes(), want) {
					t.Errorf("holes %v, want %v: %v", d.Tape(trades).Holes(), want, err)
				}
				if err := checkAccounts(d, got); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// One of the same name, from another data directory, is told by its epoch alone.
func TestASegmentOfANamesakeIsAHole(t *testing.T) {
	dir := makeHoleJournal(t)
	tape := filepath.Join(dir, testDataset, "trades")
	cloneFile(t, filepath.Join(makeOther(t, testDataset), testDataset, "trades", "00000002.dbn"), filepath.Join(tape, "00000002.dbn"))
	if err := os.Remove(filepath.Join(tape, "00000002.idx")); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(dir, nil)
	if err != nil || len(report.Problems) == 0 || !strings.Contains(report.Problems[0].String(), "never had") {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
	want := []Hole{{holePer, 2 * holePer, CauseDamaged}}
	if got := tapAll(t, dir); !slices.Equal(got, want) {
		t.Errorf("a tap misses %v, want %v", got, want)
	}
	tp := served(t, dir, holeOptions()).Tape(trades)
	if _, err := readServed(tp, 0, holeTotal); err != nil || !slices.Equal(tp.Holes(), want) {
		t.Errorf("holes %v, want %v: %v", tp.Holes(), want, err)
	}
}

// A directory that was given another name holds what it held.
func TestARenamedDatasetIsServed(t *testing.T) {
	dir := makeHoleJournal(t)
	if err := os.Rename(filepath.Join(dir, testDataset), filepath.Join(dir, "RENAMED")); err != nil {
		t.Fatal(err)
	}
	tape := open(t, dir, holeOptions()).Lookup("RENAMED").Tape(trades)
	if got, err := readServed(tape, 0, holeTotal); err != nil || got != holeTotal {
		t.Errorf("%d records are served of %d, holes %v: %v", got, holeTotal, tape.Holes(), err)
	}
}

// makeOther is a data directory with a dataset as makeHoleJournal makes it, of other records.
func makeOther(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	j := open(t, dir, holeOptions())
	d, err := j.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := openWriter(t, d, "p", "s")
	for at := uint64(0); at < holeTotal; at += 100 {
		mustAppend(t, w, Run{trades, records(trades, 2, at, int(min(100, holeTotal-at)))})
	}
	sealAll(t, d, trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Beside the segment that is ours, and not sealed by its name, another's file is not taken for it, however late it came.
func TestASegmentOfAnotherDatasetTakesNobodysPlace(t *testing.T) {
	dir := makeHoleJournal(t)
	if err := open(t, dir, holeOptions()).Close(); err != nil { // the sync log begins anew, and knows the segment in use alone
		t.Fatal(err)
	}
	tape := filepath.Join(dir, testDataset, "trades")
	if err := os.Rename(filepath.Join(tape, "00000002.dbn"), filepath.Join(tape, "00000002.tape")); err != nil {
		t.Fatal(err)
	}
	cloneFile(t, filepath.Join(makeOther(t, "OTHER"), "OTHER", "trades", "00000002.dbn"), filepath.Join(tape, "00000002.dbn"))
	if got := tapAll(t, dir); len(got) > 0 {
		t.Errorf("a tap misses %v", got)
	}
	tp := served(t, dir, holeOptions()).Tape(trades)
	if got, err := readServed(tp, 0, holeTotal); err != nil || got != holeTotal {
		t.Errorf("%d records are served of %d, holes %v: %v", got, holeTotal, tp.Holes(), err)
	}
}

// An entry of the log of epochs that is hurt says nothing of the segments of its epoch: a tap gives them, as a server does, whether one runs or not.
func TestATapTakesNoSegmentForAnothersWhereTheLogOfEpochsIsHurt(t *testing.T) {
	for name, hurt := range map[string]func(string) error{
		"an entry": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				b[len(b)-1] ^= 1
				err = os.WriteFile(path, b, 0o644)
			}
			return err
		},
		"cut":    func(path string) error { return os.Truncate(path, freshHead().bytes()) },
		"header": func(path string) error { return os.Truncate(path, 5) },
		"gone":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := makeHoleJournal(t)
			if err := hurt(filepath.Join(dir, testDataset, epochsName)); err != nil {
				t.Fatal(err)
			}
			if got := tapAll(t, dir); len(got) > 0 {
				t.Errorf("a tap misses %v", got)
			}
			served(t, dir, holeOptions())
			if got := tapAll(t, dir); len(got) > 0 {
				t.Errorf("beside a server a tap misses %v", got)
			}
		})
	}
}
