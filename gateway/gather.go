package gateway

import (
	"encoding/binary"

	"github.com/tapewire/tapewire/feed"
)

// gather copies records of one or more cursors into the staging buffer: the
// ones their filters pass, merged by time, stamped where the session asked for
// it. It returns how many bytes of the tapes it looked at.
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
		if !s.take(c, b[:c.size]) {
			return scanned, nil
		}
		c.seq++
		scanned += c.size
		if c.seq >= c.limit() && (c.mark() != nil || c.replaying || c.seq < c.tail) {
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
	b, err := c.window(min(budget, cap(s.loop.staging)))
	if err != nil {
		return 0, err
	}
	for scanned < len(b) && s.take(c, b[scanned:scanned+c.size]) {
		scanned += c.size
	}
	c.seq += uint64(scanned / c.size)
	return scanned, nil
}

// take stages one record if the cursor's filter passes it. It reports false
// when the record passes but does not fit any more.
func (s *session) take(c *cursor, r []byte) bool {
	if c.filter != nil && !c.filter.passes(binary.LittleEndian.Uint32(r[4:])) {
		return true
	}
	if cap(s.loop.staging)-len(s.loop.staging) < len(r)+8 {
		return false
	}
	s.stageRecord(r)
	s.sentRecords++
	return true
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
		if t := feed.Record(b[:c.size]).IndexTime(); first == nil || t < at {
			first, at = c, t
		}
	}
	return first, nil
}

// mergeChunk is how much of a segment that is not mapped is read at once for a
// merge, in bytes.
const mergeChunk = 64 << 10
