package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhatStandsInAFilesPlaceHoldsUpNobody puts a pipe, a directory, a device and links that lead nowhere in the place of files: nobody waits for it, what is
// whole is served, with the exact hole where a segment is gone, and verify says it.
func TestWhatStandsInAFilesPlaceHoldsUpNobody(t *testing.T) {
	const total = 6000
	for what, place := range map[string]func(path string) error{
		"a pipe":            func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a directory":       func(p string) error { return os.Mkdir(p, 0o700) },
		"a device":          func(p string) error { return os.Symlink("/dev/zero", p) },
		"a link to nothing": func(p string) error { return os.Symlink("/nowhere/else", p) },
		"a link to itself":  func(p string) error { return os.Symlink(p, p) },
	} {
		for _, file := range []string{"trades/00000002.dbn", "trades/00000002.idx", stateName, syncLogName, witnessName} {
			t.Run(what+" for "+file, func(t *testing.T) {
				dir := t.TempDir()
				j, w := openTapJournal(t, dir)
				if err := appendTrades(w, 0, total); err != nil {
					t.Fatal(err)
				}
				sealAll(t, j.Lookup(testDataset), trades)
				second := (*j.Lookup(testDataset).Tape(trades).segs.Load())[1]
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, testDataset, file)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := place(path); err != nil {
					t.Fatal(err)
				}
				var want []Hole
				if filepath.Ext(file) == sealedSuffix {
					want = []Hole{{second.Base(), second.Limit(), CauseDamaged}}
				}
				looked := make(chan error, 1)
				told := file != witnessName && what != "a link to nothing" || want != nil // else it is as if there were none, which is made anew
				go func() { looked <- servesBut(dir, total, want, told) }()
				select {
				case err := <-looked:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(time.Minute):
					t.Fatal("it waits for what stands there")
				}
			})
		}
	}
}

// servesBut says what is not as it should be where a dataset of so many trades has something wrong with it, lacks the holes, and verify says so when told is set.
func servesBut(dir string, total uint64, holes []Hole, told bool) error {
	if r, err := Verify(dir, nil); err != nil || told && len(r.Problems) == 0 {
		return fmt.Errorf("verify: %v, problems %v", err, r.Problems)
	}
	j, err := Open(dir, Options{AnyFilesystem: true})
	if err != nil {
		return err
	}
	defer j.Close()
	d := j.Lookup(testDataset)
	if d == nil {
		return fmt.Errorf("not served: %w", j.Damaged(testDataset))
	}
	tape := d.Tape(trades)
	if got := fmt.Sprint(tape.Holes()); tape.Tail() != total || got != fmt.Sprint(holes) {
		return fmt.Errorf("tail %d, holes %s; want %d and %v", tape.Tail(), got, total, holes)
	}
	for seq := uint64(0); seq < total; {
		if h, ok := tape.NextHole(seq); ok && h.From == seq {
			seq = h.To
			continue
		}
		s, err := tape.Segment(seq)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		to, err := s.Check(seq, min(s.Limit(), total))
		s.Release()
		if err != nil || to <= seq {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		seq = to
	}
	return nil
}
