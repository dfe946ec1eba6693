package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// notServed notes why a dataset is not served. One that is not damaged but had no room, say, is tried again: see reopen.
func (j *Journal) notServed(name string, err error) {
	damaged := j.AllDamaged()
	damaged[name] = err
	j.damaged.Store(&damaged)
	j.o.Logger.Error("dataset is not served; all others are", zap.String("dataset", name), zap.Error(err))
}

// served is for a dataset that is there, or no more. The caller holds mu.
func (j *Journal) served(name string) {
	damaged := j.AllDamaged()
	delete(damaged, name)
	j.damaged.Store(&damaged)
}

// openError names the dataset that is not served and what a person can do.
func (j *Journal) openError(name string, err error) error {
	err = fmt.Errorf("open journal: dataset %s: %w", name, diskError(err))
	switch {
	case errors.Is(err, ErrVersion):
		return fmt.Errorf("%w, or move %s out of %s; nothing was changed", err, filepath.Join(j.dir, name), j.dir)
	case isDamage(err):
		return fmt.Errorf("%w; nothing was changed: restore %s from a copy and start again, or move it out of %s", err, filepath.Join(j.dir, name), j.dir)
	case isFull(err) || errors.Is(err, ErrDiskFull):
		return fmt.Errorf("%w; free space or move the journal: it is served by itself once there is room", err)
	}
	return fmt.Errorf("%w; nothing was lost: it is tried again every %v", err, reopenAfter*j.o.RetryInterval)
}

// isDamage says that a dataset's files are not what they were, or cannot be read: no time makes that good.
func isDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EIO)
}

// passes says whether what keeps a dataset from being served may pass by itself.
func passes(err error) bool {
	return !isDamage(err) && !errors.Is(err, ErrVersion) && !errors.Is(err, errLinked)
}

// Damaged is why a dataset that is there is not served: its files are damaged, of a version that is not known (ErrVersion), or there was no room to open it
// (ErrDiskFull, which passes by itself). It is nil when the dataset is served, or when there is none of that name.
func (j *Journal) Damaged(name string) error { return (*j.damaged.Load())[name] }

// AllDamaged is the datasets that are not served, by name.
func (j *Journal) AllDamaged() map[string]error { return maps.Clone(*j.damaged.Load()) }

// waiting is the datasets that may come to be served by themselves.
func (j *Journal) waiting() (names []string) {
	for name, err := range j.AllDamaged() {
		if passes(err) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reopen tries the datasets that wait, again and again.
func (j *Journal) reopen() {
	defer close(j.reopening.done)
	tick := time.NewTicker(reopenAfter * j.o.RetryInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, name := range j.waiting() {
				j.tryAgain(name)
			}
		case <-j.reopening.stop:
			return
		}
	}
}

// tryAgain opens a dataset that could not be opened before.
func (j *Journal) tryAgain(name string) {
	if !j.openAgain(name) {
		return
	}
	j.o.Logger.Info("dataset is served now", zap.String("dataset", name))
	j.retaining.Lock()
	j.doubt = nil // its stamps count too
	j.retaining.Unlock()
	j.watchers.committed()
}

func (j *Journal) openAgain(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	known := j.Damaged(name)
	if j.closed || known == nil {
		return false
	}
	d, err := j.openDataset(name, false)
	if err != nil {
		if err = j.openError(name, err); err.Error() != known.Error() {
			j.notServed(name, err)
		}
		return false
	}
	j.add(d)
	j.served(name)
	return true
}

// add serves a dataset. The caller holds mu.
func (j *Journal) add(d *Dataset) {
	all := maps.Clone(*j.datasets.Load())
	all[d.name] = d
	j.datasets.Store(&all)
}
