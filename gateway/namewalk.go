package gateway

import "github.com/tapewire/tapewire/journal"

// walk tells the names of many ids, some at each turn.
type walk struct {
	ids   []uint32 // which; nil: all that the symbol table has
	next  int
	day   journal.Day // as of when
	fresh bool        // the client knows none of them
	done  func()
}

// worthAWalk reports whether to tell the names of another day costs no more than
// to look at each of so many records, or would be paid for by those to come. Where
// several cursors may be at days of their own, only the first is asked for.
func (s *session) worthAWalk(records uint64) bool {
	ids := 0
	for _, c := range s.cursors {
		ids += len(c.filter.maybe)
	}
	if s.all() {
		ids = s.symbolTable().NumIDs()
	}
	return uint64(ids) <= records || len(s.cursors) == 1 && 4*len(s.names.differ) >= min(ids, mostDiffer)
}

// all reports whether the session is told every instrument.
func (s *session) all() bool {
	for _, c := range s.cursors {
		if c.filter.all {
			return true
		}
	}
	return false
}

// concerned is the ids whose names the session is told; nil: all that there are.
func (s *session) concerned() []uint32 {
	if s.all() {
		return nil
	}
	ids := []uint32{}
	for _, c := range s.cursors {
		for id := range c.filter.maybe {
			ids = append(ids, id)
		}
	}
	return ids
}

// rebase has the client told the names as of another day.
func (s *session) rebase(day journal.Day) {
	s.names.walk = &walk{ids: s.concerned(), day: day, done: func() {
		s.names.day, s.names.differ = day, nil
	}}
}

// restoreNames has the client told the names of its day again where it knows others.
func (s *session) restoreNames() {
	ids := make([]uint32, 0, len(s.names.differ))
	for id := range s.names.differ {
		ids = append(ids, id)
	}
	s.names.walk = &walk{ids: ids, day: s.names.day, done: func() { s.names.differ = nil }}
}

// tellAllNames has the client told the name of every instrument that has one.
func (s *session) tellAllNames() {
	s.names.walk = &walk{day: s.names.day, fresh: true, done: func() { s.names.differ = nil }}
}

// walkOn takes a walk further. It reports whether records may go on.
func (s *session) walkOn() (done bool) {
	w, table := s.names.walk, s.symbolTable()
	if w == nil {
		return true
	}
	count := len(w.ids)
	if w.ids == nil && table != nil {
		count = table.NumIDs()
	}
	for step := 0; w.next < count && step < walkStep; step++ {
		if !s.room(1) {
			return false
		}
		id := uint32(0)
		if w.ids != nil {
			id = w.ids[w.next]
		} else {
			id = table.IDAt(w.next)
		}
		w.next++
		known := ""
		if !w.fresh {
			known = s.knows(table, id)
		}
		if now, _ := table.NameUpTo(id, s.names.schema, s.names.entries, w.day); now != known {
			s.tellName(id, known, now)
		}
	}
	if w.next < count {
		return false
	}
	s.names.walk = nil
	w.done()
	return true
}

// freshen brings the filters' ids in line with the names that the client knows,
// some at each step. It reports whether that is done.
func (s *session) freshen() (done bool) {
	table := s.symbolTable()
	left := walkStep
	done = true
	for _, c := range s.cursors {
		for f := c.filter; f != nil; f = f.except {
			before := len(f.stale)
			for ; len(f.stale) > 0 && left > 0; left-- {
				id := f.stale[len(f.stale)-1]
				f.stale = f.stale[:len(f.stale)-1]
				name := ""
				if table != nil {
					name = s.knows(table, id)
				}
				f.told(id, name)
			}
			if before > 0 && len(f.stale) == 0 {
				f.stale = nil
				s.group.replace(s)
			}
			done = done && len(f.stale) == 0
		}
	}
	return done
}
