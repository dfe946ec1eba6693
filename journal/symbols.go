package journal

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
)

const symbolsName = "symbols.log"

// Symbols is a dataset's symbol table: an append-only list of mappings, and the one owner of the question who an instrument id is (NameAt).
// Reading takes no lock that a writer holds over disk work.
// A mapping is in the list before the first record that needs it is committed: load a tail, then Len, and every mapping up to that tail is below it.
type Symbols struct {
	log *sideLog

	list    chunks[entry]
	batches chunks[batch]
	spots   chunks[spot]
	texts   chunks[string] // of symbols and producers, each once
	idList  chunks[uint32] // ids in the order of their first entry
	ids     idTable        // id -> its newest entry
	busy    sync.Map       // id -> *idIndex, of those with more than chainMost entries
	dated   atomic.Bool
	reused  atomic.Bool               // an id had two symbols on one day, one deleted before the other
	needed  atomic.Int64              // entries that are not gone
	pages   atomic.Pointer[seenPages] // which ids records have used that nobody had named

	names     sync.RWMutex // guards what follows; held for memory only
	number    map[string]uint32
	idsOf     map[uint32][]uint32 // symbol -> every id it ever had; published prefixes
	folded    map[string][]uint32 // symbols in upper case -> those that are not
	allocated map[uint32]uint32   // id that Instrument gave -> its symbol

	mu      sync.Mutex // orders appends
	next    uint32     // below it every id that Instrument may hand out is taken
	covered int64      // bytes of lost entries whose ids are kept from being given again, see coverIDs
	alone   bool       // it is filled from its log, and nobody reads it yet
}

// entry is a Mapping as it is kept: 24 bytes.
type entry struct {
	id, symbol uint32 // symbol is a number of texts
	from, to   Day
	batch      uint32
	prev       uint32 // 1 + the id's entry before; 0: none
}

// batch is what entries have in common that were entered together.
type batch struct {
	producer   uint32
	spot       uint32
	kind       Kind
	allocated  bool
	time       uint64
	instrument *Instrument // what was declared besides the symbol; nil: nothing
}

// spot is where on the tapes entries took effect: those from first on, up to the next spot's.
type spot struct {
	at    []Position
	first int
}

func newSymbols(log *sideLog) *Symbols {
	s := &Symbols{log: log, number: map[string]uint32{}, idsOf: map[uint32][]uint32{}, folded: map[string][]uint32{}, allocated: map[uint32]uint32{}}
	s.text("")
	return s
}

// Len is how many entries there are.
func (s *Symbols) Len() int { return s.list.len() }

// At is entry i, in the order of the log; the zero Mapping when it is none, but a note of the table's own, or has made room. Its At slice must not be changed.
func (s *Symbols) At(i int) Mapping {
	e := s.list.at(i)
	if kind := s.batches.at(int(e.batch)).kind; kind == kindSeen || kind == kindGone {
		return Mapping{}
	}
	return s.mapping(e)
}

func (s *Symbols) mapping(e *entry) Mapping {
	b := s.batches.at(int(e.batch))
	m := Mapping{
		ID: e.id, Symbol: *s.texts.at(int(e.symbol)), Kind: b.kind, From: e.from, To: e.to, Allocated: b.allocated,
		Producer: *s.texts.at(int(b.producer)), Time: b.time, At: s.spots.at(int(b.spot)).at,
	}
	if b.instrument != nil {
		m.Instrument = *b.instrument
	}
	m.Instrument.Symbol = m.Symbol
	return m
}

// Dated reports whether any entry has a date: else NameAt ignores the day.
func (s *Symbols) Dated() bool { return s.dated.Load() }

// Reused reports whether an id stood for two symbols on one day, one deleted before the other: then who it was there may differ from schema to schema, though
// the same entries are in effect.
func (s *Symbols) Reused() bool { return s.reused.Load() }

// Effect is the first record of a schema's tape that entry i can name. It never falls with i. A correction names records below it, too.
func (s *Symbols) Effect(i int, schema feed.Schema) uint64 {
	return seqIn(s.spots.at(int(s.batches.at(int(s.list.at(i).batch)).spot)).at, schema)
}

// InEffect is how many entries have an Effect of at most seq.
func (s *Symbols) InEffect(schema feed.Schema, seq uint64) int {
	n := s.list.len()
	k := s.spots.len()
	if k == 0 || seqIn(s.spots.at(k-1).at, schema) <= seq {
		return n
	}
	i := sort.Search(k, func(i int) bool { return seqIn(s.spots.at(i).at, schema) > seq })
	return min(n, s.spots.at(i).first)
}

// NumIDs is how many ids have an entry.
func (s *Symbols) NumIDs() int { return s.idList.len() }

// IDAt is id n, in the order of their first entries.
func (s *Symbols) IDAt(n int) uint32 { return *s.idList.at(n) }

// Symbol is what the newest entry of the id says, whatever day that holds for.
func (s *Symbols) Symbol(id uint32) (string, bool) {
	if m := s.present(id); m != nil && m.Symbol != "" {
		return m.Symbol, true
	}
	return "", false
}

// SymbolAt is what the newest entry of the id says that is in effect at record seq of a schema's tape, whatever day that holds for.
func (s *Symbols) SymbolAt(id uint32, schema feed.Schema, seq uint64) (string, bool) {
	symbol := ""
	k := s.InEffect(schema, seq)
	s.chain(id, func(n int, e *entry, _ *batch) bool {
		if n >= k {
			return true
		}
		symbol = *s.texts.at(int(e.symbol))
		return false
	})
	return symbol, symbol != ""
}

// present is the newest entry of an id; nil when it has none.
func (s *Symbols) present(id uint32) *Mapping {
	var m *Mapping
	s.chain(id, func(_ int, e *entry, _ *batch) bool {
		newest := s.mapping(e)
		m = &newest
		return false
	})
	return m
}

// chain goes over the entries of an id, the newest first, until more returns false.
func (s *Symbols) chain(id uint32, more func(n int, e *entry, b *batch) bool) {
	for at := s.ids.head(id) &^ busyID; at > 0; {
		e := s.list.at(int(at - 1))
		if b := s.batches.at(int(e.batch)); b.kind != kindGone && !more(int(at-1), e, b) {
			return
		}
		at = e.prev
	}
}

// text is the number of a text. The caller holds names, or is alone.
func (s *Symbols) text(t string) uint32 {
	n, ok := s.number[t]
	if !ok {
		n = uint32(s.texts.len())
		t = strings.Clone(t)
		s.texts.add(t)
		s.number[t] = n
	}
	return n
}

// enter publishes mappings that were entered together: they differ in id, symbol and days alone. The caller holds mu.
func (s *Symbols) enter(list []Mapping) {
	if len(list) == 0 {
		return
	}
	s.names.Lock()
	defer s.names.Unlock()
	m := &list[0]
	if m.Kind == kindNext {
		s.next, s.covered = max(s.next, m.ID), int64(m.Time)
		return
	}
	b := batch{producer: s.text(m.Producer), spot: s.spotOf(m.At), kind: m.Kind, allocated: m.Allocated, time: m.Time}
	if in := m.Instrument; in != (Instrument{Symbol: m.Symbol}) && in != (Instrument{}) {
		b.instrument = &in
	}
	number := uint32(s.batches.len())
	s.batches.add(b)
	for i := range list {
		s.enterOne(&list[i], number)
	}
}

// spotOf is the spot of an entry at these positions. Effects never fall: a position below an earlier entry's is taken for that.
func (s *Symbols) spotOf(at []Position) uint32 {
	k := s.spots.len()
	if k > 0 {
		last := s.spots.at(k - 1).at
		if slices.Equal(last, at) {
			return uint32(k - 1)
		}
		at = slices.Clone(at)
		for _, p := range last {
			i := slices.IndexFunc(at, func(q Position) bool { return q.Schema == p.Schema })
			if i < 0 {
				at = append(at, p)
			} else {
				at[i].Seq = max(at[i].Seq, p.Seq)
			}
		}
		slices.SortFunc(at, func(a, b Position) int { return int(a.Schema) - int(b.Schema) })
		if slices.Equal(last, at) {
			return uint32(k - 1)
		}
	}
	s.spots.add(spot{at, s.list.len()})
	return uint32(k)
}

func (s *Symbols) enterOne(m *Mapping, number uint32) {
	if m.Kind == kindSeen {
		s.list.add(entry{id: m.ID, batch: number})
		s.sawPage(m.ID)
		return
	}
	symbol, head := s.text(m.Symbol), s.ids.head(m.ID)
	known, depth := false, 0
	for at := head; at > 0 && head&busyID == 0; depth++ {
		e := s.list.at(int(at - 1))
		known = known || e.symbol == symbol
		at = e.prev
	}
	if m.Kind.exact() && head != 0 && !s.reused.Load() {
		s.overlapping(m.ID, m.From, m.To, func(_ uint32, e *entry, kind Kind) {
			if kind.exact() && e.symbol != symbol {
				s.reused.Store(true)
			}
		})
	}
	n := uint32(s.list.len())
	s.list.add(entry{id: m.ID, symbol: symbol, from: m.From, to: m.To, batch: number, prev: head &^ busyID})
	s.needed.Add(1)
	if m.Kind != KindOpen && !s.dated.Load() {
		s.dated.Store(true)
	}
	if head == 0 {
		s.idList.add(m.ID)
		if m.Allocated {
			s.allocated[m.ID] = symbol
			s.next = max(s.next, m.ID)
		}
	}
	flag := head & busyID
	switch {
	case flag != 0:
		known = s.extendIndex(m.ID, n+1)
	case depth >= chainMost:
		flag = busyID
		s.makeIndex(m.ID, n+1)
	}
	s.ids.set(m.ID, n+1|flag)
	if !known && symbol != 0 {
		s.nameID(symbol, m.Symbol, m.ID)
	}
}

// nameID notes that a symbol has one more id.
func (s *Symbols) nameID(symbol uint32, text string, id uint32) {
	ids := s.idsOf[symbol]
	s.idsOf[symbol] = append(ids, id)
	if upper := strings.ToUpper(text); len(ids) == 0 && upper != text {
		s.folded[upper] = append(s.folded[upper], symbol)
	}
}

// loadSymbols fills the table from its log.
func loadSymbols(log *sideLog, payloads [][]byte, tails map[int]place) (*Symbols, error) {
	s := newSymbols(log)
	return s, s.load(payloads, log.losses, tails)
}

// load takes in entries of the log, as many of which as losses says lie before one that is lost each; tails is where positions end, nil: not known.
func (s *Symbols) load(payloads [][]byte, losses []int, tails map[int]place) (err error) {
	s.alone = true
	defer func() { s.alone = false }()
	var list []Mapping
	for i := range len(payloads) + 1 {
		for ; len(losses) > 0 && losses[0] == i; losses = losses[1:] {
			s.loseNames()
		}
		if i == len(payloads) {
			break
		}
		if list, err = parseMappings(list[:0], payloads[i]); err != nil {
			return err
		}
		if tails != nil {
			clamp(list[0].At, tails)
		}
		s.enter(list)
	}
	return nil
}

// loseNames takes the names away that would be carried on beyond the last entry: one that is lost may have given any id to another symbol, but for those that we gave
// out. What days say of their own stays, and who says more of an id names it again.
func (s *Symbols) loseNames() {
	m := Mapping{Kind: KindOpen}
	if n := s.spots.len(); n > 0 {
		m.At, m.Time = s.spots.at(n-1).at, s.batches.at(s.batches.len()-1).time
	}
	var list []Mapping
	for i := range s.idList.len() {
		m.ID = *s.idList.at(i)
		if _, ours := s.allocated[m.ID]; !ours && !s.isUnnamed(m.ID) {
			list = append(list, m)
		}
	}
	s.enter(list)
}
