package journal

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

// TestLinkThatStoodInTheStatePagesPlaceKeepsNoDatasetShut: the opening that puts it in quarantine looks there for the file that it cuts, and so does each after it.
func TestLinkThatStoodInTheStatePagesPlaceKeepsNoDatasetShut(t *testing.T) {
	for name, target := range map[string]func(path string) string{
		"to itself":                func(p string) string { return p },
		"to itself, as a neighbor": func(string) string { return stateName },
	} {
		t.Run(name, func(t *testing.T) {
			dir := killedOnDisk(t)
			path := filepath.Join(dir, testDataset, stateName)
			sure(os.Remove(path))
			sure(os.Symlink(target(path), path))
			r, err := Verify(dir, nil)
			if want := []aCut{{"trades", 70, 140, 70, true}}; err != nil || !slices.Equal(foretold(r), want) {
				t.Errorf("verify foretells no such cut: %v, problems %v", err, r.Problems)
			}
			for range 2 {
				j := open(t, dir, holeOptions())
				d := j.Lookup(testDataset)
				if d == nil {
					t.Fatalf("not served: %v", j.Damaged(testDataset))
				}
				want := []aCut{{schema: "trades", from: 70, to: 140, gap: true}}
				if got := toldCuts(d.Gaps()); d.Tape(trades).Tail() != 70 || !slices.Equal(got, want) {
					t.Errorf("the tail is %d, told is %+v, want %+v", d.Tape(trades).Tail(), got, want)
				}
				sure(j.Close())
			}
		})
	}
}

// killedOnDisk is what a kill leaves on the real disk: 70 trades that the sync log vouches for, and as many behind them.
func killedOnDisk(t *testing.T) string {
	t.Helper()
	live, dir := filepath.Join(t.TempDir(), "j"), filepath.Join(t.TempDir(), "killed")
	d := create(t, open(t, live, holeOptions()))
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 70)})
	sure(d.Sync())
	mustAppend(t, w, Run{trades, records(trades, 1, 70, 70)})
	sure(os.CopyFS(dir, os.DirFS(live)))
	return dir
}

// TestRefusalSaysOfNothingThatItWasLeftAlone: an opening that is refused late has put things aside by then.
func TestRefusalSaysOfNothingThatItWasLeftAlone(t *testing.T) {
	disk, _ := killedJournal(t, 10)
	sure(disk.Remove(path.Join("j", testDataset, stateName)))
	disk.Fault(func(op, path string) error {
		if op == "link" && strings.Contains(path, "trades") {
			return syscall.EIO
		}
		return nil
	})
	j := open(t, "j", memOptions(disk))
	if err := j.Damaged(testDataset); err == nil || strings.Contains(err.Error(), "nothing was changed") || len(inQuarantine(disk)) == 0 {
		t.Errorf("refused is %v, with %d files in quarantine", err, len(inQuarantine(disk)))
	}
}

// TestWhatStandsInTheLastSegmentsPlaceKeepsNoDatasetShut: without a state page an opening looks for what it cuts in the segment in use and those behind it.
func TestWhatStandsInTheLastSegmentsPlaceKeepsNoDatasetShut(t *testing.T) {
	cut := []aCut{{schema: "trades", from: 70, to: 140, gap: true}}
	for what, place := range map[string]func(path string) error{
		"a pipe":            func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a link to nothing": func(p string) error { return os.Symlink("/nowhere/else", p) },
	} {
		for name, want := range map[string][]aCut{"00000001.tape": nil, "00000002.tape": cut} {
			t.Run(what+" for "+name, func(t *testing.T) {
				dir := killedOnDisk(t)
				path := filepath.Join(dir, testDataset, "trades", name)
				sure(os.Remove(filepath.Join(dir, testDataset, stateName)))
				sure(os.RemoveAll(path))
				sure(place(path))
				j := open(t, dir, holeOptions())
				d := j.Lookup(testDataset)
				if d == nil {
					t.Fatalf("not served: %v", j.Damaged(testDataset))
				}
				if got := toldCuts(d.Gaps()); d.Tape(trades).Tail() != 70 || !slices.Equal(got, want) {
					t.Errorf("the tail is %d, told is %+v, want %+v", d.Tape(trades).Tail(), got, want)
				}
			})
		}
	}
}
