package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.uber.org/zap"
)

// expire removes the first segments of a tape. The ledger is told first, and on disk: a segment that is missing without a word is damage. Who comes to the
// records later is told that they are gone, and goes on behind them.
func (d *Dataset) expire(t *Tape, segs []*Segment) error {
	if err := d.removeExpired(t); err != nil {
		return err // nothing more goes, or the tape would shrink and no room would come of it
	}
	segs, err := d.beyondRecovery(t, segs)
	if err != nil || len(segs) == 0 {
		return err
	}
	first, spans := segs[len(segs)-1].limit, []timeSpan(nil)
	for _, s := range segs {
		spans = joinSpans(append(spans, s.spans()...))
	}
	err = d.enterExpired(t, first, spans)
	if errors.Is(err, ErrDiskFull) {
		// A block index can be made again: its room is enough for the entry.
		if err = removeFile(d.disk, segmentPath(t.dir, segs[0].ordinal, indexSuffix)); err == nil {
			err = d.enterExpired(t, first, spans)
		}
	}
	if err != nil {
		return err
	}
	d.log.Info("expired", zap.String("tape", t.name()), zap.Int("segments", len(segs)), zap.Uint64("first_kept", first))
	t.leaveBehind(first)
	d.roomDue.Store(true)
	d.room.kick()
	t.expired = append(t.expired, segs...)
	return errors.Join(d.removeExpired(t), d.forgetSteps(t))
}

// beyondRecovery is those of the segments that no recovery can go back to, whatever of the sync log it finds: they lie before its first entry. When that
// entry keeps others from going, the log begins anew.
func (d *Dataset) beyondRecovery(t *Tape, segs []*Segment) ([]*Segment, error) {
	for try := 0; ; try++ {
		d.syncer.mu.Lock()
		place := d.syncLog.from[int(t.schema)].ordinal
		n := len(segs)
		for n > 0 && segs[n-1].ordinal >= place {
			n--
		}
		d.syncLog.due = n < len(segs) && try == 0
		d.syncer.mu.Unlock()
		if n == len(segs) || try > 0 {
			return segs[:n], nil
		}
		if err := d.sync(false); err != nil {
			return nil, err
		}
	}
}

// removeExpired removes the files of segments that the tape has left behind.
func (d *Dataset) removeExpired(t *Tape) error {
	for len(t.expired) > 0 {
		s := t.expired[0]
		s.mu.Lock()
		err := removeFile(d.disk, s.path())
		s.mu.Unlock()
		if err == nil {
			err = removeFile(d.disk, segmentPath(t.dir, s.ordinal, indexSuffix))
		}
		if err != nil {
			return err
		}
		t.expired = t.expired[1:]
		d.j.pinned = append(d.j.pinned, s)
	}
	return nil
}

func removeFile(disk Disk, path string) error {
	if err := disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// leaveBehind lets the tape begin at record first. The hole comes first, so that a reader finds a reason as soon as it finds nothing.
func (t *Tape) leaveBehind(first uint64) {
	t.addHole(Hole{From: 0, To: first, Cause: CauseExpired})
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
func (d *Dataset) enterExpired(t *Tape, first uint64, spans []timeSpan) error {
	d.syncer.mu.Lock() // one sync at a time: two would share an error that the kernel reports once
	defer d.syncer.mu.Unlock()
	d.mu.Lock()
	err := d.usable()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	size, err := d.appendExpired(t, first, spans)
	if err != nil {
		return err
	}
	if err := d.ledger.log.sync(size); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.fail(fmt.Errorf("%w: %w", ErrSyncFailed, err))
	}
	return nil
}

// appendExpired adds the entry and returns the length of the log with it.
func (d *Dataset) appendExpired(t *Tape, first uint64, spans []timeSpan) (int64, error) {
	g := Gap{Schema: t.schema, FromTs: undefTime, ToTs: undefTime, Records: first, Cause: CauseExpired, Time: d.now(), At: []Position{{t.schema, first}}}
	if before, ok := t.Expired(); ok {
		spans = append(spans, before.expiredSpans()...)
	}
	if g.spans = joinSpans(spans); len(g.spans) > 0 {
		g.FromTs, g.ToTs = g.spans[0].from, g.spans[len(g.spans)-1].to
	}
	l := d.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := d.appendSide(nil, l.log, g.append(nil)); err != nil {
		return 0, err
	}
	l.enter(g, nil)
	l.frames++
	return l.log.size.Load(), nil
}

// Expired is the ledger's entry of what was removed from the tape for its age: all records before First, in one entry, with the least and the greatest of their
// replay times; outliers do not count. ExpiredIn says whether a replay misses any of them.
func (t *Tape) Expired() (Gap, bool) {
	g := t.d.ledger.find(func(g *Gap) bool { return g.isExpired() && g.Schema == t.schema })
	if g == nil {
		return Gap{}, false
	}
	return *g, true
}

// spans is the replay times of the blocks of a sealed segment, outliers apart: of the records themselves when there is no index; none when they cannot be read.
func (s *Segment) spans() (list []timeSpan) {
	_, blocks, err := readIndex(s.tape.d.disk, s.tape.dir, s.info(), true)
	if err != nil {
		if s.acquire() != nil {
			return nil
		}
		defer s.Release()
		if blocks, err = makeBlocks(s, s.info(), s.base, s.limit, s.tape.outlierSteps()); err != nil {
			return nil
		}
	}
	for i := range blocks {
		if t := &blocks[i].span; t.MinReplay <= t.MaxReplay {
			list = append(list, timeSpan{t.MinReplay, t.MaxReplay})
		}
	}
	return list
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

// checkKept refuses places that lie in what has expired, before anything is changed: only a sync log and a ledger that do not belong together have them.
func (o *opening) checkKept() error {
	for schema, first := range o.expired {
		if p := o.result.places[schema]; p.tail < first {
			return fmt.Errorf("%w: the ledger says that records before %d of tape %d were removed for their age, and what is on disk ends with %d", ErrCorrupt, first, schema, p.tail)
		}
	}
	return nil
}

// clearExpired removes what openTape found of segments that had been removed. That it cannot be is no reason not to serve what is kept.
func (o *opening) clearExpired() error {
	for _, t := range o.d.tapes {
		if t == nil {
			continue
		}
		if err := o.d.removeExpired(t); err != nil {
			o.d.log.Warn("files of records that have expired could not be removed; it is tried again when more expire", zap.String("tape", t.name()), zap.Error(err))
		}
	}
	return nil
}
