package journal

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Map enters that id stands for symbol from the present tails on; nothing happens when it does already. To be called before the first record that needs it.
// It writes to a side file (no sync). Errors: ErrIDConflict when the id belongs to another symbol of another producer with an open writer, ErrName, ErrLimit,
// ErrDiskFull (nothing was entered; try again after Wait), ErrFenced, ErrClosed.
func (w *Writer) Map(id uint32, symbol string) error {
	if err := checkSymbol(symbol); err != nil {
		return err
	}
	s := w.d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.present(id); old != nil && old.Symbol == symbol {
		return nil
	}
	return w.enter(Mapping{ID: id, Symbol: symbol, Instrument: Instrument{Symbol: symbol}})
}

// Instrument is the id of a symbol: the one it has, or a new one that no record of the dataset ever had. What else is declared is kept with it.
// Errors: as Map's.
func (w *Writer) Instrument(in Instrument) (id uint32, err error) {
	if err := checkSymbol(in.Symbol); err != nil {
		return 0, err
	}
	for _, text := range []string{in.PriceIncrement, in.Lot, in.Currency, in.Class} {
		if len(text) > MaxSymbol {
			return 0, fmt.Errorf("%w: instrument %s: a field of %d bytes, want at most %d", ErrName, in.Symbol, len(text), MaxSymbol)
		}
	}
	s := w.d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	id, known := w.knownID(in.Symbol)
	if known && s.present(id).Instrument == in {
		return id, nil
	}
	if !known {
		if id, err = s.freeID(); err != nil {
			return 0, err
		}
	}
	return id, w.enter(Mapping{ID: id, Symbol: in.Symbol, Instrument: in})
}

// knownID is the id that stands for symbol now: the writer's own when several do. The caller holds Symbols.mu.
func (w *Writer) knownID(symbol string) (id uint32, known bool) {
	s := w.d.symbols
	for _, i := range s.IDs(symbol) {
		m := s.present(i)
		if m.Symbol != symbol {
			continue
		}
		id, known = i, true
		if m.Producer == w.producer {
			break
		}
	}
	return id, known
}

// freeID is the lowest id above all it gave before that no mapping ever had. The caller holds mu.
func (s *Symbols) freeID() (uint32, error) {
	for id := s.allocated + 1; id < math.MaxUint32; id++ {
		if len(s.entries(id)) == 0 {
			s.allocated = id
			return id, nil
		}
	}
	return 0, fmt.Errorf("%w: no instrument id is left", ErrLimit)
}

// enter appends a mapping to the log, publishes it, and marks the tapes where it is news. The caller holds Symbols.mu.
func (w *Writer) enter(m Mapping) error {
	d, s := w.d, w.d.symbols
	old := s.present(m.ID)
	d.mu.Lock()
	err := w.usable()
	conflict := err == nil && old != nil && old.Symbol != m.Symbol && old.Producer != w.producer && d.writers[old.Producer] != nil
	d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case conflict:
		return fmt.Errorf("%w: %d is %s of producer %s, which is connected; wanted for %s", ErrIDConflict, m.ID, old.Symbol, old.Producer, m.Symbol)
	case s.Len() >= MaxMappings:
		return fmt.Errorf("%w: the symbol table of %s has %d entries", ErrLimit, d.name, s.Len())
	}
	m.Producer, m.Time, m.At = w.producer, d.now(), d.positions()
	if err := d.appendSide(w, s.log, m.append(nil)); err != nil {
		return err
	}
	before := ""
	if old != nil {
		before = old.Symbol
	}
	d.addMark(func() { s.enter(m) }, func(t *Tape) (Mark, bool) { return mappingMark(t, &m, before) })
	return nil
}

func checkSymbol(symbol string) error {
	ok := symbol != "" && len(symbol) <= MaxSymbol && utf8.ValidString(symbol)
	for i := range len(symbol) {
		ok = ok && symbol[i] > ' ' || ok && symbol[i] == ' ' && i > 0 && i < len(symbol)-1
	}
	if !ok {
		return fmt.Errorf("%w: symbol %.*q: want 1 to %d bytes without control characters", ErrName, MaxSymbol, symbol, MaxSymbol)
	}
	return nil
}
