package journal

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

const outliersName = "outliers.log"

// An outlier is a record whose ts_event or ts_recv lay beyond the wall clock by more than Options.MaxClockSkew when it was committed. It is kept and served like
// any other, but moves no greatest time: one broken clock must not hide a day from start=.
//
// What is judged once is never judged again, whatever clock a later process has: outliers.log keeps the limits, not the records. From a step's record on, those of
// its tape with a time beyond its limit are outliers, up to the next step. So a million of them in a row are one entry, and an index that is made again says the same.
type outlierStep struct {
	schema   feed.Schema
	from     uint64 // record
	limit    uint64 // ns; undefTime: there are no outliers from here on
	wall     uint64 // ns, when it was entered
	producer string // whose record it was; empty: the journal's own
}

func (s *outlierStep) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, uint16(s.schema))
	for _, v := range []uint64{s.from, s.limit, s.wall} {
		dst = le.AppendUint64(dst, v)
	}
	return appendText(dst, s.producer)
}

func parseOutlierStep(b []byte) (outlierStep, error) {
	f := fields{b: b}
	s := outlierStep{schema: feed.Schema(f.u16()), from: f.u64(), limit: f.u64(), wall: f.u64(), producer: f.text()}
	if !f.done() || !s.schema.Valid() {
		return s, fmt.Errorf("%w: entry of %s", ErrCorrupt, outliersName)
	}
	return s, nil
}

// outlierSteps is those of a tape, by from.
type outlierSteps []outlierStep

// with is the steps with one more behind them. What an earlier one says of records from its own on holds no more: a power cut may have taken those.
func (l outlierSteps) with(s outlierStep) outlierSteps {
	n := len(l)
	for n > 0 && l[n-1].from >= s.from {
		n--
	}
	return append(l[:n:n], s)
}

// at is the limit for record seq, and where the next step begins.
func (l outlierSteps) at(seq uint64) (limit, until uint64) {
	i := sort.Search(len(l), func(i int) bool { return l[i].from > seq })
	limit, until = undefTime, math.MaxUint64
	if i > 0 {
		limit = l[i-1].limit
	}
	if i < len(l) {
		until = l[i].from
	}
	return limit, until
}

// within says whether an outlier may be among records from seq on whose greatest time is top: which they are not when it is below every limit.
func (l outlierSteps) within(seq, top uint64) bool {
	limit, _ := l.at(seq)
	for i := len(l) - 1; i >= 0 && l[i].from > seq; i-- {
		limit = min(limit, l[i].limit)
	}
	return top > limit
}

// beyond says whether a record has a time beyond the limit.
func (l *layout) beyond(r []byte, limit uint64) bool {
	if ts := binary.LittleEndian.Uint64(r[eventOffset:]); ts != undefTime && ts > limit {
		return true
	}
	if l.recv < 0 {
		return false
	}
	ts := binary.LittleEndian.Uint64(r[l.recv:])
	return ts != undefTime && ts > limit
}

// normal calls do with each stretch of b, whole records from first on, that has no outlier in it.
func (l *layout) normal(first uint64, b []byte, steps outlierSteps, do func([]byte)) {
	from := 0
	limit, until := steps.at(first)
	for at := 0; at < len(b); at += l.size {
		if first == until {
			limit, until = steps.at(first)
		}
		if limit != undefTime && l.beyond(b[at:at+l.size], limit) {
			if from < at {
				do(b[from:at])
			}
			from = at + l.size
		}
		first++
	}
	if from < len(b) {
		do(b[from:])
	}
}

func (t *Tape) outlierSteps() outlierSteps {
	if l := t.steps.Load(); l != nil {
		return *l
	}
	return nil
}

// Outlier says whether r, record seq, was beyond the clock when it was committed: its times are not to be ordered by.
func (t *Tape) Outlier(seq uint64, r feed.Record) bool {
	l := t.steps.Load()
	if l == nil {
		return false
	}
	limit, _ := l.at(seq)
	return limit != undefTime && layouts[t.schema].beyond(r, limit)
}

// Outliers is how many were committed since the journal was opened.
func (t *Tape) Outliers() uint64 { return t.outliers.Load() }

// openOutliers opens the log, which a journal of an earlier release does not have.
func (o *opening) openOutliers() error {
	d := o.d
	log, payloads, err := o.openLog(logOutliers)
	if isFull(err) {
		d.log.Warn("no room for the log of records beyond the clock: none is judged until a restart", zap.Error(err))
		log, d.outliers.off, err = &sideLog{path: d.path(outliersName)}, true, nil
	}
	if err != nil {
		return err
	}
	d.outliers.log = log
	o.steps, err = parseOutlierSteps(payloads)
	return err
}

// forgetSteps drops the steps that no kept record needs, after the tape has begun later; the log is written anew without them once they are many.
func (d *Dataset) forgetSteps(t *Tape) error {
	d.outliers.mu.Lock()
	d.mu.Lock()
	steps, first, n := t.outlierSteps(), t.First(), 0
	for n+1 < len(steps) && steps[n+1].from <= first {
		n++
	}
	if n > 0 {
		steps = steps[n:]
		t.steps.Store(&steps)
	}
	tapes := d.tapes
	d.mu.Unlock()
	log := d.outliers.log
	d.outliers.forgotten += n
	due := d.outliers.forgotten >= outlierRewrite
	d.outliers.mu.Unlock()
	if !due {
		return nil
	}
	return log.rewrite(func(emit func([]byte)) int64 {
		d.outliers.mu.Lock()
		defer d.outliers.mu.Unlock()
		for _, t := range tapes {
			if t == nil {
				continue
			}
			for _, s := range t.outlierSteps() {
				emit(s.append(nil))
			}
		}
		d.outliers.forgotten = 0
		return log.size.Load()
	})
}

func parseOutlierSteps(payloads [][]byte) (map[feed.Schema]outlierSteps, error) {
	all := map[feed.Schema]outlierSteps{}
	for _, p := range payloads {
		s, err := parseOutlierStep(p)
		if err != nil {
			return nil, err
		}
		all[s.schema] = all[s.schema].with(s)
	}
	return all, nil
}

// loadOutliers gives the tapes their steps. Those beyond a tail are of records that were never committed, or that a power cut took: they are ended there, or
// they would hold for others that come to have the same numbers.
func (o *opening) loadOutliers() error {
	for schema, steps := range o.steps {
		tail := uint64(0)
		t := o.d.tapes[schema]
		if t != nil {
			tail = t.Tail()
		}
		if n := len(steps); steps[n-1].from > tail || t == nil && steps[n-1].limit != undefTime {
			end := outlierStep{schema: schema, from: tail, limit: undefTime, wall: o.d.now()}
			if err := o.d.appendSide(nil, o.d.outliers.log, end.append(nil)); err != nil {
				return err
			}
			steps = steps.with(end)
		}
		if t == nil {
			continue
		}
		for len(steps) > 1 && steps[1].from <= t.First() {
			steps = steps[1:]
			o.d.outliers.forgotten++
		}
		t.steps.Store(&steps)
		last := steps[len(steps)-1]
		t.judge.limit, t.judge.entered = last.limit, last.wall
		if last.limit != undefTime {
			t.judge.ceiling = last.limit
		}
	}
	return nil
}
