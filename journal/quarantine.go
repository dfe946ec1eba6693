package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
)

const (
	quarantineDir = "quarantine"
	tmpSuffix     = ".tmp"
)

// quarantine is where recovery puts what it cuts: nothing that was once written is deleted for being damaged or unvouched for.
// File names tell the origin: <schema>.<ordinal>.<first seq>.tape (or .dbn) is a segment file of which the records from that one on were cut,
// <name>.<offset>.bytes the end of a side file.
type quarantine struct {
	disk Disk
	dir  string // the dataset's directory
	log  *zap.Logger
}

// keep writes b, found at offset of the file at path, to a file of its own.
func (q *quarantine) keep(path string, offset int64, b []byte) error {
	return q.write(fmt.Sprintf("%s.%d.bytes", filepath.Base(path), offset), func(f File) error {
		_, err := f.WriteAt(b, 0)
		return err
	})
}

// place is a path that is not taken yet: an earlier recovery may have kept something else from the same place. The directory's own name is on disk before anything
// is put into it.
func (q *quarantine) place(name string) (path string, err error) {
	dir := filepath.Join(q.dir, quarantineDir)
	if err := q.disk.Mkdir(dir); err != nil {
		return "", diskError(err)
	}
	if err := q.disk.SyncDir(q.dir); err != nil {
		return "", err
	}
	names, err := q.disk.List(dir)
	return filepath.Join(dir, freeName(names, name)), err
}

// write makes a file.
func (q *quarantine) write(name string, fill func(File) error) error {
	to, err := q.place(name)
	if err == nil {
		err = writeWhole(q.disk, to, fill)
	}
	if err != nil {
		return fmt.Errorf("quarantine %s: %w", name, diskError(err))
	}
	q.log.Info("kept in quarantine", zap.String("file", to))
	return nil
}

// link gives a file that is open a name in quarantine, unless it has a second name already: an opening that did not get to its end gave it one.
func (q *quarantine) link(f File, path, name string) error {
	has, err := q.holds(f)
	if err != nil {
		return err
	}
	if has { // that opening may have been stopped before the name was on disk
		return errors.Join(q.disk.SyncDir(q.dir), q.disk.SyncDir(filepath.Join(q.dir, quarantineDir)))
	}
	to, err := q.place(name)
	if err != nil {
		return err
	}
	if err := q.disk.Link(path, to); err != nil {
		return fmt.Errorf("quarantine %s: %w", path, diskError(err))
	}
	q.log.Info("kept in quarantine", zap.String("file", to))
	return q.disk.SyncDir(filepath.Dir(to))
}

// move puts a whole file into quarantine.
func (q *quarantine) move(path, name string) error {
	to, err := q.place(name)
	if err != nil {
		return err
	}
	if err := q.disk.Rename(path, to); err != nil {
		return err
	}
	q.log.Warn("moved to quarantine", zap.String("file", to))
	return errors.Join(q.disk.SyncDir(filepath.Dir(to)), q.disk.SyncDir(filepath.Dir(path)))
}

func freeName(taken []string, name string) string {
	free := name
	for n := 2; ; n++ {
		used := false
		for _, t := range taken {
			used = used || strings.TrimSuffix(t, "/") == free
		}
		if !used {
			return free
		}
		free = fmt.Sprintf("%s.%d", name, n)
	}
}

// holds says whether a file is in quarantine too, under another name. That others have linked it (a backup does) is no sign of a cut. What is no file there, or a link
// that leads nowhere, stood in a file's place once.
func (q *quarantine) holds(f File) (bool, error) {
	if links, err := f.Links(); err != nil || links < 2 {
		return false, err
	}
	id, err := f.Identity()
	if err != nil {
		return false, err
	}
	dir := filepath.Join(q.dir, quarantineDir)
	names, err := q.disk.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, name := range names {
		kept, err := q.disk.Open(filepath.Join(dir, name), true)
		if errors.Is(err, errNoFile) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		other, err := kept.Identity()
		kept.Close()
		if err != nil || other == id {
			return err == nil, err
		}
	}
	return false, nil
}

// writeWhole makes a file that is either there in full or not at all: tmp, sync, rename, sync of the directory.
func writeWhole(disk Disk, path string, fill func(File) error) error {
	tmp := path + tmpSuffix
	f, err := disk.Create(tmp)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = disk.Rename(tmp, path)
	}
	if err != nil {
		// Space is given back: on a full disk a half-written file would keep the disk full.
		if e := disk.Remove(tmp); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return err
	}
	return disk.SyncDir(filepath.Dir(path))
}
