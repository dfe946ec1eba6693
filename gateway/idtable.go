package gateway

import "math/bits"

// idTable finds by instrument id which members of a scan want it. It is open
// addressing, at most a quarter full, so that a miss, the usual case, ends at the
// first slot: a few ns, where a map takes some twenty.
// The zero value is empty.
type idTable struct {
	slots []idSlot // a power of two of them
	shift uint
	lists [][]int32
}

type idSlot struct {
	id   uint32
	list int32 // 1 + index in lists; 0 in a free slot
}

// slot is where id is, or where it would be. To multiply by 2^32 over the golden
// ratio spreads ids that follow one another.
func (t *idTable) slot(id uint32) *idSlot {
	for i := id * 2654435769 >> t.shift; ; i = (i + 1) & uint32(len(t.slots)-1) {
		if s := &t.slots[i]; s.list == 0 || s.id == id {
			return s
		}
	}
}

func (t *idTable) add(id uint32, member int32) {
	if 4*(len(t.lists)+1) > len(t.slots) {
		t.grow()
	}
	s := t.slot(id)
	if s.list == 0 {
		t.lists = append(t.lists, nil)
		*s = idSlot{id: id, list: int32(len(t.lists))}
	}
	t.lists[s.list-1] = append(t.lists[s.list-1], member)
}

// grow doubles the slots.
func (t *idTable) grow() {
	const least = 64
	old := t.slots
	t.slots = make([]idSlot, max(least, 2*len(old)))
	t.shift = uint(32 - bits.TrailingZeros(uint(len(t.slots))))
	for _, s := range old {
		if s.list > 0 {
			*t.slot(s.id) = s
		}
	}
}

// members is who wants id, nil when nobody does.
func (t *idTable) members(id uint32) []int32 {
	if len(t.slots) == 0 {
		return nil
	}
	if s := t.slot(id); s.list > 0 {
		return t.lists[s.list-1]
	}
	return nil
}
