package gateway

import (
	"encoding/binary"

	"github.com/tapewire/tapewire/feed"
)

// A scan looks once at what was committed to a tape, for all sessions of a group
// that want some of its instruments. Those it has nothing for cost a few ns, the
// others get one write.
//
// It serves members that are in step: at the same position, near the tail, with
// nothing else to do. A member that falls out of step, because its socket is full
// or it must be told something, goes on by itself and is in step again at the tail.
type scan struct {
	members []member
	index   idTable

	// Scratch of one run.
	hits    []hit
	touched []int32 // members with hits, in the order of their first one
}

type member struct {
	s           *session
	c           *cursor
	inStep      bool
	first, last int32 // 1 + index of its hits; 0: none
}

// hit is one record for one member; a member's hits are a chain.
type hit struct {
	at   int32 // offset of the record in the window
	next int32 // 1 + index of the next one
}

const (
	// scanFrom is how many sessions with filters make a scan worth it.
	scanFrom = 2
	// scanHits bounds what one step of a scan collects, in hits; they are 8 bytes.
	scanHits = 32 << 10
)

// filtersChanged has the scans built anew: who is there, or who wants what, has changed.
func (g *group) filtersChanged() { g.scans, g.scansBuilt = nil, false }

// buildScans puts every session with a plain filter into the scan of its schema.
func (g *group) buildScans() {
	g.scansBuilt = true
	g.scans = map[feed.Schema]*scan{}
	ids := map[feed.Schema]int{}
	for s := range g.sessions {
		s.scanned = false
		if c := s.plainFilter(); c != nil {
			sc := g.scans[c.schema]
			if sc == nil {
				sc = &scan{}
				g.scans[c.schema] = sc
			}
			sc.members = append(sc.members, member{s: s, c: c})
			ids[c.schema] += len(c.filter.ids)
		}
	}
	for schema, sc := range g.scans {
		if len(sc.members) < scanFrom {
			delete(g.scans, schema)
			continue
		}
		sc.index = newIDTable(ids[schema])
		for i := range sc.members {
			sc.members[i].s.scanned = true
			for id := range sc.members[i].c.filter.ids {
				sc.index.add(id, int32(i))
			}
		}
	}
}

// plainFilter is the session's only cursor when that takes a list of instruments.
func (s *session) plainFilter() *cursor {
	if !s.begun || len(s.cursors) != 1 {
		return nil
	}
	if c := s.cursors[0]; c.filter != nil && !c.filter.inverse {
		return c
	}
	return nil
}

// wake serves the sessions after a commit: by scans, or by turns of their own.
func (g *group) wake() {
	whole := false
	defer func() {
		if !whole { // a panic, which caught contains: nobody may be forgotten
			for s := range g.sessions {
				g.loop.enqueue(s)
			}
		}
	}()
	defer g.loop.caught()
	if !g.scansBuilt {
		g.buildScans()
	}
	for s := range g.sessions {
		if s.writable && !s.scanned {
			g.loop.enqueue(s)
		}
	}
	for _, sc := range g.scans {
		if g.loop.runScan(sc) {
			g.dirty.Store(true)
			g.loop.poll.kick()
		}
	}
	whole = true
}

// runScan takes one step of a scan, of about a turn's bytes or up to the next
// thing that must be told. It reports whether the tape has more.
func (l *loop) runScan(sc *scan) (more bool) {
	start, end := l.lineUp(sc)
	if start >= end {
		if lead := sc.lead(); lead != nil && start < lead.c.tail {
			l.enqueueInStep(sc) // a mark came in between, which must be told
		}
		return false
	}
	lead := sc.lead().c
	// A session that breaks lets go of its segment, and what is delivered lies in
	// the leader's: this pin keeps it mapped whoever leaves.
	seg, err := lead.tape.Segment(start)
	if err != nil {
		l.enqueueInStep(sc) // their own turns meet the error again, and say so
		return false
	}
	defer seg.Release()
	b, err := lead.window(l.turnBytes())
	if err != nil || len(b) == 0 {
		l.enqueueInStep(sc)
		return false
	}
	b = b[:min(len(b), int(end-start)*lead.size)]
	tail := lead.tail
	n := sc.find(b, lead.size)
	for _, i := range sc.touched {
		sc.members[i].deliver(sc.hits, b)
	}
	stop := start + uint64(n/lead.size)
	for i := range sc.members {
		m := &sc.members[i]
		if m.inStep && m.c.seq == start && !m.s.closed {
			m.c.moveTo(stop)
		}
		m.first, m.last = 0, 0
	}
	lead.chunk = nil
	return stop < tail
}

// enqueueInStep gives those in step turns of their own instead.
func (l *loop) enqueueInStep(sc *scan) {
	for i := range sc.members {
		if m := &sc.members[i]; m.inStep && !m.s.closed {
			l.enqueue(m.s)
		}
	}
}

// lineUp decides who is in step, gives a turn to everybody else, and says which
// records the scan may take.
func (l *loop) lineUp(sc *scan) (start, end uint64) {
	for i := range sc.members { // tails before mappings and marks: what a record needs is there before it
		m := &sc.members[i]
		m.c.attach(m.s.dataset())
		m.c.look()
		m.inStep = m.s.idleButForData(m.c)
		if m.inStep {
			start = max(start, m.c.seq)
		}
	}
	end = ^uint64(0)
	for i := range sc.members {
		m := &sc.members[i]
		if m.inStep = m.inStep && m.c.seq == start; m.inStep {
			end = min(end, m.c.limit())
		} else if m.s.writable && !m.s.closed {
			l.enqueue(m.s)
		}
	}
	if end == ^uint64(0) {
		return 0, 0
	}
	return start, end
}

// idleButForData reports whether nothing has to be done for the session but to
// send it what its filter passes.
func (s *session) idleButForData(c *cursor) bool {
	switch {
	case s.closed || !s.writable || s.queued || s.readable || s.ending || s.shutDown || s.farewell != "":
	case len(s.out) > 0 || len(s.intros) > 0 || s.partial != nil:
	case c.tape == nil || c.off > 0 || c.replaying || c.skipTo > 0 || c.warn || c.warned:
	case s.nextMap < s.dataset().Symbols().Len():
	default:
		m := c.mark()
		return m == nil || m.Seq > c.seq
	}
	return false
}

// lead is the member whose cursor reads for all.
func (sc *scan) lead() *member {
	for i := range sc.members {
		if sc.members[i].inStep {
			return &sc.members[i]
		}
	}
	return nil
}

// find collects the hits of a window of records. It returns how many bytes it
// looked at: all, or fewer when there are many hits.
func (sc *scan) find(b []byte, size int) (n int) {
	sc.hits, sc.touched = sc.hits[:0], sc.touched[:0]
	for ; n < len(b) && len(sc.hits) < scanHits; n += size {
		for _, i := range sc.index.members(binary.LittleEndian.Uint32(b[n+4:])) {
			m := &sc.members[i]
			if !m.inStep {
				continue
			}
			sc.hits = append(sc.hits, hit{at: int32(n)})
			k := int32(len(sc.hits))
			if m.first == 0 {
				m.first = k
				sc.touched = append(sc.touched, i)
			} else {
				sc.hits[m.last-1].next = k
			}
			m.last = k
		}
	}
	return n
}

// deliver sends a member its hits. When its socket is full before the last one
// the cursor stays there, and the session goes on by itself.
func (m *member) deliver(hits []hit, b []byte) {
	s, c, l := m.s, m.c, m.s.loop
	whole := false
	defer func() {
		if !whole && !s.closed { // a panic: to go on would leave records out
			s.close("panic")
		}
	}()
	defer l.caught()
	l.staging = l.staging[:0]
	l.stamp()
	for k := m.first; k > 0; k = hits[k-1].next {
		at := int(hits[k-1].at)
		if cap(l.staging)-len(l.staging) < c.size+8 {
			s.path = pathGather
			if err := s.emit(); err != nil {
				s.broken(err)
				return
			}
			l.staging = l.staging[:0]
			if !s.writable || len(s.out) > 0 { // also after a short write: what is kept goes first
				c.moveTo(c.seq + uint64(at/c.size))
				l.enqueue(s)
				whole = true
				return
			}
		}
		s.stageRecord(b[at : at+c.size])
	}
	s.path = pathGather
	if err := s.emit(); err != nil {
		s.broken(err)
		return
	}
	if len(s.out) > 0 {
		l.enqueue(s)
	}
	whole = true
}
