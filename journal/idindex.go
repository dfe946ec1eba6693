package journal

import (
	"slices"
	"sort"
)

const (
	chainMost = 16      // entries of an id that are gone through one by one; one with more has an index
	busyID    = 1 << 31 // in a head of idTable: the id has an index
)

// idIndex finds what matters among many entries of one id. One that was published is never changed.
// All numbers are 1 + an entry's place in the list, as in query.
type idIndex struct {
	open        []uint32
	always      []uint32 // corrections without days
	corrections spanTree
	exact       spanTree // metadata and definitions
	definitions spanTree
	deletions   spanTree
	aliases     spanTree

	symbols map[uint32]struct{} // under Symbols.mu
}

// dated says whether it has an entry that says something of some days only, or of what lies before it.
func (x *idIndex) dated() bool {
	return x.exact.root != nil || x.deletions.root != nil || x.aliases.root != nil || x.corrections.root != nil || len(x.always) > 0
}

// makeIndex gives an id its first index: of the entries it has, and the one at.
func (s *Symbols) makeIndex(id, at uint32) {
	x := &idIndex{symbols: map[uint32]struct{}{}}
	for n := at; n > 0; n = s.list.at(int(n - 1)).prev {
		x.open = append(x.open, n) // for once a list of all
	}
	all := x.open
	x.open = nil
	for _, n := range slices.Backward(all) {
		x.add(s, n)
	}
	s.busy.Store(id, x)
}

// extendIndex adds an entry to an id's index. It reports whether the id had its symbol before.
func (s *Symbols) extendIndex(id, at uint32) (known bool) {
	v, _ := s.busy.Load(id)
	x := *v.(*idIndex)
	_, known = x.symbols[s.list.at(int(at-1)).symbol]
	x.add(s, at)
	s.busy.Store(id, &x)
	return known
}

func (x *idIndex) add(s *Symbols, at uint32) {
	e := s.list.at(int(at - 1))
	x.symbols[e.symbol] = struct{}{}
	sp := daySpan{at: at, from: e.from, to: e.to}
	switch kind := s.batches.at(int(e.batch)).kind; kind {
	case kindGone:
	case KindOpen:
		x.open = append(x.open, at)
	case KindCorrection:
		if e.to == 0 {
			x.always = append(x.always, at)
			return
		}
		x.corrections = x.corrections.with(sp, s.alone)
	case KindAlias:
		x.aliases = x.aliases.with(sp, s.alone)
	case KindDeletion:
		x.deletions = x.deletions.with(sp, s.alone)
	default:
		x.exact = x.exact.with(sp, s.alone)
		if kind == KindDefinition {
			x.definitions = x.definitions.with(sp, s.alone)
		}
	}
}

// indexOf is the index of an id; nil when it has few entries.
func (s *Symbols) indexOf(id uint32) *idIndex {
	if v, ok := s.busy.Load(id); ok {
		return v.(*idIndex)
	}
	return nil
}

// look considers what can matter.
func (x *idIndex) look(q *query) {
	take := func(at uint32) { q.consider(int(at), q.entry(int(at))) }
	if i := inEffect(x.open, q.upTo); i > 0 {
		take(x.open[i-1])
	}
	if n := len(x.always); n > 0 { // of those that are in effect, and of the others, the newest counts
		if i := inEffect(x.always, q.upTo); i > 0 {
			take(x.always[i-1])
		}
		take(x.always[n-1])
	}
	for _, list := range [...]spanTree{x.corrections, x.exact, x.aliases} {
		list.over(q.day, q.day, func(sp daySpan) { take(sp.at) })
	}
	x.definitions.upTo(q.day, func(sp daySpan) bool {
		if int(sp.at) > q.upTo {
			return true
		}
		take(sp.at)
		return false
	})
}

// inEffect is how many of the entries, in their order, are among the first n.
func inEffect(list []uint32, n int) int {
	return sort.Search(len(list), func(i int) bool { return int(list[i]) > n })
}

// lookForEnd considers what may have ended the definition.
func (x *idIndex) lookForEnd(q *query) {
	from := q.entry(q.definition).from
	for _, list := range [...]spanTree{x.deletions, x.exact} {
		list.upTo(q.day, func(sp daySpan) bool {
			if sp.from >= from {
				q.considerEnd(int(sp.at), q.entry(int(sp.at)))
			}
			return sp.from >= from
		})
	}
}

// without is the index without entries that are gone; nil when it has none of them.
func (x *idIndex) without(gone func(at uint32) bool) *idIndex {
	fresh, some := *x, false
	for _, list := range []*[]uint32{&fresh.open, &fresh.always} {
		kept := slices.DeleteFunc(slices.Clone(*list), gone)
		some = some || len(kept) < len(*list)
		*list = kept
	}
	for _, list := range []*spanTree{&fresh.corrections, &fresh.exact, &fresh.definitions, &fresh.deletions, &fresh.aliases} {
		kept, fewer := list.without(gone)
		*list, some = kept, some || fewer
	}
	if !some {
		return nil
	}
	return &fresh
}
