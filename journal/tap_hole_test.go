package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// readTap reads all that a tap gives, which is what was written, and what it is told to be missing: what touches is one. times is how often it
// was told.
func readTap(tap *Tap, to uint64) (told []Hole, times int, err error) {
	for next := tap.Seq(); next < to; next = tap.Seq() {
		b, err := tap.Next()
		missing := (*MissingError)(nil)
		if errors.As(err, &missing) {
			if missing.From != next || missing.To != tap.Seq() || missing.To <= next {
				return told, times, fmt.Errorf("at record %d: %v; the tap is at %d", next, err, tap.Seq())
			}
			times++
			if n := len(told); n > 0 && told[n-1].To == missing.From && told[n-1].Cause == missing.Cause {
				told[n-1].To = missing.To
			} else {
				told = append(told, Hole{missing.From, missing.To, missing.Cause})
			}
			continue
		}
		if err != nil || b == nil {
			return told, times, fmt.Errorf("at record %d: %d bytes, %w", next, len(b), err)
		}
		for ; len(b) > 0; next, b = next+1, b[tap.RecordSize():] {
			if string(b[:tap.RecordSize()]) != string(record(trades, 1, next)) {
				return told, times, fmt.Errorf("record %d is not what was written", next)
			}
		}
	}
	return told, times, nil
}

// TestATapTellsTheHolesThatAServerTells: with the same bounds and causes, whatever is wrong with sealed files, while a server runs and after it has ended.
func TestATapTellsTheHolesThatAServerTells(t *testing.T) {
	whole := makeHoleJournal(t)
	for name, hurts := range holeHurts() {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, running %v", name, running), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "j")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				for _, hurt := range hurts {
					if err := hurt(dir); err != nil {
						t.Fatal(err)
					}
				}
				var alone []Hole
				if !running {
					alone = tapAll(t, dir)
				}
				j := open(t, dir, holeOptions())
				tape := j.Lookup(testDataset).Tape(trades)
				if _, err := readServed(tape, tape.First(), holeTotal); err != nil {
					t.Fatal(err)
				}
				if running {
					alone = tapAll(t, dir)
				}
				if want := tape.Holes(); len(want) == 0 || !slices.Equal(alone, want) {
					t.Errorf("the tap tells %v, a server %v", alone, want)
				}
			})
		}
	}
}

// TestATapGivesWholeSegmentsOfEpochsThatTheirLogLost: an epoch that nobody can look up is no other dataset's.
func TestATapGivesWholeSegmentsOfEpochsThatTheirLogLost(t *testing.T) {
	dir := makeHoleJournal(t)
	log := filepath.Join(dir, testDataset, epochsName)
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	b[freshHead().base+frameHeader] ^= 1
	if err := os.WriteFile(log, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, holeOptions()).Close(); err != nil { // it enters the present epoch behind what is hurt
		t.Fatal(err)
	}
	if holes := tapAll(t, dir); len(holes) > 0 {
		t.Errorf("the tap tells %v, and the files are whole", holes)
	}
}

// tapAll reads a tape from its first record, and from the first that has a time.
func tapAll(t *testing.T, dir string) []Hole {
	t.Helper()
	tap := openTestTap(t, dir)
	var told [2][]Hole
	for i, seek := range []func() error{func() error { return tap.Seek(0) }, func() error { return tap.SeekTime(feed.ClockEvent, 0) }} {
		if err := seek(); err != nil {
			t.Fatal(err)
		}
		var err error
		if told[i], _, err = readTap(tap, holeTotal); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(told[0], told[1]) {
		t.Errorf("from record 0 on %v are missing, from time 0 on %v", told[0], told[1])
	}
	// A start behind what is missing begins there, one within it with it.
	for _, h := range told[0] {
		for _, at := range []uint64{h.From, h.To - 1, h.To} {
			err := tap.SeekTime(feed.ClockEvent, at)
			if seq := tap.Seq(); err != nil || seq != h.From && (at < h.To || seq < h.From || seq >= h.To) { // how far back a hole reaches is not looked up behind it
				t.Errorf("the time of record %d is looked for at %d, missing are %v: %v", at, seq, h, err)
			}
		}
	}
	return told[0]
}

// TestAFileThatIsCutUnderATapEndsNeitherItNorItsProcess: what the tap had not looked at yet is told as missing.
func TestAFileThatIsCutUnderATapEndsNeitherItNorItsProcess(t *testing.T) {
	for name, cut := range holeHurts() {
		if len(cut) > 1 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := makeHoleJournal(t)
			tap := openTestTap(t, dir)
			if err := tap.Seek(holePer + 1); err != nil {
				t.Fatal(err)
			}
			if b, err := tap.Next(); len(b) == 0 || err != nil {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			seen := tap.Seq()
			if err := cut[0](dir); err != nil {
				t.Fatal(err)
			}
			told, times, err := readTap(tap, holeTotal)
			if err != nil || times != 1 || len(told) != 1 || told[0].From < seen || told[0].From > holePer*2 || told[0].To != 2*holePer || told[0].Cause != CauseDamaged {
				t.Errorf("it was at %d and is told %v, %d times, %v", seen, told, times, err)
			}
		})
	}
}
