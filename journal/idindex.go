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
	corrections []uint32
	exact       []daySpan // metadata and definitions
	definitions []daySpan
	deletions   []daySpan
	aliases     []daySpan

	symbols map[uint32]struct{} // under Symbols.mu
}

// daySpan is the days of an entry. Lists are in order of from, then of at.
type daySpan struct {
	at       uint32
	from, to Day
	reach    Day // the greatest to up to here
}

// dates is how many entries with a date there are.
func (x *idIndex) dates() int { return len(x.exact) + len(x.deletions) + len(x.aliases) }

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
		x.corrections = append(x.corrections, at)
	case KindAlias:
		x.aliases = insertSpan(x.aliases, sp)
	case KindDeletion:
		x.deletions = insertSpan(x.deletions, sp)
	default:
		x.exact = insertSpan(x.exact, sp)
		if kind == KindDefinition {
			x.definitions = insertSpan(x.definitions, sp)
		}
	}
}

// insertSpan adds to the end of a list, or to a copy; sp is newer than all of it.
func insertSpan(list []daySpan, sp daySpan) []daySpan {
	n := len(list)
	i := sort.Search(n, func(i int) bool { return list[i].from > sp.from })
	if i < n {
		list = slices.Insert(slices.Clone(list), i, sp)
	} else {
		list = append(list, sp) // beyond the length of every list published before, so no reader sees the store
	}
	for reach := Day(0); i < len(list); i++ {
		if i > 0 {
			reach = list[i-1].reach
		}
		list[i].reach = max(reach, list[i].to)
	}
	return list
}

// after is the place of the first daySpan that begins after day.
func after(list []daySpan, day Day) int {
	return sort.Search(len(list), func(i int) bool { return list[i].from > day })
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
	if i := sort.Search(len(x.open), func(i int) bool { return int(x.open[i]) > q.upTo }); i > 0 {
		take(x.open[i-1])
	}
	for _, at := range x.corrections {
		take(at)
	}
	for _, list := range [][]daySpan{x.exact, x.aliases} {
		for i := after(list, q.day) - 1; i >= 0 && list[i].reach > q.day; i-- {
			take(list[i].at)
		}
	}
	for i := after(x.definitions, q.day) - 1; i >= 0; i-- {
		if at := x.definitions[i].at; int(at) <= q.upTo {
			take(at)
			break
		}
	}
}

// lookForEnd considers what may have ended the definition.
func (x *idIndex) lookForEnd(q *query) {
	from := q.entry(q.definition).from
	for _, list := range [][]daySpan{x.deletions, x.exact} {
		for i := after(list, q.day) - 1; i >= 0 && list[i].from >= from; i-- {
			q.considerEnd(int(list[i].at), q.entry(int(list[i].at)))
		}
	}
}
