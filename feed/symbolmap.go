package feed

// SymbolMap is what a session said last of each instrument: the name of its id from there on, until it says something else. The zero value is ready.
type SymbolMap struct {
	names map[uint32]string
}

// Learn takes a record of a stream; only symbol mappings say something. An empty name ends the one that the id had.
func (s *SymbolMap) Learn(rec Record) {
	m, ok := View[SymbolMappingMsg](rec)
	if !ok {
		return
	}
	name := m.OutSymbol()
	if name == "" {
		delete(s.names, m.InstrumentID)
		return
	}
	if s.names == nil {
		s.names = map[uint32]string{}
	}
	s.names[m.InstrumentID] = name
}

// Name is the symbol of an id at this place of the stream; false: it has none.
func (s *SymbolMap) Name(id uint32) (string, bool) {
	name, ok := s.names[id]
	return name, ok
}
