package gateway

import "encoding/binary"

// A scan looks once at what was committed to a tape, for all sessions of a group
// that want some of its instruments. Those it has nothing for cost a few ns, the
// others get one write.
//
// It serves members that are in step: near one another, with nothing else to do.
// Each is passed what lies before its own position, so a step brings all to the
// same one. A member that falls out of step, because its socket is full or it must
// be told something, goes on by itself until it is near again.
type scan struct {
	members []member
	gone    int // members whose session left, or has another place by now
	index   idTable

	// Scratch of one run.
	hits    []hit
	touched []int32 // members with hits, in the order of their first one
}

type member struct {
	s           *session // nil: gone
	c           *cursor
	inStep      bool
	from        int32 // bytes of the window that lie before its position
	first, last int32 // 1 + index of its hits; 0: none
}

// hit is one record for one member; a member's hits are a chain.
type hit struct {
	at   int32 // offset of the record in the window
	next int32 // 1 + index of the next one
}

const (
	// scanReach is how far, in bytes, those in step may be apart: one scan serves
	// all from the last of them on.
	scanReach = 256 << 10
	// scanTurn is the most bytes one step looks at. Each step costs a write for nearly
	// every member, which is more than the looking: who lags catches up in large ones.
	scanTurn = 1 << 20
	// scanHits bounds what one step of a scan collects, in hits; they are 8 bytes.
	scanHits = 32 << 10
)

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
	g.placeSessions()
	for s := range g.sessions {
		if s.writable && s.scan == nil {
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

// runScan takes one step of a scan, of at most scanTurn bytes or up to the next
// thing that must be told. It reports whether the tape has more.
func (l *loop) runScan(sc *scan) (more bool) {
	lead, end := l.lineUp(sc)
	if lead == nil {
		return false
	}
	start, size := lead.seq, lead.size
	if start >= end {
		if start < lead.tail {
			l.enqueueInStep(sc) // a mark came in between, which must be told
		}
		return false
	}
	var err error
	if end, err = l.oneDay(sc, lead, end); err != nil || end == start {
		l.enqueueInStep(sc) // each looks at the records' names by itself
		return false
	}
	// A session that breaks lets go of its segment, and what is delivered lies in
	// the leader's: this pin keeps it mapped whoever leaves.
	seg, err := lead.tape.Segment(start)
	if err != nil {
		l.enqueueInStep(sc) // their own turns meet the error again, and say so
		return false
	}
	defer seg.Release()
	b, err := lead.window(scanTurn)
	if err != nil || len(b) == 0 {
		l.enqueueInStep(sc)
		return false
	}
	b = b[:min(len(b), int(end-start)*size)]
	tail := lead.tail
	n := sc.find(b, size)
	for _, i := range sc.touched {
		sc.members[i].deliver(sc.hits, b, start)
	}
	stop := start + uint64(n/size)
	for i := range sc.members {
		m := &sc.members[i]
		if m.inStep && m.c.seq < stop {
			m.c.moveTo(stop)
		}
		m.first, m.last = 0, 0
	}
	lead.chunk = nil
	return stop < tail
}

// oneDay cuts what a scan looks at to records of one day where their names depend on
// it, and leaves those to their own turns who know the names of another day. Nothing
// is left where days mix.
func (l *loop) oneDay(sc *scan, lead *cursor, end uint64) (uint64, error) {
	if !lead.table.Dated() {
		return end, nil
	}
	if err := lead.lookAtDay(end); err != nil {
		return 0, err
	}
	if !lead.same.one {
		return lead.seq, nil
	}
	for i := range sc.members {
		if m := &sc.members[i]; m.inStep && m.s.names.day != lead.same.day {
			m.inStep = false
			l.enqueue(m.s)
		}
	}
	return min(end, lead.same.to), nil
}

// enqueueInStep gives those in step turns of their own instead.
func (l *loop) enqueueInStep(sc *scan) {
	for i := range sc.members {
		if m := &sc.members[i]; m.inStep {
			l.enqueue(m.s)
		}
	}
}

// lineUp decides who is in step, and gives a turn to everybody else. The leader,
// nil when nobody is, is the last of those in step and reads for all; they may be
// served up to end.
func (l *loop) lineUp(sc *scan) (lead *cursor, end uint64) {
	var first uint64 // position of the foremost
	for i := range sc.members {
		m := &sc.members[i]
		if m.inStep = false; m.s == nil {
			continue
		}
		m.c.attach(m.s.dataset())
		m.c.look() // the tail before mappings and marks: what a record needs is there before it
		if m.inStep = m.s.idleButForData(m.c); m.inStep {
			first = max(first, m.c.seq)
		}
	}
	end = ^uint64(0)
	for i := range sc.members {
		m := &sc.members[i]
		switch {
		case m.inStep && (first-m.c.seq)*uint64(m.c.size) <= scanReach:
			end = min(end, m.c.limit())
			if lead == nil || m.c.seq < lead.seq {
				lead = m.c
			}
		case m.s != nil:
			if m.inStep = false; m.s.writable {
				l.enqueue(m.s)
			}
		}
	}
	for i := range sc.members {
		if m := &sc.members[i]; m.inStep {
			m.from = int32(m.c.seq-lead.seq) * int32(m.c.size)
		}
	}
	return lead, end
}

// idleButForData reports whether nothing has to be done for the session but to
// send it what its filter passes.
func (s *session) idleButForData(c *cursor) bool {
	switch {
	case s.closed || !s.writable || s.queued || s.readable || s.ending || s.shutDown || s.farewell != "":
	case len(s.out) > 0 || len(s.intros) > 0 || s.partial != nil:
	case c.tape == nil || c.off > 0 || c.behind || c.replaying || c.skipTo > 0 || c.warn || c.warned || c.wants != nil:
	case c.entry != s.names.entries || s.names.walk != nil || len(s.names.differ) > 0 || !c.filter.settled():
	case c.entry < c.table.Len() && c.table.Effect(c.entry, c.schema) <= c.seq: // somebody has been named
	default:
		m := c.mark()
		_, hole := c.hole()
		return !hole && (m == nil || m.Seq > c.seq)
	}
	return false
}

// find collects the hits of a window of records. It returns how many bytes it
// looked at: all, or fewer when there are many hits.
func (sc *scan) find(b []byte, size int) (n int) {
	sc.hits, sc.touched = sc.hits[:0], sc.touched[:0]
	for ; n < len(b) && len(sc.hits) < scanHits; n += size {
		for _, i := range sc.index.members(binary.LittleEndian.Uint32(b[n+4:])) {
			m := &sc.members[i]
			if !m.inStep || n < int(m.from) {
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

// deliver sends a member its hits in b, whose first record is start. When its
// socket is full before the last one the cursor stays there, and the session goes
// on by itself.
func (m *member) deliver(hits []hit, b []byte, start uint64) {
	s, c, l := m.s, m.c, m.s.loop
	whole := false
	defer func() {
		if !whole {
			s.close("panic") // to go on would leave records out; a session that broke is closed already
		}
		if s.closed {
			m.inStep = false
		}
	}()
	defer l.caught()
	l.staging = l.staging[:0]
	l.sendNs = 0
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
				c.moveTo(start + uint64(at/c.size))
				l.enqueue(s)
				m.inStep = false
				whole = true
				return
			}
		}
		s.stageRecord(b[at : at+c.size])
		s.sentRecords++
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
