package gateway

import (
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// judge decides what becomes of a session whose socket was full and has room
// again. It is slow when it is too far behind, in bytes or in time; replays are
// not: they are as fast as the client reads.
func (s *session) judge(blocked time.Duration) {
	limits := &s.loop.srv.limits
	for _, c := range s.cursors {
		lag := c.lag()
		slow := lag > limits.SlowBytes || lag > 0 && blocked > limits.SlowTime
		switch {
		case c.behind || c.replaying || !slow || c.skipTo > 0:
			continue
		case s.skips(c.schema):
			c.skipTo = c.tape.Tail()
			c.skipped = 0
		case !c.warned:
			c.warn, c.warned = true, true
			s.loop.srv.metrics.slowWarnings.Inc()
		}
	}
}

// skips is the session's policy for a schema: only schemas whose every record
// states the whole book can be skipped without losing anything for good.
func (s *session) skips(schema feed.Schema) bool {
	return schema.SkipsWhenSlow() && s.auth.SlowReader != lsg.SlowWarn
}

// skip passes over records up to skipTo and counts those the session would have
// received. It returns the bytes it looked at.
func (s *session) skip(c *cursor, budget int) (int, error) {
	end := min(c.skipTo, c.limit())
	if c.plain() && c.wants == nil {
		if c.skipped == 0 {
			b, err := c.window(c.size)
			if err != nil {
				return 0, err
			}
			c.skipFrom = feed.Record(b).TsEvent()
		}
		c.skipped += end - c.seq
		c.seq = end
		return 0, nil
	}
	b, err := c.window(min(budget, int(end-c.seq)*c.size))
	if err != nil {
		return 0, err
	}
	for at := 0; at < len(b); at, c.seq = at+c.size, c.seq+1 {
		r := feed.Record(b[at : at+c.size])
		if _, ok := s.meant(c, r); ok {
			if c.skipped == 0 {
				c.skipFrom = r.TsEvent()
			}
			c.skipped++
		}
	}
	return len(b), nil
}

// tellSkip closes a skip: an error record with the exact count for official
// clients, and a gap with its place for those who read it.
func (s *session) tellSkip(c *cursor) {
	if !s.room(2) {
		return
	}
	c.skipTo = 0
	if c.skipped == 0 {
		return
	}
	s.loop.srv.metrics.skipped.Add(int(c.skipped))
	s.stageError(feed.ErrorSkippedRecords, fmt.Sprintf("Slow client detected for %s. Skipped %d records", c.schema, c.skipped), true)
	s.stageGap(lsg.Gap{
		Schema: c.schema.String(), FromTs: c.skipFrom, Cause: lsg.CauseSkipped, Records: c.skipped,
		At: lsg.Position{Epoch: s.dataset().Epoch(), Seq: c.seq}, HasAt: true,
	})
	c.skipped = 0
	if s.auth.Position {
		s.intros = append(s.intros, intro{kind: introPositions})
	}
}
