package journal

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// TestSpanTreeIsASortedListAndWhatWasPublishedNeverChanges: in whatever order entries come, each tree that a reader may hold stays what it was.
func TestSpanTreeIsASortedListAndWhatWasPublishedNeverChanges(t *testing.T) {
	for _, seed := range seeds(t, 40) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		days, most, orders := 1+rnd.Uint32N(500), 1+rnd.IntN(3000), rnd.IntN(4)
		var tree spanTree
		var model []daySpan // sorted
		type snapshot struct {
			tree  spanTree
			model []daySpan
		}
		var held []snapshot
		alone := rnd.IntN(2) == 0 // it is filled, and then read
		check := func(s snapshot) {
			var all []daySpan
			s.tree.root.each(func(sp daySpan) { all = append(all, sp) })
			first := Day(rnd.Uint32N(days + 2))
			last := first + Day(rnd.Uint32N(5))
			var over, want []daySpan
			s.tree.over(first, last, func(sp daySpan) { over = append(over, sp) })
			for _, sp := range slices.Backward(s.model) {
				if sp.from <= last && sp.to > first {
					want = append(want, sp)
				}
			}
			if !slices.Equal(all, s.model) || !slices.Equal(over, want) {
				t.Fatalf("%d spans, want %d; %d over %d to %d, want %d; TAPEWIRE_SEED=%d", len(all), len(s.model), len(over), first, last, len(want), seed)
			}
		}
		for at := range uint32(most) {
			from := Day(rnd.Uint32N(days))
			switch orders {
			case 0:
				from = Day(at)
			case 1:
				from = Day(uint32(most) - at)
			}
			if alone = alone && int(at) < most/2; !alone && rnd.IntN(20) == 0 {
				held = append(held, snapshot{tree, slices.Clone(model)})
			}
			sp := daySpan{at, from, from + 1 + Day(rnd.Uint32N(3))}
			tree = tree.with(sp, alone)
			i, _ := slices.BinarySearchFunc(model, sp, func(a, b daySpan) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.at, b.at)) })
			model = slices.Insert(model, i, sp)
		}
		for _, s := range append(held, snapshot{tree, model}) {
			check(s)
		}
		odd := func(at uint32) bool { return at%2 == 1 }
		kept, some := tree.without(odd)
		check(snapshot{kept, slices.DeleteFunc(slices.Clone(model), func(sp daySpan) bool { return odd(sp.at) })})
		if some != (most > 1) {
			t.Fatalf("some are gone: %v", some)
		}
		check(snapshot{tree, model})
	}
}

// TestOneMoreDayOfAnIDNeverCopiesAllItsDays: in whatever order they come, from a log or while others wait. Copying the list made 80 GB of 100,000 days.
func TestOneMoreDayOfAnIDNeverCopiesAllItsDays(t *testing.T) {
	const n, most = 20_000, 4 << 10 // bytes for an entry; a list of them all has 240 KB
	for order, days := range spanOrders {
		for _, alone := range []bool{false, true} {
			s := newSymbols(nil)
			s.alone = alone
			list := days(n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			enterDays(s, list)
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) / n; got > most {
				t.Errorf("%s, alone %v: %d bytes for an entry, want at most %d", order, alone, got, most)
			} else {
				t.Logf("%s, alone %v: %d bytes for an entry", order, alone, got)
			}
			for _, day := range []Day{0, 1, n / 2, n - 1} {
				if name, _ := s.NameAt(7, trades, 0, day); name != [2]string{"ODD", "EVEN"}[day%2] {
					t.Errorf("%s, alone %v: day %d is %q", order, alone, day, name)
				}
			}
		}
	}
}
