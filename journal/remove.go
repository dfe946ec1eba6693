package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lastEpochSuffix is of the file that outlives a removed dataset: the last epoch of it, in decimal. A dataset that is made under the name later begins with
// another one, so that no position of the old one is taken for one of the new.
const lastEpochSuffix = ".epoch"

// RemoveDataset removes a dataset for good, also one that is damaged: its records, what is known of its streams and instruments, its quarantine. Nobody may
// have the journal open (ErrLocked). The name is free afterwards. A removal that is interrupted is finished by the next opening of the journal.
func RemoveDataset(dir, name string) error { return removeDataset(OSDisk{}, dir, name) }

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
	if err := keepLastEpoch(disk, dir, name); err != nil {
		return fmt.Errorf("remove dataset %s: %w", name, err)
	}
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

// keepLastEpoch notes which epochs the dataset has had. Of one that cannot be read nobody knows: the time in seconds is beyond all.
func keepLastEpoch(disk Disk, dir, name string) error {
	last := max(readLastEpoch(disk, dir, name), firstEpoch)
	if v, err := loadView(disk, filepath.Join(dir, name)); err == nil {
		last = max(last, v.epoch)
	} else {
		last = max(last, uint64(time.Now().Unix()))
	}
	return writeWhole(disk, filepath.Join(dir, name+lastEpochSuffix), func(f File) error {
		_, err := f.WriteAt(strconv.AppendUint(nil, last, 10), 0)
		return err
	})
}

// readLastEpoch is the last epoch of a dataset that was removed; 0: there was none.
func readLastEpoch(disk Disk, dir, name string) uint64 {
	f, err := disk.Open(filepath.Join(dir, name+lastEpochSuffix), true)
	if err != nil {
		return 0
	}
	defer f.Close()
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	last, err := strconv.ParseUint(strings.TrimSpace(string(bytes.TrimRight(b[:n], "\x00"))), 10, 64)
	if err != nil {
		return 0
	}
	return last
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
