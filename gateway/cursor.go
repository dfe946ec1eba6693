package gateway

import (
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// cursor is a session's position in one tape. Live, catching up and replaying
// are only distances from the tail. A session has one for each schema; two while
// what it asked for from the past catches up with what it has live.
type cursor struct {
	schema feed.Schema
	size   int           // bytes of a record
	tape   *journal.Tape // nil until its first record
	table  *journal.Symbols
	seg    *journal.Segment
	filter *filter // whose records pass
	wants  []*want // the subscriptions, while they do not mean all that filter passes; nil: they do
	given  []*want // all subscriptions that were, for who asks again

	entry int    // the first entry of the symbol table that is not in effect at seq
	seq   uint64 // the next record to send
	off   int    // bytes of record seq that are sent already
	tail  uint64 // what was committed when this pass began

	behind    bool    // has not been at the tail yet: what is committed meanwhile is no slow reading
	replaying bool    // until seq reaches goal
	goal      uint64  // the tail when the replay was asked for
	live      *cursor // with behind: the session's cursor that it catches up with, if there is one
	nextMark  int     // number of the first of the tape's marks not told yet
	begun     uint64  // the end of the hole at the beginning of the tape, once that was told

	same sameDay // the stretch at seq that was looked at last

	aged *journal.Gap // where it begins, records from its start on are kept no more, and that is not told yet

	skipTo   uint64 // below it records are counted, not sent: the client was too slow
	skipped  uint64 // how many so far
	skipFrom uint64 // ts_event of the first of them
	warn     bool   // a slow-reader warning is due
	warned   bool   // and was told; once per episode

	interval     uint64    // end of the newest interval that it came to, ns; 0: none
	intervalTold bool      // that it is over
	intervalSeen time.Time // when its first record was sent

	told    uint64 // the seq of the last position message
	wasTold bool

	merged uint64 // the time of the last record that was merged with others', ns

	chunk     []byte // records read from a segment that is not mapped
	chunkFrom uint64 // seq of its first

	prefetched int64 // offset in seg up to which the disk was asked for pages
}

// attach finds the tape once it exists. A session that was there before it
// begins with its first record.
func (c *cursor) attach(d *journal.Dataset) {
	if c.tape == nil && d != nil {
		c.tape, c.table = d.Tape(c.schema), d.Symbols()
	}
}

// look takes note of what is committed now.
func (c *cursor) look() {
	if c.tape != nil {
		c.tail = c.tape.Tail()
	}
}

// limit is the seq up to which records may be taken without telling anything
// in between: the tail, the end of the replay, where the live cursor stands, the
// next gap or hole, or the next entry of the symbol table.
func (c *cursor) limit() uint64 {
	limit := c.tail
	if c.replaying {
		limit = min(limit, c.goal)
	}
	if c.live != nil {
		limit = min(limit, c.live.seq)
	}
	if m := c.mark(); m != nil {
		limit = min(limit, m.Seq)
	}
	if c.tape != nil {
		if h, ok := c.tape.NextHole(c.seq); ok {
			limit = min(limit, h.From)
		}
		if c.entry < c.table.Len() {
			limit = min(limit, c.table.Effect(c.entry, c.schema))
		}
	}
	return max(limit, c.seq) // a mark may come to lie below a cursor: it is told at once
}

// hole is the stretch of the tape that cannot be served and in which the cursor stands, if it does.
func (c *cursor) hole() (journal.Hole, bool) {
	if c.tape == nil || c.off > 0 {
		return journal.Hole{}, false
	}
	h, ok := c.tape.NextHole(c.seq)
	return h, ok && h.From <= c.seq && c.seq < c.tail
}

// mark is the next thing to be told about this tape, nil when there is none yet.
func (c *cursor) mark() *journal.Mark {
	if c.tape == nil {
		return nil
	}
	next, marks := c.tape.MarksFrom(c.nextMark)
	if len(marks) == 0 {
		return nil
	}
	c.nextMark = next // those between are of what is kept no more
	return &marks[0]
}

// place puts the cursor at seq. Marks before it are history; with replay those
// at it are still to be told. Names that take effect at seq are in effect.
func (c *cursor) place(seq uint64, replay bool) {
	c.release()
	c.seq, c.off, c.begun, c.same = seq, 0, 0, sameDay{}
	if c.table != nil {
		c.entry = c.table.InEffect(c.schema, seq)
	}
	if c.tape == nil {
		return
	}
	first, marks := c.tape.MarksFrom(0)
	c.nextMark = first + len(marks)
	for i, m := range marks {
		if m.Seq > seq || replay && m.Seq == seq {
			c.nextMark = first + i
			break
		}
	}
}

// ready reports whether there are records to take.
func (c *cursor) ready() bool { return c.tape != nil && c.seq < c.limit() }

// segment pins the segment that holds the next record.
func (c *cursor) segment() (*journal.Segment, error) {
	if c.seg != nil && c.seq >= c.seg.Base() && c.seq < c.seg.Limit() {
		return c.seg, nil
	}
	c.release()
	seg, err := c.tape.Segment(c.seq)
	if err != nil {
		return nil, err
	}
	c.seg = seg
	return seg, nil
}

// advance moves on by n bytes that were sent.
func (c *cursor) advance(n int) {
	n += c.off
	c.seq += uint64(n / c.size)
	c.off = n % c.size
}

// moveTo puts the cursor forward, at a record that begins there.
func (c *cursor) moveTo(seq uint64) {
	if c.seq = seq; c.seg != nil && seq >= c.seg.Limit() {
		c.release() // or a cursor that others read for would hold old files open
	}
}

// window returns records from seq on, at least one when the cursor is ready,
// at most up to limit(). Mapped records are not copied; others are read into a
// chunk that lives while the cursor needs it.
func (c *cursor) window(most int) ([]byte, error) {
	seg, err := c.segment()
	if err != nil {
		return nil, err
	}
	end := min(c.limit(), seg.Limit(), c.seq+uint64(max(1, most/c.size)))
	if end, err = seg.Check(c.seq, end); err != nil {
		return nil, err
	}
	if b := seg.Mapped(c.seq, end); b != nil {
		c.chunk = nil
		return b, nil
	}
	if have := c.chunkFrom + uint64(len(c.chunk)/c.size); c.chunk != nil && c.seq >= c.chunkFrom && c.seq < have {
		end = min(end, have)
		return c.chunk[int(c.seq-c.chunkFrom)*c.size : int(end-c.chunkFrom)*c.size], nil
	}
	n := int(end-c.seq) * c.size
	if cap(c.chunk) < n {
		c.chunk = make([]byte, n)
	}
	c.chunk, c.chunkFrom = c.chunk[:n], c.seq
	if _, err := seg.ReadAt(c.chunk, seg.Offset(c.seq)); err != nil {
		c.chunk = nil
		if unreadable(err) {
			err = c.unreadable(seg, err)
		}
		return nil, err
	}
	return c.chunk, nil
}

// unreadable takes records that the disk does not give back out of service: for
// everybody, and to be told like other damage.
func (c *cursor) unreadable(seg *journal.Segment, why error) error {
	seg.Unreadable(c.seq, why)
	return fmt.Errorf("%w: %w", journal.ErrDamaged, why)
}

// release lets go of the segment and of what was read from it.
func (c *cursor) release() {
	if c.seg != nil {
		c.seg.Release()
		c.seg, c.prefetched = nil, 0
	}
	c.chunk = nil
}

// lag is how many bytes the cursor is behind the newest commit.
func (c *cursor) lag() int64 {
	if c.tape == nil {
		return 0
	}
	return int64(c.tape.Tail()-min(c.tape.Tail(), c.seq)) * int64(c.size)
}
