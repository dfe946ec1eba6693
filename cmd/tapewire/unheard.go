package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// unheard is what was asked for and has not been heard of: what nobody has published, and symbols that can mean several. A misspelt name is one, and must
// not look like a quiet market. The zero value is ready.
type unheard struct {
	symbols map[string]string     // and a schema of which they were asked for
	ids     map[uint32]struct{}   // instrument ids
	schemas map[feed.RType]string // by their records
	ties    []string              // symbols
}

// wait takes what nobody has published yet.
func (u *unheard) wait(w lsg.Waiting) {
	if u.symbols == nil {
		u.symbols, u.ids, u.schemas = map[string]string{}, map[uint32]struct{}{}, map[feed.RType]string{}
	}
	id, err := strconv.ParseUint(w.InstrumentID, 10, 32)
	schema, unknown := feed.ParseSchema(w.Schema)
	switch {
	case w.Symbol != "":
		u.symbols[w.Symbol] = w.Schema
	case err == nil:
		u.ids[uint32(id)] = struct{}{}
	case unknown == nil:
		u.schemas[schema.RType()] = w.Schema
	}
}

// tie takes a symbol that can mean several.
func (u *unheard) tie(symbol string) {
	if !slices.Contains(u.ties, symbol) {
		u.ties = append(u.ties, symbol)
	}
}

// found takes that a symbol is there that was asked for; a number may have been taken for an id.
func (u *unheard) found(asked string) {
	delete(u.symbols, asked)
	if id, err := strconv.ParseUint(asked, 10, 32); err == nil {
		delete(u.ids, uint32(id))
	}
}

// hear takes a record of the stream: what it speaks of is there.
func (u *unheard) hear(rec feed.Record) {
	if len(u.symbols)+len(u.ids)+len(u.schemas) == 0 {
		return
	}
	if m, ok := feed.View[feed.SymbolMappingMsg](rec); ok {
		delete(u.ids, m.InstrumentID)
		delete(u.symbols, m.InSymbol())
		return
	}
	if rec.RType().IsControl() {
		return
	}
	delete(u.ids, rec.InstrumentID())
	delete(u.schemas, rec.RType())
}

// again takes a new session, which tells anew of all that it asks for: the schemas that are not over.
func (u *unheard) again(over map[string]bool) {
	for symbol, schema := range u.symbols {
		if !over[schema] {
			delete(u.symbols, symbol)
		}
	}
	for rtype, schema := range u.schemas {
		if !over[schema] {
			delete(u.schemas, rtype)
		}
	}
}

// verdict names what is missing; nil: nothing is.
func (u *unheard) verdict(dataset string) error {
	var list []string
	for symbol := range u.symbols {
		list = append(list, symbol)
	}
	for id := range u.ids {
		list = append(list, "instrument_id "+strconv.FormatUint(uint64(id), 10))
	}
	for _, schema := range u.schemas {
		list = append(list, "all "+schema)
	}
	for _, symbol := range u.ties {
		list = append(list, symbol+" (which can mean several)")
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return withExit(exitMissing, fmt.Errorf("nobody has published to %s what was asked for: %s; look at the spelling", dataset, firstOf(list)))
}

// firstOf writes the first few of a list, and how many more there are.
func firstOf(list []string) string {
	const most = 8
	text := strings.Join(list[:min(most, len(list))], ", ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %s more", grouped(uint64(more)))
	}
	return text
}
