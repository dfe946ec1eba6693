package journal

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// What a power cut leaves of a MemDisk. The model is harsher than ext4 or XFS, and is all that the journal asks of a disk: what a sync has covered is
// there; of everything else each change of a directory, each page of a file and each 64 aligned bytes of a page is there or is not, in any combination.

const (
	memPage   = 4096 // bytes that are written back together, as a rule
	memSector = 64   // bytes that are written in full or not at all
)

// dirChange is one step that a directory took: node came to be called name in to (nil: it was removed), and lost the name old in from (nil: it is new).
type dirChange struct {
	node     *memNode
	from, to *memNode
	old      string
	name     string
}

func (d *MemDisk) change(c dirChange) { d.pending = append(d.pending, c) }

// apply makes the change part of what is on disk. A node has one name at most, but for those that were linked.
func (c *dirChange) apply(all []*memNode) {
	for _, dir := range all {
		for name, n := range dir.kept {
			if n == c.node && (!n.linked || dir == c.from && name == c.old) {
				delete(dir.kept, name)
			}
		}
	}
	if c.to != nil {
		c.to.kept[c.name] = c.node
	}
}

// syncDir forces the changes of one directory to disk, and earlier ones of the same nodes: a name cannot be on disk before the file that it moved.
func (d *MemDisk) syncDir(dir *memNode) {
	needed := map[*memNode]bool{}
	now := make([]bool, len(d.pending))
	for i, c := range slices.Backward(d.pending) {
		if now[i] = c.from == dir || c.to == dir || needed[c.node]; now[i] {
			needed[c.node] = true
		}
	}
	all, left := d.dirs(), d.pending[:0]
	for i, c := range d.pending {
		if now[i] {
			c.apply(all)
		} else {
			left = append(left, c)
		}
	}
	clear(d.pending[len(left):])
	d.pending = left
}

// dirs is every directory that anything still knows of.
func (d *MemDisk) dirs() []*memNode {
	seen := map[*memNode]bool{}
	var list []*memNode
	var visit func(n *memNode)
	visit = func(n *memNode) {
		if n == nil || n.children == nil || seen[n] {
			return
		}
		seen[n] = true
		list = append(list, n)
		for _, c := range n.children {
			visit(c)
		}
		for _, c := range n.kept {
			visit(c)
		}
	}
	visit(d.root)
	for _, c := range d.pending {
		visit(c.node)
		visit(c.from)
		visit(c.to)
	}
	return list
}

// eachDirty calls f for each page that is not on disk as it is in memory; disk has the length of data.
func (n *memNode) eachDirty(f func(at int, page []byte)) {
	var eye [memPage]byte
	for at := 0; at < len(n.data); at += memPage {
		page := glimpse(n.data[at:min(at+memPage, len(n.data))], &eye)
		if !bytes.Equal(page, n.disk[at:at+len(page)]) {
			f(at, page)
		}
	}
}

// resizeDisk gives what is on disk a length.
func (n *memNode) resizeDisk(size int) {
	if size <= len(n.disk) {
		n.disk = n.disk[:size]
		return
	}
	n.disk = append(n.disk, make([]byte, size-len(n.disk))...)
}

// sync is what a sync that returns no error does: all of the file is on disk, but for pages that an earlier, failed one gave up.
func (n *memNode) sync() {
	n.resizeDisk(len(n.data))
	n.eachDirty(func(at int, page []byte) {
		if g, ok := n.given[at]; !ok || !bytes.Equal(g, page) {
			delete(n.given, at)
			copy(n.disk[at:], page)
		}
	})
}

// failSync is what a sync that failed has done: the pages are not on disk, and from now on the kernel takes them for clean.
func (n *memNode) failSync() {
	n.resizeDisk(len(n.data))
	if n.given == nil {
		n.given = map[int][]byte{}
	}
	n.eachDirty(func(at int, page []byte) { n.given[at] = bytes.Clone(page) })
}

// touch notes a write: pages that a failed sync gave up are dirty again, also when the same bytes are written.
func (n *memNode) touch(off, length int64) {
	for at := int(off) / memPage * memPage; at < int(off+length) && n.given != nil; at += memPage {
		delete(n.given, at)
	}
}

// WriteBack writes some pages to disk, as a kernel does on its own at any time: here and there, or all of some files, which leaves those as of now beside others
// that are older or newer.
func (d *MemDisk) WriteBack(rnd *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	whole := rnd.IntN(2) == 0
	for _, n := range d.files() {
		all := whole && rnd.IntN(3) == 0
		n.resizeDisk(len(n.data))
		n.eachDirty(func(at int, page []byte) {
			if g, ok := n.given[at]; (all || !whole && rnd.IntN(4) == 0) && (!ok || !bytes.Equal(g, page)) {
				copy(n.disk[at:], page)
			}
		})
	}
}

// files is every file that has a name, in the order of names.
func (d *MemDisk) files() []*memNode {
	var list []*memNode
	var visit func(n *memNode)
	visit = func(n *memNode) {
		if n.children == nil {
			list = append(list, n)
		}
		for _, name := range sortedNames(n.children) {
			visit(n.children[name])
		}
	}
	visit(d.root)
	return list
}

// PowerCut leaves the disk as the machine finds it when it is started again: how much survived of what was not synced is decided by rnd. Whoever
// had it open must have let go.
func (d *MemDisk) PowerCut(rnd *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	odds := []int{0, 10, 50, 90, 100}
	names, pages := odds[rnd.IntN(len(odds))], odds[rnd.IntN(len(odds))]
	all := d.dirs()
	for _, c := range d.pending {
		if rnd.IntN(100) < names {
			c.apply(all)
		}
	}
	d.pending, d.used = nil, 0
	d.boot++
	var visit func(n *memNode)
	visit = func(n *memNode) {
		if n.children == nil {
			if n.links++; n.links == 1 {
				n.cut(rnd, pages)
				d.used += int64(len(n.data))
			}
			return
		}
		n.children = map[string]*memNode{}
		for _, name := range sortedNames(n.kept) {
			n.children[name] = n.kept[name]
			visit(n.kept[name])
		}
	}
	var unlinked func(n *memNode)
	unlinked = func(n *memNode) {
		n.links = 0
		for _, c := range n.kept {
			unlinked(c)
		}
	}
	unlinked(d.root)
	visit(d.root)
}

// cut leaves of a file what a power cut does: odds is how many pages of a hundred survive whole, of those that were not synced.
func (n *memNode) cut(rnd *rand.Rand, odds int) {
	size := len(n.disk)
	if len(n.data) != size && rnd.IntN(100) < odds {
		size = len(n.data)
	}
	left := make([]byte, size)
	copy(left, n.disk)
	for at := 0; at < min(size, len(n.data)); at += memPage {
		page := n.data[at:min(at+memPage, size, len(n.data))]
		switch {
		case bytes.Equal(page, left[at:at+len(page)]):
		case rnd.IntN(100) < odds:
			copy(left[at:], page)
		case odds > 0 && rnd.IntN(3) == 0: // torn
			for s := 0; s < len(page); s += memSector {
				if rnd.IntN(2) == 0 {
					copy(left[at+s:], page[s:min(s+memSector, len(page))])
				}
			}
		}
	}
	n.data, n.disk, n.given, n.mapped, n.locked = left, bytes.Clone(left), nil, 0, false
}

// Clone is a copy as another process would find it after a kill -9 (reboot false) or after a proper start of the machine (reboot true): everything that was
// stored, with the same knowledge of what is on disk. Nobody may store meanwhile.
func (d *MemDisk) Clone(reboot bool) *MemDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	copies := map[*memNode]*memNode{}
	var of func(n *memNode) *memNode
	of = func(n *memNode) *memNode {
		if n == nil || copies[n] != nil {
			return copies[n]
		}
		c := &memNode{inode: n.inode, links: n.links, written: n.written, changed: n.changed, linked: n.linked, data: bytes.Clone(n.data), disk: bytes.Clone(n.disk)}
		copies[n] = c
		if n.given != nil {
			c.given = map[int][]byte{}
			for at, page := range n.given {
				c.given[at] = page
			}
		}
		if n.children == nil {
			return c
		}
		c.children, c.kept = map[string]*memNode{}, map[string]*memNode{}
		for name, child := range n.children {
			c.children[name] = of(child)
		}
		for name, child := range n.kept {
			c.kept[name] = of(child)
		}
		return c
	}
	c := &MemDisk{root: of(d.root), boot: d.boot, mount: d.mount, inode: d.inode, clock: d.clock, used: d.used, space: -1}
	for _, p := range d.pending {
		c.pending = append(c.pending, dirChange{of(p.node), of(p.from), of(p.to), p.old, p.name})
	}
	if reboot {
		c.boot++
	}
	return c
}

func sortedNames(m map[string]*memNode) []string { return slices.Sorted(maps.Keys(m)) }
