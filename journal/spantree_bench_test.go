package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// spanOrders are the orders in which the dated entries of one id come.
var spanOrders = map[string]func(n int) []Day{
	"ascending": func(n int) []Day {
		days := make([]Day, n)
		for i := range days {
			days[i] = Day(i)
		}
		return days
	},
	"descending": func(n int) []Day {
		days := make([]Day, n)
		for i := range days {
			days[i] = Day(n - 1 - i)
		}
		return days
	},
	"random": func(n int) []Day {
		days := make([]Day, n)
		for i, at := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
			days[i] = Day(at)
		}
		return days
	},
}

// enterDays enters a day of an id, of two names by turns.
func enterDays(s *Symbols, days []Day) {
	var list [1]Mapping
	for _, day := range days {
		list[0] = Mapping{ID: 7, Symbol: [2]string{"ODD", "EVEN"}[day%2], Kind: KindDated, From: day, To: day + 1}
		s.enter(list[:])
	}
}

// BenchmarkEnterDated is what one more dated entry costs an id that comes to have 1,000, 10,000 and 100,000 of them.
func BenchmarkEnterDated(b *testing.B) {
	for _, order := range []string{"ascending", "descending", "random"} {
		for _, n := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", order, n), func(b *testing.B) {
				days := spanOrders[order](n)
				b.ReportAllocs()
				for b.Loop() {
					enterDays(newSymbols(nil), days)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
			})
		}
	}
}
