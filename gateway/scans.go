package gateway

// Who is in which scan. A session with a plain filter has a place in the scan of
// its schema; a change of what it wants gives it another one, at the next commit,
// and costs its own ids, not everybody's.

// replace takes a session out of its scan, and has a place found for it again
// while it is there: it came, it left, or it wants something else.
func (g *group) replace(s *session) {
	if s.scan != nil {
		s.scan.members[s.scanAt].s = nil
		s.scan.gone++
		s.scan = nil
	}
	if s.group == g {
		g.unplaced[s] = struct{}{}
	} else {
		delete(g.unplaced, s)
	}
}

// wants adds one id to what a session has a place for.
func (g *group) wants(s *session, id uint32) {
	if s.scan != nil {
		s.scan.index.add(id, s.scanAt)
	}
}

// placeSessions puts every session with a plain filter into the scan of its schema.
func (g *group) placeSessions() {
	for s := range g.unplaced {
		if c := s.plainFilter(); c != nil {
			sc := g.scans[c.schema]
			if sc == nil {
				sc = &scan{}
				g.scans[c.schema] = sc
			}
			sc.place(s, c)
		}
	}
	clear(g.unplaced)
	for schema, sc := range g.scans {
		switch {
		case sc.gone == len(sc.members):
			delete(g.scans, schema)
		case sc.gone > len(sc.members)/2:
			sc.compact()
		}
	}
}

func (sc *scan) place(s *session, c *cursor) {
	s.scan, s.scanAt = sc, int32(len(sc.members))
	sc.members = append(sc.members, member{s: s, c: c})
	for id := range c.filter.ids {
		sc.index.add(id, s.scanAt)
	}
}

// compact lets go of what is kept for members that are gone.
func (sc *scan) compact() {
	old := sc.members
	*sc = scan{}
	for i := range old {
		if m := &old[i]; m.s != nil {
			sc.place(m.s, m.c)
		}
	}
}

// plainFilter is the session's only cursor when that takes a list of instruments.
func (s *session) plainFilter() *cursor {
	if !s.begun || len(s.cursors) != 1 {
		return nil
	}
	if c := s.cursors[0]; !c.filter.all && c.filter.settled() && c.wants == nil && intervalOf(c.schema) == 0 {
		return c
	}
	return nil
}
