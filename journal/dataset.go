package journal

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

const (
	anySchema = feed.SchemaNone
	undefTime = feed.UndefTimestamp
)

// Dataset is a directory of tapes with one append lock: commits to all its tapes have one order.
type Dataset struct {
	j    *Journal
	name string
	dir  string
	disk Disk
	o    Options
	log  *zap.Logger

	lock   io.Closer // of dir
	epoch  uint64
	epochs []Epoch

	symbols    *Symbols
	ledger     *ledger
	streamsLog *sideLog
	epochsLog  *sideLog
	syncLog    *syncLog
	outliers   outliers

	preparer *worker
	sealer   *worker
	room     *worker // in the symbol table
	roomer   roomer
	roomDue  atomic.Bool // records have expired
	tidier   *worker     // of the ledger
	syncer   *syncer
	watchers watchers
	visible  [feed.NumSchemas]atomic.Pointer[Tape] // tapes with records
	closed   atomic.Bool

	declaredSince atomic.Uint32 // the oldest day that a producer has entered mappings for since kept looked

	filesHeld atomic.Int64 // counted in Journal.files
	looked    atomic.Int64 // when Present looked at the logs last: ns since the journal was opened

	noWriters error         // streams.log is hurt: why nobody may append
	unknown   []streamCount // what its streams count, then

	streamFrames int        // entries of streams.log; under openMu
	openMu       sync.Mutex // orders OpenWriter calls; taken before mu
	marksMu      sync.Mutex // guards Tape.marks against two writers; taken before mu

	mu        sync.Mutex // the append lock: never held over disk work
	state     *statePage
	pend      pending
	tapes     [feed.NumSchemas]*Tape
	wanted    [feed.NumSchemas]bool // no segment yet, but a record waits
	granted   [feed.NumSchemas]bool // its files are counted
	streams   []*stream             // by number; changed under openMu too
	streamsOf map[string]int        // how many a producer has
	streamOf  map[streamKey]*stream
	owners    map[string]string // under openMu: producer -> the key that its name belongs to
	dirty     []*stream         // whose counts the sync log does not have yet
	unsynced  int64             // bytes committed since the last sync began
	syncing   int64             // bytes that the sync at work is about
	writers   map[string]*Writer
	failed    error         // why appending has stopped for good
	changed   chan struct{} // closed, and replaced, when Wait should look again
}

// Name is the dataset's name.
func (d *Dataset) Name() string { return d.name }

// Epoch changes whenever a recovery cut records: (epoch, seq) names a record for ever.
func (d *Dataset) Epoch() uint64 { return d.epoch }

// Epochs is every epoch the dataset had, oldest first. The slice is never changed.
func (d *Dataset) Epochs() []Epoch { return d.epochs }

// Tape is the tape of a schema; nil until its first record.
func (d *Dataset) Tape(s feed.Schema) *Tape {
	if !s.Valid() {
		return nil
	}
	return d.visible[s].Load()
}

// Symbols is the symbol table.
func (d *Dataset) Symbols() *Symbols { return d.symbols }

// Gaps is the ledger: every stretch that is known to be missing, in the order it became known. The slice is never changed.
func (d *Dataset) Gaps() []Gap { return d.ledger.all() }

// Err is nil, or the state that keeps records out now or as soon as a segment in use is full, or that keeps mappings, gaps and new streams out:
// ErrDiskFull (passes by itself), ErrSyncFailed, ErrFault, ErrClosed, or ErrCorrupt when streams.log is hurt (do not; the ErrFault of a log passes with the next entry that it takes).
func (d *Dataset) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if d.noWriters != nil {
		return d.noWriters
	}
	for _, t := range d.tapes {
		if t != nil && t.blocked != nil && t.next == nil {
			return t.blocked
		}
	}
	for _, l := range d.sideLogs() {
		if err := l.full(); err != nil {
			return err
		}
		if err := l.broken.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// Unsynced is how many bytes of records are committed and not on disk.
func (d *Dataset) Unsynced() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsynced + d.syncing
}

// behind says that the disk is too far behind for more records. The caller holds mu.
func (d *Dataset) behind() bool { return d.unsynced+d.syncing >= d.o.MaxUnsynced }

// Sync forces everything committed before the call to disk. Errors: ErrSyncFailed, ErrDiskFull (no room for the sync log; nothing is lost, try again), ErrClosed.
func (d *Dataset) Sync() error {
	if d.closed.Load() {
		return ErrClosed
	}
	return d.sync(false)
}

// Watch calls committed after each commit, on the goroutine that committed, and synced after each sync, on the one that synced; either may be nil.
// Neither may block. After cancel returns a call that had already begun may still end.
func (d *Dataset) Watch(committed, synced func()) (cancel func()) {
	return d.watchers.add(committed, synced)
}

// usable says why nobody can append any more. The caller holds mu.
func (d *Dataset) usable() error {
	if d.failed != nil {
		return d.failed
	}
	if d.closed.Load() {
		return ErrClosed
	}
	return nil
}

// fail stops appending for good; readers go on. The caller holds mu.
func (d *Dataset) fail(err error) error {
	if d.failed == nil {
		d.failed = err
		d.log.Error("dataset takes no more records until a restart", zap.Error(err))
		d.announce()
	}
	return d.failed
}

// announce wakes everybody in Wait. The caller holds mu.
func (d *Dataset) announce() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// now is the wall clock in ns, for stamps only.
func (d *Dataset) now() uint64 { return uint64(d.o.Now().UnixNano()) }

func (d *Dataset) path(name string) string { return filepath.Join(d.dir, name) }

func (d *Dataset) makeTape(s feed.Schema) *Tape {
	t := &Tape{d: d, schema: s, size: s.RecordSize(), dir: d.path(s.String()), judge: judge{limit: undefTime, serial: 1}}
	t.segs.Store(&[]*Segment{})
	return t
}

// positions is every tape's tail, for an entry that must tell where it belongs.
func (d *Dataset) positions() []Position {
	var at []Position
	for s := range feed.Schema(feed.NumSchemas) {
		if t := d.Tape(s); t != nil && t.Tail() > 0 {
			at = append(at, Position{s, t.Tail()})
		}
	}
	return at
}

// start runs the background work.
func (d *Dataset) start() {
	if d.o.manual {
		return
	}
	go d.preparer.run(d.o.RetryInterval, d.prepareRound)
	go d.sealer.run(d.o.RetryInterval, d.sealRound)
	go d.syncer.run()
	go d.room.run(d.o.RetryInterval, d.roomRound)
	go d.tidier.run(d.o.RetryInterval, d.tidyRound)
	d.preparer.kick()
	d.sealer.kick()
}

// stop ends the background work.
func (d *Dataset) stop() {
	if d.o.manual {
		return
	}
	d.preparer.close()
	d.room.close()
	d.tidier.close()
	d.syncer.close()
	d.sealer.close()
}

// close stops the work and syncs for the last time, so that the next opening, whenever and wherever, has nothing to cut.
func (d *Dataset) close() error {
	d.mu.Lock()
	if d.closed.Swap(true) {
		d.mu.Unlock()
		return nil
	}
	d.announce()
	d.mu.Unlock()
	d.stop()
	err := d.sync(true)
	if err != nil {
		err = fmt.Errorf("close dataset %s: %w", d.name, err)
	}
	d.release()
	return err
}

// release gives back files and mappings; segments that readers hold stay open until they let go.
func (d *Dataset) release() {
	defer d.returnFiles()
	for _, t := range d.tapes {
		if t == nil {
			continue
		}
		releaseUnsealed(*t.segs.Load())
		d.j.tapes.Add(-1)
	}
	for _, l := range []*sideLog{d.streamsLog, d.epochsLog, d.outliers.log} {
		if l != nil && l.file != nil {
			l.file.Close()
		}
	}
	if d.symbols != nil {
		d.symbols.log.file.Close()
	}
	if d.ledger != nil {
		d.ledger.log.file.Close()
	}
	if d.syncLog != nil {
		d.syncLog.file.Close()
	}
	if d.state != nil {
		d.state.close()
	}
	if d.lock != nil { // last: until now we stored there
		d.lock.Close()
	}
}
