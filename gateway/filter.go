package gateway

import (
	"maps"
)

// filter is what a cursor lets pass: everything but some, or what was named by
// symbol and by id. A symbol means whoever bore it at the record's place and day,
// so whether a record passes is decided by its name; ids only narrow down whose
// name has to be looked at.
type filter struct {
	all     bool
	except  *filter             // with all: what is left out; nil: nothing is
	fixed   map[uint32]struct{} // named by instrument id
	names   map[string]string   // raw symbol: what the client asked for
	pending pending

	maybe map[uint32]struct{} // every id that can pass: fixed, and those that ever stood for one of names
	ids   map[uint32]struct{} // of maybe, those that do by the names the client was told (see naming)
	stale []uint32            // ids whose place in ids is to be looked at again
}

func newFilter() *filter {
	return &filter{
		fixed: map[uint32]struct{}{}, names: map[string]string{}, pending: pending{},
		maybe: map[uint32]struct{}{}, ids: map[uint32]struct{}{},
	}
}

func allFilter() *filter {
	f := newFilter()
	f.all = true
	return f
}

// everything reports whether each record passes, whatever it is called.
func (f *filter) everything() bool { return f.all && f.except == nil }

// nothing reports whether no record can pass, whatever comes.
func (f *filter) nothing() bool {
	return !f.all && len(f.fixed)+len(f.names)+len(f.pending) == 0
}

// concerns reports whether it takes a name to know if a record of the id passes,
// or passes at all.
func (f *filter) concerns(id uint32) bool {
	if f.all {
		return true
	}
	_, ok := f.maybe[id]
	return ok
}

// wants decides for a record with its name, "" for none.
func (f *filter) wants(id uint32, name string) bool {
	if f.all {
		return f.except == nil || !f.except.wants(id, name)
	}
	if _, ok := f.fixed[id]; ok {
		return true
	}
	if name == "" {
		return false
	}
	_, ok := f.names[name]
	return ok
}

// passes decides for a record whose name is the one that the client was told.
func (f *filter) passes(id uint32) bool {
	if f.all {
		return f.except == nil || !f.except.passes(id)
	}
	_, ok := f.ids[id]
	return ok
}

// settled reports whether passes can be relied on.
func (f *filter) settled() bool { return len(f.stale) == 0 && (f.except == nil || f.except.settled()) }

// addID names an instrument by its id.
func (f *filter) addID(id uint32) {
	f.fixed[id], f.maybe[id], f.ids[id] = struct{}{}, struct{}{}, struct{}{}
}

// learn takes in that id stands for symbol somewhere. resolve is asked for what was
// subscribed before anybody bore it: the symbol that matches, which is fixed from
// then on.
func (f *filter) learn(id uint32, symbol string, resolve func(asked string) string) {
	if f.except != nil {
		f.except.learn(id, symbol, resolve)
	}
	if len(f.pending) > 0 {
		if asked, ok := f.pending.take(symbol, resolve); ok {
			f.names[symbol] = asked
		}
	}
	if _, ok := f.names[symbol]; ok {
		f.maybe[id] = struct{}{}
	}
}

// told takes in that the client knows id by name from now on. It says whether the
// id became one that passes (1), or is none any more (-1).
func (f *filter) told(id uint32, name string) (change int) {
	if f.except != nil {
		f.except.told(id, name)
	}
	if f.all {
		return 0
	}
	if _, ok := f.maybe[id]; !ok {
		return 0
	}
	_, had := f.ids[id]
	switch now := f.wants(id, name); {
	case now == had:
		return 0
	case now:
		f.ids[id] = struct{}{}
		return 1
	}
	delete(f.ids, id)
	return -1
}

// askedAs is what the client asked for a symbol by.
func (f *filter) askedAs(symbol string) (string, bool) {
	asked, ok := f.names[symbol]
	return asked, ok
}

// add lets pass what g does, too.
func (f *filter) add(g *filter) {
	switch {
	case g.all && f.all:
		f.except = meet(f.except, g.except)
	case g.all:
		except := g.except.clone()
		if except != nil {
			except.remove(f)
			if except.nothing() {
				except = nil
			}
		}
		*f = *allFilter()
		f.except = except
	case f.all:
		if f.except != nil {
			f.except.remove(g)
			if f.except.nothing() {
				f.except = nil
			}
		}
	default:
		maps.Copy(f.fixed, g.fixed)
		maps.Copy(f.names, g.names)
		f.pending.merge(g.pending)
		maps.Copy(f.maybe, g.maybe)
		maps.Copy(f.ids, g.ids)
		f.stale = append(f.stale, g.stale...)
	}
}

// remove keeps back what g lets pass.
func (f *filter) remove(g *filter) {
	switch {
	case g.all:
		except := g.except
		*f = *newFilter()
		if except != nil {
			f.add(except) // what g leaves out stays
		}
	case f.all:
		if f.except == nil {
			f.except = newFilter()
		}
		f.except.add(g)
	default:
		for id := range g.fixed {
			delete(f.fixed, id)
		}
		for symbol := range g.names {
			delete(f.names, symbol)
		}
		f.pending.remove(g.pending)
		for id := range g.maybe {
			if _, ok := f.maybe[id]; ok {
				f.stale = append(f.stale, id)
			}
		}
	}
}

// meet is what both leave out; nil is nothing.
func meet(a, b *filter) *filter {
	if a == nil || b == nil {
		return nil
	}
	both := newFilter()
	for id := range a.fixed {
		if _, ok := b.fixed[id]; ok {
			both.addID(id)
		}
	}
	for symbol, asked := range a.names {
		if _, ok := b.names[symbol]; ok {
			both.names[symbol] = asked
		}
	}
	both.pending = a.pending.both(b.pending)
	for id := range a.maybe {
		if _, ok := b.maybe[id]; ok {
			both.maybe[id] = struct{}{}
			both.stale = append(both.stale, id)
		}
	}
	if both.nothing() {
		return nil
	}
	return both
}

// clone is a copy that shares nothing; of nil nil.
func (f *filter) clone() *filter {
	if f == nil {
		return nil
	}
	c := &filter{
		all: f.all, except: f.except.clone(), fixed: maps.Clone(f.fixed), names: maps.Clone(f.names), pending: maps.Clone(f.pending),
		maybe: maps.Clone(f.maybe), ids: maps.Clone(f.ids),
	}
	c.stale = append(c.stale, f.stale...)
	return c
}
