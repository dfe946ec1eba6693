package journal

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// judge is what an append needs to know of its tape; under Dataset.mu.
type judge struct {
	limit   uint64 // of the newest step
	ceiling uint64 // what is not beyond it needs no look: it is no outlier, whatever the clock says
	top     uint64 // the greatest time that was taken for what it says since the journal was opened
	entered uint64 // wall ns of the newest step
	serial  uint64 // of the last decision; from 1
}

// outliers is the dataset's log of them.
type outliers struct {
	mu        sync.Mutex // orders decisions; taken before Dataset.mu
	log       *sideLog
	off       bool // there was no room for the log when the journal was opened
	forgotten int  // entries of the log that no kept record needs
	told      [feed.NumSchemas]struct {
		at   time.Time
		more uint64 // since then
	}
}

// errJudge asks for a decision about records beyond the ceiling before they are committed.
var errJudge = errors.New("a time beyond the ceiling is to be judged")

// ceilingOf is what the wall clock allows, in ns.
func (d *Dataset) ceilingOf(now uint64) uint64 {
	if d.o.MaxClockSkew < 0 {
		return undefTime
	}
	return now + uint64(d.o.MaxClockSkew)
}

// raiseCeiling goes with the clock, so that only what is beyond it has to be judged; and back with it. The caller holds mu.
func (d *Dataset) raiseCeiling(t *Tape, now uint64) {
	if t.judge.limit == undefTime {
		t.judge.ceiling = max(d.ceilingOf(now), t.judge.top)
	}
}

// unjudged says whether a record of the call needs a decision first. The caller holds mu.
func (d *Dataset) unjudged(w *Writer, runs []Run) bool {
	for i := range runs {
		s := runs[i].Schema
		greatest := w.greatest[s]
		if greatest == 0 {
			continue // not even a tape, perhaps
		}
		j := &d.tapes[s].judge
		if greatest > j.ceiling && w.judged[s] != j.serial {
			return true
		}
		j.top = max(j.top, min(greatest, j.limit))
	}
	return false
}

// decide judges the records of a call that are beyond their tape's ceiling, and enters a step where the limit changes. Errors: those of a side log.
func (d *Dataset) decide(w *Writer, runs []Run) error {
	o := &d.outliers
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range feed.Schema(feed.NumSchemas) {
		if w.greatest[s] == 0 {
			continue
		}
		if err := d.decideTape(w, s, runs); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dataset) decideTape(w *Writer, s feed.Schema, runs []Run) error {
	now, greatest := d.now(), w.greatest[s]
	d.mu.Lock()
	t := d.tapes[s]
	old, from := t.judge, t.Tail()
	if greatest <= old.ceiling {
		d.mu.Unlock()
		return nil
	}
	// Until this is decided nobody else commits what is beyond the ceiling: the step may begin at the tail as it is now.
	t.judge.serial++
	d.raiseCeiling(t, now)
	d.mu.Unlock()

	allowed := max(d.ceilingOf(now), old.top)
	if w.future || d.outliers.off {
		allowed = undefTime
	}
	limit := old.limit
	switch {
	case limit == undefTime && greatest > allowed:
		limit = allowed
	case limit == undefTime || !w.future && now-old.entered < d.stepHold():
		// As it is: nobody is to fill the log by going to and fro.
	case greatest <= allowed:
		limit = undefTime // time has come to where the step's limit was, or the future is meant
	case anyBetween(runs, s, limit, allowed):
		limit = allowed
	}
	if limit != old.limit {
		if err := d.enterStep(w, outlierStep{schema: s, from: from, limit: limit, wall: now, producer: w.producer}); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if limit != old.limit {
		d.takeStep(t, outlierStep{schema: s, from: from, limit: limit, wall: now, producer: w.producer})
		d.raiseCeiling(t, now)
	}
	t.judge.serial++
	w.judged[s] = t.judge.serial
	return nil
}

// stepHold is the least time between two steps of a tape. Records whose times are so close to the limit that it matters count as outliers meanwhile.
func (d *Dataset) stepHold() uint64 { return uint64(max(min(outlierHold, d.o.MaxClockSkew/2), 0)) }

// anyBetween says whether a record of a schema has all its times up to most, and one beyond limit.
func anyBetween(runs []Run, s feed.Schema, limit, most uint64) bool {
	l := &layouts[s]
	for i := range runs {
		if runs[i].Schema != s {
			continue
		}
		for b := runs[i].Bytes; len(b) >= l.size; b = b[l.size:] {
			if l.beyond(b, limit) && !l.beyond(b, most) {
				return true
			}
		}
	}
	return false
}

// enterStep adds a step to the log. The caller holds outliers.mu.
func (d *Dataset) enterStep(w *Writer, s outlierStep) error {
	n := 0
	d.mu.Lock()
	tapes := d.tapes
	d.mu.Unlock()
	for _, t := range tapes {
		if t != nil {
			n += len(t.outlierSteps())
		}
	}
	if n >= MaxOutlierSteps && s.limit != undefTime { // the end of a step has room always
		return fmt.Errorf("%w: %s of dataset %s has %d entries, and a record of producer %s is beyond the clock again; set its clock right, or publish with future=1 when the future is meant",
			ErrLimit, outliersName, d.name, n, w.producer)
	}
	return d.appendSide(w, d.outliers.log, s.append(nil))
}

// takeStep lets a step hold. The caller holds mu, or is alone.
func (d *Dataset) takeStep(t *Tape, s outlierStep) {
	steps := t.outlierSteps().with(s)
	t.steps.Store(&steps)
	t.judge.limit, t.judge.ceiling, t.judge.entered = s.limit, s.limit, s.wall
	if s.limit == undefTime {
		t.judge.ceiling = 0 // the next record that is beyond it asks the clock
	}
}

// countOutliers counts those among the first n records of a call, and tells of them: of a tape's first one, and then of how many there were.
func (d *Dataset) countOutliers(w *Writer, runs []Run, n int) {
	d.outliers.mu.Lock()
	defer d.outliers.mu.Unlock()
	for i := range runs {
		t := d.Tape(runs[i].Schema)
		if n <= 0 || t == nil {
			return
		}
		l := &layouts[t.schema]
		limit, _ := t.outlierSteps().at(math.MaxUint64)
		b := runs[i].Bytes[:min(len(runs[i].Bytes), n*l.size)]
		n -= len(b) / l.size
		for ; len(b) > 0 && limit != undefTime; b = b[l.size:] {
			if l.beyond(b, limit) {
				t.outliers.Add(1)
				d.tellOutlier(w, t, feed.Record(b[:l.size]))
			}
		}
	}
}

func (d *Dataset) tellOutlier(w *Writer, t *Tape, r feed.Record) {
	told := &d.outliers.told[t.schema]
	told.more++
	if now := time.Now(); told.at.IsZero() || now.Sub(told.at) >= outlierLogEvery {
		d.log.Warn("records are further in the future than the clock may be wrong: accepted, but no start= goes by their times; set the producer's clock right, or publish with future=1 when the future is meant",
			zap.String("tape", t.name()), zap.String("producer", w.producer), zap.Uint32("instrument_id", r.InstrumentID()),
			zap.String("ts_event", feed.FormatTime(r.TsEvent())), zap.String("ts_recv", feed.FormatTime(r.TsRecv())), zap.Uint64("records", told.more))
		told.at, told.more = now, 0
	}
}
