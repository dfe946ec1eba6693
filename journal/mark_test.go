package journal

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// markText is what a test compares: the places of gaps, with their causes.
func markText(marks []Mark) []string {
	list := []string{}
	for _, m := range marks {
		list = append(list, fmt.Sprint(m.Seq, " ", m.Gap.Cause))
	}
	return list
}

func TestFirstMappingHoldsFromItsPlaceOnTapesThatHaveRecords(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mapTo := func(id uint32, symbol string) {
		if err := w.Map(id, symbol); err != nil {
			t.Fatal(err)
		}
	}
	mapTo(1, "EARLY")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	mapTo(2, "SECOND")
	mustAppend(t, w, Run{trades, records(trades, 2, 10, 5)}, Run{mbp1, records(mbp1, 2, 15, 5)})
	mapTo(3, "THIRD")
	if id, err := w.Instrument(Instrument{Symbol: "SECOND", Lot: "0.01"}); id != 2 || err != nil { // more about it, no other symbol
		t.Fatal(id, err)
	}
	mustAppend(t, w, Run{trades, records(trades, 3, 20, 1)})
	check := func(d *Dataset) {
		t.Helper()
		for _, x := range []struct {
			id     uint32
			schema feed.Schema
			seq    uint64
			want   string
		}{{1, trades, 0, "EARLY"}, {2, trades, 9, ""}, {2, trades, 10, "SECOND"}, {2, mbp1, 0, "SECOND"}, {3, mbp1, 4, ""}, {3, mbp1, 5, "THIRD"}, {4, trades, 99, ""}} {
			if got, ok := d.Symbols().SymbolAt(x.id, x.schema, x.seq); got != x.want || ok != (x.want != "") {
				t.Errorf("symbol of %d at %s %d: %q, %v, want %q", x.id, x.schema, x.seq, got, ok, x.want)
			}
		}
	}
	check(d)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, "j", Options{Disk: disk}).Lookup(testDataset))
}

func TestMarkThatComesLateIsNotPutBelowOneThatReadersHave(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 5)})
	late := Gap{Schema: anySchema, Cause: "late", At: d.positions()}
	mustAppend(t, w, Run{trades, records(trades, 1, 5, 5)})
	if err := w.Gap(Gap{Schema: anySchema, Cause: "first"}); err != nil {
		t.Fatal(err)
	}
	had := d.Tape(trades).Marks()
	if err := d.enterGap(w, late); err != nil {
		t.Fatal(err)
	}
	if got, want := markText(d.Tape(trades).Marks()), []string{"10 first", "10 late"}; !slices.Equal(got, want) {
		t.Errorf("marks %q, want %q", got, want)
	}
	if got := markText(had); !slices.Equal(got, []string{"10 first"}) {
		t.Errorf("the list a reader had became %q", got)
	}
	_ = append(had, Mark{Seq: 1}) // a careless reader
	if got := d.Tape(trades).Marks()[1]; got.Gap == nil {
		t.Errorf("a reader's append reached the tape: %+v", got)
	}
}

func TestMarksOnlyGrowAtTheirEndWhileRead(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk(), MinSegment: 1 << 20})
	d := create(t, j)
	a, b := openWriter(t, d, "a", "s"), openWriter(t, d, "b", "s")
	mustAppend(t, a, Run{trades, record(trades, 1, 0)})
	const n = 500
	var writers, reader sync.WaitGroup
	writers.Go(func() {
		for i := range uint32(n) {
			if err := a.Map(i, fmt.Sprint("S", i)); err != nil {
				t.Error(err)
				return
			}
			if err := appendAll(a, Run{trades, record(trades, i, uint64(i))}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	writers.Go(func() {
		for i := range n {
			if err := b.Gap(Gap{Schema: trades, Cause: fmt.Sprint("c", i)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	done := make(chan struct{})
	reader.Go(func() {
		var had []Mark
		for end := false; !end; {
			select {
			case <-done:
				end = true
			default:
			}
			marks := d.Tape(trades).Marks()
			if len(marks) < len(had) || !slices.Equal(marks[:len(had)], had) {
				t.Errorf("%d marks do not begin with the %d from before", len(marks), len(had))
				return
			}
			if !slices.IsSortedFunc(marks, func(a, b Mark) int { return int(a.Seq) - int(b.Seq) }) {
				t.Errorf("marks are out of order: %q", markText(marks))
				return
			}
			had = marks
		}
		if len(had) != n {
			t.Errorf("%d marks, want %d", len(had), n)
		}
	})
	writers.Wait()
	close(done)
	reader.Wait()
}

func TestCostOfAMappingDoesNotGrowWithTheirNumber(t *testing.T) {
	const n, most = 20_000, 4 << 10 // bytes a mapping may allocate; a copy of all would be hundreds of KB
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, record(trades, 7, 0)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	remap(t, w, n)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if got := d.Symbols().Len(); got < n {
		t.Errorf("%d entries, want %d", got, n)
	}
	if got := (after.TotalAlloc - before.TotalAlloc) / n; got > most {
		t.Errorf("%d bytes allocated for each of %d mappings, want at most %d (%v in all)", got, n, most, took)
	}
}

// remap changes what one id stands for n times.
func remap(t testing.TB, w *Writer, n int) {
	t.Helper()
	for i := range n {
		if err := w.Map(7, fmt.Sprint("SYM", i%2)); err != nil {
			t.Fatal(err)
		}
	}
}

// Marks of what expired make room: or a producer that reports gaps for months fills the memory with what no reader comes to. What is left keeps its
// number, by which readers count.
func TestMarksOfWhatExpiredMakeRoomAndTheOthersKeepTheirNumbers(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	tape := func() *Tape { return d.Tape(trades) }
	mustAppend(t, w, Run{trades, record(trades, 1, 0)})
	const n = 1000
	at := -1 // a reader's next mark
	for i := range n {
		if err := w.Gap(Gap{Schema: trades, Cause: fmt.Sprint("c", i)}); err != nil {
			t.Fatal(err)
		}
		if i == n/2 {
			at = i
		}
		mustAppend(t, w, Run{trades, record(trades, 1, uint64(i+1))})
		tape().first.Store(uint64(max(0, i-10))) // as retention does
	}
	if got := cap(tape().marks.Load().list); got > 4*marksSlack+64 {
		t.Errorf("%d marks have room, and 11 are of kept records", got)
	}
	first, list := tape().MarksFrom(at)
	if len(list) == 0 || first != n-len(list) || list[0].Gap.Cause != fmt.Sprint("c", first) || list[len(list)-1].Gap.Cause != fmt.Sprint("c", n-1) {
		t.Errorf("from mark %d on a reader is given %d of number %d, %q", at, len(list), first, markText(list))
	}
	if first, list := tape().MarksFrom(n); first != n || len(list) > 0 {
		t.Errorf("behind the last mark come %d, the first of number %d", len(list), first)
	}
}
