package gateway

import (
	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// filter decides which records of one cursor a session wants. A nil filter
// takes everything. Symbols are kept besides the ids they have, because an id
// may come later, or go to another symbol.
type filter struct {
	ids     map[uint32]struct{} // records that pass; with inverse, that do not
	symbols map[string]struct{} // whose ids these are
	fixed   map[uint32]struct{} // named by instrument id
	inverse bool                // everything but these: what is left of ALL_SYMBOLS
}

func newFilter() *filter {
	return &filter{ids: map[uint32]struct{}{}, symbols: map[string]struct{}{}, fixed: map[uint32]struct{}{}}
}

// allBut takes everything, until something is removed.
func allBut() *filter {
	f := newFilter()
	f.inverse = true
	return f
}

func (f *filter) passes(id uint32) bool {
	if f == nil {
		return true
	}
	_, ok := f.ids[id]
	return ok != f.inverse
}

// lists reports whether the id is named, to pass or not to.
func (f *filter) lists(id uint32) bool {
	_, ok := f.ids[id]
	return ok
}

// nothing reports whether no record can pass, whatever comes.
func (f *filter) nothing() bool {
	return f != nil && !f.inverse && len(f.symbols) == 0 && len(f.fixed) == 0
}

func (f *filter) addID(id uint32) {
	if f.inverse {
		f.unlist(id)
		return
	}
	f.list(id)
}

// addSymbol lets pass the ids that stand for symbol at a position of a tape.
func (f *filter) addSymbol(symbol string, table *journal.Symbols, schema feed.Schema, seq uint64) {
	if f.inverse {
		delete(f.symbols, symbol)
	} else {
		f.symbols[symbol] = struct{}{}
	}
	if table == nil {
		return
	}
	for _, id := range table.IDs(symbol) {
		if at, ok := table.SymbolAt(id, schema, seq); !ok || at != symbol {
			continue
		}
		if f.inverse {
			delete(f.ids, id)
		} else {
			f.ids[id] = struct{}{}
		}
	}
}

func (f *filter) removeID(id uint32) {
	if f.inverse {
		f.list(id)
		return
	}
	f.unlist(id)
}

// removeSymbol stops a symbol. ids are all that it ever had.
func (f *filter) removeSymbol(symbol string, ids []uint32) {
	if f.inverse {
		f.symbols[symbol] = struct{}{}
	} else {
		delete(f.symbols, symbol)
	}
	for _, id := range ids {
		if f.inverse {
			f.ids[id] = struct{}{}
		} else if _, ok := f.fixed[id]; !ok {
			delete(f.ids, id)
		}
	}
}

func (f *filter) list(id uint32) {
	f.ids[id] = struct{}{}
	f.fixed[id] = struct{}{}
}

func (f *filter) unlist(id uint32) {
	delete(f.ids, id)
	delete(f.fixed, id)
}

// learn takes in that id stands for symbol from now on. It reports whether the
// session must be told.
func (f *filter) learn(id uint32, symbol string) (tell bool) {
	if f == nil {
		return true
	}
	if _, ok := f.symbols[symbol]; ok {
		f.ids[id] = struct{}{}
	} else if _, ok := f.fixed[id]; !ok {
		delete(f.ids, id)
	}
	return f.passes(id)
}
