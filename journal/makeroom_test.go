package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// onDay is records of an id on a day.
func onDay(id uint32, day Day, n int) []byte {
	b := records(trades, id, 0, n)
	for at := 0; at < len(b); at += trades.RecordSize() {
		ns := uint64(day)*dayNs + uint64(at)
		binary.LittleEndian.PutUint64(b[at+8:], ns)
		binary.LittleEndian.PutUint64(b[at+trades.TsRecvOffset():], ns)
	}
	return b
}

// A day's ids expire with its records: the table takes new ones for as long as there are days, over restarts, and every record that is kept has its name. Ids that
// were given out are given to nobody else.
func TestSymbolTableDoesNotFillForGood(t *testing.T) {
	disk := NewMemDisk()
	a := newAgingTable(t, disk)
	const first, perDay = Day(20_000), 40
	given := map[uint32]string{}
	names := map[idDay]string{}
	for day := first; day < first+30; day++ {
		list := map[uint32]string{}
		for i := range uint32(perDay) {
			id := 1_000_000 + i
			list[id] = fmt.Sprint("D", uint32(day)+i)
			names[idDay{id, day}] = list[id]
		}
		mustMap(t, a.w, datedOn(day, list)...)
		if day%5 == 0 {
			symbol := fmt.Sprint("GIVEN", day)
			id, err := a.w.Instrument(Instrument{Symbol: symbol, Lot: "1"})
			if err != nil || given[id] != "" {
				t.Fatalf("%s has id %d, which is %q, %v", symbol, id, given[id], err)
			}
			given[id] = symbol
		}
		mustAppend(t, a.w, Run{trades, onDay(1_000_001, day, 400)})
		if err := a.d.Sync(); err != nil {
			t.Fatal(err)
		}
		sealAll(t, a.d, trades)
		a.clock.Add(int64(time.Hour))
		a.j.retainRound()
		a.w.Close()
		if day%7 == 6 {
			if err := a.j.Close(); err != nil {
				t.Fatal(err)
			}
			a.open()
		} else {
			a.makeRoom()
			a.w = openWriter(t, a.d, "p", "s")
		}
		oldest := a.d.kept(nil).day
		if day > first+10 && oldest <= first+2 {
			t.Fatalf("nothing has expired: the oldest day is %s", oldest)
		}
		for is, name := range names {
			if is.day >= oldest {
				wantNames(t, a.d, a.tape().Tail(), map[idDay]string{is: name})
			}
		}
		for id, symbol := range given {
			if own, ok := a.d.Symbols().Allocated(id); !ok || own != symbol {
				t.Fatalf("%d was given out for %s, and now for %q", id, symbol, own)
			}
		}
	}
	if n := len(contents(disk, path.Join("j", testDataset, symbolsName))); n > 100*200 {
		t.Errorf("the log has %d bytes", n)
	}
	report, err := verify(disk, "j", nil)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

// newAgingTable is a journal whose symbol table is small, and whose records are kept for six hours.
func newAgingTable(t *testing.T, disk *MemDisk) *aging {
	a := newAging(t, "j", disk, Retention{Age: 6 * time.Hour})
	if err := a.j.Close(); err != nil {
		t.Fatal(err)
	}
	a.o.mappings = 600
	a.open()
	return a
}

// makeRoom is a look for what is not needed, now.
func (a *aging) makeRoom() {
	a.t.Helper()
	if a.d.crowded() {
		if err := a.d.makeRoom(); err != nil {
			a.t.Fatal(err)
		}
	}
}

// What a connected producer has declared stays, though no record of its days is there yet; and what cannot make room is refused by name.
func TestWhatAConnectedProducerDeclaredMakesNoRoom(t *testing.T) {
	a := newAgingTable(t, NewMemDisk())
	mustMap(t, a.w, datedOn(20_100, map[uint32]string{1: "NOW"})...)
	mustAppend(t, a.w, Run{trades, onDay(1, 20_100, 400)})
	old := map[uint32]string{}
	for i := range uint32(500) {
		old[10+i] = fmt.Sprint("OLD", i)
	}
	q := openWriter(t, a.d, "q", "s")
	mustMap(t, q, datedOn(20_000, old)...)
	a.makeRoom()
	wantNames(t, a.d, 400, map[idDay]string{{10, 20_000}: "OLD0", {1, 20_100}: "NOW"})
	more := map[uint32]string{}
	for i := range uint32(200) {
		more[1000+i] = fmt.Sprint("MORE", i)
	}
	if _, err := a.w.MapDated(datedOn(20_100, more)); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	// Somebody else who finds it there relies on it as well.
	r := openWriter(t, a.d, "r", "s")
	if n := mustMap(t, r, datedOn(20_000, map[uint32]string{10: "OLD0"})...); n != 0 {
		t.Errorf("%d entries for what is there", n)
	}
	q.Close()
	a.makeRoom()
	wantNames(t, a.d, 400, map[idDay]string{{10, 20_000}: "OLD0"})
	r.Close()
	a.makeRoom()
	wantNames(t, a.d, 400, map[idDay]string{{10, 20_000}: "", {1, 20_100}: "NOW"})
	if m := a.d.Symbols().At(a.d.Symbols().Len() - 1); m.ID != 0 || m.Symbol != "" {
		t.Errorf("what made room is %+v", m)
	}
	mustMap(t, a.w, datedOn(20_100, more)...)
	if _, err := a.w.Instrument(Instrument{Symbol: "NEW"}); err != nil {
		t.Fatal(err)
	}
}

// An id that was given out is never given again, nor one whose names all made room: after a clean-up and a restart records may still have it.
func TestIDIsNeverGivenAgainAfterACleanUp(t *testing.T) {
	disk := NewMemDisk()
	a := newAgingTable(t, disk)
	ids := map[uint32]string{}
	for i := range uint32(pageIDs + 100) {
		ids[i+1] = fmt.Sprint("X", i)
		if len(ids) == 550 {
			break
		}
	}
	mustMap(t, a.w, datedOn(20_000, ids)...)
	given, err := a.w.Instrument(Instrument{Symbol: "GIVEN"})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a.w, Run{trades, onDay(given, 20_100, 10)})
	a.w.Close()
	a.makeRoom()
	for range 2 {
		if err := a.j.Close(); err != nil {
			t.Fatal(err)
		}
		a.open()
	}
	if n := a.d.Symbols().NumIDs(); n != 1 {
		t.Errorf("%d ids are left, want the one that was given out", n)
	}
	id, err := a.w.Instrument(Instrument{Symbol: "ANOTHER"})
	if err != nil || ids[id] != "" || id <= given {
		t.Errorf("a new id is %d (it was %q before; %d was given out), %v", id, ids[id], given, err)
	}
}

// Room is made by itself while the journal is open, and a record of an event-time outlier keeps the names of its day.
func TestRoomIsMadeWhileTheJournalIsOpen(t *testing.T) {
	a := newAgingTable(t, NewMemDisk())
	mustMap(t, a.w, datedOn(20_000, map[uint32]string{1: "ODD"})...)
	odd := onDay(1, 20_000, 1)
	binary.LittleEndian.PutUint64(odd[8:], uint64(a.clock.Load())+100*dayNs) // ts_event alone is beyond the clock
	mustAppend(t, a.w, Run{trades, odd}, Run{trades, onDay(2, 20_100, 800)})
	sealAll(t, a.d, trades)
	if day := a.d.kept(nil).day; day != 20_000 {
		t.Errorf("the oldest day is %s, want %s", day, Day(20_000))
	}
	old := map[uint32]string{}
	for i := range uint32(500) {
		old[10+i] = fmt.Sprint("OLD", i)
	}
	q := openWriter(t, a.d, "q", "s")
	mustMap(t, q, datedOn(19_000, old)...)
	q.Close()
	a.w.Close()
	a.d.room.kick()
	eventually(t, "making room", func() bool { return a.d.Tables()[2].Used < 100 })
	wantNames(t, a.d, 0, map[idDay]string{{1, 20_000}: "ODD"})
	if s := a.d.Symbols(); s.Len() < 500 || !slices.Contains(s.IDs("ODD"), 1) || s.InEffect(feed.SchemaTrades, 1<<40) != s.Len() {
		t.Errorf("%d entries", s.Len())
	}
}

// A deletion, and an un-naming, end what is filled in before them or is still there, also when the records of their own days have gone.
func TestRoomIsNotMadeOfWhatEndsANameThatIsCarriedOn(t *testing.T) {
	s := newSymbols(nil)
	for _, m := range []Mapping{
		{ID: 1, From: 7, To: 8, Kind: KindDeletion}, {ID: 1, Symbol: "LATER", From: 20, To: 21, Kind: KindDated},
		{ID: 2, Symbol: "DEF", From: 5, To: 6, Kind: KindDefinition}, {ID: 2, Kind: KindOpen}, {ID: 2, Symbol: "LIVE", Kind: KindOpen, Time: 30 * dayNs},
		{ID: 3, Symbol: "DEF", From: 15, To: 16, Kind: KindDefinition}, {ID: 3, Kind: KindOpen}, {ID: 3, Symbol: "LIVE", Kind: KindOpen, Time: 30 * dayNs},
		{ID: 4, From: 7, To: 8, Kind: KindDeletion}, // nothing else is left of it
		{ID: 5, Symbol: "OLD", From: 7, To: 8, Kind: KindDated},
	} {
		s.enter([]Mapping{m})
	}
	p := s.planRoom(s.Len(), 10)
	if !s.apply(p, func() bool { return true }) || p.count != 2 {
		t.Errorf("%d entries made room, want 2", p.count)
	}
	s.enter([]Mapping{{ID: 1, Symbol: "FILLED", From: 5, To: 6, Kind: KindDefinition}})
	for is, want := range map[idDay]string{{1, 12}: "", {1, 20}: "LATER", {2, 12}: "LIVE", {3, 15}: "DEF", {3, 17}: "LIVE"} {
		if got, _ := s.NameAt(is.id, trades, 0, is.day); got != want {
			t.Errorf("%d on day %d is %q, want %q", is.id, is.day, got, want)
		}
	}
}
