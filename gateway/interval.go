package gateway

import (
	"time"

	"github.com/tapewire/tapewire/feed"
)

// Schemas of one record an interval and instrument are told when an interval is
// over, once for each that has records on the tape: with the first record of a later
// one, or when the clock says so and nothing more has come for a while.

// intervalPatience is how long after an interval's end, and its last record, nothing
// more is taken to come.
const intervalPatience = time.Second

// intervalOf is how long an interval of the schema is; 0 for schemas without.
func intervalOf(s feed.Schema) time.Duration {
	switch s {
	case feed.SchemaOhlcv1s, feed.SchemaBbo1s, feed.SchemaCbbo1s:
		return time.Second
	case feed.SchemaOhlcv1m, feed.SchemaBbo1m, feed.SchemaCbbo1m:
		return time.Minute
	case feed.SchemaOhlcv1h:
		return time.Hour
	case feed.SchemaOhlcv1d:
		return 24 * time.Hour
	}
	return 0
}

// intervalEnd is the end of a record's interval, in ns: bars carry its begin in
// ts_event, sampled quotes its end in ts_recv. 0: it says nothing about one.
func intervalEnd(s feed.Schema, r feed.Record) uint64 {
	length := uint64(intervalOf(s))
	ts := s.ReplayTime(r)
	if ts == feed.UndefTimestamp || ts > feed.UndefTimestamp-2*length {
		return 0
	}
	if s.ReplayClock() == feed.ClockRecv {
		return (ts + length - 1) / length * length
	}
	return ts/length*length + length
}

// intervalBefore takes in the interval of the cursor's next record, and tells the end
// of the one before. It reports false when that does not fit any more.
func (s *session) intervalBefore(c *cursor, r feed.Record) bool {
	end := intervalEnd(c.schema, r)
	if end <= c.interval {
		return true
	}
	if c.interval > 0 && !c.intervalTold {
		if !s.room(1) {
			return false
		}
		s.tellInterval(c)
	}
	c.interval, c.intervalTold = end, false
	c.intervalSeen = s.loop.now
	return true
}

// tellInterval tells the end of the interval that the cursor is in.
func (s *session) tellInterval(c *cursor) {
	if c.intervalTold {
		return
	}
	c.intervalTold = true
	s.stageRecord(feed.AppendSystem(s.loop.scratch[:0], c.interval, feed.SystemEndOfInterval, "End of interval for "+c.schema.String()))
}

// intervalDue has the end of an interval told that no later record tells.
func (s *session) intervalDue(now time.Time) (work bool) {
	for _, c := range s.cursors {
		if c.interval == 0 || c.intervalTold || c.seq < c.tail || c.replaying {
			continue
		}
		if over := now.Add(-intervalPatience); uint64(over.UnixNano()) >= c.interval && over.After(c.intervalSeen) {
			s.intros = append(s.intros, intro{kind: introInterval, cursor: c})
			work = true
		}
	}
	return work
}
