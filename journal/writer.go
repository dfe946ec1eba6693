package journal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
)

// WriterOptions name a writer. (Producer, Stream) is one numbering of records: a stream that was seen before goes on where it ended.
type WriterOptions struct {
	Producer, Stream string // 1 .. MaxName printable ASCII characters without '|'
	Existing         bool   // the stream must be there: ErrNoStream otherwise
	Owner            string // the key of the session, to which the producer's name belongs from now on; empty: in open mode, which looks at no owner
	Takeover         bool   // it may have a name that belongs to another key
	Resume           uint64 // the oldest record the producer can still send
	HasResume        bool
	Head             StreamHead // how the stream begins; the zero value: not told
	Future           bool       // its records may lie in the future, as a simulation's do: none is an outlier, see Options.MaxClockSkew
}

// Writer appends one stream's records to a dataset. Append is for one goroutine at a time; everything else may be called from any.
type Writer struct {
	d        *Dataset
	producer string
	stream   *stream
	head     StreamHead // what it was opened with
	known    StreamHead // of the stream when it was opened
	future   bool
	skipped  uint64        // records directly before Resume that were passed over
	noting   bool          // what Append is given is not counted
	declared atomic.Uint32 // the oldest day that it has entered mappings for
	accepted atomic.Uint64 // stays where it is once a newer writer goes on with the stream

	// Of Append's goroutine, by schema.
	greatest [feed.NumSchemas]uint64 // time in the call; 0: none
	judged   [feed.NumSchemas]uint64 // the decision that the call's times beyond the ceiling had; 0: none

	// Under Dataset.mu.
	fenced, closed bool
	lacking        uint32   // schemas the last Append found no room for, a bit each
	lackingLog     *sideLog // that Map, Instrument or Gap found no room in since the last Append; nil: none
}

// OpenWriter opens a stream for appending, and fences the older writer of the same producer, if there is one. When the producer can only go on from a
// record beyond what was accepted (Resume), the gap goes into the ledger and counting goes on from there. A stream that was begun with other data (Head) is
// not gone on with.
// Errors: ErrName, ErrOwned, ErrNoStream, ErrStreamHead, ErrLimit (MaxSkip), ErrTableFull (MaxStreams, MaxProducerStreams: later there may be room), ErrDiskFull (try again once Dataset.Err is nil), ErrClosed, ErrSyncFailed, ErrFault,
// ErrCorrupt (streams.log is hurt).
func (d *Dataset) OpenWriter(o WriterOptions) (*Writer, error) {
	if err := checkName("producer", o.Producer, MaxName); err != nil {
		return nil, err
	}
	if err := checkName("stream", o.Stream, MaxName); err != nil {
		return nil, err
	}
	if d.noWriters != nil {
		return nil, d.noWriters
	}
	d.openMu.Lock()
	defer d.openMu.Unlock()
	s, err := d.findStream(&o)
	if err != nil {
		return nil, err
	}
	w := &Writer{d: d, producer: o.Producer, stream: s, head: o.Head, known: s.head, future: o.Future}
	w.declared.Store(uint32(NoDay))
	d.mu.Lock()
	if err := d.usable(); err != nil {
		d.mu.Unlock()
		return nil, err
	}
	if old := d.writers[o.Producer]; old != nil {
		old.fenced = true
	}
	d.writers[o.Producer] = w
	w.accepted.Store(s.records())
	d.announce()
	d.mu.Unlock()
	if o.HasResume && o.Resume > s.records() {
		if err := w.skipTo(o.Resume); err != nil {
			w.end()
			return nil, err
		}
	}
	if o.HasResume && o.Resume == s.records() { // also what an earlier writer skipped: whoever asked for it may not have heard of it
		w.skipped = max(w.skipped, d.ledger.skippedBefore(w.producer, s.name, o.Resume))
	}
	return w, nil
}

// skipTo enters the gap of records that the producer can no longer send, then counts on from record n.
func (w *Writer) skipTo(n uint64) error {
	d := w.d
	from := w.stream.records()
	g := Gap{Schema: anySchema, FromTs: undefTime, ToTs: undefTime, FromRecord: from, ToRecord: n, Records: n - from, Cause: CauseUpstream}
	if !d.ledger.has(w.producer, w.stream.name, from, n) { // else a crash came between the entry and the count
		if err := w.Gap(g); err != nil && !errors.Is(err, ErrTableFull) && !errors.Is(err, ErrLimit) { // those are counted, and the records go on
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	if err := d.state.ours(); err != nil {
		return d.fail(err)
	}
	s := slot{stream: w.stream.number, count: w.stream.base + n, logs: d.logEnds()}
	d.state.commit(&s)
	w.stream.count.Store(s.count)
	w.skipped = n - from
	w.accepted.Store(n)
	d.touch(w.stream, 0)
	return nil
}

// usable says why the writer can no longer append. The caller holds Dataset.mu.
func (w *Writer) usable() error {
	switch {
	case w.fenced:
		return ErrFenced
	case w.closed:
		return ErrClosed
	}
	return w.d.usable()
}

// Accepted is how many records of the stream were committed when this writer opened it and by this writer since, over all schemas: the number of its next
// one. Records skipped by Resume count; what a newer writer appends does not.
func (w *Writer) Accepted() uint64 { return w.accepted.Load() }

// Skipped is how many records directly before Resume were passed over, by this writer or by earlier ones that were opened with a Resume and appended nothing
// behind it: a gap in the ledger. It is 0 when the stream goes on elsewhere.
func (w *Writer) Skipped() uint64 { return w.skipped }

// Synced is how many of the accepted records are on disk.
func (w *Writer) Synced() uint64 {
	return min(w.stream.synced.Load()-w.stream.base, w.accepted.Load())
}

// Head is how the stream was known to begin when this writer was opened; the zero value when nobody told.
func (w *Writer) Head() StreamHead { return w.known }

// Wait returns nil when Append may go on after ErrNotReady or ErrDiskFull, or Map, Instrument and Gap after ErrDiskFull; an error when they never will or
// ctx ended. A full disk is tried again every Options.RetryInterval, for as long as it takes; Dataset.Err tells of it meanwhile.
func (w *Writer) Wait(ctx context.Context) error {
	d := w.d
	for {
		d.mu.Lock()
		ready := !d.behind() && d.hasRoom(w.lacking) && (w.lackingLog == nil || w.lackingLog.full() == nil)
		err, changed := w.usable(), d.changed
		d.mu.Unlock()
		if err != nil || ready {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hasRoom says whether each of the schemas can take at least one record. The caller holds mu.
func (d *Dataset) hasRoom(schemas uint32) bool {
	for s, t := range d.tapes {
		if schemas&(1<<s) == 0 {
			continue
		}
		if t == nil {
			return false
		}
		if a := t.active; a != nil && t.Tail() < a.limit {
			if a.Offset(t.Tail()+1) > a.populated.Load() {
				return false
			}
		} else if t.next == nil {
			return false
		}
	}
	return true
}

// Close ends the writer; its stream can be opened again. It does not wait for a sync.
func (w *Writer) Close() {
	w.end()
	if w.head.Records > 0 {
		w.d.openMu.Lock()
		defer w.d.openMu.Unlock()
		w.keepHead()
	}
}

// end is Close for one that holds Dataset.openMu.
func (w *Writer) end() {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	w.closed = true
	if w.declared.Load() != uint32(NoDay) { // what it declared may make room
		d.roomDue.Store(true)
		d.room.kick()
	}
	d.leave(w.stream)
	if d.writers[w.producer] == w {
		delete(d.writers, w.producer)
	}
	d.announce()
}

// checkName admits what can stand in a text line and a file of the Live protocol.
func checkName(what, s string, limit int) error {
	if s == "" || len(s) > limit {
		return fmt.Errorf("%w: %s %.*q: want 1 to %d characters", ErrName, what, limit, s, limit)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '|' {
			return fmt.Errorf("%w: %s %q: character %d is not printable ASCII other than '|'", ErrName, what, s, i+1)
		}
	}
	return nil
}
