package journal

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Instrument is the id of a symbol: the one it has, or a new one that no record of the dataset ever had. What else is declared is kept with it. A tick or a
// lot other than the one that was declared before makes a new id: records that have the old one are read by the old lot. What is left out stays as it was.
// Errors: as Map's.
func (w *Writer) Instrument(in Instrument) (id uint32, err error) { return w.instrument(in, false) }

// InstrumentAnew is Instrument for a symbol that needs a new id whatever it has: what is published of the present one contradicts the declaration.
func (w *Writer) InstrumentAnew(in Instrument) (id uint32, err error) { return w.instrument(in, true) }

func (w *Writer) instrument(in Instrument, anew bool) (id uint32, err error) {
	if err := CheckSymbol(in.Symbol); err != nil {
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
	id, old, known := w.knownID(in.Symbol)
	if known {
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
	_, allocated := s.Allocated(id)
	return id, w.enterMappings([]Mapping{{ID: id, Symbol: in.Symbol, Instrument: in, Allocated: !known || allocated}})
}

// contradicts says whether in has another tick or lot than what was declared before: a size would be read by another's lot.
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

// OwnIDs gives the ids that stand for symbol by word of this writer's producer, the newest first: several when its tick or lot changed. Of very many the newest.
func (w *Writer) OwnIDs(symbol string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for id, m := range w.d.symbols.newestIDs(symbol) {
			if m.Producer == w.producer && !yield(id) {
				return
			}
		}
	}
}

// KnownIDs gives OwnIDs, and behind them those that stand for symbol by word of others: the order in which a declaration looks for its id.
func (w *Writer) KnownIDs(symbol string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, own := range []bool{true, false} {
			for id, m := range w.d.symbols.newestIDs(symbol) {
				if (m.Producer == w.producer) == own && !yield(id) {
					return
				}
			}
		}
	}
}

// knownID is an id that stands for symbol and never stood for anything else, and what was declared of it: the newest, of the writer's own when it has some.
// The caller holds Symbols.mu.
func (w *Writer) knownID(symbol string) (id uint32, declared Instrument, known bool) {
	for i, m := range w.d.symbols.newestIDs(symbol) {
		if own := m.Producer == w.producer; !known || own {
			id, declared, known = i, m.Instrument, true
			if own {
				break
			}
		}
	}
	return id, declared, known
}

// newestIDs gives the ids of a symbol that can go on to be its id, with the entry that says so, the newest first. It looks at idsLookedAt only: a symbol
// can have had any number.
func (s *Symbols) newestIDs(symbol string) iter.Seq2[uint32, Mapping] {
	return func(yield func(uint32, Mapping) bool) {
		ids := s.IDs(symbol)
		for _, id := range slices.Backward(ids[max(0, len(ids)-idsLookedAt):]) {
			open := s.newestOpen(id)
			if open > 0 && s.only(id, symbol) && !yield(id, s.At(open-1)) {
				return
			}
		}
	}
}
