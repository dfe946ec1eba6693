package journal

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// DatedMapping is what Writer.MapDated enters.
type DatedMapping struct {
	ID       uint32
	Symbol   string // empty in a deletion
	From, To Day    // To is exclusive; of a definition or a deletion it does not count
	Kind     Kind   // KindDated, KindDefinition, KindDeletion or KindAlias
}

// Map enters that id stands for symbol from the present tails on; nothing happens when it does already. To be called before the first record that needs it.
// It writes to a side file (no sync). Errors: ErrIDConflict when the id belongs to another symbol of another producer with an open writer, or was given out
// for another symbol, ErrName, ErrLimit, ErrDiskFull (nothing was entered; try again after Wait), ErrFenced, ErrClosed.
func (w *Writer) Map(id uint32, symbol string) error {
	if err := CheckSymbol(symbol); err != nil {
		return err
	}
	s := w.d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isOpen(id, symbol, DayOf(w.d.now())) {
		return nil
	}
	return w.mapOpen(id, symbol)
}

// Unname enters that from the present tails on nobody knows who id is: what was entered of it before names only the very days that it says, until somebody says
// more. Nothing happens when that is so already. Errors: as Map's.
func (w *Writer) Unname(id uint32) error {
	s := w.d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isUnnamed(id) {
		return nil
	}
	return w.mapOpen(id, "")
}

// mapOpen enters an open mapping. The caller holds Symbols.mu.
func (w *Writer) mapOpen(id uint32, symbol string) error {
	s := w.d.symbols
	if err := w.checkAllocated(id, symbol); err != nil {
		return err
	}
	if old := s.newestOpen(id); old > 0 {
		if m := s.At(old - 1); m.Symbol != symbol && m.Symbol != "" && w.isOthers(m.Producer) {
			return fmt.Errorf("%w: %d is %s of producer %s, which is connected; wanted for %s", ErrIDConflict, id, m.Symbol, m.Producer, orNothing(symbol))
		}
	}
	return w.enterMappings([]Mapping{{ID: id, Symbol: symbol, Instrument: Instrument{Symbol: symbol}}})
}

// only says whether an id never stood for another symbol than this one. What has many entries is taken to have several.
func (s *Symbols) only(id uint32, symbol string) bool {
	n, only := 0, true
	s.chain(id, func(_ int, e *entry, b *batch) bool {
		n++
		only = n <= idsLookedAt && (b.kind == KindAlias || *s.texts.at(int(e.symbol)) == symbol)
		return only
	})
	return only
}

// newestOpen is 1 + the number of the newest open entry of an id; 0: there is none.
func (s *Symbols) newestOpen(id uint32) int {
	q := query{s: s, day: NoDay, upTo: s.list.len()}
	q.look(id)
	return q.open
}

// isOpen says whether the newest open entry says this symbol, and to enter it again today would not change who the id is on the days to come: it names them, or
// a definition of a day after today does. Unlike what days say, open entries are a sequence: the same symbol again, after another one or after the end of a
// definition, is news.
func (s *Symbols) isOpen(id uint32, symbol string, today Day) bool {
	q := query{s: s, day: NoDay - 1, upTo: s.list.len()}
	q.look(id)
	if q.open == 0 || *s.texts.at(int(q.entry(q.open).symbol)) != symbol {
		return false
	}
	if q.definition > 0 && !q.openIsLater() {
		q.lookForEnd(id)
	}
	if q.answer() == q.entry(q.open).symbol {
		return true
	}
	return q.definition > 0 && q.ended == 0 && q.entry(q.definition).from > today
}

// isUnnamed says whether an id is carried on by no name: what is left is what dates say.
func (s *Symbols) isUnnamed(id uint32) bool {
	q := query{s: s, day: NoDay, upTo: s.list.len()}
	q.look(id)
	return (q.open == 0 || s.list.at(q.open-1).symbol == 0) && s.carried(id) <= q.unnamed
}

// carried is 1 + the number of the newest definition or alias of an id; 0: there is none.
func (s *Symbols) carried(id uint32) (newest int) {
	if x := s.indexOf(id); x != nil {
		return int(x.carried)
	}
	s.chain(id, func(n int, _ *entry, b *batch) bool {
		if b.kind == KindDefinition || b.kind == KindAlias {
			newest = n + 1
		}
		return newest == 0
	})
	return newest
}

// orNothing is a symbol in a message.
func orNothing(symbol string) string {
	if symbol == "" {
		return "nothing"
	}
	return symbol
}

// checkAllocated refuses another symbol for an id that was given out. The caller holds Symbols.mu.
func (w *Writer) checkAllocated(id uint32, symbol string) error {
	if own, ok := w.d.symbols.Allocated(id); ok && own != symbol {
		return fmt.Errorf("%w: %d was given out for %s and stands for nothing else; wanted for %s", ErrIDConflict, id, own, orNothing(symbol))
	}
	return nil
}

// isOthers says whether producer is another than the writer's, and connected.
func (w *Writer) isOthers(producer string) bool {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	return producer != w.producer && d.writers[producer] != nil
}

// enterMappings enters mappings of one kind on behalf of the writer. The caller holds Symbols.mu.
func (w *Writer) enterMappings(list []Mapping) error {
	w.d.mu.Lock()
	err := w.usable()
	w.d.mu.Unlock()
	if err != nil {
		return err
	}
	return w.d.enterMappings(w, w.producer, list)
}

// enterMappings appends mappings of one kind to the log, publishes them, and marks the tapes where they are news; w is nil for nobody's. The caller holds
// Symbols.mu.
func (d *Dataset) enterMappings(w *Writer, who string, list []Mapping) error {
	s := d.symbols
	before := s.needed.Load()
	if list[0].Kind != kindSeen && before+int64(len(list)) > d.mostMappings() {
		d.room.kick()
		return fmt.Errorf("%w: the symbol table of %s has %d entries that kept records may need; there is room when records expire (--retain)", ErrLimit, d.name, before)
	}
	now, at := d.now(), d.positions()
	for i := range list {
		list[i].Producer, list[i].Time, list[i].At = who, now, at
	}
	if err := d.appendSide(w, s.log, appendMappings(nil, list)); err != nil {
		return err
	}
	s.enter(list)
	d.warnOfSymbols(before, s.needed.Load())
	if d.crowded() {
		d.room.kick()
	}
	return nil
}

// CheckSymbol admits what can be a symbol: what a subscription line can ask for, and a terminal shows.
func CheckSymbol(symbol string) error {
	ok := symbol != "" && len(symbol) <= MaxSymbol && utf8.ValidString(symbol)
	for i := range len(symbol) {
		ok = ok && symbol[i] > ' ' || ok && symbol[i] == ' ' && i > 0 && i < len(symbol)-1
	}
	if !ok {
		return fmt.Errorf("%w: symbol %.*q: want 1 to %d bytes without control characters", ErrName, MaxSymbol, symbol, MaxSymbol)
	}
	for _, r := range symbol {
		if r == ',' || r == '|' || unicode.IsControl(r) {
			return fmt.Errorf("%w: symbol %q has the character %q, and so cannot be asked for", ErrName, symbol, r)
		}
	}
	if symbol == allSymbols {
		return fmt.Errorf("%w: symbol %s stands for all symbols, and so cannot be asked for", ErrName, symbol)
	}
	return nil
}

const allSymbols = "ALL_SYMBOLS"
