package journal

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

func TestIDOfAnotherConnectedProducersSymbolIsAConflict(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	a, b := openWriter(t, d, "a", "s"), openWriter(t, d, "b", "s")
	for _, step := range []struct {
		w      *Writer
		id     uint32
		symbol string
		want   error
	}{
		{a, 5, "X", nil}, {a, 5, "X", nil}, {b, 5, "X", nil}, {b, 5, "Y", ErrIDConflict}, {a, 5, "Z", nil}, {b, 6, "X", nil}, {b, 7, "", ErrName}, {b, 7, "A\nB", ErrName},
	} {
		if err := step.w.Map(step.id, step.symbol); !errors.Is(err, step.want) {
			t.Errorf("%s maps %d to %q: %v, want %v", step.w.producer, step.id, step.symbol, err, step.want)
		}
	}
	if n := d.Symbols().Len(); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
	a.Close() // its symbols are no longer live
	if err := b.Map(5, "Y"); err != nil {
		t.Errorf("id of a producer that left: %v", err)
	}
}

func TestAllocatedIDsAreUniqueAndKeptOverRestart(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	if err := w.Map(2, "TAKEN"); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint32{"A": 1, "B": 3, "TAKEN": 2}
	for _, s := range []string{"A", "B", "A", "TAKEN"} {
		if id, err := w.Instrument(Instrument{Symbol: s, Lot: "0.01"}); err != nil || id != want[s] {
			t.Errorf("%s has id %d, %v, want %d", s, id, err, want[s])
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	w = openWriter(t, d, "q", "s")
	if id, err := w.Instrument(Instrument{Symbol: "C"}); err != nil || id != 4 {
		t.Errorf("new id after restart: %d, %v, want 4", id, err)
	}
	if ids := d.Symbols().IDs("B"); len(ids) != 1 || ids[0] != 3 {
		t.Errorf("ids of B after restart: %v", ids)
	}
	m := d.Symbols().At(1)
	if m.Symbol != "A" || m.Instrument.Lot != "0.01" || m.Producer != "p" {
		t.Errorf("entry after restart: %+v", m)
	}
}

func TestChangeOfMappingHoldsFromWhereItHappened(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mapTo := func(symbol string) {
		if err := w.Map(9, symbol); err != nil {
			t.Fatal(err)
		}
	}
	mapTo("OLD")
	mustAppend(t, w, Run{trades, records(trades, 9, 0, 10)})
	mapTo("NEW")
	mustAppend(t, w, Run{trades, records(trades, 9, 10, 5)}, Run{mbp1, records(mbp1, 9, 15, 5)})
	check := func(d *Dataset) {
		t.Helper()
		for seq, want := range map[uint64]string{0: "OLD", 9: "OLD", 10: "NEW", 14: "NEW"} {
			if got, ok := d.Symbols().SymbolAt(9, trades, seq); !ok || got != want {
				t.Errorf("symbol at %d: %q, want %q", seq, got, want)
			}
		}
		if got, _ := d.Symbols().SymbolAt(9, mbp1, 0); got != "NEW" {
			t.Errorf("symbol in the later tape: %q", got)
		}
	}
	check(d)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, "j", Options{Disk: disk}).Lookup(testDataset))
}

func TestMappingIsSeenBeforeTheRecordThatNeedsIt(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk(), MinSegment: 1 << 20})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const n = 1000
	mustAppend(t, w, Run{trades, record(trades, 0, 0)})
	var wg sync.WaitGroup
	wg.Go(func() {
		tape := d.Tape(trades)
		for seen := uint64(1); seen < n; {
			tail := tape.Tail()
			known := d.Symbols().Len()
			if uint64(known) < tail-1 {
				t.Errorf("tail %d with %d mappings", tail, known)
				return
			}
			s, err := tape.Segment(seen)
			if err != nil {
				t.Error(err)
				return
			}
			for ; seen < tail; seen++ {
				id := feed.Record(s.Mapped(seen, seen+1)).InstrumentID()
				if got, ok := d.Symbols().SymbolAt(id, trades, seen); !ok || got != fmt.Sprint("SYM", id) {
					t.Errorf("record %d: symbol of %d is %q", seen, id, got)
				}
			}
			s.Release()
		}
	})
	for i := uint32(1); i < n; i++ {
		if err := w.Map(i, fmt.Sprint("SYM", i)); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, Run{trades, record(trades, i, uint64(i))})
	}
	wg.Wait()
}
