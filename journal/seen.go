package journal

import (
	"fmt"
	"math"
	"sync/atomic"
)

// Which ids records have used that nobody had named is kept by pages of ids: one note in the log for each page, whatever the tapes are long.
const (
	pageIDs  = 1 << 12
	numPages = 1 << 32 / pageIDs
)

type seenPages [numPages / 64]atomic.Uint64

func (p *seenPages) has(id uint32) bool {
	n := id / pageIDs
	return p != nil && p[n/64].Load()&(1<<(n%64)) != 0
}

// sawPage notes the page of an id. The caller holds mu.
func (s *Symbols) sawPage(id uint32) {
	p := s.pages.Load()
	if p == nil {
		p = new(seenPages)
		s.pages.Store(p)
	}
	n := id / pageIDs
	p[n/64].Or(1 << (n % 64))
}

// freeID is the lowest id above all it gave before that no mapping ever had, and that no record without a name has. The caller holds mu.
func (s *Symbols) freeID() (uint32, error) {
	pages := s.pages.Load()
	for id := s.next + 1; id > 0 && id < math.MaxUint32; id++ {
		if pages.has(id) {
			id |= pageIDs - 1 // the last of its page
			continue
		}
		if s.ids.head(id) == 0 {
			s.next = id
			return id, nil
		}
	}
	return 0, fmt.Errorf("%w: no instrument id is left", ErrLimit)
}

// Allocated is the symbol that an id was given out for; false when the id is not one of ours.
func (s *Symbols) Allocated(id uint32) (symbol string, ok bool) {
	s.names.RLock()
	n, ok := s.allocated[id]
	s.names.RUnlock()
	if !ok {
		return "", false
	}
	return *s.texts.at(int(n)), true
}

// Uses is to be called before the first record of an id whose name the producer did not say: nobody is given an id that such a record has.
// It seldom writes to a side file. Errors: as Map's.
func (w *Writer) Uses(id uint32) error {
	s := w.d.symbols
	if s.ids.head(id) != 0 || s.pages.Load().has(id) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids.head(id) != 0 || s.pages.Load().has(id) {
		return nil
	}
	return w.enterMappings([]Mapping{{ID: id, Kind: kindSeen}})
}
