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
// not look like a quiet market. The zero value is ready. It is kept beside a file that is complete, as JSON.
type unheard struct {
	Symbols map[string]string     `json:"symbols,omitempty"` // and a schema of which they were asked for
	IDs     map[uint32]struct{}   `json:"ids,omitempty"`     // of instruments
	Schemas map[feed.RType]string `json:"schemas,omitempty"` // by their records
	Ties    []string              `json:"ties,omitempty"`    // symbols
}

// wait takes what nobody has published yet.
func (u *unheard) wait(w lsg.Waiting) {
	id, err := strconv.ParseUint(w.InstrumentID, 10, 32)
	schema, unknown := feed.ParseSchema(w.Schema)
	switch {
	case w.Symbol != "":
		put(&u.Symbols, w.Symbol, w.Schema)
	case err == nil:
		put(&u.IDs, uint32(id), struct{}{})
	case unknown == nil:
		put(&u.Schemas, schema.RType(), w.Schema)
	}
}

// put makes the map that it needs.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// ask takes instrument ids that were asked for. A gateway tells nothing of one without a name; its records may come all the same.
func (u *unheard) ask(ids names) {
	for _, text := range ids {
		u.wait(lsg.Waiting{InstrumentID: text})
	}
}

// tie takes a symbol that can mean several.
func (u *unheard) tie(symbol string) {
	if !slices.Contains(u.Ties, symbol) {
		u.Ties = append(u.Ties, symbol)
	}
}

// found takes that a symbol is there that was asked for; a number may have been taken for an id.
func (u *unheard) found(asked string) {
	delete(u.Symbols, asked)
	if id, err := strconv.ParseUint(asked, 10, 32); err == nil {
		delete(u.IDs, uint32(id))
	}
}

// open is how much may still be heard of.
func (u *unheard) open() int { return len(u.Symbols) + len(u.IDs) + len(u.Schemas) }

// hear takes a record of the stream: what it speaks of is there.
func (u *unheard) hear(rec feed.Record) {
	if u.open() == 0 {
		return
	}
	if m, ok := feed.View[feed.SymbolMappingMsg](rec); ok {
		delete(u.IDs, m.InstrumentID)
		delete(u.Symbols, m.InSymbol())
		return
	}
	if rec.RType().IsControl() {
		return
	}
	delete(u.IDs, rec.InstrumentID())
	delete(u.Schemas, rec.RType())
}

// again takes a new session, which tells anew of all that it asks for: the schemas that are not over.
func (u *unheard) again(over map[string]bool) {
	for symbol, schema := range u.Symbols {
		if !over[schema] {
			delete(u.Symbols, symbol)
		}
	}
	for rtype, schema := range u.Schemas {
		if !over[schema] {
			delete(u.Schemas, rtype)
		}
	}
}

// verdict names what is missing; nil: nothing is.
func (u *unheard) verdict(dataset string) error {
	var list []string
	for symbol := range u.Symbols {
		list = append(list, symbol)
	}
	for id := range u.IDs {
		list = append(list, "instrument_id "+strconv.FormatUint(uint64(id), 10))
	}
	for _, schema := range u.Schemas {
		list = append(list, "all "+schema)
	}
	for _, symbol := range u.Ties {
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
