package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Retention says how long records are kept. Only whole sealed segments go, the oldest of a tape first; the segment in use never does. The zero value keeps
// everything.
type Retention struct {
	Age  time.Duration // since a segment was sealed, which is after its last record was written: the records' own times do not count; 0: for ever
	Disk int           // percent of the filesystem in use beyond which the oldest go, of whichever tape; 0: whatever is in use
}

const (
	retainEvery = 10 * time.Second       // how often it is looked what may go
	retainSoon  = 100 * time.Millisecond // and at the most often, for an Age of seconds

	// retainLeast is what Retention.Disk never removes: a disk that others fill must not cost a desk its trading hour. When it is full all the same,
	// producers wait.
	retainLeast = time.Hour
)

// every is how often to look.
func (r Retention) every() time.Duration {
	if r.Age == 0 {
		return retainEvery
	}
	return min(retainEvery, max(retainSoon, r.Age/10))
}

// keeping is the goroutine that lets old segments go.
type keeping struct{ stop, done chan struct{} }

func (k *keeping) end() {
	close(k.stop)
	<-k.done
}

// keep lets old segments go until it is ended.
func (j *Journal) keep() {
	defer close(j.keeping.done)
	tick := time.NewTicker(j.o.Retain.every())
	defer tick.Stop()
	for {
		j.retainRound()
		select {
		case <-tick.C:
		case <-j.keeping.stop:
			return
		}
	}
}

// retainRound lets go what is older than it has to be, then what a full disk asks for.
func (j *Journal) retainRound() {
	j.retaining.Lock()
	defer j.retaining.Unlock()
	if age := j.o.Retain.Age; age > 0 {
		before := j.o.Now().Add(-age).UnixNano()
		for _, d := range j.Datasets() {
			for _, t := range d.sealedTapes() {
				d.expireBefore(t, before)
			}
		}
	}
	if j.o.Retain.Disk > 0 {
		if err := j.relieve(); err != nil {
			j.o.Logger.Warn("old records could not be removed for a disk that fills up", zap.Error(err))
		}
	}
}

// sealedTapes is the dataset's tapes that have a segment which may go.
func (d *Dataset) sealedTapes() []*Tape {
	var list []*Tape
	for i := range d.visible {
		if t := d.visible[i].Load(); t != nil && t.oldest() != nil {
			list = append(list, t)
		}
	}
	return list
}

// oldest is a tape's first segment when it may go, else nil: it is sealed, and the sync log vouches for a record behind it. Else a recovery would go back to
// its end, and miss it.
func (t *Tape) oldest() *Segment {
	t.d.mu.Lock()
	synced := t.unsynced
	t.d.mu.Unlock()
	if segs := *t.segs.Load(); len(segs) > 0 && segs[0].sealed.Load() && segs[0].limit < synced {
		return segs[0]
	}
	return nil
}

func (d *Dataset) expireBefore(t *Tape, ns int64) {
	for s := t.oldest(); s != nil && s.written.Load() < ns; s = t.oldest() {
		if err := d.expire(t, s); err != nil {
			d.log.Warn("a segment could not be removed though it is old enough; it is tried again", zap.String("tape", t.name()), zap.Uint64("segment", s.ordinal), zap.Error(err))
			return
		}
	}
}

// relieve removes the oldest segments of all tapes while the disk is fuller than it may be.
func (j *Journal) relieve() error {
	used, size, err := j.o.Disk.Usage(j.dir)
	if err != nil {
		return err
	}
	excess := used - size/100*int64(j.o.Retain.Disk)
	latest := j.o.Now().Add(-retainLeast).UnixNano()
	for excess > 0 {
		var t *Tape
		for _, d := range j.Datasets() {
			for _, x := range d.sealedTapes() {
				if s := x.oldest(); s != nil && s.written.Load() < latest && (t == nil || s.written.Load() < t.oldest().written.Load()) {
					t = x
				}
			}
		}
		if t == nil {
			return nil // what is left is too young
		}
		s := t.oldest()
		if err := t.d.expire(t, s); err != nil {
			return err
		}
		excess -= s.Offset(s.limit)
	}
	return nil
}

// expire removes the oldest segment of a tape. The ledger is told first, and on disk: a segment that is missing without a word is damage. A reader that holds
// the segment keeps it; one that comes later is told that the records are gone, and goes on behind them.
func (d *Dataset) expire(t *Tape, s *Segment) error {
	index, times := segmentPath(t.dir, s.ordinal, indexSuffix), s.times()
	if err := removeFile(d.disk, index); err != nil { // first: on a full disk the ledger's entry may need its room, and it can be made again
		return err
	}
	if err := d.enterExpired(t, s.limit, times); err != nil {
		return err
	}
	t.leaveBehind(s.limit, CauseExpired)
	s.mu.Lock()
	err := removeFile(d.disk, s.path())
	s.mu.Unlock()
	if err == nil {
		err = removeFile(d.disk, index) // a reader may have made it again
	}
	d.log.Info("expired", zap.String("tape", t.name()), zap.Uint64("segment", s.ordinal), zap.Uint64("first_kept", s.limit), zap.Error(err))
	return err
}

func removeFile(disk Disk, path string) error {
	if err := disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// leaveBehind lets the tape begin at record first. The hole comes first, so that a reader finds a reason as soon as it finds nothing.
func (t *Tape) leaveBehind(first uint64, cause string) {
	t.addHole(Hole{From: 0, To: first, Cause: cause})
	t.first.Store(first)
	d := t.d
	d.mu.Lock() // the preparer adds to the other end
	defer d.mu.Unlock()
	segs := slices.Clone(*t.segs.Load())
	for len(segs) > 0 && segs[0].limit <= first {
		segs = segs[1:]
	}
	t.segs.Store(&segs)
}

// enterExpired tells the ledger that a tape has lost all before record first to its age. There is one such entry for each tape, the newest, or the ledger
// would fill up with them.
func (d *Dataset) enterExpired(t *Tape, first uint64, times span) error {
	g := Gap{Schema: t.schema, FromTs: undefTime, ToTs: undefTime, Records: first, Cause: CauseExpired, Time: d.now(), At: []Position{{t.schema, first}}}
	if from, to := times.index(); from <= to {
		g.FromTs, g.ToTs = from, to
	}
	if before, ok := t.Expired(); ok && before.FromTs != undefTime {
		g.FromTs = min(g.FromTs, before.FromTs)
		if g.ToTs == undefTime || before.ToTs > g.ToTs {
			g.ToTs = before.ToTs
		}
	}
	d.syncer.mu.Lock() // one sync at a time: two would share an error that the kernel reports once
	defer d.syncer.mu.Unlock()
	d.mu.Lock()
	err := d.usable()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	l := d.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := d.appendSide(nil, l.log, g.append(nil)); err != nil {
		return err
	}
	l.enter(g)
	if err := l.log.sync(l.log.size.Load()); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.fail(fmt.Errorf("%w: %w", ErrSyncFailed, err))
	}
	return nil
}

// Expired is the ledger's entry of what was removed from the tape for its age: all records before First, in one entry, with the least and the greatest time
// by which DBN orders them.
func (t *Tape) Expired() (Gap, bool) {
	for _, g := range t.d.ledger.all() {
		if g.isExpired() && g.Schema == t.schema {
			return g, true
		}
	}
	return Gap{}, false
}

// times is the span of all records of a sealed segment: of the records themselves when there is no index, which an expiry that did not come to its end has
// removed; empty when they cannot be read.
func (s *Segment) times() span {
	if total := s.total.Load(); total != nil {
		return *total
	}
	total, _, err := readIndex(s.tape.d.disk, s.tape.dir, s.info(), false)
	if err == nil {
		return total
	}
	if s.acquire() != nil {
		return emptySpan
	}
	defer s.Release()
	blocks, err := makeBlocks(s, s.info(), s.base, s.limit)
	if err != nil {
		return emptySpan
	}
	return totalSpan(blocks)
}

// isExpired says whether the journal itself entered the gap for records that it removed.
func (g *Gap) isExpired() bool { return g.Cause == CauseExpired && g.Producer == "" }

// expiredIn is the first record that each tape still has, by what the ledger says was removed.
func expiredIn(payloads [][]byte) (map[int]uint64, error) {
	first := map[int]uint64{}
	for _, p := range payloads {
		g, err := parseGap(p)
		if err != nil {
			return nil, err
		}
		if g.isExpired() {
			first[int(g.Schema)] = max(first[int(g.Schema)], seqIn(g.At, g.Schema))
		}
	}
	return first, nil
}

// clearExpired removes the files of segments that the ledger says have expired: it may have been told just before the end of the process.
func (o *opening) clearExpired(t *Tape, files map[uint64]string, names []string, first uint64) error {
	lowest := ^uint64(0)
	for ordinal, suffix := range files {
		path := segmentPath(t.dir, ordinal, suffix)
		if suffix == sealedSuffix && first > 0 {
			f, err := o.d.disk.Open(path, true)
			if err != nil {
				return err
			}
			info, err := readSegmentInfo(f, path)
			f.Close()
			if err == nil && info.base+info.records <= first {
				if err := removeFile(o.d.disk, path); err != nil {
					return err
				}
				delete(files, ordinal)
				continue
			}
		}
		lowest = min(lowest, ordinal)
	}
	for _, name := range names {
		if suffix := filepath.Ext(name); suffix == indexSuffix && first > 0 {
			if ordinal, ok := ordinalOf(name); ok && ordinal < lowest {
				if err := removeFile(o.d.disk, filepath.Join(t.dir, name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
