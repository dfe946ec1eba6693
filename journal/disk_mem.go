package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
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

type memFile struct {
	disk *MemDisk
	node *memNode
	name string
}

func (f *memFile) Fd() int      { return -1 }
func (f *memFile) Close() error { return nil }

// begin locks the disk and asks whether the operation may go on; the caller unlocks either way.
func (f *memFile) begin(op string) error {
	f.disk.mu.Lock()
	return f.disk.ask(op, f.name)
}

func (f *memFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	err := f.begin("read")
	defer f.disk.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.begin("write")
	defer f.disk.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if err := f.resize(max(int64(len(f.node.data)), off+int64(len(p)))); err != nil {
		return 0, err
	}
	return copy(f.node.data[off:], p), nil
}

// resize keeps the backing array while there is a mapping: a mapping that no longer sees the file would be no mapping.
func (f *memFile) resize(size int64) error {
	old := int64(len(f.node.data))
	if size > old && f.disk.space >= 0 && f.disk.used+size-old > f.disk.space {
		return &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	switch {
	case size <= int64(cap(f.node.data)):
		f.node.data = f.node.data[:size]
		if size > old {
			clear(f.node.data[old:])
		}
	case f.node.mapped > 0:
		return errors.New("heap-backed disk: a mapped file cannot grow beyond what was allocated")
	default:
		// A quarter more, so that a log that grows by small writes is not copied each time.
		grown := make([]byte, size, size+size/4)
		copy(grown, f.node.data)
		f.node.data = grown
	}
	f.disk.used += size - old
	return nil
}

func (f *memFile) Allocate(size int64) error {
	err := f.begin("allocate")
	defer f.disk.mu.Unlock()
	if err != nil {
		return err
	}
	return f.resize(max(int64(len(f.node.data)), size))
}

func (f *memFile) Truncate(size int64) error {
	err := f.begin("truncate")
	defer f.disk.mu.Unlock()
	if err != nil {
		return err
	}
	return f.resize(size)
}

func (f *memFile) Sync() error {
	err := f.begin("sync")
	f.disk.mu.Unlock()
	return err
}

func (f *memFile) Map(size int64) (Memory, error) {
	err := f.begin("map")
	defer f.disk.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if size > int64(len(f.node.data)) {
		return nil, fmt.Errorf("map %s: %d bytes of a file of %d", f.name, size, len(f.node.data))
	}
	f.node.mapped++
	return &memMemory{file: f, b: f.node.data[:size:size]}, nil
}

func (f *memFile) Identity() (Identity, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	id := Identity{Mount: 1, Device: 1, Inode: f.node.inode}
	id.BootID[0] = byte(f.disk.boot)
	return id, nil
}

type memMemory struct {
	file *memFile
	b    []byte
}

func (m *memMemory) Bytes() []byte { return m.b }

func (m *memMemory) Populate(from, to int64) error {
	err := m.file.begin("populate")
	m.file.disk.mu.Unlock()
	return err
}

func (m *memMemory) Unmap() error {
	m.file.disk.mu.Lock()
	defer m.file.disk.mu.Unlock()
	m.file.node.mapped--
	return nil
}
