package journal

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// logJournal is a journal with entries in each side log, some of them synced, that ends in a way.
type logJournal struct {
	disk  *MemDisk
	given map[uint32]bool // ids
	epoch uint64
}

const logRecords = 60

func makeLogJournal(t *testing.T, end string) *logJournal {
	t.Helper()
	v := &logJournal{disk: NewMemDisk(), given: map[uint32]bool{}}
	o := wholeOptions(v.disk)
	o.nextEpoch = func(last uint64) uint64 { return last + 2 } // one that has to be entered
	j := open(t, "j", o)
	d := create(t, j)
	for i, producer := range []string{"p1", "p2", "p3"} {
		w := openWriter(t, d, producer, "s")
		for k := range 2 {
			id, err := w.Instrument(Instrument{Symbol: fmt.Sprint("S", 2*i+k)})
			if err != nil {
				t.Fatal(err)
			}
			v.given[id] = true
			if d.Tape(trades) == nil {
				if _, err := w.Append([]Run{{trades, records(trades, id, 0, 10)}}); !errors.Is(err, ErrNotReady) {
					t.Fatal(err)
				}
				d.prepareRound()
			}
			if n, err := w.Append([]Run{{trades, records(trades, id, uint64(10*k), 10)}}); n != 10 || err != nil {
				t.Fatalf("%d records, %v", n, err)
			}
		}
		if err := d.enterGap(nil, Gap{Schema: trades, Records: 1, Cause: CauseUpstream, At: d.positions()}); err != nil {
			t.Fatal(err)
		}
		step := outlierStep{schema: trades, from: d.Tape(trades).Tail(), limit: 1 << 62}
		if err := d.appendSide(nil, d.outliers.log, step.append(nil)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := d.Sync(); err != nil { // what comes after is in the page cache alone
				t.Fatal(err)
			}
		}
	}
	v.epoch = d.Epoch()
	if end != "killed" {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		abandon(j)
	}
	if end == "moved" {
		v.disk = v.disk.Clone(true)
	}
	return v
}

func (v *logJournal) path(name string) string { return path.Join("j", testDataset, name) }

func (v *logJournal) open(t *testing.T) (*Journal, *Dataset) {
	t.Helper()
	j := open(t, "j", wholeOptions(v.disk))
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal("not served: ", j.Damaged(testDataset))
	}
	if d.Tape(trades) == nil || d.Tape(trades).Tail() != logRecords || len(d.Tape(trades).Holes()) > 0 {
		t.Fatal("the tape is not whole")
	}
	return j, d
}

// told wants Verify and Inspect to name a log as hurt, and nothing else.
func (v *logJournal) told(t *testing.T, name string) {
	t.Helper()
	r, err := verify(v.disk, "j", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) == 0 || len(r.Tapes) != 1 || r.Tapes[0].Records != logRecords {
		t.Errorf("verify finds %v, and of tapes %+v", r.Problems, r.Tapes)
	}
	for _, p := range r.Problems {
		if !strings.Contains(p.Text, name) {
			t.Errorf("verify finds %s", p)
		}
	}
	list, err := inspect(v.disk, "j")
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Problem, name) || len(list[0].Tapes) != 1 || list[0].Epoch == 0 {
		t.Errorf("the list has %+v, %v", list, err)
	}
}

var logHurts = map[string]func(*MemDisk, string) error{
	"removed": func(disk *MemDisk, path string) error { return disk.Remove(path) },
	"header":  func(disk *MemDisk, path string) error { flip(disk, path, 20); return nil },
	"magic":   func(disk *MemDisk, path string) error { flip(disk, path, 2); return nil },
	"empty":   func(disk *MemDisk, path string) error { disk.node(path).data = nil; return nil },
	"zeros":   func(disk *MemDisk, path string) error { clear(disk.node(path).data); return nil },
	"a directory": func(disk *MemDisk, path string) error {
		return errors.Join(disk.Remove(path), disk.Mkdir(path))
	},
	"entries zeroed": func(disk *MemDisk, path string) error {
		clear(disk.node(path).data[sideHeader2:])
		return nil
	},
	"entries cut": func(disk *MemDisk, path string) error {
		disk.node(path).data = disk.node(path).data[:sideHeader2]
		return nil
	},
	"last entry cut": func(disk *MemDisk, path string) error {
		n := disk.node(path)
		at := int64(sideHeader2)
		for p, ok := nextFrame(n.data[at:]); ok && at+frameHeader+int64(len(p)) < int64(len(n.data)); p, ok = nextFrame(n.data[at:]) {
			at += frameHeader + int64(len(p))
		}
		n.data = n.data[:at]
		return nil
	},
}

var logEnds = []string{"closed", "killed", "moved"}

// A side log that is gone, hurt or shorter costs what it said, and neither the dataset nor a record; it stays told, and what it gave out is not given again.
func TestHurtSideLogCostsWhatItSaidAndStaysTold(t *testing.T) {
	for _, name := range []string{symbolsName, ledgerName, epochsName, outliersName} {
		for what, hurt := range logHurts {
			for _, end := range logEnds {
				t.Run(name+", "+what+", "+end, func(t *testing.T) {
					if end == "killed" && what == "last entry cut" && name != symbolsName {
						t.Skip("no commit came after the last entry, so nothing says that it was there")
					}
					v := makeLogJournal(t, end)
					if err := hurt(v.disk, v.path(name)); err != nil {
						t.Fatal(err)
					}
					v.told(t, name)
					for round := range 3 {
						j, d := v.open(t)
						if round == 0 && end != "moved" && d.Epoch() != v.epoch {
							t.Errorf("epoch %d, was %d", d.Epoch(), v.epoch)
						}
						v.useLogs(t, d, name, round)
						if err := j.Close(); err != nil {
							t.Fatal(err)
						}
						v.told(t, name)
					}
				})
			}
		}
	}
}

// useLogs has a log give out something, and be written anew.
func (v *logJournal) useLogs(t *testing.T, d *Dataset, name string, round int) {
	t.Helper()
	switch name {
	case symbolsName:
		w := openWriter(t, d, "q", "s")
		id, err := w.Instrument(Instrument{Symbol: fmt.Sprint("new", round)})
		if err != nil || v.given[id] {
			t.Fatalf("id %d, %v, was given out before", id, err)
		}
		v.given[id] = true
		w.Close()
		if err := d.symbols.rewrite(); err != nil {
			t.Fatal(err)
		}
	case ledgerName:
		if err := d.ledger.rewrite(); err != nil {
			t.Fatal(err)
		}
	case epochsName:
		all := d.Epochs()
		if all[len(all)-1].Number != d.Epoch() || slices.ContainsFunc(all, func(e Epoch) bool { return e.Number < v.epoch }) {
			t.Errorf("epochs %v, before the loss it was %d", all, v.epoch)
		}
	}
}

// Names of a symbol table that is gone are missing, and those that are found in one whose header is hurt are kept.
func TestRecordsWhoseNamesAreGoneHaveNone(t *testing.T) {
	for what, want := range map[string]int{"removed": 0, "entries cut": 0, "header": 6, "magic": 6} {
		v := makeLogJournal(t, "closed")
		if err := logHurts[what](v.disk, v.path(symbolsName)); err != nil {
			t.Fatal(err)
		}
		_, d := v.open(t)
		named := 0
		for id := range v.given {
			if symbol, ok := d.Symbols().SymbolAt(id, trades, logRecords-1); ok {
				if named++; symbol != fmt.Sprint("S", id-1) {
					t.Errorf("%s: id %d is %q", what, id, symbol)
				}
			}
		}
		if named != want {
			t.Errorf("%s: %d ids have a name, want %d", what, named, want)
		}
	}
}

// Without all streams nobody knows which count is whose: readers are served, producers are refused, and with the log back each goes on exactly where it was.
func TestHurtStreamsLogKeepsProducersOutUntilItIsBack(t *testing.T) {
	for what, hurt := range logHurts {
		for _, end := range logEnds {
			t.Run(what+", "+end, func(t *testing.T) {
				v := makeLogJournal(t, end)
				whole := slices.Clone(contents(v.disk, v.path(streamsName)))
				if err := hurt(v.disk, v.path(streamsName)); err != nil {
					t.Fatal(err)
				}
				v.told(t, streamsName)
				for _, end := range []string{"closed", "killed", "moved"} {
					v.refusesProducers(t, end)
				}
				if err := v.disk.Remove(v.path(streamsName)); err != nil && what != "removed" {
					t.Fatal(err)
				}
				f, err := v.disk.Create(v.path(streamsName))
				if err == nil {
					_, err = f.WriteAt(whole, 0)
				}
				if err = errors.Join(err, f.Sync(), v.disk.SyncDir(path.Dir(v.path(streamsName)))); err != nil {
					t.Fatal(err)
				}
				j, d := v.open(t)
				for _, producer := range []string{"p1", "p2", "p3"} {
					if w := openWriter(t, d, producer, "s"); w.Accepted() != 20 {
						t.Errorf("%s goes on from %d, sent 20", producer, w.Accepted())
					}
				}
				if err := errors.Join(d.Err(), j.Close()); err != nil {
					t.Error(err)
				}
				if r, err := verify(v.disk, "j", nil); err != nil || len(r.Problems) > 0 {
					t.Errorf("verify: %v, %v", r.Problems, err)
				}
			})
		}
	}
}

func (v *logJournal) refusesProducers(t *testing.T, end string) {
	t.Helper()
	j, d := v.open(t)
	for _, o := range []WriterOptions{{Producer: "p1", Stream: "s"}, {Producer: "new", Stream: "s"}, {Producer: "p1", Stream: "s", Existing: true}} {
		if _, err := d.OpenWriter(o); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "from a backup and start again, or publish to another dataset") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := d.Err(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the dataset's state is %v", err)
	}
	if end == "killed" {
		abandon(j)
	} else {
		d.syncLog.due = true // one more sync log
		if err := errors.Join(d.Sync(), j.Close()); err != nil {
			t.Error(err)
		}
	}
	if end == "moved" {
		v.disk = v.disk.Clone(true)
	}
	v.told(t, streamsName)
	if err := v.disk.Remove(v.path(stateName)); err != nil { // the counts are in the sync log too
		t.Fatal(err)
	}
}
