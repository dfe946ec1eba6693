package journal

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// waiting is the datasets that may come to be served by themselves.
func (j *Journal) waiting() (names []string) {
	for name, err := range j.AllDamaged() {
		if !staysDamaged(err) {
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
	j.isServed(name)
	return true
}

// add serves a dataset. The caller holds mu.
func (j *Journal) add(d *Dataset) {
	all := maps.Clone(*j.datasets.Load())
	all[d.name] = d
	j.datasets.Store(&all)
}
