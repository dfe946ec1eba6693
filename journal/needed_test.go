package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// TestNoKeptRecordMissesAnEntryThatMadeRoom enters whatever can be entered, lets records go, makes room and loads the table again, in any order: NameAt says of every
// record that is kept, or may come, what all entries together say.
func TestNoKeptRecordMissesAnEntryThatMadeRoom(t *testing.T) {
	schemas := []feed.Schema{trades, mbp1}
	gone, kept := 0, 0
	for _, seed := range seeds(t, 150) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s, model := newSymbols(nil), nameModel(nil)
		ids, days := uint32(1+rnd.IntN(3)), 2+rnd.IntN(8)
		tails, first, oldest := map[feed.Schema]uint64{}, map[feed.Schema]uint64{}, Day(0)
		check := func(after string) bool {
			for range 80 {
				id, schema := rnd.Uint32N(ids), schemas[rnd.IntN(2)]
				seq, day := first[schema]+rnd.Uint64N(30), oldest+Day(rnd.IntN(days+2))
				if rnd.IntN(20) == 0 {
					day = NoDay
				}
				want := model.nameAt(id, schema, seq, day)
				if got, _ := s.NameAt(id, schema, seq, day); got != want {
					t.Errorf("after %s: %d at %s %d on day %d is %q, want %q; first records %v, oldest day %d; repeat: TAPEWIRE_SEED=%d go test -run %s ./journal",
						after, id, schema, seq, day, got, want, first, oldest, seed, t.Name())
					return false
				}
			}
			for i := range s.Len() {
				if i > 0 && s.Effect(i, trades) < s.Effect(i-1, trades) {
					t.Errorf("effects fall at entry %d; TAPEWIRE_SEED=%d", i, seed)
					return false
				}
			}
			return true
		}
		for range 20 + rnd.IntN(200) {
			switch what := rnd.IntN(20); {
			case what == 0: // records expire
				for _, schema := range schemas {
					first[schema] += rnd.Uint64N(tails[schema] - first[schema] + 1)
				}
				oldest = min(oldest+Day(rnd.IntN(3)), Day(days))
			case what == 1: // room is made
				inEffect := min(s.InEffect(trades, first[trades]), s.InEffect(mbp1, first[mbp1]))
				p := s.planRoom(inEffect, oldest)
				if p.count > 0 && s.apply(p, func() bool { return rnd.IntN(5) > 0 }) {
					gone += p.count
					s.thinIndexes()
				}
				kept += int(s.needed.Load())
				if !check("making room") {
					return
				}
				for i := range model { // what is said anew of such an id holds as in a table that never knew it
					if s.empty(model[i].ID) {
						model[i].ID = 1 << 30
					}
				}
			case what == 2: // the table is loaded again
				places := map[int]place{}
				for _, schema := range schemas {
					places[int(schema)] = place{tail: tails[schema]}
				}
				again, err := loadSymbols(&sideLog{}, s.encode(s.notes(), 0, s.Len(), false), places)
				if err != nil {
					t.Fatal(err)
				}
				s = again
				if !check("a restart") {
					return
				}
			default:
				list := someMappings(rnd, ids, oldest, days, tails, schemas)
				s.enter(list)
				model = append(model, list...)
				if !check("an entry") {
					return
				}
			}
		}
	}
	if gone < kept/100 {
		t.Errorf("%d entries made room where %d stayed", gone, kept)
	}
}

// someMappings is mappings of one kind, entered together at tails that go on; those by days begin with the oldest of kept records or later: what is said anew of
// days before it holds as in a table that never knew what made room.
func someMappings(rnd *rand.Rand, ids uint32, oldest Day, days int, tails map[feed.Schema]uint64, schemas []feed.Schema) (list []Mapping) {
	var at []Position
	for _, schema := range schemas {
		if rnd.IntN(3) == 0 {
			tails[schema] += rnd.Uint64N(4)
		}
		if tails[schema] > 0 {
			at = append(at, Position{schema, tails[schema]})
		}
	}
	kinds := []Kind{KindOpen, KindOpen, KindDated, KindDated, KindDefinition, KindDefinition, KindDeletion, KindAlias, KindCorrection}
	kind := kinds[rnd.IntN(len(kinds))]
	if kind == KindCorrection && rnd.IntN(4) > 0 {
		kind = KindDefinition
	}
	from, wall := oldest+Day(rnd.IntN(days)), uint64(rnd.IntN(days+2))*dayNs
	for range 1 + rnd.IntN(3) {
		m := Mapping{ID: rnd.Uint32N(ids), Symbol: fmt.Sprint("S", rnd.IntN(3)), Kind: kind, Time: wall, At: at}
		if kind != KindOpen && !(kind == KindCorrection && rnd.IntN(2) == 0) {
			m.From, m.To = from, from+1
			if kind == KindDated || kind == KindAlias {
				m.To += Day(rnd.IntN(4))
			}
		}
		if kind == KindDeletion || kind == KindOpen && rnd.IntN(4) == 0 {
			m.Symbol = ""
		}
		list = append(list, m)
	}
	return list
}

// empty says whether nothing is left of an id.
func (s *Symbols) empty(id uint32) bool {
	empty := true
	s.chain(id, func(int, *entry, *batch) bool {
		empty = false
		return false
	})
	return empty
}
