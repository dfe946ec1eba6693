package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestWhoBeginsBehindALostFirstSegmentIsTold: also where the ledger has had its end before.
func TestWhoBeginsBehindALostFirstSegmentIsTold(t *testing.T) {
	dir := makeHoleJournal(t)
	hurts := holeHurts()["hurt: the first segment, bit by bit"]
	for _, hurt := range []func(string) error{hurts[1], hurts[len(hurts)-1]} {
		if err := hurt(dir); err != nil {
			t.Fatal(err)
		}
		reopenAndRead(t, dir)
	}
	tape := open(t, dir, holeOptions()).Lookup(testDataset).Tape(trades)
	if marks := tape.Marks(); len(marks) != 1 || marks[0].Seq != tape.First() || marks[0].Gap.Cause != CauseQuarantined || tape.First() != holePer {
		t.Errorf("the tape begins with record %d, its marks are %+v", tape.First(), marks)
	}
}

// TestAFileThatIsPutBackIsToldAsLostNoMore: the ledger goes on saying what was lost, and readers, who get it, are told nothing.
func TestAFileThatIsPutBackIsToldAsLostNoMore(t *testing.T) {
	dir := makeHoleJournal(t)
	file := filepath.Join(dir, testDataset, "trades", "00000001.dbn")
	if err := os.Rename(file, dir+".away"); err != nil {
		t.Fatal(err)
	}
	j := open(t, dir, holeOptions())
	if marks := j.Lookup(testDataset).Tape(trades).Marks(); len(marks) != 1 || marks[0].Seq != holePer || marks[0].Gap.Records != holePer {
		t.Errorf("the first segment is gone, and the marks are %+v", marks)
	}
	if err := errors.Join(j.Close(), os.Rename(dir+".away", file)); err != nil {
		t.Fatal(err)
	}
	tape := open(t, dir, holeOptions()).Lookup(testDataset).Tape(trades)
	if got, err := readServed(tape, 0, holeTotal); err != nil || got != holeTotal || len(tape.Marks()) > 0 {
		t.Errorf("%d records of %d, marks %+v: %v", got, holeTotal, tape.Marks(), err)
	}
}
