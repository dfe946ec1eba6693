package gateway

import (
	"github.com/tapewire/tapewire/feed"
)

// gather copies records of one or more cursors into the staging buffer: the
// ones their subscriptions mean, merged by time, stamped where the session asked for
// it, each behind the name that it has. It returns how many bytes of the tapes it
// looked at.
//
// It ends early when a cursor comes to something that must be told first.
func (s *session) gather(group []*cursor, budget int) (scanned int, err error) {
	if len(group) == 1 {
		return s.gatherOne(group[0], budget)
	}
	for scanned < budget {
		c, err := earliest(group)
		if err != nil || c == nil {
			return scanned, err
		}
		b, err := c.window(c.size)
		if err != nil {
			return scanned, err
		}
		_, each, waits, err := s.readyNames(c, c.seq+1)
		if err != nil || waits {
			return scanned, err
		}
		if !s.take(c, b[:c.size], each) {
			return scanned, nil
		}
		c.merged = c.mergeTime(b[:c.size])
		c.seq++
		scanned += c.size
		if c.seq >= c.limit() && (c.mark() != nil || c.replaying || c.live != nil || c.seq < c.tail) {
			return scanned, nil
		}
	}
	return scanned, nil
}

// gatherOne is the case without a merge, most of all a filter on one schema.
func (s *session) gatherOne(c *cursor, budget int) (scanned int, err error) {
	if c.filter.nothing() {
		c.seq = c.limit()
		return 0, nil
	}
	to, each, waits, err := s.readyNames(c, c.limit())
	if err != nil || waits {
		return 0, err
	}
	b, err := c.window(min(max(budget/(1+c.looks()/8), c.size), cap(s.loop.staging)))
	if err != nil {
		return 0, err
	}
	b = b[:min(len(b), int(to-c.seq)*c.size)]
	if each || c.wants != nil || !c.filter.settled() || intervalOf(c.schema) > 0 {
		for scanned < len(b) && s.take(c, b[scanned:scanned+c.size], each) {
			scanned += c.size
			c.seq++
		}
	} else {
		scanned = s.takeByID(c, b)
	}
	return scanned * (1 + c.looks()/8), nil
}

// takeByID is take for records of which nothing but their ids has to be looked at.
// It returns how many bytes of them it was.
func (s *session) takeByID(c *cursor, b []byte) (n int) {
	for ; n < len(b); n += c.size {
		r := feed.Record(b[n : n+c.size])
		if !c.filter.passes(r.InstrumentID()) {
			continue
		}
		if !s.fits(r) {
			break
		}
		s.stageRecord(r)
		s.sentRecords++
	}
	c.seq += uint64(n / c.size)
	return n
}

// take stages the cursor's next record if it is meant for the session, and before
// it what has to be told; each says that its name has to be looked at. It reports
// false when that does not fit any more.
func (s *session) take(c *cursor, r feed.Record, each bool) bool {
	if intervalOf(c.schema) > 0 && !s.intervalBefore(c, r) {
		return false
	}
	var name string
	if c.wants == nil && !each && c.filter.settled() {
		if !c.filter.passes(r.InstrumentID()) {
			return true
		}
	} else {
		var ok bool
		if name, ok = s.meant(c, r); !ok {
			return true
		}
	}
	if !s.fits(r) {
		return false
	}
	if each {
		s.called(c.table, r.InstrumentID(), name)
	}
	s.stageRecord(r)
	s.sentRecords++
	return true
}

// fits reports whether there is room for a record and a mapping before it.
func (s *session) fits(r feed.Record) bool {
	return cap(s.loop.staging)-len(s.loop.staging) >= len(r)+8+mappingBytes
}

// mappingBytes is the size of a mapping record with ts_out.
const mappingBytes = 176 + 8

// meant reports whether the cursor's next record is for the session, and what it
// is called.
func (s *session) meant(c *cursor, r feed.Record) (name string, ok bool) {
	if !c.filter.concerns(r.InstrumentID()) {
		return "", false
	}
	name = c.name(c.table, r)
	return name, c.filter.wants(r.InstrumentID(), name) && c.wanted(r, name)
}

// earliest returns the cursor whose next record has the smallest time; between
// equals the one that comes first. It returns nil when none has a record.
func earliest(group []*cursor) (first *cursor, err error) {
	var at uint64
	for _, c := range group {
		if !c.ready() {
			continue
		}
		b, err := c.window(mergeChunk)
		if err != nil {
			return nil, err
		}
		if t := c.mergeTime(b[:c.size]); first == nil || t < at {
			first, at = c, t
		}
	}
	return first, nil
}

// mergeTime is the time by which the cursor's next record is merged: one whose clock
// was wrong comes behind the one before it, and holds up nothing else.
func (c *cursor) mergeTime(r feed.Record) uint64 {
	if c.tape.Outlier(c.seq, r) {
		return c.merged
	}
	return r.IndexTime()
}

// mergeChunk is how much of a segment that is not mapped is read at once for a
// merge, in bytes.
const mergeChunk = 64 << 10
