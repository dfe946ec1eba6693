package main

import (
	"fmt"
	"sync"
)

// book is which ids the gateway gave to the symbols of a dataset. They never change.
type book struct {
	mu    sync.Mutex
	ids   [symbols]uint32 // 0: not known yet
	known int
	names map[uint32]int // by id
}

func newBook() *book { return &book{names: map[uint32]int{}} }

// learn takes in that a record about symbol has an id. It fails when that is not the id which others have.
func (b *book) learn(symbol int, id uint32) (uint32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids[symbol] == 0 {
		if other, taken := b.names[id]; taken {
			return 0, fmt.Errorf("id %d is that of %s and of %s", id, symbolName(other), symbolName(symbol))
		}
		b.ids[symbol], b.names[id] = id, symbol
		b.known++
	}
	if b.ids[symbol] != id {
		return 0, fmt.Errorf("%s had id %d and has id %d", symbolName(symbol), b.ids[symbol], id)
	}
	return id, nil
}

// complete reports whether every symbol has its id.
func (b *book) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known == symbols
}

// id is that of a symbol, once the book is complete.
func (b *book) id(symbol int) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ids[symbol]
}

// wanted lists by id which instruments are among the symbols.
func (b *book) wanted(list []int) []bool {
	if list == nil {
		return nil
	}
	var w []bool
	for _, symbol := range list {
		id := int(b.id(symbol))
		for len(w) <= id {
			w = append(w, false)
		}
		w[id] = true
	}
	return w
}
