package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// opening is a dataset on its way from files to a running one.
type opening struct {
	d         *Dataset
	created   bool // a moment ago: there is nothing to recover
	q         *quarantine
	symbols   [][]byte // payloads, parsed once the tails are known
	gaps      [][]byte
	newGaps   [][]byte // of them, those behind what the sync log knows of the ledger
	ledgerLog *sideLog
	symbolLog *sideLog
	entries   []*syncEntry // of the sync log
	page      pageSays
	logEnd    int64
	logErr    error
	result    recovered
	cut       map[*Segment]uint64 // sealed segments that are shorter than they were: the first record that their file does not give
	steps     map[feed.Schema]outlierSteps
	expired   map[int]uint64 // first record of a tape that was not removed for its age
}

// openDatasets opens some side by side: each waits for the disk most of the time. Those that cannot be opened are left out.
func (j *Journal) openDatasets(names []string) map[string]*Dataset {
	atOnce := opensAtOnce
	if j.o.manual {
		atOnce = 1 // a test repeats what happened, step by step
	}
	var mu sync.Mutex
	var opening sync.WaitGroup
	all, turn := map[string]*Dataset{}, make(chan struct{}, atOnce)
	for _, name := range names {
		turn <- struct{}{}
		opening.Go(func() {
			defer func() { <-turn }()
			d, err := j.openDataset(name, false)
			if err != nil {
				j.notServed(name, j.openError(name, err)) // the others are served all the same
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[name] = d
		})
	}
	opening.Wait()
	return all
}

// openDataset recovers a dataset, or takes one that was just created as it is, and starts its background work. README.md describes the steps.
func (j *Journal) openDataset(name string, created bool) (*Dataset, error) {
	log := j.o.Logger.With(zap.String("dataset", name))
	d := &Dataset{
		j: j, name: name, dir: filepath.Join(j.dir, name), disk: j.o.Disk, o: j.o, log: log,
		streamOf: map[streamKey]*stream{}, streamsOf: map[string]int{}, writers: map[string]*Writer{}, changed: make(chan struct{}),
		preparer: newWorker(), sealer: newWorker(), tidier: newWorker(), room: newWorker(),
	}
	d.syncer = newSyncer(d, j.o.Sync)
	d.holdFiles(filesPerDataset)
	o := &opening{d: d, created: created, q: &quarantine{d.disk, d.dir, log}, cut: map[*Segment]uint64{}}
	if err := o.run(); err != nil {
		d.closed.Store(true)
		d.release()
		return nil, err
	}
	d.start()
	return d, nil
}

func (o *opening) run() error {
	if err := o.lock(); err != nil {
		return err
	}
	if err := checkVersions(o.d.disk, o.d.dir); err != nil {
		return err
	}
	if err := o.d.disk.SyncDir(o.d.dir); err != nil {
		return err
	}
	steps := []func() error{
		o.readSyncLog, o.readPage, o.openLogs, o.recover, o.loadTables, o.mendInUse, o.openTapes, o.coverIDs, o.loadOutliers, o.checkpoint, o.lockState, o.enterBroken, o.clearExpired, o.makeRoom,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	for _, t := range o.d.tapes {
		if t != nil {
			o.d.buildMarks(t)
		}
	}
	return nil
}

// readSyncLog tells what is known to be on disk. That the log is not readable is for recover to judge.
func (o *opening) readSyncLog() error {
	o.entries, o.logEnd, o.logErr = readSyncLog(o.d.disk, o.d.dir)
	return onlyVersion(o.logErr)
}

// firstEpoch is the one that a dataset begins with whose log does not say so: those of earlier releases do not.
const firstEpoch = 1

func (o *opening) loadTables() (err error) {
	places := o.result.places
	symbols, err := loadSymbols(o.symbolLog, o.symbols, places)
	if err != nil {
		return err // the empty table holds the log, and has it closed
	}
	o.d.symbols = symbols
	if o.d.ledger, err = loadLedger(o.ledgerLog, o.gaps, places); err != nil {
		return err
	}
	tails := append([]Position{}, tailsOf(places)...) // none is not the same as not known
	for i, s := range o.d.streams {
		// Less than base: counts of the stream that had the number before, or of records of this one that are lost.
		o.result.counts[i] = max(o.result.counts[i], s.base)
		s.count.Store(o.result.counts[i])
		s.earlier, s.ended = s.records() > 0, tails
	}
	return o.enterCut()
}

// checkpoint makes everything durable and begins a sync log with it, so that whatever happens next is recovered from here.
func (o *opening) checkpoint() error {
	d := o.d
	e := &syncEntry{epoch: d.epoch, places: o.result.places}
	if err := o.storeAgain(); err != nil {
		return err
	}
	for _, t := range d.tapes {
		if t == nil {
			continue
		}
		for _, s := range *t.segs.Load() {
			if s.sealed.Load() {
				continue
			}
			if err := s.file.Sync(); err != nil {
				return fmt.Errorf("sync %s: %w", t.name(), err)
			}
		}
	}
	e.ranges = d.unsealedSums(e)
	for i, l := range d.sideLogs() {
		if err := o.upgrade(l); err != nil {
			return err
		}
		e.logs[i] = l.size.Load()
		if l.file == nil {
			continue
		}
		if err := l.file.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", l.path, err)
		}
		l.synced.Store(e.logs[i])
	}
	for _, s := range d.streams {
		s.synced.Store(s.count.Load())
		e.counts = append(e.counts, streamCount{s.number, s.count.Load()})
	}
	e.counts = append(e.counts, o.keepCounts()...)
	l, err := createSyncLog(d.disk, d.dir, e)
	if err != nil && isFull(err) && o.result.trusted && len(o.entries) > 0 {
		// Readers are to be served on a full disk too. The entry takes the old log's last one for what it is: not the last.
		e.checkpoint = false
		d.log.Warn("no room for a fresh sync log, going on with the old one", zap.Error(err))
		l, err = reopenSyncLog(d.disk, d.dir, o.logEnd, o.entries[0].places, e)
	}
	if err != nil {
		return err
	}
	d.syncLog = l
	return o.finishState(e)
}

// upgrade brings a side log of an earlier version to the present one. Without room for that it stays as it is, and readers are served: the first entry that is to
// be appended tries again.
func (o *opening) upgrade(l *sideLog) error {
	if !l.old.Load() {
		return nil
	}
	err := l.upgrade()
	if errors.Is(err, ErrDiskFull) {
		o.d.log.Warn("no room to bring a side log to the present version; it is tried again before its next entry", zap.Error(err))
		return nil
	}
	return err
}

// finishState maps the state page; a fresh one when the old one was not to be trusted, or another epoch begins. From now on it sums up what is committed
// after this opening: all else is on disk.
func (o *opening) finishState(e *syncEntry) (err error) {
	d := o.d
	if !o.result.same || o.result.renew || o.result.moved {
		if err := o.makeWayForWitness(); err != nil {
			return err
		}
		err := createState(d.disk, d.dir, d.epoch, o.result.places, o.result.counts, d.logEnds())
		if o.result.same && !o.result.old && !o.result.moved && isFull(err) {
			d.log.Warn("no room for a state page with a witness; the next opening makes it", zap.Error(err))
		} else if err != nil {
			return err
		}
	}
	if d.state, err = mapState(d.disk, d.dir); err != nil {
		return err
	}
	if _, err := d.state.settle(); err != nil {
		return err
	}
	e.sums = map[int]fresh{}
	for schema := range e.places {
		e.sums[schema] = d.state.fresh(schema)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rebase(e)
}

// enterBroken enters what the files do not give, as far as the ledger has not got it.
func (o *opening) enterBroken() error {
	for _, t := range o.d.tapes {
		if t == nil {
			continue
		}
		for _, h := range t.Holes() {
			if h.Cause == CauseExpired {
				continue // the ledger said so
			}
			if err := o.d.enterHole(t, h); err != nil {
				o.untold(err)
			}
		}
	}
	return nil
}

// untold says that the ledger has not what readers are told by a hole all the same. The next opening tries again.
func (o *opening) untold(err error) {
	o.d.log.Warn("the ledger could not be told of records that are not served", zap.Error(err))
}

// known says whether a recovery that was interrupted entered the gap: it is behind what the sync log knows of the ledger, as every opening that gets to its end
// begins another. One at the same place before that is of an earlier cut.
func (o *opening) known(g Gap) bool {
	for _, payload := range o.newGaps {
		if x, err := parseGap(payload); err == nil && x.Schema == g.Schema && x.Cause == g.Cause && seqIn(x.At, g.Schema) == seqIn(g.At, g.Schema) {
			return true
		}
	}
	return false
}
