package journal

import "fmt"

// Present is nil while the files that records are stored to are those that the next opening will find; asked before records are acknowledged, it keeps
// the acknowledgement from being a lie. When somebody removed, moved or replaced the directory, or the segment in use, the dataset takes no more records
// (ErrFault). It is a handful of system calls, none of which reads a disk.
func (d *Dataset) Present() error {
	err := d.present()
	if err == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil { // it ended in another way meanwhile
		return err
	}
	return d.fail(fmt.Errorf("%w: %w; what was accepted last may be lost: restore the directory from a copy if it is not meant to be gone, and start again", ErrFault, err))
}

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
		if f, err := d.disk.Open(path, true); err == nil {
			f.Close()
			return fmt.Errorf("somebody replaced %s while it was in use", d.dir)
		}
		return fmt.Errorf("somebody removed %s while it was in use", d.dir)
	}
	d.mu.Lock()
	var active [len(d.tapes)]*Segment
	for i, t := range d.tapes {
		if t != nil {
			active[i] = t.active
		}
	}
	d.mu.Unlock()
	for _, s := range active {
		if err := s.linked(); err != nil {
			return err
		}
	}
	return nil
}

// linked says whether the file of a segment that is not sealed still has a name.
func (s *Segment) linked() error {
	if s == nil || s.sealed.Load() {
		return nil
	}
	if err := s.acquire(); err != nil {
		return nil // the journal is being closed
	}
	defer s.Release()
	switch there, err := s.file.Linked(); {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("somebody removed %s while it was in use", s.path())
	}
	return nil
}
