package journal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// What is said of a day holds for good, whatever the day was called by then: it is no repetition because a definition that is carried on, or a live name, says the
// same at the moment. To say all of it again enters nothing.
func TestBackfillTakesNoNameFromADayThatHadItsOwn(t *testing.T) {
	const aapl, msft = "AAPL", "MSFT"
	defined := func(day Day, symbol string) DatedMapping {
		return DatedMapping{ID: 1, Symbol: symbol, From: day, Kind: KindDefinition}
	}
	dated := func(day Day, symbol string) DatedMapping {
		return DatedMapping{ID: 1, Symbol: symbol, From: day, To: day + 1, Kind: KindDated}
	}
	type step struct {
		live string
		days []DatedMapping
	}
	days := func(list ...DatedMapping) step { return step{days: list} }
	for name, x := range map[string]struct {
		steps []step
		want  map[Day]string
	}{
		"a definition between two of one symbol": {
			[]step{days(defined(5, aapl)), days(defined(9, aapl)), days(defined(6, msft))},
			map[Day]string{4: "", 5: aapl, 6: msft, 8: msft, 9: aapl, 12: aapl},
		},
		"a definition between one and metadata of its symbol": {
			[]step{days(defined(4, aapl)), days(dated(6, aapl)), days(defined(5, msft))},
			map[Day]string{4: aapl, 5: msft, 6: aapl, 7: ""},
		},
		"a live name after metadata of the one before": {
			[]step{{live: aapl}, days(dated(6, aapl)), {live: msft}},
			map[Day]string{6: aapl, 7: msft},
		},
		"a live name after a definition of the one before": {
			[]step{{live: aapl}, days(defined(6, aapl)), days(defined(4, msft)), {live: msft}},
			map[Day]string{4: msft, 5: msft, 6: aapl, 7: aapl},
		},
		"a definition before its deletion": {
			[]step{days(DatedMapping{ID: 1, From: 7, Kind: KindDeletion}), days(defined(5, aapl))},
			map[Day]string{4: "", 5: aapl, 7: aapl, 8: "", 9: ""},
		},
		"another day in one metadata": {
			[]step{days(defined(6, aapl)), days(dated(10, aapl), dated(8, msft))},
			map[Day]string{6: aapl, 7: aapl, 8: msft, 9: "", 10: aapl},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, Options{AnyFilesystem: true})
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			say := func(live bool) (entered int) {
				for _, s := range x.steps {
					if s.live != "" && live {
						if err := w.Map(1, s.live); err != nil {
							t.Fatal(err)
						}
					}
					entered += mustMap(t, w, s.days...)
					mustAppend(t, w, Run{trades, records(trades, 1, 0, 1)})
				}
				return entered
			}
			want := map[idDay]string{}
			for day, name := range x.want {
				want[idDay{1, day}] = name
			}
			say(true)
			wantNames(t, d, 100, want)
			size := d.symbols.log.size.Load()
			for range 2 {
				if n := say(false); n != 0 || d.symbols.log.size.Load() != size {
					t.Errorf("said again: %d entries, and the log grew from %d bytes to %d", n, size, d.symbols.log.size.Load())
				}
			}
			wantNames(t, d, 100, want)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			wantNames(t, open(t, dir, Options{AnyFilesystem: true}).Lookup(testDataset), 100, want)
		})
	}
}

// Who says of many days what others said, in other pieces and by turns, adds what is new and nothing else.
func TestTwoWhoSayTheSameDaysByTurnsDoNotFillTheLog(t *testing.T) {
	d := create(t, open(t, "j", Options{Disk: NewMemDisk()}))
	p, q := openWriter(t, d, "p", "s"), openWriter(t, d, "q", "s")
	const n = 3650
	var daily []DatedMapping
	for day := Day(1); day <= n; day++ {
		daily = append(daily, DatedMapping{ID: 1, Symbol: "A", From: day, To: day + 1, Kind: KindDated})
	}
	whole := DatedMapping{ID: 1, Symbol: "A", From: 1, To: n + 11, Kind: KindDated}
	if a, b := mustMap(t, p, daily...), mustMap(t, q, whole); a != n || b != 1 {
		t.Errorf("%d and %d entries, want %d and 1", a, b, n)
	}
	size := d.symbols.log.size.Load()
	for range 3 {
		if a, b := mustMap(t, p, daily...), mustMap(t, q, whole); a+b > 0 || d.symbols.log.size.Load() != size {
			t.Fatalf("%d and %d entries of what is there", a, b)
		}
	}
}

// A live name that was entered before a definition's day is news on that day: the definition would be carried on over what the producer says.
func TestLiveNameIsSaidAgainOnceADefinitionsDayHasCome(t *testing.T) {
	now := time.Unix(100*int64(dayNs/1e9), 0)
	d := create(t, open(t, "j", Options{Disk: NewMemDisk(), Now: func() time.Time { return now }}))
	w := openWriter(t, d, "p", "s")
	mustMap(t, w, DatedMapping{ID: 1, Symbol: "B", From: 105, Kind: KindDefinition})
	say := func(entries int) {
		t.Helper()
		for range 2 {
			if err := w.Map(1, "A"); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.Symbols().Len(); n != entries {
			t.Errorf("%d entries, want %d", n, entries)
		}
	}
	say(2)
	now = now.Add(time.Duration(4 * dayNs))
	say(2)
	wantNames(t, d, 0, map[idDay]string{{1, 104}: "A", {1, 105}: "B", {1, 106}: "B"})
	now = now.Add(time.Duration(2 * dayNs))
	say(3)
	wantNames(t, d, 0, map[idDay]string{{1, 104}: "A", {1, 105}: "B", {1, 106}: "A"})
}

// From an un-naming on nobody knows the id, whatever it was called before, but on the days that say so; until somebody says more. The same after a restart.
func TestUnnamedIDHasNoNameUntilSomebodySaysMore(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{AnyFilesystem: true})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const day = Day(20_458)
	unname := func(entered int) {
		t.Helper()
		n := d.Symbols().Len()
		for range 3 {
			for id := range uint32(6) {
				if err := w.Unname(id); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := d.Symbols().Len() - n; n != entered {
			t.Errorf("%d entries, want %d", n, entered)
		}
	}
	unname(0) // there is nothing to end
	if err := w.Map(1, "LIVE"); err != nil {
		t.Fatal(err)
	}
	alias := DatedMapping{ID: 4, Symbol: "ES.c.0", From: 0, To: NoDay - 1, Kind: KindAlias}
	alias.From = 1
	mustMap(t, w, DatedMapping{ID: 2, Symbol: "DAY", From: day, To: day + 1, Kind: KindDated}, DatedMapping{ID: 3, Symbol: "DEF", From: day, Kind: KindDefinition}, alias)
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	named := map[idDay]string{{1, day}: "LIVE", {2, day}: "DAY", {3, day}: "DEF", {3, day + 9}: "DEF", {4, day}: "ES.c.0"}
	wantNames(t, d, 9, named)
	unname(3)
	mustAppend(t, w, Run{trades, records(trades, 1, 10, 10)})
	none := map[idDay]string{{1, day}: "", {2, day}: "DAY", {3, day}: "DEF", {3, day + 1}: "", {4, day}: "", {5, day}: ""}
	wantNames(t, d, 10, none)
	wantNames(t, d, 9, named)
	if err := w.Map(1, "AGAIN"); err != nil {
		t.Fatal(err)
	}
	if n := mustMap(t, w, DatedMapping{ID: 3, Symbol: "DEF", From: day + 2, Kind: KindDefinition}, alias); n != 2 {
		t.Errorf("%d entries of what is told after an id lost its name, want 2", n)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 20, 10)})
	again := map[idDay]string{{1, day}: "AGAIN", {3, day + 1}: "", {3, day + 3}: "DEF", {4, day}: "ES.c.0"}
	wantNames(t, d, 20, again)
	wantNames(t, d, 10, none)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir, Options{AnyFilesystem: true}).Lookup(testDataset)
	for seq, want := range map[uint64]map[idDay]string{9: named, 10: none, 20: again} {
		wantNames(t, d, seq, want)
	}
}

// An id that was given out stands for its symbol, and a connected producer's name is nobody else's to take away.
func TestNobodyUnnamesWhatIsAnothers(t *testing.T) {
	d := create(t, open(t, "j", Options{Disk: NewMemDisk()}))
	a, b := openWriter(t, d, "a", "s"), openWriter(t, d, "b", "s")
	id, err := a.Instrument(Instrument{Symbol: "OURS"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Map(7, "LIVE"); err != nil {
		t.Fatal(err)
	}
	n := d.Symbols().Len()
	for _, id := range []uint32{id, 7} {
		if err := b.Unname(id); !errors.Is(err, ErrIDConflict) {
			t.Errorf("%d lost its name: %v", id, err)
		}
	}
	if d.Symbols().Len() != n {
		t.Error("a refused one was entered")
	}
	if err := a.Unname(7); err != nil {
		t.Fatal(err)
	}
	if err := b.Map(7, "FOUND"); err != nil {
		t.Errorf("nobody knew who it is, and who does cannot say it: %v", err)
	}
	wantNames(t, d, 0, map[idDay]string{{7, 20_000}: "FOUND", {id, 20_000}: "OURS"})
}

// saying is a dataset beside a model that keeps every statement: of those by days, one for each day, the first time that it is made.
type saying struct {
	t     *testing.T
	rnd   *rand.Rand
	disk  *MemDisk
	now   *atomic.Int64 // wall ns
	j     *Journal
	d     *Dataset
	w     *Writer
	model nameModel
	given map[uint32]string
	lists [][]DatedMapping // that were taken
	log   []string
}

func (s *saying) open() {
	s.j = open(s.t, "j", Options{Disk: s.disk, Now: func() time.Time { return time.Unix(0, s.now.Load()) }})
	if s.d = s.j.Lookup(testDataset); s.d == nil {
		s.d = create(s.t, s.j)
	}
	s.w = openWriter(s.t, s.d, "p", "s")
}

func (s *saying) add(m Mapping) {
	m.At, m.Time = s.d.positions(), uint64(s.now.Load())
	s.model = append(s.model, m)
}

// isSaid says whether a statement of one day was made before.
func (s *saying) isSaid(m DatedMapping, day Day) bool {
	if own, ok := s.given[m.ID]; ok && (m.Kind == KindDeletion || own == m.Symbol) {
		return true
	}
	said := false
	for _, e := range s.model {
		if e.ID == m.ID && e.Kind == KindOpen && e.Symbol == "" && m.Kind == KindAlias {
			said = false // it was ended
		}
		same := e.Kind == m.Kind || m.Kind == KindDated && (e.Kind == KindDefinition || e.Kind == KindCorrection)
		said = said || e.ID == m.ID && e.Symbol == m.Symbol && same && e.From <= day && day < e.To
	}
	return said
}

// sayDays is MapDated of a list.
func (s *saying) sayDays(list []DatedMapping) (ok bool) {
	entered, err := s.w.MapDated(slices.Clone(list))
	s.log = append(s.log, fmt.Sprintf("%+v: %d, %v", list, entered, err != nil))
	if errors.Is(err, ErrIDConflict) && entered == 0 {
		return true
	}
	news := 0
	for _, m := range list {
		if m.Kind == KindDefinition || m.Kind == KindDeletion {
			m.To = m.From + 1
		}
		for day := m.From; day < m.To; day++ {
			if !s.isSaid(m, day) {
				news++
				s.add(Mapping{ID: m.ID, Symbol: m.Symbol, Kind: m.Kind, From: day, To: day + 1})
			}
		}
	}
	s.lists = append(s.lists, list)
	if err != nil || (news == 0) != (entered == 0) {
		s.t.Errorf("%d entries where %d days are news, %v", entered, news, err)
		return false
	}
	return true
}

// sayOpen is Map, or Unname without a symbol.
func (s *saying) sayOpen(id uint32, symbol string) {
	err := error(nil)
	if symbol == "" {
		err = s.w.Unname(id)
	} else {
		err = s.w.Map(id, symbol)
	}
	s.log = append(s.log, fmt.Sprintf("%d is %q: %v", id, symbol, err != nil))
	if _, given := s.given[id]; err != nil || given {
		return
	}
	newest := slices.Clone(s.model)
	newest = slices.DeleteFunc(newest, func(e Mapping) bool { return e.ID != id || e.Kind != KindOpen })
	before := s.model.nameAt(id, trades, 1<<40, NoDay-1)
	s.add(Mapping{ID: id, Symbol: symbol})
	if n := len(newest); symbol != "" && n > 0 && newest[n-1].Symbol == symbol && before == s.model.nameAt(id, trades, 1<<40, NoDay-1) {
		s.model = s.model[:len(s.model)-1] // the same again
	}
}

func (s *saying) check() bool {
	for id := range uint32(5) {
		for day := Day(20_000); day < 20_014; day++ {
			for _, schema := range []feed.Schema{trades, mbp1} {
				seq := uint64(s.rnd.IntN(12))
				if tape := s.d.Tape(schema); tape != nil && s.rnd.IntN(2) == 0 {
					seq = tape.Tail()
				}
				want := s.model.nameAt(id, schema, seq, day)
				if got, _ := s.d.Symbols().NameAt(id, schema, seq, day); got != want {
					s.t.Errorf("%d at %s %d on day %d is %q, want %q", id, schema, seq, day, got, want)
					return false
				}
			}
		}
	}
	return true
}

// step says something, or something again.
func (s *saying) step() bool {
	rnd := s.rnd
	id, symbol := 1+rnd.Uint32N(3), fmt.Sprint("S", rnd.IntN(3))
	switch what := rnd.IntN(20); {
	case what < 2:
		schema := []feed.Schema{trades, mbp1}[rnd.IntN(2)]
		mustAppend(s.t, s.w, Run{schema, records(schema, 1, 0, 1)})
	case what < 3:
		s.now.Add(int64(rnd.IntN(3)) * int64(dayNs))
	case what < 4:
		if err := s.j.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.open()
	case what < 7:
		s.sayOpen(id, symbol)
	case what < 8:
		s.sayOpen(id, "")
	case what < 9 && rnd.IntN(3) == 0:
		n := s.d.Symbols().Len()
		given, err := s.w.Instrument(Instrument{Symbol: symbol})
		s.log = append(s.log, fmt.Sprint("declared ", given, symbol))
		if err == nil && s.d.Symbols().Len() > n {
			s.given[given] = symbol
			s.add(Mapping{ID: given, Symbol: symbol})
		}
	case what < 12 && len(s.lists) > 0:
		return s.sayDays(s.lists[rnd.IntN(len(s.lists))])
	default:
		return s.sayDays(s.someDays(id, symbol))
	}
	return true
}

func (s *saying) someDays(id uint32, symbol string) (list []DatedMapping) {
	rnd := s.rnd
	kind := []Kind{KindDated, KindDated, KindDefinition, KindDefinition, KindDefinition, KindDeletion, KindAlias}[rnd.IntN(7)]
	n := 1
	if kind == KindDated {
		n += rnd.IntN(3)
	}
	for _, k := range rnd.Perm(4)[:n] { // in no order, and no day twice
		from := Day(20_000 + 3*k + rnd.IntN(2))
		m := DatedMapping{ID: id, Symbol: symbol, From: from, To: from + 1, Kind: kind}
		switch kind {
		case KindDeletion:
			m.Symbol = ""
		case KindAlias:
			m.Symbol = "C" + symbol
			m.To += Day(rnd.IntN(4))
		case KindDated:
			m.To += Day(rnd.IntN(2))
		}
		list = append(list, m)
		symbol = fmt.Sprint("S", rnd.IntN(3))
	}
	return list
}

// Whatever is said, in whatever order and however often, of past days and of later ones: what the table leaves out as a repetition is never missed.
func TestNothingIsLeftOutThatALaterStatementNeeds(t *testing.T) {
	rounds := uint64(300)
	if raceEnabled {
		rounds = 100 // each is twenty times as slow
	}
	for _, seed := range seeds(t, rounds) {
		s := &saying{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), disk: NewMemDisk(), now: &atomic.Int64{}, given: map[uint32]string{}}
		s.now.Store(20_003 * int64(dayNs))
		s.open()
		for range 10 + s.rnd.IntN(50) {
			if !s.step() || !s.check() {
				for _, line := range s.log {
					t.Log(line)
				}
				t.Fatalf("repeat: TAPEWIRE_SEED=%d go test -run %s ./journal", seed, t.Name())
			}
		}
		size, lists := s.d.symbols.log.size.Load(), slices.Clone(s.lists)
		names := s.names()
		for _, list := range lists {
			if slices.ContainsFunc(list, func(m DatedMapping) bool { return m.Kind == KindAlias }) {
				continue // one that an un-naming ended is news
			}
			if n, err := s.w.MapDated(slices.Clone(list)); n != 0 || err != nil {
				t.Fatalf("all again: %+v made %d entries, %v; TAPEWIRE_SEED=%d", list, n, err, seed)
			}
		}
		if now := s.d.symbols.log.size.Load(); now != size || !maps.Equal(names, s.names()) {
			t.Fatalf("all again: the log grew from %d bytes to %d; TAPEWIRE_SEED=%d", size, now, seed)
		}
		if err := s.j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *saying) names() map[idDay]string {
	all := map[idDay]string{}
	for id := range uint32(5) {
		for day := Day(20_000); day < 20_014; day++ {
			all[idDay{id, day}], _ = s.d.Symbols().NameAt(id, trades, 1<<40, day)
		}
	}
	return all
}
