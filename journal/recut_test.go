package journal

import (
	"os"
	"path/filepath"
	"testing"
)

// A backup that links files beside a journal is no cut: an opening goes on in the very
// file that taps of other processes have mapped.
func TestFileThatOthersHaveLinkedGoesOnAsItIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, Options{AnyFilesystem: true})
	w := openWriter(t, create(t, j), "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	path := filepath.Join(dir, testDataset, "trades", "00000001.tape")
	if err := os.Link(path, filepath.Join(t.TempDir(), "backup.tape")); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{AnyFilesystem: true})
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the segment in use went on in a new file: a tap that has mapped the old one reads zeros")
	}
}
