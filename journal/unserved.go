package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"syscall"
)

// openError names the dataset that is not served, or keeps the journal shut, and what a person can do.
func (j *Journal) openError(name string, err error) error {
	err = fmt.Errorf("open journal: dataset %s: %w", name, diskError(err))
	switch {
	case errors.Is(err, ErrVersion):
		err = fmt.Errorf("%w, or move %s out of %s; nothing was changed", err, filepath.Join(j.dir, name), j.dir)
	case errors.Is(err, ErrLocked):
		err = fmt.Errorf("%w: another gateway serves these files, or a command writes to them, through a mount or hard links in another data directory; stop it, or unmount or remove %s; "+
			"it is tried again every %v", err, filepath.Join(j.dir, name), reopenAfter*j.o.RetryInterval)
	case isDamage(err):
		err = fmt.Errorf("%w; restore %s from a copy and start again, or move it out of %s", err, filepath.Join(j.dir, name), j.dir)
	case isFull(err) || errors.Is(err, ErrDiskFull):
		err = fmt.Errorf("%w; free space or move the journal: it is served by itself once there is room", err)
	default:
		err = fmt.Errorf("%w; it is tried again every %v", err, reopenAfter*j.o.RetryInterval)
	}
	return err
}

// isDamage says that a dataset's files are not what they were, or cannot be read: a matter of that dataset alone.
func isDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EIO)
}

// isShortage says that the process or the machine lacks descriptors or memory for the moment: it says nothing of any file.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// staysDamaged says that to try again helps nobody, as it does after a full disk or without descriptors.
func staysDamaged(err error) bool {
	return isDamage(err) || errors.Is(err, ErrVersion) || errors.Is(err, errLinked)
}

// Damaged is why a dataset that is there is not served: its files are damaged, or of a version that is not known (ErrVersion), or there was no room to open it
// (ErrDiskFull, which passes by itself). It is nil when the dataset is
// served, or when there is none of that name.
func (j *Journal) Damaged(name string) error {
	j.damagedMu.Lock()
	defer j.damagedMu.Unlock()
	return j.damaged[name]
}

// AllDamaged is the datasets that are not served, by name.
func (j *Journal) AllDamaged() map[string]error {
	j.damagedMu.Lock()
	defer j.damagedMu.Unlock()
	return maps.Clone(j.damaged)
}
