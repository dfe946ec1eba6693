package journal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Restore makes a data directory of a backup, or of any other copy. Nothing that it makes shares a file with it. The directory to must be empty or not there.
func Restore(from, to string, progress func(BackupProgress)) error {
	if progress == nil {
		progress = func(BackupProgress) {}
	}
	dirs, err := datasetDirs(OSDisk{}, from)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if len(dirs) == 0 {
		return fmt.Errorf("restore: %w: %s holds no dataset", fs.ErrNotExist, from)
	}
	if err := emptyDir(to); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	lock, err := OSDisk{}.LockDir(to) // a gateway that starts there would clear away what is not finished
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer lock.Close()
	for _, dataset := range dirs {
		name := filepath.Base(dataset)
		err := restoreTree(dataset, filepath.Join(to, name+tmpSuffix), name, "", progress)
		if err == nil {
			err = os.Rename(filepath.Join(to, name+tmpSuffix), filepath.Join(to, name))
		}
		if err != nil {
			return fmt.Errorf("restore of dataset %s: %w; %s is not complete", name, diskError(err), to)
		}
	}
	return OSDisk{}.SyncDir(to)
}

// restoreTree copies a dataset's directory. A segment in use is given all of its room, as a store into its mapping must not run out of it.
func restoreTree(from, to, dataset, below string, progress func(BackupProgress)) error {
	disk := OSDisk{}
	if err := disk.Mkdir(to); err != nil {
		return err
	}
	names, err := disk.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		a, b := filepath.Join(from, name), filepath.Join(to, name)
		if strings.HasSuffix(name, "/") {
			if err := restoreTree(a, b, dataset, filepath.Join(below, name), progress); err != nil {
				return err
			}
			continue
		}
		if err := copyFile(a, b); err != nil {
			return err
		}
		st, err := os.Stat(b)
		if err != nil {
			return err
		}
		progress(BackupProgress{Dataset: dataset, File: filepath.Join(below, name), Bytes: st.Size()})
	}
	return disk.SyncDir(to)
}

// copyFile makes a copy of its own, with all of its room.
func copyFile(from, to string) error {
	disk := OSDisk{}
	f, err := disk.Open(from, true)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	return writeWhole(disk, to, func(out File) error {
		if size > 0 && slices.Contains([]string{activeSuffix, ".log", ""}, filepath.Ext(to)) {
			if err := out.Allocate(size); err != nil {
				return err
			}
		}
		return copyBytes(out, f, 0, size)
	})
}

// copyBytes copies bytes [from, to) of a file to the same place. Zeros are left out: they are there.
func copyBytes(out, in File, from, to int64) error {
	buf := make([]byte, chunkBytes)
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		n, err := in.ReadAt(b, from)
		if n < len(b) {
			return fmt.Errorf("read byte %d: %w", from+int64(n), err)
		}
		if !allZero(b) || from+int64(n) == to {
			if _, err := out.WriteAt(b, from); err != nil {
				return err
			}
		}
		from += int64(n)
	}
	return nil
}
