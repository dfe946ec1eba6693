package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// worker is a background goroutine that runs when it is kicked; kicks while it is busy become one more round.
type worker struct {
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
	once sync.Once // of close
}

func newWorker() *worker {
	return &worker{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// kick never blocks and allocates nothing: Append calls it.
func (w *worker) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run calls round after each kick, and again after retry when round asks for that.
func (w *worker) run(retry time.Duration, round func() (again bool)) {
	defer close(w.done)
	for {
		var later <-chan time.Time
		if round() {
			later = time.After(retry)
		}
		select {
		case <-w.wake:
		case <-later:
		case <-w.stop:
			return
		}
	}
}

func (w *worker) close() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
}

// prepareRound sees to it that each tape has a next segment, and pages to store to: all disk work that an append would otherwise have to wait for.
func (d *Dataset) prepareRound() (again bool) {
	again = d.retrySideLogs()
	for s := range feed.Schema(feed.NumSchemas) {
		d.mu.Lock()
		t, wanted := d.tapes[s], d.wanted[s]
		d.wanted[s] = false
		d.mu.Unlock()
		if t == nil && wanted {
			t = d.newTape(s)
		}
		if t == nil {
			continue
		}
		err := d.prepareTape(t)
		d.mu.Lock()
		if errors.Is(err, fs.ErrNotExist) {
			d.mu.Unlock()
			d.removed(err)
			return false
		}
		if (err == nil) != (t.blocked == nil) {
			d.log.Warn("space for a tape", zap.String("tape", t.name()), zap.Bool("available", err == nil), zap.Error(err))
		}
		t.blocked = err
		d.announce()
		d.mu.Unlock()
		again = again || err != nil
	}
	return again
}

// removed ends writing when the directory is gone: what is accepted from then on nobody would find again.
func (d *Dataset) removed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.fail(fmt.Errorf("%w: somebody removed %s while it was in use; restore it from a copy and start again: %v", ErrFault, d.dir, err))
}

// newTape makes a tape known to appends; readers see it with its first record.
func (d *Dataset) newTape(s feed.Schema) *Tape {
	t := d.makeTape(s)
	d.marksMu.Lock()
	defer d.marksMu.Unlock()
	d.buildMarks(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tapes[s] = t
	d.j.tapes.Add(1)
	return t
}

func (d *Dataset) prepareTape(t *Tape) error {
	if t.frozen != nil {
		if err := d.thaw(t); err != nil {
			return err
		}
	}
	d.mu.Lock()
	active, next, tail := t.active, t.next, t.Tail()
	d.mu.Unlock()
	if active != nil {
		if err := d.populate(active, tail); err != nil {
			return err
		}
	}
	if next != nil {
		return nil
	}
	next, err := d.prepareNext(t, active)
	if err != nil {
		return err
	}
	t.addSegment(next)
	d.mu.Lock()
	t.next = next
	d.mu.Unlock()
	return nil
}

// prepareNext makes the segment that follows active. It begins at active's limit: a segment is left only when it is full.
func (d *Dataset) prepareNext(t *Tape, active *Segment) (*Segment, error) {
	ordinal, base, bytes := uint64(1), uint64(0), d.o.MinSegment
	if active == nil {
		if err := d.disk.Mkdir(t.dir); err != nil {
			return nil, d.prepareError(t, err)
		}
		if err := d.disk.SyncDir(d.dir); err != nil {
			return nil, d.prepareError(t, err)
		}
	} else {
		ordinal, base = active.ordinal+1, active.limit
		bytes = max(active.Offset(active.limit), d.o.MinSegment)
		now := d.o.Now()
		took := now.Sub(t.began)
		switch {
		case t.began.IsZero():
		case took < fastFill:
			bytes *= 2
		case took > slowFill:
			bytes = max(bytes/2, d.o.MinSegment)
		}
		t.began = now
	}
	header := d.headerBytes(t)
	bytes = d.segmentBytes(bytes, header)
	extra := t.unsealed() >= filesPerTape-1
	if extra && !d.j.files.take(1) {
		return nil, d.prepareError(t, d.j.noFiles("one more segment of "+t.name()))
	}
	s, err := d.createFitting(t, ordinal, base, bytes, header)
	if err != nil {
		if extra {
			d.j.files.used.Add(-1)
		}
		return nil, d.prepareError(t, err)
	}
	s.extra = extra
	return s, nil
}

// segmentBytes is the size of a segment's file: what is wanted, and so much that its header is a small share.
func (d *Dataset) segmentBytes(wanted, header int64) int64 {
	return min(roundUp(max(wanted, headerShare*header), headerUnit), d.o.MaxSegment)
}

// createFitting makes a segment of so many bytes or, on a disk that has less, of a half, a quarter and so on: what there is is used before records have to
// wait. header is what its header wants, of which it gets a share at most. It leaves diskReserve, without which nothing could be synced, sealed or expired any more.
func (d *Dataset) createFitting(t *Tape, ordinal, base uint64, bytes, header int64) (*Segment, error) {
	wanted := bytes
	share := func() int64 { return max(min(header, bytes/headerShare/headerUnit*headerUnit), headerUnit) }
	s, err := d.createSegment(t, ordinal, base, bytes, share())
	for isFull(err) && bytes > smallestSegment {
		bytes = max(roundUp(bytes/2, headerUnit), smallestSegment)
		if used, size, e := d.disk.Usage(d.dir); e == nil && size-used < bytes+diskReserve {
			continue
		}
		s, err = d.createSegment(t, ordinal, base, bytes, share())
	}
	if err == nil && bytes < wanted && !t.squeezed {
		d.log.Warn("the disk is nearly full: the next segments are as large as there is room", zap.String("tape", t.name()), zap.Int64("bytes", bytes), zap.Int64("wanted", wanted))
	}
	t.squeezed = err == nil && bytes < wanted
	return s, err
}

// createSegment allocates a segment file in full and makes it durable before anything is stored in it.
func (d *Dataset) createSegment(t *Tape, ordinal, base uint64, bytes, header int64) (*Segment, error) {
	info := segmentInfo{
		schema: t.schema, recordSize: t.size, ordinal: ordinal, base: base, epoch: d.epoch,
		records: uint64(bytes-header) / uint64(t.size), created: d.now(), header: header,
	}
	region, err := info.headerRegion(d.metadata(t.schema))
	if err != nil {
		return nil, err
	}
	path := segmentPath(t.dir, ordinal, activeSuffix)
	err = writeWhole(d.disk, path, func(f File) error {
		if err := f.Allocate(bytes); err != nil {
			return err
		}
		_, err := f.WriteAt(region, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.openActive(t, path, info, base)
}

// openActive maps a segment that is not sealed and populates it from the tail on. The tape holds one reference to it until it is sealed.
func (d *Dataset) openActive(t *Tape, path string, info segmentInfo, tail uint64) (*Segment, error) {
	s, err := d.mapActive(t, path, info, tail)
	if err != nil {
		return nil, err
	}
	if err := d.populate(s, tail); err != nil {
		s.Release()
		return nil, err
	}
	return s, nil
}

func (d *Dataset) mapActive(t *Tape, path string, info segmentInfo, tail uint64) (*Segment, error) {
	f, err := d.disk.Open(path, false)
	if err != nil {
		return nil, err
	}
	s := &Segment{tape: t, ordinal: info.ordinal, base: info.base, header: info.header, limit: info.base + info.records, file: f}
	s.written.Store(d.j.stamped(info))
	s.mem, err = f.Map(s.Offset(s.limit))
	if err != nil {
		f.Close()
		return nil, err
	}
	s.data = s.mem.Bytes()
	s.refs.Store(1)
	s.populated.Store(s.Offset(tail) / pageSize * pageSize)
	return s, nil
}

// populate faults in what the next appends will store to, in steps, so that an impatient append sees progress.
func (d *Dataset) populate(s *Segment, tail uint64) error {
	ahead := min(max(prefaultBudget/max(d.j.tapes.Load(), 1), prefaultStep), prefaultAhead)
	end := s.Offset(s.limit)
	goal := min(s.Offset(tail)+ahead, end)
	at := s.populated.Load()
	for at < goal {
		to := min(at+prefaultStep, end)
		if err := s.mem.Populate(at, to); err != nil {
			return d.prepareError(s.tape, err)
		}
		at = to
		s.populated.Store(at)
	}
	if at == end {
		s.kickAt.Store(math.MaxInt64)
	} else {
		s.kickAt.Store(at - ahead/2)
	}
	return nil
}

// prepareError is what appends get until a retry succeeds. Whatever it is, the answer is the same: wait.
func (d *Dataset) prepareError(t *Tape, err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: no room for the next segment of %s; free space or move the journal, writing goes on by itself", ErrDiskFull, t.name())
	}
	return fmt.Errorf("%w: %s: %w", ErrNotReady, t.name(), err)
}
