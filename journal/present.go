package journal

import (
	"fmt"
	"time"
)

// lookEvery is how often Present looks at the names of all files: those are two dozen system calls, and a hundred producers ask a hundred times a second. Each
// sync looks at them whatever was seen before.
const lookEvery = 10 * time.Millisecond

// Present is nil while the files that records are stored to are those that the next opening will find; asked before records are acknowledged, it keeps
// the acknowledgement from being a lie. When somebody removed, moved, replaced or cut the directory, a segment that is not sealed, or one of the logs, the
// dataset takes no more records (ErrFault). It is a handful of system calls, none of which reads a disk.
func (d *Dataset) Present() error {
	err := d.present()
	if now := time.Since(d.j.opened); err == nil && now-time.Duration(d.looked.Load()) >= lookEvery {
		err = d.namesPresent()
		if err == nil && d.syncer.mu.TryLock() { // else the sync at work looks
			err = d.syncLogPresent()
			d.syncer.mu.Unlock()
		}
		if err == nil {
			d.looked.Store(int64(now))
		}
	}
	if err == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil { // it ended in another way meanwhile
		return err
	}
	return d.fail(fmt.Errorf("%w: %w", ErrFault, remedied(err)))
}

// remedied says what to do about files that are not there any more.
func remedied(err error) error {
	return fmt.Errorf("%w; what was accepted last may be lost: restore the directory from a copy if it is not meant to be gone, and start again", err)
}

// allPresent is present for every file that a sync speaks of. The caller holds syncer.mu.
func (d *Dataset) allPresent() error {
	err := d.present()
	if err == nil {
		err = d.namesPresent()
	}
	if err == nil {
		err = d.syncLogPresent()
	}
	if err != nil {
		return remedied(err)
	}
	return nil
}

// present looks at the directory, by the state page in it, and whether the segments in use still have a name.
func (d *Dataset) present() error {
	if err := d.j.lock.Held(); err != nil {
		return err
	}
	path := d.path(stateName)
	same, err := d.disk.Names(path, d.state.file)
	if err != nil {
		return err
	}
	if !same {
		return d.notOurs(d.dir, path)
	}
	return d.eachInUse((*Segment).linked)
}

// eachInUse does something with the segment in use of each tape, until an error.
func (d *Dataset) eachInUse(do func(*Segment) error) error {
	d.mu.Lock()
	var active [len(d.tapes)]*Segment
	for i, t := range d.tapes {
		if t != nil && t.frozen == nil { // one that is takes no records, and goes on in a new file at any time
			active[i] = t.active
		}
	}
	d.mu.Unlock()
	for _, s := range active {
		if s == nil || s.sealed.Load() || s.acquire() != nil { // the journal is being closed
			continue
		}
		err := do(s)
		s.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// namesPresent looks at the names of the segments in use and of the side logs.
func (d *Dataset) namesPresent() error {
	if err := d.eachInUse((*Segment).named); err != nil {
		return err
	}
	for _, l := range d.sideLogs() {
		if err := l.present(d); err != nil {
			return err
		}
	}
	return nil
}

// present waits for one who writes the log anew, which gives its name to another file of ours.
func (l *sideLog) present(d *Dataset) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil // there was no room for it, see openOutliers
	}
	return d.isOurs(l.path, l.file, l.head.physical(l.size.Load()))
}

// syncLogPresent is for who holds syncer.mu, under which a fresh log takes the name.
func (d *Dataset) syncLogPresent() error {
	return d.isOurs(d.path(syncLogName), d.syncLog.file, d.syncLog.end)
}

// isOurs says whether path is still a name of the open file f, and that holds at least size bytes.
func (d *Dataset) isOurs(path string, f File, size int64) error {
	switch same, err := d.disk.Names(path, f); {
	case err != nil:
		return err
	case !same:
		return d.notOurs(path, path)
	}
	return isWhole(path, f, size)
}

// isWhole says whether a file still has size bytes.
func isWhole(path string, f File, size int64) error {
	switch has, err := f.Size(); {
	case err != nil:
		return err
	case has < size:
		return fmt.Errorf("somebody cut %s to %d bytes while it was in use", path, has)
	}
	return nil
}

// notOurs says what became of what, of which path was a file of ours.
func (d *Dataset) notOurs(what, path string) error {
	done := "removed"
	if f, err := d.disk.Open(path, true); err == nil {
		f.Close()
		done = "replaced"
	}
	return fmt.Errorf("somebody %s %s while it was in use", done, what)
}

// linked says whether the file of a segment that is pinned still has a name: one system call.
func (s *Segment) linked() error {
	there, err := s.file.Linked()
	if err == nil && !there {
		err = s.tape.d.notOurs(s.path(), s.path())
	}
	return err
}

// named says whether the file of a segment that is pinned still has its own name.
func (s *Segment) named() error {
	s.mu.Lock() // keeps it from being sealed meanwhile, which renames it
	defer s.mu.Unlock()
	if s.sealed.Load() {
		return nil
	}
	d, path := s.tape.d, s.path()
	same, err := d.disk.Names(path, s.file)
	if err == nil && !same {
		err = d.notOurs(path, path)
	}
	return err
}
