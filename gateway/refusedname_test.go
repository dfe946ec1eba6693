package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// A dataset of the name of a file of ours would take that file's place, and keep the next gateway from starting. No name of a client's leads to a file of ours, or out
// of the data directory, and no reply tells where that is.
func TestDatasetOfANameOfOursIsRefusedWithoutAPath(t *testing.T) {
	dir := t.TempDir()
	s := serveDir(t, dir)
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LOCK", ".", "..", ".A", "A/../B", "quarantine", "A.tmp", "lock", "Lock", "", strings.Repeat("A", 16), strings.Repeat("A", 255)} {
		for _, role := range []string{"|role=producer|producer=p|stream=1", ""} {
			c := dialRaw(t, s)
			got := c.auth("", "dataset="+name+"|encoding=dbn"+role)
			if !strings.HasPrefix(got, "success=0|error=") || strings.Contains(got, dir) {
				t.Errorf("dataset %.20q%s is answered %q", name, role, got)
			}
			if name == "LOCK" && !strings.Contains(got, `dataset "LOCK": a file of the gateway's own has this name; choose another`) {
				t.Errorf("%s is answered %q", name, got)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("the data directory has %v, %v", entries, err)
	}
	if err := s.journal.Remove("LOCK"); !errors.Is(err, journal.ErrName) {
		t.Errorf("remove: %v", err)
	}
}

// What an operator ends, or what passes, must not have an SDK give up for good, and where files lie is not a client's business.
func TestDatasetThatCannotBeOpenedNowIsToBeTriedLater(t *testing.T) {
	for what, hurt := range map[string]func(*testing.T, *Server, *journal.MemDisk){
		"a dead disk": func(_ *testing.T, _ *Server, disk *journal.MemDisk) {
			disk.Fault(func(op, path string) error {
				if op == "mkdir" || op == "create" || op == "sync" {
					return syscall.EIO
				}
				return nil
			})
		},
		"a disk that is read-only": func(_ *testing.T, _ *Server, disk *journal.MemDisk) {
			disk.Fault(func(op, path string) error {
				if op == "mkdir" {
					return syscall.EROFS
				}
				return nil
			})
		},
		"no more files": func(_ *testing.T, s *Server, _ *journal.MemDisk) { s.journal.LimitFiles(1) },
	} {
		t.Run(what, func(t *testing.T) {
			s, disk := serveMemory(t, 0)
			hurt(t, s, disk)
			c := dialRaw(t, s)
			got := c.produceAs("NEW.X", "p", "1")
			if !strings.HasPrefix(got, "error=limit|retry=later|text=create dataset NEW.X: ") || strings.Contains(got, s.journal.Dir()+"/") {
				t.Errorf("it is answered %q", got)
			}
		})
	}
}

// A second gateway on a dataset's files is told to come again, by both.
func TestDatasetOfAnotherGatewayIsToBeTriedLater(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, testDataset)
	if err := os.Mkdir(path, fs.FileMode(0o755)); err != nil {
		t.Fatal(err)
	}
	lock, err := journal.OSDisk{}.LockDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	s := serveDir(t, dir)
	c := dialRaw(t, s)
	got := c.produceAs(testDataset, "p", "1")
	if !strings.HasPrefix(got, "error=limit|retry=later|text=create dataset "+testDataset+": ") || strings.Contains(got, dir) {
		t.Errorf("it is answered %q", got)
	}
	if other := dialRaw(t, s); !strings.HasPrefix(other.produceAs("OTHER", "p", "1"), "success=1|") {
		t.Error("the others are not served")
	}
}

// A control character in a symbol costs that symbol alone, before start_session and in band, and the reply shows which one it was.
func TestControlCharacterInASymbolCostsThatSymbolAlone(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	symbols := []struct{ symbol, shown string }{
		{"A\x01B", `A\x01B`}, {"A\u0085B", `A\u0085B`}, {"A\x1b[31m", `A\x1b[31m`}, {"A\u009bB", `A\u009bB`}, {"A\x7fB", `A\x7fB`}, {"A\tB", `A\tB`}, {"\xff\xfe", `\xff\xfe`},
	}
	for _, x := range symbols {
		c.send("instrument=" + x.symbol + "|lot=1\n")
		if got, want := c.line(), "error=bad_symbol|instrument="+x.shown+"|retry=never|text="; !strings.HasPrefix(got, want) {
			t.Errorf("%q is answered %q, want %q", x.symbol, got, want)
		}
	}
	c.send("instrument=GOOD\n")
	if got := c.line(); got != "instrument=GOOD|instrument_id=1" {
		t.Fatalf("the one behind them is answered %q", got)
	}
	c.begin(metadataOf(feed.SchemaTrades))
	for i, x := range symbols {
		c.send(inBand("instrument=" + x.symbol))
		if got, want := c.line(), "error=bad_symbol|instrument="+x.shown+"|retry=never|text="; !strings.HasPrefix(got, want) {
			t.Errorf("in band %q is answered %q, want %q", x.symbol, got, want)
		}
		c.send(string(trade(1, i)))
		if got, want := c.line(), fmt.Sprintf("ack=%d|level=written", i+1); got != want {
			t.Fatalf("the record behind %q is answered %q", x.symbol, got)
		}
	}
}
