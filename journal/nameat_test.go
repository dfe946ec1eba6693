package journal

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// nameModel answers NameAt by looking at every entry, rule by rule.
type nameModel []Mapping

func (m nameModel) nameAt(id uint32, schema feed.Schema, seq uint64, day Day) string {
	pick := func(of func(e Mapping) bool) (best int) {
		best = -1
		for i, e := range m {
			if e.ID == id && of(e) {
				best = i
			}
		}
		return best
	}
	in := func(e Mapping) bool { return seqIn(e.At, schema) <= seq }
	covers := func(e Mapping) bool { return e.From <= day && day < e.To }
	if i := pick(func(e Mapping) bool { return e.Kind == KindCorrection && (covers(e) || e.To == 0 && !in(e)) }); i >= 0 {
		return m[i].Symbol
	}
	exact := func(e Mapping) bool { return in(e) && (e.Kind == KindDated || e.Kind == KindDefinition) && covers(e) }
	if i := pick(exact); i >= 0 {
		other := pick(func(e Mapping) bool { return exact(e) && e.Symbol != m[i].Symbol })
		if other >= 0 && seqIn(m[other].At, schema) == seqIn(m[i].At, schema) {
			return ""
		}
		return m[i].Symbol
	}
	open := pick(func(e Mapping) bool { return in(e) && (e.Kind == KindOpen || e.Kind == KindCorrection && e.To == 0) })
	unnamed := pick(func(e Mapping) bool { return in(e) && e.Kind == KindOpen && e.Symbol == "" })
	definition := -1
	for i, e := range m {
		if e.ID == id && day != NoDay && in(e) && e.Kind == KindDefinition && e.From <= day && (definition < 0 || e.From >= m[definition].From) {
			definition = i
		}
	}
	ended := -1
	if definition >= 0 {
		d := m[definition]
		since := NoDay
		if open >= 0 {
			since = DayOf(m[open].Time)
		}
		if open > unnamed && since <= day && (since > d.From || since == d.From && open > definition) {
			return m[open].Symbol
		}
		for i, e := range m {
			switch {
			case e.ID != id || !in(e):
			case e.Kind == KindDeletion && e.From < day && (e.From > d.From || e.From == d.From && i > definition),
				e.Kind == KindDated && e.To-1 > d.From && e.From <= day && e.Symbol != d.Symbol,
				e.Kind == KindOpen && e.Symbol == "" && i > definition:
				ended = i
			}
		}
		if ended < 0 {
			return d.Symbol
		}
	}
	if open > max(ended, unnamed) {
		return m[open].Symbol
	}
	if i := pick(func(e Mapping) bool { return in(e) && e.Kind == KindAlias && covers(e) }); i > unnamed {
		return m[i].Symbol
	}
	return ""
}

// seeds are those of a random test: some, or the one that TAPEWIRE_SEED names.
func seeds(t *testing.T, n uint64) []uint64 {
	if one := os.Getenv("TAPEWIRE_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	if testing.Short() {
		n = max(n/5, 1)
	}
	list := make([]uint64, n)
	first := uint64(time.Now().UnixNano())
	for i := range list {
		list[i] = first + uint64(i)
	}
	return list
}

func TestNameAtIsWhatItsRulesSay(t *testing.T) {
	for _, seed := range seeds(t, 300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s, model := newSymbols(nil), nameModel(nil)
		ids, days, most := uint32(1+rnd.IntN(3)), 1+rnd.IntN(8), 1+rnd.IntN(150)
		if seed%20 == 0 { // one id, whose many days come in no order
			ids, days, most = 1, 1+rnd.IntN(300), 1500
			s.alone = seed%40 == 0
		}
		tails := map[feed.Schema]uint64{}
		check := func() bool {
			for range 60 {
				id, schema, seq, day := rnd.Uint32N(ids+1), []feed.Schema{trades, mbp1}[rnd.IntN(2)], rnd.Uint64N(40), Day(rnd.IntN(days+3))
				if rnd.IntN(20) == 0 {
					day = NoDay
				}
				want := model.nameAt(id, schema, seq, day)
				if got, ok := s.NameAt(id, schema, seq, day); got != want || ok != (want != "") {
					t.Errorf("%d at %s %d on day %d is %q, want %q; entries:", id, schema, seq, day, got, want)
					for i, m := range model {
						t.Logf("%d: %+v", i, m)
					}
					t.Errorf("repeat: TAPEWIRE_SEED=%d go test -run %s ./journal", seed, t.Name())
					return false
				}
				if n := s.InEffect(schema, seq); n < s.Len() && s.Effect(n, schema) <= seq || n > 0 && s.Effect(n-1, schema) > seq {
					t.Errorf("%d entries in effect at %s %d; TAPEWIRE_SEED=%d", n, schema, seq, seed)
					return false
				}
			}
			return true
		}
		for len(model) < most {
			list := someMappings(rnd, ids, 0, days, tails, []feed.Schema{trades, mbp1})
			s.enter(list)
			model = append(model, list...)
			if (days < 9 || rnd.IntN(25) == 0) && !check() {
				return
			}
		}
	}
}
