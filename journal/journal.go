package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const lockName = "LOCK"

// Journal is an open data directory. One process has it open at a time.
type Journal struct {
	dir        string
	o          Options
	opened     time.Time // with the monotonic clock
	began      int64     // what Journal.clock said then
	doubt      *doubt    // of retaining: how far the clock is to be believed; nil until the first round
	lock       Lock
	tapes      atomic.Int64 // of all datasets: they share the prefault budget
	indexes    indexCache
	keeping    *keeping   // nil when everything is kept
	reopening  *keeping   // nil when every dataset is served that can be
	retaining  sync.Mutex // one round at a time
	pinned     []*Segment // of retaining: removed for their age, and perhaps still held by readers
	files      files
	overPinned atomic.Bool // see OverPinned
	watchers   watchers

	mu        sync.Mutex // guards closed, and orders changes of datasets
	closed    bool
	damagedMu sync.Mutex
	damaged   map[string]error                    // datasets that are not served, and why
	datasets  atomic.Pointer[map[string]*Dataset] // copied when changed
}

// Open opens the journal in dir, which it makes when it is missing (its parent must be there), and recovers every dataset. One that is damaged beyond what
// recovery can tell apart, or of a version that is not known, is left alone, see Damaged. Errors: ErrLocked, ErrFilesystem, or the disk's own.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{dir: dir, o: o.withDefaults(), opened: time.Now(), damaged: map[string]error{}}
	j.began = j.clock()
	j.datasets.Store(&map[string]*Dataset{})
	j.files.init()
	if err := j.o.Disk.Mkdir(dir); err != nil {
		return nil, diskError(fmt.Errorf("open journal: %w", err))
	}
	if err := j.checkFilesystem(); err != nil {
		return nil, err
	}
	// A parent that we may not read was made, and is kept, by somebody else.
	if err := j.o.Disk.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	lock, err := j.o.Disk.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", dir, err)
	}
	j.lock = lock
	if err := j.openAll(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	if j.o.Retain != (Retention{}) && !j.o.manual {
		j.keeping = &keeping{make(chan struct{}), make(chan struct{})}
		go j.keep()
	}
	if len(j.waiting()) > 0 && !j.o.manual {
		j.reopening = &keeping{make(chan struct{}), make(chan struct{})}
		go j.reopen()
	}
	return j, nil
}

func (j *Journal) checkFilesystem() error {
	name, err := j.o.Disk.Filesystem(j.dir)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	switch {
	case name == "ext4" || name == "xfs" || name == "tmpfs":
		return nil
	case j.o.AnyFilesystem:
		j.o.Logger.Warn("filesystem is not one we vouch for", zap.String("dir", j.dir), zap.String("filesystem", name))
		return nil
	}
	return fmt.Errorf("%w: %s is on %s, tested are ext4, xfs and tmpfs; use one of them, or allow any filesystem", ErrFilesystem, j.dir, name)
}

func (j *Journal) openAll() error {
	// What we find may have been renamed by a process that was killed before it synced the directory.
	if err := j.o.Disk.SyncDir(j.dir); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	names, err := j.o.Disk.List(j.dir)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	var datasets []string
	for _, n := range names {
		name, isDir := strings.CutSuffix(n, "/")
		switch {
		case !isDir:
		case strings.HasSuffix(name, tmpSuffix) && CheckDataset(strings.TrimSuffix(name, tmpSuffix)) == nil:
			// A creation that did not finish: no record was ever accepted for it.
			if err := removeTree(j.o.Disk, filepath.Join(j.dir, name)); err != nil {
				j.o.Logger.Warn("what is left of a dataset that was never finished, or was removed, could not be cleared away", zap.String("dir", filepath.Join(j.dir, name)), zap.Error(err))
			}
		case CheckDataset(name) == nil:
			datasets = append(datasets, name)
		}
	}
	all := j.openDatasets(datasets)
	j.datasets.Store(&all)
	linked, _, err := strays(j.o.Disk, j.dir)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	for _, path := range linked {
		j.notServed(baseName(path), fmt.Errorf("open journal: dataset %s: %w", baseName(path), errLinked))
	}
	return nil
}

// notServed notes why a dataset is not served.
func (j *Journal) notServed(name string, why error) {
	j.damagedMu.Lock()
	defer j.damagedMu.Unlock()
	j.damaged[name] = why
	j.o.Logger.Error("dataset is not served; all others are", zap.String("dataset", name), zap.Error(why))
}

// isServed notes that it is now.
func (j *Journal) isServed(name string) {
	j.damagedMu.Lock()
	defer j.damagedMu.Unlock()
	delete(j.damaged, name)
}

func removeTree(disk Disk, dir string) error {
	names, err := disk.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := filepath.Join(dir, n)
		if strings.HasSuffix(n, "/") {
			err = removeTree(disk, path)
		} else {
			err = disk.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.Remove(dir)
}

// Close syncs everything and lets the directory go. Nothing is cut at the next opening.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock() // reopening may want it
	for _, k := range []*keeping{j.reopening, j.keeping} {
		if k != nil {
			k.end()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, d := range *j.datasets.Load() {
		errs = append(errs, d.close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}

// Dir is the data directory, as it was opened.
func (j *Journal) Dir() string { return j.dir }

// Lookup is the dataset of that name; nil when nothing was ever published there.
func (j *Journal) Lookup(name string) *Dataset { return (*j.datasets.Load())[name] }

// Datasets is all datasets by name.
func (j *Journal) Datasets() []*Dataset {
	all := *j.datasets.Load()
	list := make([]*Dataset, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return list
}

// Retention is how long records are kept.
func (j *Journal) Retention() Retention { return j.o.Retain }

// Watch calls f after a dataset came to exist.
func (j *Journal) Watch(f func()) (cancel func()) { return j.watchers.add(f, nil) }

// Create opens the dataset of that name, or makes it. Errors: ErrName, ErrDiskFull, ErrClosed, and for one that is not served what Damaged says.
func (j *Journal) Create(name string) (*Dataset, error) {
	if d := j.Lookup(name); d != nil {
		return d, nil
	}
	if err := j.Damaged(name); err != nil && staysDamaged(err) {
		return nil, err
	}
	if err := CheckDataset(name); err != nil {
		return nil, err
	}
	d, made, err := j.create(name)
	if err != nil {
		return nil, fmt.Errorf("create dataset %s: %w", name, diskError(err))
	}
	if made {
		j.watchers.committed()
	}
	return d, nil
}

func (j *Journal) create(name string) (d *Dataset, made bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, false, ErrClosed
	}
	if d := j.Lookup(name); d != nil {
		return d, false, nil
	}
	if !j.files.room(filesPerDataset) {
		return nil, false, j.noFiles("dataset " + name)
	}
	there := j.Damaged(name) != nil // and what kept it from being served may be over
	if !there {
		if err := j.makeNew(name); err != nil {
			return nil, false, err
		}
	}
	if d, err = j.openDataset(name, !there); err != nil {
		return nil, false, err
	}
	j.isServed(name)
	j.add(d)
	return d, true, nil
}

// makeNew puts the directory of an empty dataset in its place.
func (j *Journal) makeNew(name string) error {
	tmp := filepath.Join(j.dir, name+tmpSuffix)
	// Random like those that follow: no position of a dataset that had the name before is one of this one.
	if err := makeDataset(j.o, tmp, j.o.nextEpoch(0)); err != nil {
		// What was made so far would keep a full disk full.
		return errors.Join(err, removeTree(j.o.Disk, tmp))
	}
	if err := j.o.Disk.Rename(tmp, filepath.Join(j.dir, name)); err != nil {
		return err
	}
	return j.o.Disk.SyncDir(j.dir)
}

// makeDataset fills a directory with the files of an empty dataset, all on disk.
func makeDataset(o Options, dir string, epoch uint64) error {
	if err := o.Disk.Mkdir(dir); err != nil {
		return err
	}
	for _, log := range sideLogs {
		if err := createSideLog(o.Disk, filepath.Join(dir, log.name), log.magic); err != nil {
			return err
		}
	}
	if epoch > firstEpoch {
		if err := enterBirth(o.Disk, dir, epoch); err != nil {
			return err
		}
	}
	l, err := createSyncLog(o.Disk, dir, &syncEntry{epoch: epoch, clean: true})
	if err != nil {
		return err
	}
	if err := l.file.Close(); err != nil { // opening the dataset opens it again
		return err
	}
	if err := createState(o.Disk, dir, epoch, nil, nil, emptyLogs()); err != nil {
		return err
	}
	return o.Disk.SyncDir(dir)
}

// DatasetRule is how a dataset may be called, in words.
var DatasetRule = fmt.Sprintf("1 to %d of A-Z 0-9 . _ -, beginning with a letter or digit", MaxDatasetName)

// CheckDataset says whether name can be a dataset's: 1 to MaxDatasetName capital letters, digits, '.', '_' and '-', beginning with a letter or digit,
// and not the name of a file of ours.
func CheckDataset(name string) error {
	bad := name == "" || len(name) > MaxDatasetName
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		bad = bad || !alnum && (i == 0 || c != '.' && c != '_' && c != '-')
	}
	if bad {
		return fmt.Errorf("%w: dataset %.*q: want %s", ErrName, 2*MaxDatasetName, name, DatasetRule)
	}
	if name == lockName { // of our files in a data directory the only one whose name follows the rule
		return fmt.Errorf("%w: dataset %q: a file of the gateway's own has this name; choose another", ErrName, name)
	}
	return nil
}
