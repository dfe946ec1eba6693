package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// syncer decides when to sync. Append tells it of work by two channels of one slot each, which never block and allocate nothing.
type syncer struct {
	d      *Dataset
	policy SyncPolicy
	some   chan struct{} // there is something to sync
	enough chan struct{} // do not wait for the time
	stop   chan struct{}
	done   chan struct{}

	told bool       // of some, since the last sync began; under Dataset.mu
	mu   sync.Mutex // one sync at a time

	buf []byte
}

func newSyncer(d *Dataset, policy SyncPolicy) *syncer {
	return &syncer{
		d: d, policy: policy, some: make(chan struct{}, 1), enough: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// dirty is called with Dataset.mu held after each commit.
func (s *syncer) dirty(unsynced int64) {
	if !s.told {
		s.told = true
		select {
		case s.some <- struct{}{}:
		default:
		}
	}
	if s.policy.Bytes > 0 && unsynced >= s.policy.Bytes || unsynced >= s.d.o.MaxUnsynced/2 {
		select {
		case s.enough <- struct{}{}:
		default:
		}
	}
}

func (s *syncer) run() {
	defer close(s.done)
	for {
		select {
		case <-s.some:
		case <-s.stop:
			return
		}
		delay := s.policy.Interval
		if s.policy.Bytes > 0 {
			delay = MaxSyncDelay
		}
		if delay > 0 {
			timer := time.NewTimer(delay)
			select {
			case <-timer.C:
			case <-s.enough:
			case <-s.stop:
				timer.Stop()
				return
			}
			timer.Stop()
		}
		if err := s.d.sync(false); errors.Is(err, ErrDiskFull) {
			s.again()
		}
	}
}

// again comes back to a sync that found no room for its log.
func (s *syncer) again() {
	select {
	case <-time.After(s.d.o.RetryInterval):
	case <-s.stop:
		return
	}
	select {
	case s.some <- struct{}{}:
	default:
	}
}

func (s *syncer) close() {
	close(s.stop)
	<-s.done
}

// sync forces what is committed to disk, then writes the entry that vouches for it, then tells. clean marks the last entry of a journal that is being closed.
func (d *Dataset) sync(clean bool) error {
	s := d.syncer
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.closed.Load() && !clean {
		return ErrClosed // nothing may follow the last entry
	}
	e, streams, err := d.snapshot()
	if err != nil {
		return err
	}
	e.clean = clean
	defer func() {
		for _, r := range e.ranges {
			r.segment.Release()
		}
	}()
	if len(e.ranges) == 0 && len(e.counts) == 0 && !clean && !d.syncLog.due && d.logsSynced(e) {
		return nil
	}
	if err := d.flush(e); err != nil {
		return d.syncFailed(e, streams, err)
	}
	if err := d.record(e); err != nil {
		return d.syncFailed(e, streams, err)
	}
	if err := d.allPresent(); err != nil { // a sync may take long
		return d.syncFailed(e, streams, err)
	}
	e.keepSums()
	d.mu.Lock()
	for schema, p := range e.places {
		d.tapes[schema].unsynced = p.tail
	}
	if err := d.rebase(e); err != nil {
		d.mu.Unlock()
		return err
	}
	if d.syncing = 0; len(d.writers) > 0 {
		d.announce()
	}
	d.mu.Unlock()
	for i, st := range streams {
		st.synced.Store(e.counts[i].count)
	}
	d.sealer.kick()
	d.watchers.synced()
	return nil
}

// snapshot takes one consistent view of tails and counts, and pins the segments with unsynced records.
func (d *Dataset) snapshot() (*syncEntry, []*stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return nil, nil, d.failed
	}
	e := &syncEntry{epoch: d.epoch, places: map[int]place{}, sums: map[int]fresh{}}
	now := d.now()
	for i, t := range d.tapes {
		if t != nil {
			d.raiseCeiling(t, now)
		}
		if t == nil || t.active == nil {
			continue
		}
		tail := t.Tail()
		e.places[i] = place{t.active.ordinal, t.active.base, tail}
		e.sums[i] = d.state.fresh(i)
		segs := *t.segs.Load()
		first := len(segs) // from the end: a tape has thousands of segments, of which one or two are unsynced
		for first > 0 && segs[first-1].limit > t.unsynced {
			first--
		}
		for _, seg := range segs[first:] {
			from, to := max(t.unsynced, seg.base), min(tail, seg.limit)
			if from >= to {
				break
			}
			if err := seg.acquire(); err != nil {
				return nil, nil, err
			}
			e.ranges = append(e.ranges, syncRange{schema: t.schema, ordinal: seg.ordinal, from: from, to: to, segment: seg})
		}
	}
	streams := append([]*stream(nil), d.dirty...)
	for _, st := range streams {
		st.dirty = false
		e.counts = append(e.counts, streamCount{st.number, st.count.Load()})
	}
	d.syncing += d.unsynced
	d.dirty, d.unsynced, d.syncer.told = d.dirty[:0], 0, false
	// After the tails: what a record needs is in the side logs before it is committed.
	for i, l := range d.sideLogs() {
		e.logs[i] = l.size.Load()
	}
	return e, streams, nil
}

func (d *Dataset) sideLogs() [numSideLogs]*sideLog {
	return [numSideLogs]*sideLog{d.symbols.log, d.streamsLog, d.ledger.log, d.epochsLog, d.outliers.log}
}

// logEnds is how long the side logs are, for a commit slot.
func (d *Dataset) logEnds() (ends [slotLogCount]int64) {
	for i, l := range d.sideLogs() {
		ends[i] = l.size.Load()
	}
	return ends
}

// rebase lets the state page sum up only what e does not vouch for, in one commit. The sum of what follows e is that of all without that of what e has.
// The caller holds mu; e is on disk.
func (d *Dataset) rebase(e *syncEntry) error {
	if err := d.state.ours(); err != nil {
		return d.fail(err)
	}
	s := slot{count: d.state.count(0), logs: d.logEnds()}
	for schema, p := range e.places {
		now, then, end := d.state.fresh(schema), e.sums[schema], d.state.place(schema)
		if now.from >= p.tail {
			continue
		}
		size := feed.Schema(schema).RecordSize()
		crc := now.crc ^ joinCRC(then.crc, 0, xpow8(int(end.tail-p.tail)*size))
		s.tapes[s.n].schema, s.tapes[s.n].place, s.tapes[s.n].fresh = schema, end, fresh{p.tail, crc}
		s.n++
	}
	if s.n > 0 {
		d.state.commit(&s)
	}
	return nil
}

func (d *Dataset) logsSynced(e *syncEntry) bool {
	for i, l := range d.sideLogs() {
		if l.synced.Load() < e.logs[i] {
			return false
		}
	}
	return true
}

// flush forces segments and side logs to disk and sums up the ranges: after the sync, so that the sum is of what was asked to be on disk.
func (d *Dataset) flush(e *syncEntry) error {
	if err := d.allPresent(); err != nil {
		return err
	}
	for i := range e.ranges {
		r := &e.ranges[i]
		r.segment.unpin(r.from, r.to)
		if err := r.segment.file.Sync(); err != nil {
			return fmt.Errorf("%s segment %d: %w", r.schema, r.ordinal, err)
		}
		err := guarded(func() error {
			r.crc = r.segment.sum(r.from, r.to)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i, l := range d.sideLogs() {
		if err := l.sync(e.logs[i]); err != nil {
			return err
		}
	}
	return nil
}

// record appends the entry, or begins a fresh log with it when the present one is full or vouches for more than a recovery should read.
func (d *Dataset) record(e *syncEntry) error {
	var span int64
	for _, r := range e.ranges {
		span += int64(r.to-r.from) * int64(r.schema.RecordSize())
	}
	b := e.append(d.syncer.buf[:0])
	d.syncer.buf = b
	if d.syncLog.fits(b, span) {
		return d.syncLog.append(b, span)
	}
	fresh := *e
	fresh.ranges = d.unsealedSums(e)
	fresh.counts = d.allCounts(e)
	l, err := createSyncLog(d.disk, d.dir, &fresh)
	if err != nil {
		if isFull(err) {
			err = fmt.Errorf("%w: %w", errNoRoomYet, err)
		}
		return err
	}
	d.syncLog.file.Close()
	d.syncLog = l
	return nil
}

// allCounts is every stream's count as of e: those that e names, and the synced ones of all others.
func (d *Dataset) allCounts(e *syncEntry) []streamCount {
	d.mu.Lock()
	streams := slices.Clone(d.streams)
	d.mu.Unlock()
	counts := make([]streamCount, len(streams), len(streams)+len(d.unknown))
	for i, st := range streams {
		counts[i] = streamCount{st.number, st.synced.Load()}
	}
	for _, c := range e.counts {
		counts[c.stream].count = c.count
	}
	return append(counts, d.unknown...)
}

// errNoRoomYet: everything is on disk but the entry that says so.
var errNoRoomYet = errors.New("no room for a fresh sync log")

// syncFailed: no room for a fresh log leaves everything as it was, to be tried again. Anything else is final: after a failed sync the kernel may
// have dropped the dirty pages and marked them clean, so a second sync would succeed and prove nothing.
func (d *Dataset) syncFailed(e *syncEntry, streams []*stream, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errors.Is(err, errNoRoomYet) {
		for _, st := range streams {
			if !st.dirty {
				st.dirty = true
				d.dirty = append(d.dirty, st)
			}
		}
		d.unsynced, d.syncing = d.unsynced+d.syncing, 0
		d.log.Warn("no room for the sync log; records stay unsynced until there is", zap.Error(err))
		return diskError(err)
	}
	return d.fail(fmt.Errorf("%w: %w", ErrSyncFailed, err))
}
