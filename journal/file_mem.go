package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// memFile is an open file of a MemDisk.
type memFile struct {
	disk *MemDisk
	node *memNode
	name string
}

func (f *memFile) Fd() int      { return -1 }
func (f *memFile) Close() error { return nil }

func (f *memFile) Linked() (bool, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return !f.node.gone, nil
}

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
	f.node.touch(off, int64(len(p)))
	f.disk.stored(f.node)
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
	f.disk.stored(f.node)
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
	f.disk.mu.Lock()
	slow := f.disk.slow
	f.disk.mu.Unlock()
	if slow != nil {
		slow(f.name)
	}
	err := f.begin("sync")
	defer f.disk.mu.Unlock()
	switch {
	case errors.Is(err, syscall.EIO):
		f.node.failSync()
		return err
	case err != nil: // a test stopped the process
		return err
	}
	f.node.sync()
	return nil
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

func (f *memFile) Links() (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.node.links, nil
}

func (f *memFile) Stamp() (Stamp, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return Stamp{f.node.inode, f.node.written, f.node.changed}, nil
}

// NextData knows of no holes.
func (f *memFile) NextData(off int64) (int64, error) { return off, nil }

func (f *memFile) Identity() (Identity, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	id := Identity{Mount: 1 + f.disk.mount, Device: 1, Inode: f.node.inode}
	id.BootID[0] = byte(f.disk.boot)
	return id, nil
}

type memMemory struct {
	file *memFile
	b    []byte
}

func (m *memMemory) Bytes() []byte { return m.b }

// Unpin does nothing: this memory is the file.
func (m *memMemory) Unpin(from, to int64) error { return nil }

func (m *memMemory) Populate(from, to int64) error {
	err := m.file.begin("populate")
	defer m.file.disk.mu.Unlock()
	if err == nil {
		m.file.disk.stored(m.file.node) // it stores nothing, and the kernel takes it for a store
	}
	return err
}

func (m *memMemory) Unmap() error {
	m.file.disk.mu.Lock()
	defer m.file.disk.mu.Unlock()
	m.file.node.mapped--
	return nil
}
