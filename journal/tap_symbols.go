package journal

import (
	"path/filepath"

	"github.com/tapewire/tapewire/feed"
)

// tapSymbols is what a tap knows of the symbol table.
type tapSymbols struct {
	path    string
	table   *Symbols
	read    int64               // length of the log, logical, that was taken in
	unnamed map[uint32]struct{} // ids that were not known when they were looked for
}

// Symbol is what an instrument id stands for by the newest that was said of it, whatever the day; SymbolAt is who a record was.
func (t *Tap) Symbol(id uint32) (string, bool) {
	if !t.knows(id) {
		return "", false
	}
	return t.symbols.table.Symbol(id)
}

// SymbolAt is what the instrument of record seq stood for there and then; rec is that record. A mapping is in the table before the first record that needs
// it, so only an id that is not known yet costs a look at the file. An id that is given to another symbol changes with Refresh.
func (t *Tap) SymbolAt(seq uint64, rec feed.Record) (string, bool) {
	if !t.knows(rec.InstrumentID()) {
		return "", false
	}
	return t.symbols.table.NameAt(rec.InstrumentID(), t.schema, seq, DayOf(rec.IndexTime()))
}

// Match is the symbol that is meant by what was asked for, as a gateway finds it: the very same, else the only one that differs in case alone. Of several
// such it is none, and others is all of them. It goes by what Refresh took in last.
func (t *Tap) Match(asked string) (symbol string, others []string) {
	if t.symbols.table == nil {
		return "", nil
	}
	return t.symbols.table.Match(asked)
}

// SymbolsLen grows when Refresh takes in something new.
func (t *Tap) SymbolsLen() int {
	if t.symbols.table == nil {
		return 0
	}
	return t.symbols.table.Len()
}

func (t *Tap) knows(id uint32) bool {
	s := &t.symbols
	if s.table != nil && s.table.ids.head(id) != 0 {
		return true
	}
	if _, ok := s.unnamed[id]; ok || t.Refresh() != nil {
		return false
	}
	if s.table.ids.head(id) != 0 {
		return true
	}
	s.unnamed[id] = struct{}{} // who names it later is seen by Refresh
	return false
}

// Refresh takes in what the symbol table has that is new.
func (t *Tap) Refresh() error {
	f, err := OSDisk{}.Open(t.symbols.path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := sideLogSize(f, t.symbols.path, symbolsMagic)
	if err != nil || size == t.symbols.read && t.symbols.table != nil {
		return err
	}
	c, err := readSideLog(f, t.symbols.path, symbolsMagic, 0)
	if err == nil && c.size() < size { // an entry is hurt, perhaps: what a sync has vouched for behind it is used all the same, as by a server
		if entries, _, logErr := readSyncLog(OSDisk{}, filepath.Dir(t.symbols.path)); logErr == nil {
			c, err = readSideLog(f, t.symbols.path, symbolsMagic, vouchedBytes(entries, logSymbols))
		}
	}
	if err != nil {
		return err
	}
	table := newSymbols(nil)
	if err := table.load(c.payloads, c.losses, nil); err != nil {
		return err
	}
	t.symbols.table, t.symbols.read, t.symbols.unnamed = table, c.size(), map[uint32]struct{}{}
	return nil
}
