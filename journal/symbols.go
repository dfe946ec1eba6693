package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
)

const symbolsName = "symbols.log"

// Instrument is what a producer declares of one, as it was given: the journal keeps the texts and does not interpret them.
type Instrument struct {
	Symbol         string // 1 .. MaxSymbol printable characters
	PriceIncrement string // decimal
	Lot            string // decimal: what a size of 1 stands for
	Currency       string
	Class          string
}

// Mapping is one entry of the symbol table: from At on, ID stands for Symbol.
type Mapping struct {
	ID         uint32
	Symbol     string
	Producer   string     // who said so
	Instrument Instrument // what it declared; only Symbol is set when it gave an id alone
	Time       uint64     // wall ns
	At         []Position // each tape's tail then
}

// Symbols is a dataset's symbol table: an append-only list of mappings. Reading takes no lock that a writer holds over disk work.
// A mapping is in the list before the first record that needs it is committed: load a tail, then Len, and every mapping up to that tail is below it.
type Symbols struct {
	log  *sideLog
	list atomic.Pointer[[]Mapping] // a published prefix: its elements never change
	byID sync.Map                  // uint32 -> []int, where in the list the id occurs; published prefixes, as list is
	ids  sync.Map                  // symbol -> []uint32, every id it ever had; published prefixes

	mu        sync.Mutex // orders appends
	allocated uint32     // below it every id that Instrument may hand out is taken
}

// Len is how many entries there are.
func (s *Symbols) Len() int { return len(*s.list.Load()) }

// At is entry i, in the order of the log. Its At slice must not be changed.
func (s *Symbols) At(i int) Mapping { return (*s.list.Load())[i] }

// IDs is every id the symbol ever had, in the order they came. The slice must not be changed.
// It does not say where: an id may have stood for the symbol only before or only after a position of a tape, which SymbolAt tells.
func (s *Symbols) IDs(symbol string) []uint32 { return slices.Clip(s.idsOf(symbol)) }

func (s *Symbols) idsOf(symbol string) []uint32 {
	if v, ok := s.ids.Load(symbol); ok {
		return v.([]uint32)
	}
	return nil
}

// Symbol is what the id stands for at present.
func (s *Symbols) Symbol(id uint32) (string, bool) {
	if m := s.present(id); m != nil {
		return m.Symbol, true
	}
	return "", false
}

// SymbolAt is what the id stood for at record seq of a schema's tape; false when it stood for nothing yet. Below the position of the id's first mapping
// that is nothing, also when a record with the id lies there: a later mapping does not hold backwards. A tape that had no record when a mapping was entered
// has it from record 0 on. Where the answer changes on a tape that had records, the tape has a Mark at or, see Mark.Seq, shortly above that position.
func (s *Symbols) SymbolAt(id uint32, schema feed.Schema, seq uint64) (string, bool) {
	at := s.entries(id)
	list := *s.list.Load()
	for i := len(at) - 1; i >= 0; i-- {
		if m := &list[at[i]]; seqIn(m.At, schema) <= seq {
			return m.Symbol, true
		}
	}
	return "", false
}

// entries is where in the list the id occurs.
func (s *Symbols) entries(id uint32) []int {
	if v, ok := s.byID.Load(id); ok {
		return v.([]int)
	}
	return nil
}

func (s *Symbols) present(id uint32) *Mapping {
	at := s.entries(id)
	if len(at) == 0 {
		return nil
	}
	return &(*s.list.Load())[at[len(at)-1]]
}

// enter publishes one more mapping: the list before the ways into it, so that whoever finds an index finds the entry.
func (s *Symbols) enter(m Mapping) {
	var list []Mapping
	if old := s.list.Load(); old != nil {
		list = *old
	}
	list = append(list, m) // beyond the length of every list published before, so no reader sees the store
	s.list.Store(&list)
	s.byID.Store(m.ID, append(s.entries(m.ID), len(list)-1))
	if ids := s.idsOf(m.Symbol); !slices.Contains(ids, m.ID) {
		s.ids.Store(m.Symbol, append(ids, m.ID))
	}
}

func (m *Mapping) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, m.ID)
	dst = binary.LittleEndian.AppendUint64(dst, m.Time)
	for _, t := range []string{m.Symbol, m.Producer, m.Instrument.PriceIncrement, m.Instrument.Lot, m.Instrument.Currency, m.Instrument.Class} {
		dst = appendText(dst, t)
	}
	return appendPositions(dst, m.At)
}

func parseMapping(b []byte) (Mapping, error) {
	f := fields{b: b}
	m := Mapping{ID: f.u32(), Time: f.u64(), Symbol: f.text(), Producer: f.text()}
	m.Instrument = Instrument{Symbol: m.Symbol, PriceIncrement: f.text(), Lot: f.text(), Currency: f.text(), Class: f.text()}
	m.At = f.positions()
	if !f.done() {
		return m, fmt.Errorf("%w: entry of %s", ErrCorrupt, symbolsName)
	}
	return m, nil
}

// loadSymbols fills the table from its log.
func loadSymbols(log *sideLog, payloads [][]byte, tails map[int]place) (*Symbols, error) {
	s := &Symbols{log: log}
	s.list.Store(&[]Mapping{})
	for _, p := range payloads {
		m, err := parseMapping(p)
		if err != nil {
			return nil, err
		}
		clamp(m.At, tails)
		s.enter(m)
	}
	return s, nil
}
