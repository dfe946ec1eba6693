package journal

import "sync/atomic"

// idTable leads from an instrument id to its newest entry: an open hash table that is read without a lock. It is divided, so that to grow never takes long.
type idTable struct {
	parts [idParts]idPart
}

const (
	idParts     = 1 << 8
	idPartLeast = 8 // slots
)

type idPart struct {
	slots atomic.Pointer[[]atomic.Uint64] // id << 32 | head; 0: free
	used  int
}

// spread is a bijection, so that ids that follow each other do not lie in one place.
func spread(id uint32) uint32 {
	id = (id ^ id>>16) * 0x7feb352d
	id = (id ^ id>>15) * 0x846ca68b
	return id ^ id>>16
}

// head is what set put there last; 0: nothing.
func (t *idTable) head(id uint32) uint32 {
	h := spread(id)
	slots := t.parts[h%idParts].slots.Load()
	if slots == nil {
		return 0
	}
	mask := uint32(len(*slots) - 1)
	for i := h / idParts & mask; ; i = (i + 1) & mask {
		v := (*slots)[i].Load()
		if v == 0 || uint32(v>>32) == id {
			return uint32(v)
		}
	}
}

// set is for one writer at a time; head is not 0.
func (t *idTable) set(id, head uint32) {
	h := spread(id)
	p := &t.parts[h%idParts]
	slots := p.slots.Load()
	if slots == nil || p.used*4 >= len(*slots)*3 {
		slots = p.grow()
	}
	mask := uint32(len(*slots) - 1)
	for i := h / idParts & mask; ; i = (i + 1) & mask {
		switch v := (*slots)[i].Load(); {
		case v == 0:
			p.used++
			fallthrough
		case uint32(v>>32) == id:
			(*slots)[i].Store(uint64(id)<<32 | uint64(head))
			return
		}
	}
}

func (p *idPart) grow() *[]atomic.Uint64 {
	old := p.slots.Load()
	n := idPartLeast
	if old != nil {
		n = 2 * len(*old)
	}
	slots := make([]atomic.Uint64, n)
	mask := uint32(n - 1)
	if old != nil {
		for k := range *old {
			v := (*old)[k].Load()
			if v == 0 {
				continue
			}
			i := spread(uint32(v>>32)) / idParts & mask
			for slots[i].Load() != 0 {
				i = (i + 1) & mask
			}
			slots[i].Store(v)
		}
	}
	p.slots.Store(&slots)
	return &slots
}
