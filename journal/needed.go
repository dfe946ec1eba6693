package journal

import "slices"

// roomPlan says which entries of a symbol table no kept record needs, whoever asks NameAt.
//
// Records before the tapes' first ones are gone, so entries below inEffect hold for every record that there is or will be, and so does what they supersede not. Days
// before the oldest of any kept record, and of any day that a connected producer has declared something for, are asked for by nobody.
type roomPlan struct {
	s        *Symbols
	n        int // entries that are looked at
	inEffect int
	day      Day // the oldest that matters
	gone     []uint64
	count    int      // of those
	emptied  []uint32 // ids that nothing is left of
}

// planRoom looks at all entries. It takes no lock; only one goroutine makes room.
func (s *Symbols) planRoom(inEffect int, day Day) *roomPlan {
	n := s.list.len()
	p := &roomPlan{s: s, n: n, inEffect: min(inEffect, n), day: day, gone: make([]uint64, (n+63)/64)}
	var of []int
	for i := range s.idList.len() {
		id := *s.idList.at(i)
		of = of[:0]
		s.chain(id, func(k int, _ *entry, _ *batch) bool {
			if k < n {
				of = append(of, k)
			}
			return true
		})
		slices.Reverse(of)
		before := p.count
		p.weigh(of)
		if len(of) > 0 && p.count-before == len(of) {
			p.emptied = append(p.emptied, id)
		}
	}
	return p
}

func (p *roomPlan) drop(k int) {
	p.gone[k/64] |= 1 << (k % 64)
	p.count++
}

func (p *roomPlan) isGone(k int) bool { return p.gone[k/64]&(1<<(k%64)) != 0 }

func (p *roomPlan) kind(k int) Kind { return p.s.batches.at(int(p.s.list.at(k).batch)).kind }

// isOpen says whether an entry names everything from its position on.
func (p *roomPlan) isOpen(k int) bool {
	kind := p.kind(k)
	return kind == KindOpen || kind == KindCorrection && p.s.list.at(k).to == 0
}

// isUnnamed says whether an entry takes its id's name away: it ends what was entered before it.
func (p *roomPlan) isUnnamed(k int) bool { return p.kind(k) == KindOpen && p.s.list.at(k).symbol == 0 }

// weigh decides about the entries of an id, the oldest first. The one that says that the id was given out for its symbol stays: an id never has two.
func (p *roomPlan) weigh(of []int) {
	if len(of) > 0 && p.s.batches.at(int(p.s.list.at(of[0]).batch)).allocated {
		p.weighRest(of[0], of)
		return
	}
	p.weighRest(-1, of)
}

func (p *roomPlan) weighRest(keep int, of []int) {
	open, unnamed, carried := -1, -1, false // the newest that are in effect everywhere: open ones before it name nothing
	for _, k := range of {
		switch kind := p.kind(k); {
		case k >= p.inEffect:
		case kind == KindDefinition || kind == KindAlias:
			carried = true
		case p.isOpen(k):
			open = k
			if carried && p.isUnnamed(k) {
				unnamed = k // what it ended must not be carried on without it
			}
		}
	}
	d, old := p.definitionOf(of), p.allOld(of)
	if d.end >= 0 && old { // what ended it must not be used without it, nor may it be without its end: both, when nothing else is left of the id
		d.first, d.end = -1, -1
	}
	for _, k := range of {
		if k == keep {
			continue
		}
		switch e := p.s.list.at(k); {
		case p.isOpen(k):
			if k < open && k != unnamed {
				p.drop(k)
			}
		case e.to > p.day:
		case d.unsettled && p.kind(k) != KindAlias && p.kind(k) != KindCorrection:
		case k == d.first, k == d.end, k == d.deletion && !old, d.first >= 0 && k >= p.inEffect && p.ends(k, d.first):
		default:
			p.drop(k)
		}
	}
}

// carried is the definition that is carried on to the oldest day, and what ended it.
type carried struct {
	unsettled bool // which one it is, is not the same for all records
	first     int  // -1: there is none
	end       int  // the newest of its ends that is in effect everywhere; -1: there is none
	deletion  int  // where no definition is there yet, the last day's deletion: one that is filled in later must not outlive it; -1: there is none
}

func (p *roomPlan) definitionOf(of []int) carried {
	d := carried{first: -1, end: -1, deletion: -1}
	for _, k := range of {
		e := p.s.list.at(k)
		if p.kind(k) != KindDefinition || e.from >= p.day {
			continue
		}
		if k >= p.inEffect {
			d.unsettled = true
		} else if d.first < 0 || e.from >= p.s.list.at(d.first).from {
			d.first = k
		}
	}
	if d.first < 0 {
		for _, k := range of {
			e := p.s.list.at(k)
			if p.kind(k) == KindDeletion && k < p.inEffect && e.from < p.day && (d.deletion < 0 || e.from >= p.s.list.at(d.deletion).from) {
				d.deletion = k
			}
		}
		return d
	}
	for _, k := range of {
		if p.s.list.at(k).from < p.day && k < p.inEffect && p.ends(k, d.first) {
			d.end = k
		}
	}
	return d
}

// ends says whether an entry ends a definition on every day from the oldest on, where it is in effect.
func (p *roomPlan) ends(k, definition int) bool {
	e, d := p.s.list.at(k), p.s.list.at(definition)
	switch p.kind(k) {
	case KindDeletion:
		return e.from > d.from || e.from == d.from && k > definition
	case KindDated:
		return e.to > d.from+1 && e.symbol != d.symbol
	case KindOpen:
		return k > definition && e.symbol == 0
	}
	return false
}

// allOld says whether all entries of an id are in effect everywhere, and of days before the oldest.
func (p *roomPlan) allOld(of []int) bool {
	return !slices.ContainsFunc(of, func(k int) bool { return k >= p.inEffect || p.isOpen(k) || p.s.list.at(k).to > p.day })
}
