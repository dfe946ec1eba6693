package journal

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/tapewire/tapewire/feed/lsg"
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

// Instrument is the id of a symbol: the one it has, or a new one that no record of the dataset ever had. What else is declared is kept with it. A tick or a
// lot other than the one that was declared before makes a new id: records that have the old one are read by the old lot. What is left out stays as it was.
// Errors: as Map's.
func (w *Writer) Instrument(in Instrument) (id uint32, err error) { return w.instrument(in, false) }

// InstrumentAnew is Instrument for a symbol that needs a new id whatever it has: what is published of the present one contradicts the declaration.
func (w *Writer) InstrumentAnew(in Instrument) (id uint32, err error) { return w.instrument(in, true) }

func (w *Writer) instrument(in Instrument, anew bool) (id uint32, err error) {
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
	if known {
		old := s.present(id).Instrument
		in = old.with(in)
		if known = !anew && !old.contradicts(in); known && old == in {
			return id, nil
		}
	}
	if !known {
		if id, err = s.freeID(); err != nil {
			return 0, err
		}
	}
	return id, w.enter(Mapping{ID: id, Symbol: in.Symbol, Instrument: in})
}

// contradicts says whether another tick or lot was declared before: a size would be read by another's lot.
func (old Instrument) contradicts(in Instrument) bool {
	return old.PriceIncrement != "" && !sameDecimal(old.PriceIncrement, in.PriceIncrement) || old.Lot != "" && !sameDecimal(old.Lot, in.Lot)
}

// with is what is declared now, and of what is left out now what was declared before.
func (old Instrument) with(in Instrument) Instrument {
	in.PriceIncrement = cmp.Or(in.PriceIncrement, old.PriceIncrement)
	in.Lot = cmp.Or(in.Lot, old.Lot)
	in.Currency = cmp.Or(in.Currency, old.Currency)
	in.Class = cmp.Or(in.Class, old.Class)
	return in
}

// sameDecimal compares numbers, not how they are written.
func sameDecimal(a, b string) bool {
	x, errX := lsg.ParseFixed(a)
	y, errY := lsg.ParseFixed(b)
	return a == b || errX == nil && errY == nil && x == y
}

// OwnIDs is every id that stands for symbol now by word of this writer's producer, the newest first: several when its lot changed. Of very many the newest.
func (w *Writer) OwnIDs(symbol string) (ids []uint32) {
	for id, m := range w.d.symbols.newestIDs(symbol) {
		if m.Producer == w.producer {
			ids = append(ids, id)
		}
	}
	return ids
}

// knownID is the id that stands for symbol now, the newest: of the writer's own when it has some. The caller holds Symbols.mu.
func (w *Writer) knownID(symbol string) (id uint32, known bool) {
	for i, m := range w.d.symbols.newestIDs(symbol) {
		if m.Producer == w.producer {
			return i, true
		}
		if !known {
			id, known = i, true
		}
	}
	return id, known
}

// newestIDs gives the newest ids that stand for symbol now, the newest first. It looks at so many only: a symbol can have had any number.
func (s *Symbols) newestIDs(symbol string) iter.Seq2[uint32, *Mapping] {
	return func(yield func(uint32, *Mapping) bool) {
		ids := s.idsOf(symbol)
		for _, id := range slices.Backward(ids[max(0, len(ids)-idsLookedAt):]) {
			if m := s.present(id); m.Symbol == symbol && !yield(id, m) {
				return
			}
		}
	}
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
