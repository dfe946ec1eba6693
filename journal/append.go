package journal

import (
	"fmt"
	"runtime/debug"

	"github.com/tapewire/tapewire/feed"
)

// Run is whole DBN v3 records of one schema, one after the other, without ts_out.
type Run struct {
	Schema feed.Schema
	Bytes  []byte
}

// check looks at each record's length and type: recovery takes a record with another header for one that never reached the disk. It returns the greatest time too.
func (r *Run) check() (greatest uint64, err error) {
	if !r.Schema.Valid() {
		return 0, fmt.Errorf("%w: schema %d is none", ErrRecord, r.Schema)
	}
	size := r.Schema.RecordSize()
	if len(r.Bytes)%size != 0 {
		return 0, fmt.Errorf("%w: a run of %d bytes of %s, whose records have %d", ErrRecord, len(r.Bytes), r.Schema, size)
	}
	n, greatest := layouts[r.Schema].whole(r.Bytes)
	if n < len(r.Bytes)/size {
		h := feed.Record(r.Bytes[n*size:])
		return 0, fmt.Errorf("%w: record %d of the run has %d bytes and type %v, want %d of %v", ErrRecord, n, h.Size(), h.RType(), size, r.Schema)
	}
	return greatest, nil
}

// wholeRecords counts the records that b begins with, up to the first whose header is not one of s.
func wholeRecords(b []byte, s feed.Schema, size int) int {
	length, rtype := byte(size/4), byte(s.RType())
	n := 0
	for ; len(b) >= size; b = b[size:] {
		if b[0] != length || b[1] != rtype {
			break
		}
		n++
	}
	return n
}

// Append commits runs as the next records of the writer's stream: all of them, over all their tapes, in one step that a crash cannot split. Where room
// is not prepared it commits what comes before that, in the order given; records says how many were committed, also with an error.
//
// It does no disk work and allocates nothing, but for the first of records beyond the clock. Errors: ErrRecord (nothing was committed), ErrNotReady and ErrDiskFull (go on with the rest after Wait),
// ErrFenced, ErrSyncFailed, ErrFault, ErrClosed (this writer is finished), ErrLimit (too many records beyond the clock, see Options.MaxClockSkew).
func (w *Writer) Append(runs []Run) (records int, err error) {
	if err := w.look(runs); err != nil {
		return 0, err
	}
	d := w.d
	records, err = d.appendLocked(w, runs)
	if err == errJudge {
		records, err = d.appendJudged(w, runs)
	}
	if records > 0 {
		d.watchers.committed()
	}
	return records, err
}

// Note commits one record that the writer's stream does not count: one that no producer sent. It is for the goroutine that appends. Its errors are Append's,
// and with one nothing was committed.
func (w *Writer) Note(schema feed.Schema, record []byte) error {
	if schema.Valid() && len(record) != schema.RecordSize() {
		return fmt.Errorf("%w: %d bytes to note, want one record of %s", ErrRecord, len(record), schema)
	}
	w.noting = true
	_, err := w.Append([]Run{{Schema: schema, Bytes: record}})
	w.noting = false
	return err
}

// look checks the runs, and notes the greatest time of each schema.
func (w *Writer) look(runs []Run) error {
	for i := range runs {
		if s := runs[i].Schema; s.Valid() {
			w.greatest[s], w.judged[s] = 0, 0
		}
	}
	for i := range runs {
		greatest, err := runs[i].check()
		if err != nil {
			return err
		}
		if s := runs[i].Schema; greatest > w.greatest[s] {
			w.greatest[s] = greatest
		}
	}
	return nil
}

// appendJudged appends runs that have times beyond a ceiling.
func (d *Dataset) appendJudged(w *Writer, runs []Run) (records int, err error) {
	for err = errJudge; err == errJudge; { // again when somebody else's decision came between
		if err = d.decide(w, runs); err != nil {
			return 0, err
		}
		records, err = d.appendLocked(w, runs)
	}
	if records > 0 {
		d.countOutliers(w, runs, records)
	}
	return records, err
}

func (d *Dataset) appendLocked(w *Writer, runs []Run) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.appendRuns(w, runs)
}

// errBehind keeps records out while the disk is slower than they come.
var errBehind = fmt.Errorf("%w: the disk is behind with syncs by more than MaxUnsynced", ErrNotReady)

// appendRuns is called with d.mu held, and so is everything below.
func (d *Dataset) appendRuns(w *Writer, runs []Run) (records int, err error) {
	// A store that the disk cannot back is a SIGBUS, which would end the process. Prepared segments make it unlikely; here it becomes an error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer d.recoverFault(&records, &err)
	if err := w.usable(); err != nil {
		return 0, err
	}
	if err := d.state.ours(); err != nil { // before anything is stored: what lies above our tail may be somebody else's
		return 0, d.fail(err)
	}
	d.pend.done = 0
	if d.behind() {
		w.lacking, w.lackingLog = 0, nil
		return 0, errBehind
	}
	if err := d.wantTapes(w, runs); err != nil {
		return 0, err
	}
	if d.unjudged(w, runs) {
		return 0, errJudge
	}
	for i := range runs {
		t := d.tapes[runs[i].Schema]
		for b := runs[i].Bytes; len(b) > 0; {
			n, err := d.store(w, t, b)
			if err != nil {
				d.commit(w)
				return d.pend.done, err
			}
			b = b[n:]
		}
	}
	d.commit(w)
	return d.pend.done, nil
}

// wantTapes asks for all tapes that do not exist yet before anything is copied, so that the first batch too stays in one commit.
func (d *Dataset) wantTapes(w *Writer, runs []Run) error {
	w.lacking, w.lackingLog = 0, nil
	for i := range runs {
		if s := runs[i].Schema; d.tapes[s] == nil && len(runs[i].Bytes) > 0 {
			if err := d.grantTape(s); err != nil {
				return err
			}
			d.wanted[s] = true
			w.lacking |= 1 << s
		}
	}
	if w.lacking != 0 {
		d.preparer.kick()
		return ErrNotReady
	}
	for i := range runs {
		t := d.tapes[runs[i].Schema]
		if t != nil && t.active == nil && t.next == nil && len(runs[i].Bytes) > 0 {
			return d.lack(w, t)
		}
	}
	return nil
}

// lack notes what the writer waits for.
func (d *Dataset) lack(w *Writer, t *Tape) error {
	w.lacking |= 1 << t.schema
	d.preparer.kick()
	if t.blocked != nil {
		return t.blocked
	}
	return ErrNotReady
}

// store copies as many of b's records as the segment takes, at most, and says how many bytes that were.
func (d *Dataset) store(w *Writer, t *Tape, b []byte) (int, error) {
	p := &d.pend
	i := d.entry(t)
	if seg := p.segs[i]; seg == nil || p.slot.tapes[i].place.tail == seg.limit {
		if t.next == nil {
			return 0, d.lack(w, t)
		}
		// The place in the new segment says all: a segment is left only when it is full, so what went into the old one is committed with it.
		p.sumUp(i)
		p.segs[i], t.next = t.next, nil
		p.slot.tapes[i].place = place{p.segs[i].ordinal, p.segs[i].base, p.segs[i].base}
		p.summed[i] = p.segs[i].base
	}
	seg, tail := p.segs[i], &p.slot.tapes[i].place.tail
	off := seg.Offset(*tail)
	room := min(int64(seg.limit-*tail)*int64(t.size), seg.populated.Load()-off)
	n := min(len(b), int(room)/t.size*t.size)
	if n <= 0 { // the preparer is behind: to store here would be a first-touch fault, perhaps 25 ms of the event loop
		return 0, d.lack(w, t)
	}
	for b = b[:n]; len(b) > 0; {
		step := b[:min(len(b), sumStep/t.size*t.size)]
		copy(seg.data[seg.Offset(*tail):], step)
		b = b[len(step):]
		*tail += uint64(len(step) / t.size)
		if (*tail-p.summed[i])*uint64(t.size) >= sumStep {
			p.sumUp(i)
		}
	}
	p.records += n / t.size
	p.bytes += int64(n)
	if off+int64(n) > seg.kickAt.Load() {
		d.preparer.kick()
	}
	return n, nil
}

// commit makes what was copied part of the tapes, for good and in one step, and lets readers see it.
func (d *Dataset) commit(w *Writer) {
	p := &d.pend
	if p.records > 0 {
		p.slot.stream = w.stream.number
		p.slot.count = w.stream.count.Load()
		if !w.noting {
			p.slot.count += uint64(p.records)
		}
		for i := range p.slot.n {
			p.sumUp(i)
		}
		p.slot.logs = d.logEnds()
		d.keepCommitted(&p.slot)
		d.state.commit(&p.slot)
		for i := range p.slot.n {
			w.stream.wrote |= 1 << p.slot.tapes[i].schema
			d.publish(d.tapes[p.slot.tapes[i].schema], p.segs[i], p.slot.tapes[i].place.tail)
		}
		w.stream.count.Store(p.slot.count)
		w.accepted.Store(w.stream.records())
		d.touch(w.stream, p.bytes)
	}
	for i := range p.slot.n {
		p.index[p.slot.tapes[i].schema] = 0
		p.segs[i] = nil
	}
	p.done += p.records
	p.slot.n, p.records, p.bytes = 0, 0, 0
}

// publish is where records become visible: the segment first, the tail last.
func (d *Dataset) publish(t *Tape, seg *Segment, tail uint64) {
	if t.active != seg {
		t.active = seg
		d.preparer.kick()
	}
	t.tail.Store(tail)
	if d.visible[t.schema].Load() == nil {
		d.visible[t.schema].Store(t)
	}
}

// touch notes that the stream's count has to reach the sync log.
func (d *Dataset) touch(s *stream, bytes int64) {
	if !s.dirty {
		s.dirty = true
		d.dirty = append(d.dirty, s) // has room for every stream, see addStream
	}
	d.unsynced += bytes
	d.syncer.dirty(d.unsynced)
}

// recoverFault turns a fault in mapped memory into the end of writing. What commits before it took stays committed.
func (d *Dataset) recoverFault(records *int, err *error) {
	if r := recover(); r != nil {
		*records, *err = d.pend.done, d.fail(faultError(r))
	}
}
