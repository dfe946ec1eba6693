package journal

import (
	"slices"
	"strings"
)

// IDs is every id that ever stood for exactly this symbol, in the order they came. The slice must not be changed.
// It does not say when: NameAt does.
func (s *Symbols) IDs(symbol string) []uint32 {
	s.names.RLock()
	defer s.names.RUnlock()
	n, ok := s.number[symbol]
	if !ok {
		return nil
	}
	return slices.Clip(s.idsOf[n])
}

// Match is the symbol that is meant by what was asked for: the very same, else the only one that differs in case alone. Of several such it is none, and
// others is all of them.
func (s *Symbols) Match(asked string) (symbol string, others []string) {
	s.names.RLock()
	defer s.names.RUnlock()
	if s.isSymbol(asked) {
		return asked, nil
	}
	upper := strings.ToUpper(asked)
	for _, n := range s.folded[upper] {
		others = append(others, *s.texts.at(int(n)))
	}
	if upper != asked && s.isSymbol(upper) {
		others = append(others, upper)
	}
	if len(others) == 1 {
		return others[0], nil
	}
	return "", others
}

func (s *Symbols) isSymbol(text string) bool {
	n, ok := s.number[text]
	return ok && len(s.idsOf[n]) > 0
}
