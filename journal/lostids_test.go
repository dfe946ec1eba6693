package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A symbol table that lost its end must not give the ids of kept records to other names, nor ids that it gave out, and the loss stays told.
func TestIDsOfALostSymbolTableAreNeverGivenAgain(t *testing.T) {
	for name, keep := range map[string]func(size int64) int64{
		"last entry torn": func(size int64) int64 { return size - 20 }, // it ends in zeros, which would come back
		"second half":     func(size int64) int64 { return size / 2 },
		"all entries":     func(int64) int64 { return sideHeader2 },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			j := open(t, dir, holeOptions())
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			for _, symbol := range []string{"A", "B", "C"} {
				id, err := w.Instrument(Instrument{Symbol: symbol})
				if err != nil {
					t.Fatal(err)
				}
				mustAppend(t, w, Run{trades, records(trades, id, uint64(id), 10)})
			}
			if err := w.Uses(9000); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, w, Run{trades, records(trades, 9000, 1, 1)})
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, testDataset, symbolsName)
			st, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file, keep(st.Size())); err != nil {
				t.Fatal(err)
			}
			given := map[uint32]string{}
			for _, symbol := range []string{"X", "Y"} { // one each opening
				wantLost(t, dir, symbolsName)
				j := open(t, dir, holeOptions())
				d := j.Lookup(testDataset)
				id, err := openWriter(t, d, "q", symbol).Instrument(Instrument{Symbol: symbol})
				if err != nil {
					t.Fatal(err)
				}
				if id <= 3 || id/pageIDs == 9000/pageIDs || given[id] != "" {
					t.Errorf("%s got id %d, given before: %v", symbol, id, given)
				}
				given[id] = symbol
				if tail := d.Tape(trades).Tail(); tail != 31 {
					t.Errorf("the tape has %d records, want 31", tail)
				}
				entries := d.symbols.Len()
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				if symbol == "Y" { // the records were asked once: an opening more has nothing to note
					if n := open(t, dir, holeOptions()).Lookup(testDataset).symbols.Len(); n != entries {
						t.Errorf("%d entries after one more opening, want %d", n, entries)
					}
				}
			}
			wantLost(t, dir, symbolsName)
		})
	}
}

// A second loss may lie before what was noted for the first: the ids of that one are not given again either. The records are asked once for each.
func TestIDsOfALossBeforeAnEarlierOneAreNeverGivenAgain(t *testing.T) {
	ids := []uint32{100_000, 200_000, 300_000}
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, holeOptions())
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	var middle [3]int64 // of their entries
	for i, id := range ids {
		before := d.symbols.log.size.Load()
		if err := w.Map(id, fmt.Sprint("S", id)); err != nil {
			t.Fatal(err)
		}
		middle[i] = (before + d.symbols.log.size.Load()) / 2
		mustAppend(t, w, Run{trades, records(trades, id, uint64(i), 1)})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []int{2, 0} {
		hurtByte(t, filepath.Join(dir, testDataset, symbolsName), middle[lost])
		entries := 0
		for opening := range 2 {
			j = open(t, dir, holeOptions())
			s := j.Lookup(testDataset).symbols
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				s.next = id - 1
				if got, err := s.freeID(); err != nil || got == id {
					t.Errorf("entry %d is lost: %d is given again, and a record has it (%v)", lost, got, err)
				}
			}
			if opening == 1 && s.Len() != entries {
				t.Errorf("%d entries after one more opening, want %d", s.Len(), entries)
			}
			entries = s.Len()
		}
	}
}

// TestNotesOfALossStayWhenTheTableIsWrittenAnew: the note says for how much of a loss the records were asked; without that each opening would ask again, and pass over more ids.
func TestNotesOfALossStayWhenTheTableIsWrittenAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, holeOptions())
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	sure(w.Map(100_000, "ONE"))
	middle := (int64(sideHeader2) + d.symbols.log.size.Load()) / 2
	sure(w.Map(200_000, "TWO"))
	mustAppend(t, w, Run{trades, records(trades, 100_000, 0, 1)})
	sure(j.Close())
	hurtByte(t, filepath.Join(dir, testDataset, symbolsName), middle)
	var next uint32
	for opening := range 3 {
		j = open(t, dir, holeOptions())
		s := j.Lookup(testDataset).symbols
		if s.covered == 0 || s.covered != s.log.gone {
			t.Errorf("opening %d: the records were asked for %d lost bytes of %d", opening, s.covered, s.log.gone)
		}
		if opening > 0 && s.next != next {
			t.Errorf("opening %d: ids up to %d are passed over, before it was %d", opening, s.next, next)
		}
		next = s.next
		sure(s.rewrite())
		sure(j.Close())
	}
}

func hurtByte(t *testing.T, file string, at int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantLost wants Verify to say that a side log has lost entries.
func wantLost(t *testing.T, dir, name string) {
	t.Helper()
	report, err := Verify(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		if strings.Contains(p.Text, name) {
			return
		}
	}
	t.Errorf("verify does not say that %s has lost entries: %v", name, report.Problems)
}

// What judged a time once is gone with the log of outliers, and what was a gap with the ledger: that stays told, also after an opening.
func TestLostSideLogStaysTold(t *testing.T) {
	for name, hurt := range map[string]func(string) error{
		outliersName: os.Remove,
		ledgerName:   func(file string) error { return os.Truncate(file, sideHeader2) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "j")
			j := open(t, dir, Options{MaxClockSkew: 1, AnyFilesystem: true})
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			far := record(trades, 1, 1)
			for i := range 8 {
				far[8+i], far[trades.TsRecvOffset()+i] = 0x7f, 0x7f
			}
			mustAppend(t, w, Run{trades, far})
			if err := d.enterGap(nil, Gap{Schema: trades, Records: 1, Cause: CauseUpstream, At: []Position{{trades, 1}}}); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if err := hurt(filepath.Join(dir, testDataset, name)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				wantLost(t, dir, name)
				j := open(t, dir, holeOptions())
				if d := j.Lookup(testDataset); d == nil || d.Tape(trades).Tail() != 1 {
					t.Fatal("not served: ", j.Damaged(testDataset))
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			wantLost(t, dir, name)
		})
	}
}

// TestALostEntryOfTheSymbolTableLeavesNoRecordUnderAnEarlierName: it gave an id to another symbol. What names its very day stays, and so does an id that we gave out;
// all else is carried on over the loss no more, until somebody says it again. So it is for each opening, after the log was written anew, and for taps.
func TestALostEntryOfTheSymbolTableLeavesNoRecordUnderAnEarlierName(t *testing.T) {
	const day = Day(20_000)
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, holeOptions())
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	at := uint64(0)
	publish := func() {
		mustAppend(t, w, Run{trades, records(trades, 7, at, 10)})
		at += 10
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ours, err := w.Instrument(Instrument{Symbol: "OURS"})
	must(err)
	must(w.Map(7, "OLD"))
	_, err = w.MapDated([]DatedMapping{{ID: 8, Symbol: "DAY", From: day, To: day + 1, Kind: KindDefinition}})
	must(err)
	publish()
	lostFrom := d.symbols.log.size.Load()
	must(w.Map(7, "NEW"))
	publish()
	lostTo := d.symbols.log.size.Load()
	must(w.Map(9, "OTHER"))
	publish()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, testDataset, symbolsName)
	b, err := os.ReadFile(file)
	must(err)
	b[(lostFrom+lostTo)/2] ^= 1
	must(os.WriteFile(file, b, 0o600))

	type who struct {
		id   uint32
		seq  uint64
		day  Day
		want string
	}
	asked := []who{
		{7, 15, NoDay, ""}, {7, 25, NoDay, ""}, {ours, 25, NoDay, "OURS"}, {9, 25, NoDay, "OTHER"}, {8, 25, day, "DAY"}, {8, 25, day + 1, ""},
	}
	check := func(when string, s *Symbols) {
		t.Helper()
		for _, a := range asked {
			if got, _ := s.NameAt(a.id, trades, a.seq, a.day); got != a.want {
				t.Errorf("%s: %d at record %d of day %v is %q, want %q", when, a.id, a.seq, a.day, got, a.want)
			}
		}
	}
	for _, when := range []string{"first opening", "after it was written anew"} {
		tap := openTestTap(t, dir)
		if err := tap.Refresh(); err != nil {
			t.Fatal(err)
		}
		check("tap, "+when, tap.symbols.table)
		j = open(t, dir, holeOptions())
		d = j.Lookup(testDataset)
		check(when, d.symbols)
		must(d.symbols.rewrite())
		check(when+", written anew", d.symbols)
		must(j.Close())
	}
	j = open(t, dir, holeOptions())
	d = j.Lookup(testDataset)
	must(openWriter(t, d, "p", "s").Map(7, "OLD"))
	if got, _ := d.symbols.NameAt(7, trades, at, NoDay); got != "OLD" {
		t.Errorf("said again, it is %q", got)
	}
	wantLost(t, dir, symbolsName)
}
