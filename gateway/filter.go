package gateway

import (
	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// filter decides which records of one cursor a session wants. A nil filter
// takes everything. Symbols are kept besides the ids they have, because an id
// may come later, or go to another symbol.
type filter struct {
	ids     map[uint32]struct{} // records that pass
	symbols map[string]struct{} // asked for by raw symbol
	fixed   map[uint32]struct{} // asked for by instrument id
}

func newFilter() *filter {
	return &filter{ids: map[uint32]struct{}{}, symbols: map[string]struct{}{}, fixed: map[uint32]struct{}{}}
}

func (f *filter) passes(id uint32) bool {
	if f == nil {
		return true
	}
	_, ok := f.ids[id]
	return ok
}

// learn takes in a new mapping. It reports whether the session must be told.
func (f *filter) learn(id uint32, symbol string) (tell bool) {
	if f == nil {
		return true
	}
	if _, ok := f.symbols[symbol]; ok {
		f.ids[id] = struct{}{}
		return true
	}
	_, ok := f.fixed[id]
	return ok
}

func (f *filter) addID(id uint32) {
	f.ids[id] = struct{}{}
	f.fixed[id] = struct{}{}
}

// addSymbol lets pass the ids that stand for symbol at a position of a tape.
func (f *filter) addSymbol(symbol string, table *journal.Symbols, schema feed.Schema, seq uint64) {
	f.symbols[symbol] = struct{}{}
	if table == nil {
		return
	}
	for _, id := range table.IDs(symbol) {
		if at, ok := table.SymbolAt(id, schema, seq); ok && at == symbol {
			f.ids[id] = struct{}{}
		}
	}
}

// remap follows a mapping that takes effect now. It reports whether the session
// must be told.
func (f *filter) remap(id uint32, symbol string) (tell bool) {
	tell = f.learn(id, symbol)
	if !tell {
		delete(f.ids, id)
	}
	return tell
}
