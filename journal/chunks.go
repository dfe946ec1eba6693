package journal

import (
	"slices"
	"sync/atomic"
)

// chunkLen is how many elements are allocated at a time.
const chunkLen = 1 << 10

// chunks is a list that only grows at its end, for one writer at a time and any number of readers, who take no lock: an element that was published never
// moves, and never changes; swap puts others in the place of many.
type chunks[T any] struct {
	dir atomic.Pointer[[]*[chunkLen]T]
	n   atomic.Int64
}

// len is how many elements there are.
func (c *chunks[T]) len() int { return int(c.n.Load()) }

// at is element i, which is below a len() loaded before.
func (c *chunks[T]) at(i int) *T { return &(*c.dir.Load())[i/chunkLen][i%chunkLen] }

// swap puts other chunks in the place of some. Whoever has an element goes on with the one it has.
func (c *chunks[T]) swap(chunks map[int]*[chunkLen]T) {
	dir := slices.Clone(*c.dir.Load())
	for i, chunk := range chunks {
		dir[i] = chunk
	}
	c.dir.Store(&dir)
}

func (c *chunks[T]) add(v T) {
	n := c.len()
	var dir []*[chunkLen]T
	if old := c.dir.Load(); old != nil {
		dir = *old
	}
	if n/chunkLen == len(dir) {
		dir = append(dir, new([chunkLen]T)) // beyond the length of every list published before, so no reader sees the store
		c.dir.Store(&dir)
	}
	dir[n/chunkLen][n%chunkLen] = v
	c.n.Store(int64(n + 1))
}
