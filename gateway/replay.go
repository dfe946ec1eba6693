package gateway

import (
	"slices"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// Where a schema is wanted from the past by some subscriptions and live by others,
// two cursors serve it: one that is behind and one at the tail. Each instrument is
// with one of them, so its records come in order; and when the one behind has come
// to where the other stands, they are one again.

// liveCursor is the cursor for what is wanted from now on.
func (s *session) liveCursor(r *request) *cursor {
	for _, c := range s.cursors {
		if c.schema == r.schema && !c.behind {
			return c
		}
	}
	if r.hasStart {
		return nil
	}
	c := s.newCursor(r.schema, r.floor, false)
	for _, b := range s.cursors {
		if b.schema == r.schema && b.behind {
			b.live = c
		}
	}
	return c
}

// replayCursor is the cursor for what is wanted from the past. When there is one
// already, it goes back to where this subscription begins; what the others had
// they do not get again.
func (s *session) replayCursor(r *request, w *want) *cursor {
	live := s.liveCursor(r)
	var c *cursor
	for _, b := range s.cursors {
		if b.schema == r.schema && b.behind {
			c = b
		}
	}
	for _, other := range s.cursors {
		if other.schema != r.schema {
			continue
		}
		for _, g := range other.given {
			if g.from < other.seq {
				w.had = append(w.had, had{g, other.seq})
			}
		}
	}
	seq := r.seq
	switch {
	case c == nil:
		c = s.newCursor(r.schema, seq, true)
		c.behind, c.live = true, live
		if c.goal = c.tail; live != nil {
			c.goal = live.seq
		}
		c.goesOn(r)
	case seq < c.seq:
		for _, g := range c.given {
			g.had = append(g.had, had{g, c.seq}) // from here to there they were served
		}
		c.place(seq, true)
		c.goesOn(r)
	}
	if c.tape != nil && !r.hasResume {
		c.aged = agedOut(c.tape, r)
	}
	c.replaying = true
	w.from, w.until = seq, c.goal
	if !r.hasResume {
		w.start = r.start
	}
	return c
}

// goesOn takes note that who begins at a position had what lies before it: of a tape that begins there nothing is lost to it.
func (c *cursor) goesOn(r *request) {
	if r.hasResume {
		c.begun = c.seq
	}
}

// newCursor adds a cursor at seq.
func (s *session) newCursor(schema feed.Schema, seq uint64, replay bool) *cursor {
	c := &cursor{schema: schema, size: schema.RecordSize(), filter: newFilter()}
	c.attach(s.dataset())
	c.look()
	c.place(seq, replay)
	s.cursors = append(s.cursors, c)
	return c
}

// join makes one cursor of two of a schema that stand at the same record. It
// reports whether it did.
func (s *session) join() bool {
	for i, b := range s.cursors {
		live := b.live
		if live == nil || b.replaying || b.seq != live.seq || b.off > 0 || live.off > 0 || live.skipTo > 0 || b.entry != live.entry || b.aged != nil {
			continue
		}
		live.filter.add(b.filter)
		live.given = append(live.given, b.given...)
		live.wants = live.given
		live.settle()
		b.release()
		s.cursors = slices.Delete(s.cursors, i, i+1)
		s.group.replace(s)
		return true
	}
	return false
}

// caughtUp notes that the cursor has been at the tail: from now on it can be slow.
func (c *cursor) caughtUp() {
	c.warned = false
	if c.live == nil && !c.replaying && c.seq >= c.tail {
		c.behind = false
	}
}

// twins reports whether a schema has two cursors at present.
func (s *session) twins(schema feed.Schema) bool {
	for _, c := range s.cursors {
		if c.schema == schema && c.live != nil {
			return true
		}
	}
	return false
}

// tellEnd tells that a subscription with an end is complete, and lets go of it: where
// a live cursor left its instruments to this one, after that has them back. It reports
// false when there is no room.
func (s *session) tellEnd(c *cursor) bool {
	if c.live != nil {
		return true
	}
	for i := 0; i < len(c.given); i++ {
		w := c.given[i]
		if !w.closing || c.seq < w.closeAt || c.replaying {
			continue
		}
		if !s.room(1) {
			return false
		}
		text, err := lsg.End{Schema: c.schema.String(), ID: w.id, Ts: w.end}.Text()
		if err == nil {
			s.stageSystem(feed.SystemUnset, text)
		}
		c.given = slices.Delete(c.given, i, i+1)
		i--
		s.refilter(c)
	}
	return true
}

// refilter makes the filter of a cursor anew, from the subscriptions that it has.
func (s *session) refilter(c *cursor) {
	f := newFilter()
	for _, w := range c.given {
		mine := w.filter.clone()
		for _, d := range w.dropped {
			mine.remove(d.filter)
		}
		f.add(mine)
	}
	for g := f; g != nil; g = g.except {
		for id := range g.maybe {
			g.stale = append(g.stale, id)
		}
	}
	for _, b := range s.cursors {
		if b.live == c {
			f.remove(b.filter)
		}
	}
	c.filter = f
	c.wants = c.given
	c.settle()
	s.group.replace(s)
}

// closeDue notes which subscriptions have come to their end by the clock.
func (s *session) closeDue(now uint64) (work bool) {
	for _, c := range s.cursors {
		for _, w := range c.given {
			if w.end != noEnd && !w.closing && w.end <= now {
				w.closing, w.closeAt, work = true, max(s.tailOf(c.schema), w.until), true
			}
		}
	}
	return work
}

// agedOut is what a replay from a time misses because it is kept no more; nil when
// nothing is known to be missing, as for one from the beginning.
func agedOut(tape *journal.Tape, r *request) *journal.Gap {
	if r.start == 0 {
		return nil
	}
	g, ok := tape.ExpiredIn(r.start, r.end)
	if !ok {
		return nil
	}
	return &g
}
