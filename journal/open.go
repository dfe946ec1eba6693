package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// opening is a dataset on its way from files to a running one.
type opening struct {
	d         *Dataset
	q         *quarantine
	symbols   [][]byte // payloads, parsed once the tails are known
	gaps      [][]byte
	ledgerLog *sideLog
	symbolLog *sideLog
	entries   []*syncEntry
	logEnd    int64
	result    recovered
	broken    []Gap // sealed segments that are gone or unreadable
}

// openDataset recovers a dataset and starts its background work. README.md describes the steps.
func (j *Journal) openDataset(name string) (*Dataset, error) {
	log := j.o.Logger.With(zap.String("dataset", name))
	d := &Dataset{
		j: j, name: name, dir: filepath.Join(j.dir, name), disk: j.o.Disk, o: j.o, log: log,
		streamOf: map[streamKey]*stream{}, writers: map[string]*Writer{}, changed: make(chan struct{}),
		preparer: newWorker(), sealer: newWorker(),
	}
	d.syncer = newSyncer(d, j.o.Sync)
	o := &opening{d: d, q: &quarantine{d.disk, d.dir, log}}
	if err := o.run(); err != nil {
		d.closed.Store(true)
		d.release()
		return nil, err
	}
	d.start()
	return d, nil
}

func (o *opening) run() error {
	steps := []func() error{o.openLogs, o.recover, o.loadTables, o.openTapes, o.checkpoint, o.enterBroken}
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

func (o *opening) openLogs() (err error) {
	d := o.d
	var streams, epochs [][]byte
	if d.streamsLog, streams, err = openSideLog(d.disk, d.path(streamsName), streamsMagic, o.q); err != nil {
		return err
	}
	if d.epochsLog, epochs, err = openSideLog(d.disk, d.path(epochsName), epochsMagic, o.q); err != nil {
		return err
	}
	if o.symbolLog, o.symbols, err = openSideLog(d.disk, d.path(symbolsName), symbolsMagic, o.q); err != nil {
		return err
	}
	d.symbols = &Symbols{log: o.symbolLog} // so that a failed opening closes it
	if o.ledgerLog, o.gaps, err = openSideLog(d.disk, d.path(ledgerName), ledgerMagic, o.q); err != nil {
		return err
	}
	d.ledger = &ledger{log: o.ledgerLog}
	list, err := parseStreams(streams)
	if err != nil {
		return err
	}
	for _, s := range list {
		d.enterStream(s)
	}
	d.epochs, err = parseEpochs(epochs)
	return err
}

// firstEpoch is the one that every dataset begins with; the log names those that came after it.
const firstEpoch = 1

func (o *opening) loadTables() (err error) {
	places := o.result.places
	if o.d.symbols, err = loadSymbols(o.symbolLog, o.symbols, places); err != nil {
		return err
	}
	if o.d.ledger, err = loadLedger(o.ledgerLog, o.gaps, places); err != nil {
		return err
	}
	for i, s := range o.d.streams {
		s.count.Store(o.result.counts[i])
	}
	return o.enterCut()
}

// openTapes opens every tape that has records.
func (o *opening) openTapes() error {
	for schema := range feed.Schema(feed.NumSchemas) {
		if p, ok := o.result.places[int(schema)]; ok {
			if err := o.openTape(schema, p); err != nil {
				return err
			}
			continue
		}
		// No record was ever committed here, or recovery kept none: clear away what was prepared.
		t := o.d.makeTape(schema)
		names, err := o.d.disk.List(t.dir)
		if err == nil {
			_, err = o.sortFiles(t, names, 0)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (o *opening) openTape(schema feed.Schema, p place) (err error) {
	d := o.d
	t := d.makeTape(schema)
	names, err := d.disk.List(t.dir)
	if err != nil {
		return err
	}
	files, err := o.sortFiles(t, names, p.ordinal)
	if err != nil {
		return err
	}
	var segs []*Segment
	defer func() {
		if err != nil {
			releaseUnsealed(segs)
		}
	}()
	next := uint64(0) // base of the segment after the one at hand
	for _, ordinal := range slices.Backward(slices.Sorted(maps.Keys(files))) {
		s, err := o.openSegment(t, ordinal, files[ordinal], p)
		if err == nil && ordinal < p.ordinal && s.limit != next {
			err = fmt.Errorf("%w: %s ends with record %d, the next segment begins with %d", ErrCorrupt, segmentPath(t.dir, ordinal, files[ordinal]), s.limit, next)
		}
		if err != nil && (ordinal == p.ordinal || !errors.Is(err, ErrCorrupt)) {
			return err
		}
		if err != nil {
			o.breakChain(t, next, err)
			break
		}
		segs, next = append(segs, s), s.base
	}
	if len(segs) == 0 {
		return fmt.Errorf("%w: segment %d of %s, in use when the journal was last open, is missing", ErrCorrupt, p.ordinal, t.name())
	}
	slices.Reverse(segs)
	t.segs.Store(&segs)
	t.active, t.unsynced = segs[len(segs)-1], p.tail
	t.first.Store(segs[0].base)
	t.tail.Store(p.tail)
	d.tapes[schema] = t
	d.j.tapes.Add(1)
	d.visible[schema].Store(t)
	return nil
}

// breakChain gives up what lies before a damaged segment: it stays on disk, is not served, and is told of.
func (o *opening) breakChain(t *Tape, first uint64, err error) {
	o.d.log.Error("segment is damaged; records before the next one are not served, files stay", zap.String("tape", t.name()), zap.Uint64("first", first), zap.Error(err))
	o.broken = append(o.broken, Gap{
		Schema: t.schema, FromTs: undefTime, ToTs: undefTime, Records: first, Cause: CauseQuarantined, At: []Position{{t.schema, first}},
	})
}

// sortFiles tells the segment files of a tape by ordinal and suffix, and clears away what is no part of it: unfinished files, and
// segments beyond the one in use, which were prepared and never committed to.
func (o *opening) sortFiles(t *Tape, names []string, active uint64) (map[uint64]string, error) {
	files := map[uint64]string{}
	for _, name := range names {
		path := filepath.Join(t.dir, name)
		suffix := filepath.Ext(name)
		ordinal, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 10, 32)
		switch {
		case suffix == tmpSuffix:
			if err := o.d.disk.Remove(path); err != nil {
				return nil, err
			}
		case err != nil || suffix != activeSuffix && suffix != sealedSuffix:
		case ordinal <= active:
			files[ordinal] = suffix
		case suffix == sealedSuffix:
			// Recovery has gone back behind a sealed segment.
			if err := o.q.move(path, fmt.Sprintf("%s.%s", t.schema, name)); err != nil {
				return nil, err
			}
		default:
			if err := o.d.disk.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func (o *opening) openSegment(t *Tape, ordinal uint64, suffix string, p place) (*Segment, error) {
	path := segmentPath(t.dir, ordinal, suffix)
	if suffix == sealedSuffix && ordinal == p.ordinal {
		if err := o.unseal(t, ordinal); err != nil {
			return nil, err
		}
		path, suffix = segmentPath(t.dir, ordinal, activeSuffix), activeSuffix
	}
	f, err := o.d.disk.Open(path, true)
	if err != nil {
		return nil, err
	}
	info, err := readSegmentInfo(f, path)
	f.Close()
	if err == nil && (info.schema != t.schema || info.recordSize != t.size || info.ordinal != ordinal) {
		err = fmt.Errorf("%w: %s says it is segment %d of %s", ErrCorrupt, path, info.ordinal, info.schema)
	}
	if err == nil && ordinal == p.ordinal && (info.base != p.base || p.tail < p.base || p.tail > p.base+info.records) {
		err = fmt.Errorf("%w: %s holds records %d to %d, the tail is %d", ErrCorrupt, path, info.base, info.base+info.records, p.tail)
	}
	if err != nil {
		return nil, err
	}
	if suffix == activeSuffix {
		tail := info.base + info.records
		if ordinal == p.ordinal {
			tail = p.tail
		}
		return o.d.openActive(t, info, tail)
	}
	s := &Segment{tape: t, ordinal: ordinal, base: info.base, header: info.header, limit: info.base + info.records}
	s.sealed.Store(true)
	return s, nil
}

// unseal takes a segment back into use, after recovery went back into it. Its capacity is what it holds.
func (o *opening) unseal(t *Tape, ordinal uint64) error {
	path := segmentPath(t.dir, ordinal, sealedSuffix)
	f, err := o.d.disk.Open(path, false)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := readSegmentInfo(f, path)
	if err != nil {
		return err
	}
	info.sealed = false
	if _, err := f.WriteAt(info.append(nil), info.header-segmentHeader); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := o.d.disk.Rename(path, segmentPath(t.dir, ordinal, activeSuffix)); err != nil {
		return err
	}
	return o.d.disk.SyncDir(t.dir)
}

// checkpoint makes everything durable and begins a sync log with it, so that whatever happens next is recovered from here.
func (o *opening) checkpoint() error {
	d := o.d
	e := &syncEntry{epoch: d.epoch, places: o.result.places}
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
	for i, l := range d.sideLogs() {
		e.logs[i] = l.size.Load()
		if err := l.file.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", l.path, err)
		}
		l.synced.Store(e.logs[i])
	}
	for _, s := range d.streams {
		s.synced.Store(s.count.Load())
		e.counts = append(e.counts, streamCount{s.number, s.count.Load()})
	}
	l, err := createSyncLog(d.disk, d.dir, e)
	if err != nil && isFull(err) && o.result.trusted && len(o.entries) > 0 {
		// Readers are to be served on a full disk too. The entry takes the old log's last one for what it is: not the last.
		e.checkpoint = false
		d.log.Warn("no room for a fresh sync log, going on with the old one", zap.Error(err))
		l, err = reopenSyncLog(d.disk, d.dir, o.logEnd, e)
	}
	if err != nil {
		return err
	}
	d.syncLog = l
	return o.finishState()
}

// finishState maps the state page; a fresh one when the old one was not to be trusted.
func (o *opening) finishState() (err error) {
	d := o.d
	if !o.result.trusted {
		if d.state != nil {
			d.state.close()
			d.state = nil
		}
		if err := createState(d.disk, d.dir, d.epoch, o.result.places, o.result.counts); err != nil {
			return err
		}
		if d.state, err = mapState(d.disk, d.dir); err != nil {
			return err
		}
		o.wipe()
	}
	return nil
}

func (o *opening) enterBroken() error {
	for _, g := range o.broken {
		if !o.known(g) {
			if err := o.d.enterGap(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// known says whether the same gap at the same place is in the ledger: recovery may have been interrupted after it entered it.
func (o *opening) known(g Gap) bool {
	return slices.ContainsFunc(o.d.ledger.all(), func(x Gap) bool {
		return x.Cause == g.Cause && x.Schema == g.Schema && seqIn(x.At, g.Schema) == seqIn(g.At, g.Schema)
	})
}
