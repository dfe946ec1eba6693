package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"go.uber.org/zap"
)

// RemoveDataset removes a dataset for good, also one that is damaged: its records, what is known of its streams and instruments, its quarantine. Nobody may
// have the journal open (ErrLocked). The name is free afterwards. A removal that is interrupted is finished by the next opening of the journal.
func RemoveDataset(dir, name string) error { return removeDataset(OSDisk{}, dir, name) }

// Remove removes a dataset for good while the journal is open, also one that is not served. Who has it open is told ErrClosed from then on; files that a reader
// holds are gone when it lets go of them. The name is free when it returns. Errors: fs.ErrNotExist, ErrName, ErrClosed, or the disk's own.
func (j *Journal) Remove(name string) error {
	if err := CheckDataset(name); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	d, why := j.Lookup(name), j.Damaged(name)
	switch {
	case d == nil && why == nil:
		return fmt.Errorf("remove dataset %s: %w", name, fs.ErrNotExist)
	case errors.Is(why, errLinked):
		return fmt.Errorf("%w: dataset %s: %w; remove the link, and what it leads to, by hand", ErrName, name, errLinked)
	}
	if d != nil && !d.o.manual {
		d.room.close() // it takes retaining, too, and close below waits for it
	}
	j.retaining.Lock() // a round may be at its files
	defer j.retaining.Unlock()
	if d != nil {
		all := maps.Clone(*j.datasets.Load())
		delete(all, name)
		j.datasets.Store(&all)
		if err := d.close(); err != nil { // of what goes in any case
			d.log.Info("dataset is to be removed, and could not be closed properly", zap.Error(err))
		}
	}
	if err := removeFiles(j.o.Disk, j.dir, name); err != nil {
		j.notServed(name, fmt.Errorf("%w; it takes a restart to try again", err))
		return err
	}
	j.isServed(name)
	j.o.Logger.Info("dataset removed", zap.String("dataset", name))
	return nil
}

func removeDataset(disk Disk, dir, name string) (err error) {
	if err := CheckDataset(name); err != nil {
		return err
	}
	if _, err := disk.List(filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
	linked, _, err := strays(disk, dir)
	if err != nil {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
	for _, path := range linked {
		if baseName(path) == name {
			return fmt.Errorf("%w: dataset %s: %w; remove the link, and what it leads to, by hand", ErrName, name, errLinked)
		}
	}
	lock, err := disk.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return removeFiles(disk, dir, name)
}

// removeFiles removes the files of a dataset that nobody uses: not even a gateway that has the directory mounted elsewhere (ErrLocked).
func removeFiles(disk Disk, dir, name string) error {
	lock, err := disk.LockDir(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
	defer lock.Close()
	// In one step: what is left under the other name is cleared away by every opening.
	tmp := filepath.Join(dir, name+tmpSuffix)
	if err := removeTree(disk, tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
	if err := disk.Rename(filepath.Join(dir, name), tmp); err != nil {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
	err = disk.SyncDir(dir)
	if err == nil {
		err = removeTree(disk, tmp)
	}
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("remove dataset %s: it is gone, not all of its files are; the next start of a gateway removes them: %w", name, err)
	}
	return nil
}

// enterBirth notes that a new dataset has no epoch before this one, by an entry without a time.
func enterBirth(disk Disk, dir string, epoch uint64) error {
	f, err := disk.Open(filepath.Join(dir, epochsName), false)
	if err != nil {
		return err
	}
	defer f.Close()
	e := Epoch{Number: epoch}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(appendFrame(nil, e.append(nil)), size); err != nil {
		return err
	}
	return f.Sync()
}
