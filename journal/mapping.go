package journal

import (
	"encoding/binary"
	"fmt"
)

// Kind is what a mapping holds for.
type Kind uint8

// The kinds.
const (
	KindOpen       Kind = iota // everything from its position on
	KindDated                  // records of the days [From, To)
	KindDefinition             // records of the day From, and on until the id's next definition or its deletion
	KindDeletion               // the id's definition ends with the day From; no symbol
	KindAlias                  // as KindDated, for names that are no raw symbols; only what has no other name is called by it
	KindCorrection             // as KindDated, before all others, also below its position; without days: all records below its position, and as KindOpen above
	kindSeen                   // no mapping: ids of a page were used by records without a name
	kindNext                   // no mapping: ids up to this one were given out, or passed over
	kinds
	kindGone = kinds // in memory alone: no kept record needs the entry
)

var kindNames = [kinds]string{"open", "dated", "definition", "deletion", "alias", "correction", "seen", "next"}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// exact says that the entry names records by their very day.
func (k Kind) exact() bool { return k == KindDated || k == KindDefinition }

// Instrument is what a producer declares of one, as it was given: the journal keeps the texts and does not interpret them.
type Instrument struct {
	Symbol         string // 1 .. MaxSymbol printable characters
	PriceIncrement string // decimal
	Lot            string // decimal: what a size of 1 stands for
	Currency       string
	Class          string
}

// Mapping is one entry of the symbol table: from At on, ID stands for Symbol, on the days that its kind says.
type Mapping struct {
	ID         uint32
	Symbol     string // empty: for nothing
	Kind       Kind
	From, To   Day        // To is exclusive; 0, 0: open
	Allocated  bool       // the id was given out for this symbol, and is never given to another
	Producer   string     // who said so
	Instrument Instrument // what it declared; only Symbol is set when it gave an id alone
	Time       uint64     // wall ns
	At         []Position // each tape's tail then
}

const flagAllocated = 1

// appendMappings is the payload of mappings that were entered together.
func appendMappings(dst []byte, list []Mapping) []byte {
	m := &list[0]
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, m.ID)
	dst = le.AppendUint64(dst, m.Time)
	for _, t := range []string{m.Symbol, m.Producer, m.Instrument.PriceIncrement, m.Instrument.Lot, m.Instrument.Currency, m.Instrument.Class} {
		dst = appendText(dst, t)
	}
	dst = appendPositions(dst, m.At)
	var flags uint8
	if m.Allocated {
		flags = flagAllocated
	}
	dst = append(dst, uint8(m.Kind), flags)
	dst = le.AppendUint32(dst, uint32(m.From))
	dst = le.AppendUint32(dst, uint32(m.To))
	dst = le.AppendUint32(dst, uint32(len(list)-1))
	for i := range list[1:] {
		m := &list[1+i]
		dst = le.AppendUint32(dst, m.ID)
		dst = le.AppendUint32(dst, uint32(m.From))
		dst = le.AppendUint32(dst, uint32(m.To))
		dst = appendText(dst, m.Symbol)
	}
	return dst
}

// parseMappings appends to dst what a payload has, at least one mapping.
func parseMappings(dst []Mapping, b []byte) ([]Mapping, error) {
	f := fields{b: b}
	m := Mapping{ID: f.u32(), Time: f.u64(), Symbol: f.text(), Producer: f.text()}
	m.Instrument = Instrument{Symbol: m.Symbol, PriceIncrement: f.text(), Lot: f.text(), Currency: f.text(), Class: f.text()}
	m.At = f.positions()
	if f.done() { // of version 1, which did not say who allocated an id: only an instrument line has more than a symbol
		m.Allocated = m.Instrument != Instrument{Symbol: m.Symbol}
		return append(dst, m), nil
	}
	m.Kind, m.Allocated = Kind(f.u8()), f.u8()&flagAllocated != 0
	m.From, m.To = Day(f.u32()), Day(f.u32())
	more := f.u32()
	dst = append(dst, m)
	for ; more > 0 && !f.bad; more-- {
		next := m
		next.ID, next.From, next.To, next.Symbol = f.u32(), Day(f.u32()), Day(f.u32()), f.text()
		next.Instrument = Instrument{Symbol: next.Symbol}
		dst = append(dst, next)
	}
	if !f.done() || m.Kind >= kinds {
		return dst, fmt.Errorf("%w: entry of %s", ErrCorrupt, symbolsName)
	}
	return dst, nil
}
