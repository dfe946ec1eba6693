package journal

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// dated makes mappings of one day each.
func datedOn(day Day, ids map[uint32]string) (list []DatedMapping) {
	for id, symbol := range ids {
		list = append(list, DatedMapping{ID: id, Symbol: symbol, From: day, To: day + 1, Kind: KindDated})
	}
	return list
}

func mustMap(t testing.TB, w *Writer, list ...DatedMapping) int {
	t.Helper()
	n, err := w.MapDated(list)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantNames checks what ids are called on days at the end of the trades.
func wantNames(t testing.TB, d *Dataset, seq uint64, want map[idDay]string) {
	t.Helper()
	for is, name := range want {
		if got, ok := d.Symbols().NameAt(is.id, trades, seq, is.day); got != name || ok != (name != "") {
			t.Errorf("%d at record %d on %s is %q, want %q", is.id, seq, is.day, got, name)
		}
	}
}

// An id is one symbol today and another tomorrow; an older day comes last. The same after a restart and after a power cut.
func TestEachDayOfAnIDKeepsItsName(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458)
	mustMap(t, w, datedOn(day, map[uint32]string{1: "AAPL", 2: "MSFT"})...)
	mustMap(t, w, datedOn(day+1, map[uint32]string{1: "AAON", 2: "AAPL"})...)
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	mustMap(t, w, datedOn(day-1, map[uint32]string{1: "ZM", 2: "AAON"})...)
	want := map[idDay]string{
		{1, day - 1}: "ZM", {1, day}: "AAPL", {1, day + 1}: "AAON", {1, day + 2}: "", {2, day}: "MSFT", {2, day + 1}: "AAPL", {2, day - 1}: "AAON", {3, day}: "", {1, NoDay}: "",
	}
	wantNames(t, d, 10, want)
	wantNames(t, d, 9, map[idDay]string{{1, day - 1}: "", {1, day}: "AAPL"})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	cut := open(t, "j", Options{Disk: disk.Clone(false)}).Lookup(testDataset)
	wantNames(t, cut, 10, want)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	wantNames(t, again, 10, want)
	wantNames(t, again, 9, map[idDay]string{{1, day - 1}: "", {1, day}: "AAPL"})
	if got := again.Symbols().NumIDs(); got != 2 {
		t.Errorf("%d ids", got)
	}
}

func TestEnteringAgainEntersNothing(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458)
	all := []DatedMapping{
		{ID: 1, Symbol: "A", From: day, To: day + 1, Kind: KindDated},
		{ID: 1, Symbol: "B", From: day + 1, To: day + 3, Kind: KindDated},
		{ID: 1, Symbol: "A", From: day - 5, To: day, Kind: KindDated},
		{ID: 2, Symbol: "D", From: day, Kind: KindDefinition},
		{ID: 2, Symbol: "D", From: day + 1, Kind: KindDefinition}, // carried on to it already, until a back-fill says another
		{ID: 2, From: day + 2, Kind: KindDeletion},
		{ID: 2, Symbol: "E", From: day + 2, Kind: KindDefinition},
		{ID: 3, Symbol: "ES.c.0", From: day, To: day + 9, Kind: KindAlias},
	}
	if n := mustMap(t, w, all...); n != len(all) {
		t.Errorf("%d entries of %d mappings that all say something new", n, len(all))
	}
	if err := w.Map(4, "LIVE"); err != nil {
		t.Fatal(err)
	}
	// What the live name says of these days holds until another live name says otherwise; what this says, for good.
	if n := mustMap(t, w, DatedMapping{ID: 4, Symbol: "LIVE", From: day, To: day + 100, Kind: KindDated}); n != 1 {
		t.Errorf("%d entries of days that only an open mapping named", n)
	}
	id, err := w.Instrument(Instrument{Symbol: "OURS", Lot: "0.1"})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	size, n := d.symbols.log.size.Load(), d.Symbols().Len()
	want := map[idDay]string{{1, day}: "A", {1, day + 2}: "B", {2, day + 1}: "D", {2, day + 5}: "E", {3, day + 8}: "ES.c.0", {4, day}: "LIVE", {id, day}: "OURS"}
	wantNames(t, d, 10, want)
	for range 3 {
		mustMap(t, w, all...)
		mustMap(t, w, // as finished files have it
			DatedMapping{ID: 1, Symbol: "A", From: day - 5, To: day + 1, Kind: KindDated},
			DatedMapping{ID: 2, Symbol: "D", From: day, To: day + 2, Kind: KindDated},
			DatedMapping{ID: 4, Symbol: "LIVE", From: day, To: day + 100, Kind: KindDated},
			DatedMapping{ID: id, Symbol: "OURS", From: 0, To: day + 10_000, Kind: KindDated},
			DatedMapping{ID: id, Symbol: "OURS", From: day, Kind: KindDefinition},
			DatedMapping{ID: 3, Symbol: "ES.c.0", From: day, To: day + 9, Kind: KindDated})
		if err := w.Map(4, "LIVE"); err != nil {
			t.Fatal(err)
		}
		if again, err := w.Instrument(Instrument{Symbol: "OURS", Lot: "0.1"}); again != id || err != nil {
			t.Fatal(again, err)
		}
	}
	if s, k := d.symbols.log.size.Load(), d.Symbols().Len(); s != size || k != n {
		t.Errorf("the log grew from %d bytes and %d entries to %d and %d", size, n, s, k)
		for i := n; i < k; i++ {
			t.Logf("%+v", d.Symbols().At(i))
		}
	}
	wantNames(t, d, 10, want)
}

func TestTwoNamesForOneDayAreAConflict(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458) // 2026-01-05
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "A", From: day, To: day + 2, Kind: KindDated})
	for _, bad := range []DatedMapping{
		{ID: 1, Symbol: "B", From: day + 1, To: day + 5, Kind: KindDated}, {ID: 1, Symbol: "B", From: day - 9, To: day + 1, Kind: KindDated},
		{ID: 1, Symbol: "B", From: day, Kind: KindDefinition},
	} {
		n, err := w.MapDated([]DatedMapping{{ID: 9, Symbol: "OTHER", From: day, To: day + 1, Kind: KindDated}, bad})
		if !errors.Is(err, ErrIDConflict) || n != 0 {
			t.Fatalf("%+v: %d entries, %v", bad, n, err)
		}
		for _, word := range []string{" A ", " B ", "2026-01-0", "tapewire symbols correct --dataset " + testDataset + " --id 1 --symbol B"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v: nothing says %q", err, word)
			}
		}
	}
	if n := d.Symbols().Len(); n != 1 {
		t.Errorf("%d entries: a refused batch left something", n)
	}
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "B", From: day + 2, To: day + 3, Kind: KindDated},
		DatedMapping{ID: 1, Symbol: "ES.c.0", From: day, To: day + 9, Kind: KindAlias})
	wantNames(t, d, 0, map[idDay]string{{1, day + 1}: "A", {1, day + 2}: "B", {1, day + 3}: "ES.c.0"})
	twice := []DatedMapping{{ID: 5, Symbol: "X", From: day, To: day + 1, Kind: KindDated}, {ID: 5, Symbol: "Y", From: day, To: day + 1, Kind: KindDated}}
	if _, err := w.MapDated(twice); !errors.Is(err, ErrIDConflict) {
		t.Errorf("two names in one batch: %v", err)
	}
	// Who publishes live is not renamed by somebody else's dates; of the days before, nothing is said.
	live := openWriter(t, d, "live", "s")
	if err := live.Map(7, "LIVE"); err != nil {
		t.Fatal(err)
	}
	today := DayOf(d.now())
	if _, err := w.MapDated([]DatedMapping{{ID: 7, Symbol: "OLD", From: today, To: today + 1, Kind: KindDated}}); !errors.Is(err, ErrIDConflict) {
		t.Errorf("another name for a live id of today: %v", err)
	}
	mustMap(t, w, DatedMapping{ID: 7, Symbol: "OLD", From: today - 100, To: today, Kind: KindDated})
	wantNames(t, d, 0, map[idDay]string{{7, today}: "LIVE", {7, today - 1}: "OLD"})
	// An id that was given out stands for nothing else, on no day.
	id, err := live.Instrument(Instrument{Symbol: "OURS"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.MapDated([]DatedMapping{{ID: id, Symbol: "THEIRS", From: 1, To: 2, Kind: KindDated}}); !errors.Is(err, ErrIDConflict) {
		t.Errorf("another name for an id that was given out: %v", err)
	}
	if err := w.Map(id, "THEIRS"); !errors.Is(err, ErrIDConflict) {
		t.Errorf("another name for an id that was given out: %v", err)
	}
}

// An instrument is deleted and its id given to another on one day. Where records lie between, each has its name; where none do, nobody knows.
func TestIDThatIsDeletedAndReusedOnOneDay(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458)
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "OLD", From: day, Kind: KindDefinition})
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 5)})
	mustMap(t, w, DatedMapping{ID: 1, From: day, Kind: KindDeletion}, DatedMapping{ID: 1, Symbol: "NEW", From: day, Kind: KindDefinition})
	mustAppend(t, w, Run{trades, records(trades, 1, 5, 5)}, Run{mbp1, records(mbp1, 1, 10, 5)})
	wantNames(t, d, 4, map[idDay]string{{1, day}: "OLD"})
	wantNames(t, d, 5, map[idDay]string{{1, day}: "NEW", {1, day + 1}: "NEW"})
	if got, ok := d.Symbols().NameAt(1, mbp1, 0, day); ok {
		t.Errorf("a record that may be of either is called %s", got)
	}
	mustMap(t, w, DatedMapping{ID: 1, From: day + 1, Kind: KindDeletion})
	wantNames(t, d, 10, map[idDay]string{{1, day + 1}: "NEW", {1, day + 2}: ""})
	if _, err := w.MapDated([]DatedMapping{{ID: 1, Symbol: "THIRD", From: day, Kind: KindDefinition}}); !errors.Is(err, ErrIDConflict) {
		t.Errorf("a third name without a deletion before it: %v", err)
	}
}

func TestCorrectionHoldsForWhatIsOnTheTape(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458)
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "WRONG", From: day, To: day + 2, Kind: KindDated})
	if err := w.Map(2, "WRONG2"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	if err := d.Correct("ann", 3, "X", 0, 0); !errors.Is(err, ErrNoInstrument) {
		t.Errorf("an id that nobody has is corrected: %v", err)
	}
	for _, err := range []error{d.Correct("ann", 1, "RIGHT", day, day+1), d.Correct("ann", 2, "", 0, 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[idDay]string{{1, day}: "RIGHT", {1, day + 1}: "WRONG", {2, day}: ""}
	wantNames(t, d, 3, want)
	n := d.Symbols().Len()
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "WRONG", From: day, To: day + 2, Kind: KindDated}) // the wrong file again
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "RIGHT", From: day, To: day + 1, Kind: KindDated})
	if d.Symbols().Len() != n {
		t.Errorf("%d entries, there were %d", d.Symbols().Len(), n)
	}
	wantNames(t, d, 10, want)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	wantNames(t, d, 3, want)
	last := d.Gaps()[len(d.Gaps())-1]
	if last.Cause != CauseCorrected || last.Producer != "ann" || last.Time == 0 {
		t.Errorf("ledger entry %+v", last)
	}
	for _, m := range d.Tape(trades).Marks() {
		if m.Gap != nil {
			t.Errorf("readers are told of a gap: %+v", m.Gap)
		}
	}
}

// Records that were published without a name get one by a correction, on all days or on some; their ids are given to nobody, and what is entered later goes on.
func TestRecordsThatNobodyNamedAreNamedByACorrection(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458)
	for _, id := range []uint32{pageIDs + 1, pageIDs + 2} {
		if err := w.Uses(id); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, Run{trades, records(trades, id, 0, 5)})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, "j", Options{Disk: disk})
	d = j.Lookup(testDataset)
	for id, err := range map[uint32]error{ // nothing to take away; an id that no record can have
		pageIDs + 1: d.Correct("ann", pageIDs+1, "", 0, 0), 3 * pageIDs: d.Correct("ann", 3*pageIDs, "X", 0, 0),
	} {
		if !errors.Is(err, ErrNoInstrument) {
			t.Errorf("%d is corrected: %v", id, err)
		}
	}
	if err := errors.Join(d.Correct("ann", pageIDs+1, "ONE", 0, 0), d.Correct("ann", pageIDs+2, "TWO", day, day+1), j.Close()); err != nil {
		t.Fatal(err)
	}
	d = open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	for _, seq := range []uint64{3, 10} {
		wantNames(t, d, seq, map[idDay]string{{pageIDs + 1, day}: "ONE", {pageIDs + 1, day + 9}: "ONE", {pageIDs + 2, day}: "TWO", {pageIDs + 2, day + 1}: ""})
	}
	w = openWriter(t, d, "q", "s")
	if err := w.Map(pageIDs+2, "LATER"); err != nil {
		t.Fatal(err)
	}
	wantNames(t, d, 3, map[idDay]string{{pageIDs + 2, day}: "TWO", {pageIDs + 2, day + 1}: ""})
	wantNames(t, d, 10, map[idDay]string{{pageIDs + 2, day}: "TWO", {pageIDs + 2, day + 1}: "LATER"})
}

// Records have an id that nobody named: it is never given to a new name, also after a restart.
func TestIDThatRecordsUseWithoutANameIsNeverGivenOut(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	for _, id := range []uint32{1, 2, pageIDs + 7, 1 << 31} {
		for range 2 {
			if err := w.Uses(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := d.Symbols().Len(); n != 3 || d.Symbols().At(0).ID != 0 || d.Symbols().At(0).Symbol != "" {
		t.Errorf("%d entries, want one for each of 3 pages: %+v", n, d.Symbols().At(0))
	}
	a, err := w.Instrument(Instrument{Symbol: "A"})
	if err != nil || a != 2*pageIDs {
		t.Errorf("id %d, %v, want the first of the first page without a record", a, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w = openWriter(t, open(t, "j", Options{Disk: disk}).Lookup(testDataset), "q", "s")
	if b, err := w.Instrument(Instrument{Symbol: "B"}); err != nil || b != 2*pageIDs+1 {
		t.Errorf("after a restart: id %d, %v", b, err)
	}
}

func TestMatchIsExactFirstThenTheOnlyOneThatDiffersInCase(t *testing.T) {
	s := newSymbols(nil)
	for i, symbol := range []string{"kPEPE", "BTC", "btc", "Eth", "eTH", "SOL", "straße"} {
		s.enter([]Mapping{{ID: uint32(i + 1), Symbol: symbol}})
	}
	for _, x := range []struct {
		asked, want string
		others      []string
	}{
		{"KPEPE", "kPEPE", nil}, {"kPEPE", "kPEPE", nil}, {"BTC", "BTC", nil}, {"btc", "btc", nil}, {"Btc", "", []string{"btc", "BTC"}},
		{"ETH", "", []string{"Eth", "eTH"}}, {"sol", "SOL", nil}, {"NONE", "", nil}, {"", "", nil},
	} {
		if got, others := s.Match(x.asked); got != x.want || !slices.Equal(others, x.others) {
			t.Errorf("%q is %q or one of %q, want %q and %q", x.asked, got, others, x.want, x.others)
		}
	}
}

// Readers ask while a producer enters many, and what they once knew stays as it is.
func TestNamesAreReadWhileTheyAreEntered(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, record(trades, 1, 0)})
	const ids, days = 200, 50
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			known := map[idDay]bool{}
			for {
				for id := range uint32(ids) {
					for day := range Day(days) {
						name, ok := d.Symbols().NameAt(id, trades, 1, day)
						if ok && name != fmt.Sprint("S", (id+uint32(day))%ids) || !ok && known[idDay{id, day}] {
							t.Errorf("%d on %d is %q, %v", id, day, name, ok)
							return
						}
						known[idDay{id, day}] = ok
					}
				}
				select {
				case <-done:
					if len(known) != ids*days {
						t.Errorf("%d known at the end", len(known))
					}
					return
				default:
				}
			}
		})
	}
	for day := range Day(days) {
		var list []DatedMapping
		for id := range uint32(ids) {
			list = append(list, DatedMapping{ID: id, Symbol: fmt.Sprint("S", (id+uint32(day))%ids), From: day, To: day + 1, Kind: KindDated})
		}
		mustMap(t, w, list...)
	}
	close(done)
	wg.Wait()
}

// A million instruments: what they cost in memory, and what a look at one does.
func TestCostOfAMillionInstruments(t *testing.T) {
	if testing.Short() {
		t.Skip("a million entries")
	}
	const n, most = 1_000_000, 60 // bytes for one more day of an id, without its name
	s := newSymbols(nil)
	enter := func(day Day, id uint32) {
		var list []Mapping
		for i := range uint32(n) {
			list = append(list, Mapping{ID: id + i, Symbol: fmt.Sprint("S", i), Kind: KindDated, From: day, To: day + 1})
			if len(list) == enterAtOnce {
				s.enter(list)
				list = list[:0]
			}
		}
		s.enter(list)
	}
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	enter(1, 1)
	named := memory()
	enter(2, n+1)
	after := memory()
	t.Logf("%d bytes an entry with a new name, %d with a new id", (named-before)/n, (after-named)/n)
	if got := (after - named) / n; got > most {
		t.Errorf("%d bytes for an entry with a new id, want at most %d", got, most)
	}
	if name, ok := s.NameAt(n+5, feed.SchemaTrades, 0, 2); name != "S4" || !ok {
		t.Errorf("%q", name)
	}
}

func BenchmarkNameAt(b *testing.B) {
	for _, days := range []int{1, 10, 3650} {
		b.Run(fmt.Sprint(days), func(b *testing.B) {
			s := newSymbols(nil)
			const ids = 1000
			for day := range Day(days) {
				var list []Mapping
				for id := range uint32(ids) {
					list = append(list, Mapping{ID: id, Symbol: fmt.Sprint("S", (id+uint32(day))%ids), Kind: KindDated, From: day, To: day + 1, At: []Position{{trades, uint64(day)}}})
				}
				s.enter(list)
			}
			i := uint32(0)
			for b.Loop() {
				i += 7
				if _, ok := s.NameAt(i%ids, trades, 1<<40, Day(i)%Day(days)); !ok {
					b.Fatal("no name")
				}
			}
		})
	}
}
