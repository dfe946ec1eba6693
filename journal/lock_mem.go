package journal

import (
	"fmt"
	"io"
)

func (d *MemDisk) Lock(name string) (Lock, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent("lock", name)
	if err != nil {
		return nil, err
	}
	n := dir.children[base]
	if n == nil {
		n = &memNode{}
		d.link(dir, base, n)
	}
	if n.locked {
		return nil, fmt.Errorf("%w: %s is held by this process", ErrLocked, name)
	}
	n.locked = true
	return memLock{d, n}, nil
}

func (d *MemDisk) LockDir(name string) (io.Closer, error) {
	n, err := d.find("lock", name)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
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

func (memLock) Held() error { return nil }

func (l memLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.n.locked = false
	return nil
}

func (d *MemDisk) Locked(name string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.node(name)
	return n != nil && n.locked, nil
}
