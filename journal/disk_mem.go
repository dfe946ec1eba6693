package journal

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// MemDisk is a disk on the heap, for tests: the race detector sees its mappings, a test can make any operation fail, limit the space, and start the
// "machine" again. It keeps everything that was stored, synced or not; what a power cut would take away is the business of whoever copies it.
type MemDisk struct {
	mu    sync.Mutex
	nodes map[string]*memNode // by clean path; directories have no data
	boot  uint64
	inode uint64
	fault func(op, path string) error
	space int64 // bytes that may be allocated; negative: no bound
	used  int64
}

type memNode struct {
	dir    bool
	locked bool
	inode  uint64
	data   []byte // the slice is the disk's mutex's; the bytes of a mapping are not
	mapped int
}

// NewMemDisk is an empty disk without a bound.
func NewMemDisk() *MemDisk {
	return &MemDisk{nodes: map[string]*memNode{".": {dir: true}, "/": {dir: true}}, boot: 1, space: -1}
}

// Fault sets what is asked before each operation; an error it returns is the operation's. Operations: open, create, mkdir, rename, remove, list, syncdir,
// read, write, allocate, truncate, sync, map, populate. It is called with the disk locked.
func (d *MemDisk) Fault(f func(op, path string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
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

// Clone is a copy as another process would find it after a kill -9 (reboot false) or after a start of the machine (reboot true). Nobody may store meanwhile.
func (d *MemDisk) Clone(reboot bool) *MemDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewMemDisk()
	c.boot, c.inode, c.used = d.boot, d.inode, d.used
	if reboot {
		c.boot++
	}
	for name, n := range d.nodes {
		c.nodes[name] = &memNode{dir: n.dir, inode: n.inode, data: slices.Clone(n.data)}
	}
	return c
}

func (d *MemDisk) ask(op, name string) error {
	if d.fault != nil {
		if err := d.fault(op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

// find locks d.mu and returns with it held.
func (d *MemDisk) find(op, name string) (*memNode, string, error) {
	d.mu.Lock()
	name = path.Clean(name)
	if err := d.ask(op, name); err != nil {
		return nil, name, err
	}
	n := d.nodes[name]
	if n == nil {
		return nil, name, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, name, nil
}

func (d *MemDisk) Open(name string, readOnly bool) (File, error) {
	n, name, err := d.find("open", name)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &memFile{disk: d, node: n, name: name}, nil
}

func (d *MemDisk) Create(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = path.Clean(name)
	if err := d.ask("create", name); err != nil {
		return nil, err
	}
	if p := d.nodes[path.Dir(name)]; p == nil || !p.dir {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	d.drop(name)
	d.inode++
	n := &memNode{inode: d.inode}
	d.nodes[name] = n
	return &memFile{disk: d, node: n, name: name}, nil
}

func (d *MemDisk) drop(name string) {
	if old := d.nodes[name]; old != nil {
		d.used -= int64(len(old.data))
		delete(d.nodes, name)
	}
}

func (d *MemDisk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = path.Clean(name)
	if err := d.ask("mkdir", name); err != nil {
		return err
	}
	if d.nodes[name] == nil {
		d.nodes[name] = &memNode{dir: true}
	}
	return nil
}

func (d *MemDisk) Rename(oldPath, newPath string) error {
	n, oldPath, err := d.find("rename", oldPath)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	newPath = path.Clean(newPath)
	d.drop(newPath)
	for _, name := range slices.Collect(maps.Keys(d.nodes)) {
		if rest, ok := strings.CutPrefix(name, oldPath+"/"); ok {
			d.nodes[path.Join(newPath, rest)] = d.nodes[name]
			delete(d.nodes, name)
		}
	}
	delete(d.nodes, oldPath)
	d.nodes[newPath] = n
	return nil
}

func (d *MemDisk) Remove(name string) error {
	_, name, err := d.find("remove", name)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	d.drop(name)
	return nil
}

func (d *MemDisk) List(name string) ([]string, error) {
	_, name, err := d.find("list", name)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var names []string
	for p, n := range d.nodes {
		if p == name || path.Dir(p) != name {
			continue
		}
		base := path.Base(p)
		if n.dir {
			base += "/"
		}
		names = append(names, base)
	}
	slices.Sort(names)
	return names, nil
}

func (d *MemDisk) SyncDir(name string) error {
	_, _, err := d.find("syncdir", name)
	d.mu.Unlock()
	return err
}

func (d *MemDisk) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = path.Clean(name)
	n := d.nodes[name]
	if n == nil {
		n = &memNode{}
		d.nodes[name] = n
	}
	if n.locked {
		return nil, fmt.Errorf("%w: %s is held by this process", ErrLocked, name)
	}
	n.locked = true
	return memLock{d, n}, nil
}

type memLock struct {
	d *MemDisk
	n *memNode
}

func (l memLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.n.locked = false
	return nil
}

func (d *MemDisk) Filesystem(string) (string, error) { return "tmpfs", nil }
