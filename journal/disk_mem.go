package journal

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// MemDisk is a disk on the heap, for tests: the race detector sees its mappings, and a test can make any operation fail, limit the space, start the
// "machine" again and take its power away. It knows what was synced: Clone keeps everything that was stored, PowerCut only what a real disk promises.
type MemDisk struct {
	mu      sync.Mutex
	root    *memNode
	pending []dirChange // changes of directories that no sync of them has covered yet
	boot    uint64
	mount   uint64 // how often it was mounted again
	inode   uint64
	clock   int64 // of what files are stamped with: it goes on with each change
	fault   func(op, path string) error
	slow    func(path string)
	space   int64 // bytes that may be allocated; negative: no bound
	used    int64
}

// memNode is a file or a directory.
type memNode struct {
	inode  uint64
	links  int  // names
	linked bool // it had two names at once
	locked bool
	gone   bool // it has no name any more

	written, changed int64 // mtime and ctime

	children map[string]*memNode // of a directory; nil for a file
	kept     map[string]*memNode // what of it is on disk

	data   []byte // of a file. The slice is the disk's mutex's; the bytes of a mapping are not
	mapped int
	disk   []byte         // what of it is on disk
	given  map[int][]byte // pages by offset that a failed sync gave up: the kernel takes them for clean as long as nobody stores to them
}

func newMemDir() *memNode {
	return &memNode{children: map[string]*memNode{}, kept: map[string]*memNode{}}
}

// NewMemDisk is an empty disk without a bound.
func NewMemDisk() *MemDisk { return &MemDisk{root: newMemDir(), boot: 1, space: -1} }

// Fault sets what is asked before each operation; an error it returns is the operation's. Operations: open, create, mkdir, rename, remove, list, syncdir,
// read, write, allocate, truncate, sync, map, populate. It is called with the disk locked.
func (d *MemDisk) Fault(f func(op, path string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// SlowSync sets what each sync of a file waits for first.
func (d *MemDisk) SlowSync(f func(path string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = f
}

// Limit sets the disk's size in bytes; negative: no bound.
func (d *MemDisk) Limit(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.space = bytes
}

// Used is how many bytes files hold.
func (d *MemDisk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

func (d *MemDisk) ask(op, name string) error {
	if d.fault != nil {
		if err := d.fault(op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

// node is what lies at a path; nil when nothing does. The caller holds mu.
func (d *MemDisk) node(name string) *memNode {
	n := d.root
	for _, part := range strings.Split(path.Clean(name), "/") {
		if part != "" && part != "." && n != nil {
			n = n.children[part]
		}
	}
	return n
}

// find locks mu and returns with it held.
func (d *MemDisk) find(op, name string) (*memNode, error) {
	d.mu.Lock()
	if err := d.ask(op, name); err != nil {
		return nil, err
	}
	n := d.node(name)
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// parent is the directory that holds, or would hold, name. The caller holds mu.
func (d *MemDisk) parent(op, name string) (dir *memNode, base string, err error) {
	dir = d.node(path.Dir(path.Clean(name)))
	if dir == nil || dir.children == nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return dir, path.Base(path.Clean(name)), nil
}

// link puts n into a directory, in place of what was there. The caller holds mu.
func (d *MemDisk) link(dir *memNode, base string, n *memNode) {
	d.unlink(dir, base)
	dir.children[base] = n
	n.links++
	d.change(dirChange{node: n, to: dir, name: base})
}

func (d *MemDisk) unlink(dir *memNode, base string) {
	if old := dir.children[base]; old != nil {
		if old.links--; old.links == 0 {
			old.gone = true
			d.used -= int64(len(old.data))
		}
		delete(dir.children, base)
	}
}

// stored stamps a file as a store does, be it by a write or into a mapping. The caller holds mu.
func (d *MemDisk) stored(n *memNode) {
	d.restamp(n)
	n.written = n.changed
}

// restamp stamps it as what changes a file's names or rights does.
func (d *MemDisk) restamp(n *memNode) {
	d.clock++
	n.changed = d.clock
}

func (d *MemDisk) Open(name string, readOnly bool) (File, error) {
	n, err := d.find("open", name)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &memFile{disk: d, node: n, name: name}, nil
}

func (d *MemDisk) Create(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("create", name); err != nil {
		return nil, err
	}
	dir, base, err := d.parent("create", name)
	if err != nil {
		return nil, err
	}
	d.inode++
	n := &memNode{inode: d.inode}
	d.stored(n)
	d.link(dir, base, n)
	return &memFile{disk: d, node: n, name: name}, nil
}

func (d *MemDisk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("mkdir", name); err != nil {
		return err
	}
	dir, base, err := d.parent("mkdir", name)
	if err != nil {
		return err
	}
	if dir.children[base] == nil {
		d.link(dir, base, newMemDir())
	}
	return nil
}

func (d *MemDisk) Rename(oldPath, newPath string) error {
	n, err := d.find("rename", oldPath)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	from, oldBase, _ := d.parent("rename", oldPath)
	to, newBase, err := d.parent("rename", newPath)
	if err != nil {
		return err
	}
	delete(from.children, oldBase)
	d.unlink(to, newBase)
	to.children[newBase] = n
	d.restamp(n)
	d.change(dirChange{node: n, from: from, old: oldBase, to: to, name: newBase})
	return nil
}

func (d *MemDisk) Link(oldPath, newPath string) error {
	n, err := d.find("link", oldPath)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	to, base, err := d.parent("link", newPath)
	if err != nil {
		return err
	}
	if to.children[base] != nil {
		return &fs.PathError{Op: "link", Path: newPath, Err: fs.ErrExist}
	}
	to.children[base] = n
	n.links++
	n.linked = true
	d.restamp(n)
	d.change(dirChange{node: n, to: to, name: base})
	return nil
}

func (d *MemDisk) Remove(name string) error {
	n, err := d.find("remove", name)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	if len(n.children) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	dir, base, _ := d.parent("remove", name)
	d.unlink(dir, base)
	d.change(dirChange{node: n, from: dir, old: base})
	return nil
}

func (d *MemDisk) List(name string) ([]string, error) {
	n, err := d.find("list", name)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	names := sortedNames(n.children)
	for i, base := range names {
		if n.children[base].children != nil {
			names[i] += "/"
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *MemDisk) SyncDir(name string) error {
	n, err := d.find("syncdir", name)
	defer d.mu.Unlock()
	if err == nil {
		d.syncDir(n)
	}
	return err
}

func (d *MemDisk) Names(name string, f File) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.node(name) == f.(*memFile).node, nil
}

// Usage is of a disk without a Limit that of one that is nearly empty.
func (d *MemDisk) Usage(string) (used, size int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.space < 0 {
		return d.used, 1 << 60, nil
	}
	return d.used, d.space, nil
}

func (d *MemDisk) Filesystem(string) (string, error) { return "tmpfs", nil }
