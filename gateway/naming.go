package gateway

import (
	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// A client keeps one map from instrument id to symbol, whatever the schemas and
// days of its session. So at every record that is sent the last mapping that the
// client was told for its id must be the record's name; one that nobody knows has
// an empty symbol.
//
// What a client knows is not kept id by id. It is the state of the symbol table
// after some entries, as of one day, and what differs from that. While a cursor
// stands at the same entries and its records are of that day, nobody has to look
// at any record's name, and runs go out as they are. Elsewhere, where days mix or
// cursors stand apart, each record's name is looked at and told again when it is
// another one.
type naming struct {
	entries int               // of the symbol table
	schema  feed.Schema       // on whose tape they are taken to be in effect
	day     journal.Day       // of the records
	differ  map[uint32]string // ids that the client knows by another name; "": by none
	walk    *walk             // what is being told before records go on
}

const (
	// walkStep is how many ids one step of a walk looks at: some 100 ns each.
	walkStep = 2048
	// mostDiffer is how many ids a client may know by other names than those of its
	// day before these are told again.
	mostDiffer = 4096
)

// sameDay is a stretch of a tape with what is known of its records' days.
type sameDay struct {
	to  uint64 // its end; 0: nothing is known
	day journal.Day
	one bool // all records are of that day
}

// symbols is the session's symbol table, nil until somebody publishes.
func (s *session) symbolTable() *journal.Symbols {
	if d := s.dataset(); d != nil {
		return d.Symbols()
	}
	return nil
}

// knows is the name by which the client knows an id, "" for none.
func (s *session) knows(table *journal.Symbols, id uint32) string {
	if name, ok := s.names.differ[id]; ok {
		return name
	}
	name, _ := table.NameUpTo(id, s.names.schema, s.names.entries, s.names.day)
	return name
}

// steady says how far, below end, the records from c.seq on have the names that
// the client knows; false when each has to be looked at, up to there.
func (s *session) steady(c *cursor, table *journal.Symbols, end uint64) (to uint64, ok bool, err error) {
	if table == nil {
		return end, true, nil
	}
	if c.entry != s.names.entries || c.schema != s.names.schema && table.Reused() {
		return end, false, nil
	}
	if !table.Dated() {
		return end, len(s.names.differ) == 0, nil
	}
	if err := c.lookAtDay(end); err != nil {
		return 0, false, err
	}
	return min(end, c.same.to), c.same.one && c.same.day == s.names.day && len(s.names.differ) == 0, nil
}

// lookAtDay finds the day of the records from seq on, and how far it goes.
func (c *cursor) lookAtDay(end uint64) error {
	if c.seq < c.same.to {
		return nil
	}
	times, to, err := c.tape.Times(c.seq, end)
	if err != nil {
		return err
	}
	c.same = dayOf(times, to)
	return nil
}

// dayOf takes a stretch for one day when both clocks say so.
func dayOf(t journal.Times, to uint64) sameDay {
	least, most := feed.UndefTimestamp, uint64(0)
	if t.MinEvent <= t.MaxEvent {
		least, most = t.MinEvent, t.MaxEvent
	}
	if t.MinRecv <= t.MaxRecv {
		least, most = min(least, t.MinRecv), max(most, t.MaxRecv)
	}
	if least > most {
		return sameDay{to: to, day: journal.NoDay} // a record may have a time of its own all the same
	}
	day := journal.DayOf(least)
	return sameDay{to: to, day: day, one: day == journal.DayOf(most)}
}

// name is what a record of the cursor's tape is called.
func (c *cursor) name(table *journal.Symbols, r feed.Record) string {
	if table == nil {
		return ""
	}
	day := journal.NoDay
	if table.Dated() {
		day = journal.DayOf(r.IndexTime())
	}
	name, _ := table.NameUpTo(r.InstrumentID(), c.schema, c.entry, day)
	return name
}

// follow takes in the entries of the symbol table that have come into effect where
// the cursors stand, some at each step, and tells the client of those that concern
// it. It reports whether there are none left.
func (s *session) follow() (done bool) {
	table := s.symbolTable()
	if table == nil {
		return true
	}
	done = true
	most := s.names.entries
	for _, c := range s.cursors {
		for n := table.Len(); c.entry < n && table.Effect(c.entry, c.schema) <= c.seq; c.entry++ {
			if c.entry >= s.names.entries+walkStep {
				done = false
				break
			}
		}
		most = max(most, c.entry)
	}
	for ; s.names.entries < most; s.names.entries++ {
		if !s.room(1) {
			return false
		}
		s.enter(table, s.names.entries)
	}
	return done
}

// unnamed reports whether an entry is in effect, where a cursor stands that has
// records to come, that was not taken in.
func (s *session) unnamed() bool {
	for _, c := range s.cursors {
		if c.tape != nil && c.seq < c.tail && c.entry < c.table.Len() && c.table.Effect(c.entry, c.schema) <= c.seq {
			return true
		}
	}
	return false
}

// enter takes in entry i of the table.
func (s *session) enter(table *journal.Symbols, i int) {
	m := table.At(i)
	if m.Time == 0 || !s.learn(table, m.ID, m.Symbol) {
		return // it made room (id 0 without a symbol can be an entry), or is nothing to this session
	}
	known := s.knows(table, m.ID)
	now, _ := table.NameUpTo(m.ID, s.names.schema, i+1, s.names.day)
	delete(s.names.differ, m.ID)
	if now != known {
		s.tellName(m.ID, known, now)
	}
}

// learn has the filters take in that id stands for symbol somewhere. It reports
// whether the session is to know the id's name.
func (s *session) learn(table *journal.Symbols, id uint32, symbol string) (concerned bool) {
	resolve := func(asked string) string {
		found, _ := table.Match(asked)
		return found
	}
	for _, c := range s.cursors {
		c.filter.learn(id, symbol, resolve)
		for _, w := range c.given {
			w.filter.learn(id, symbol, resolve)
			for _, d := range w.dropped {
				d.filter.learn(id, symbol, resolve)
			}
		}
		concerned = concerned || c.filter.concerns(id)
	}
	return concerned
}

// tellName stages that id is called name from here on, where the client knows it
// by another name or none. The caller has checked that there is room.
func (s *session) tellName(id uint32, known, name string) {
	asked, stype := known, feed.STypeRawSymbol
	if name != "" {
		asked, stype = s.askedAs(id, name)
	}
	s.stageMapping(id, stype, asked, name)
	for _, c := range s.cursors {
		switch c.filter.told(id, name) {
		case 1:
			s.group.wants(s, id)
		case -1:
			s.group.replace(s)
		}
	}
}

// askedAs is what the client asked for an instrument by.
func (s *session) askedAs(id uint32, name string) (string, feed.SType) {
	for _, c := range s.cursors {
		if asked, ok := c.filter.askedAs(name); ok {
			return asked, feed.STypeRawSymbol
		}
	}
	return name, feed.STypeRawSymbol
}

// called makes sure that the client knows the record's id by name, which differs
// from what it is known by as of the session's day. The caller has checked that
// there is room.
func (s *session) called(table *journal.Symbols, id uint32, name string) {
	known := s.knows(table, id)
	if known == name {
		return
	}
	s.tellName(id, known, name)
	if usual, _ := table.NameUpTo(id, s.names.schema, s.names.entries, s.names.day); usual == name {
		delete(s.names.differ, id)
		return
	}
	if s.names.differ == nil {
		s.names.differ = map[uint32]string{}
	}
	s.names.differ[id] = name
}

// beginNames chooses what the client is told the names as of, with its first
// subscription: that one's place and day.
func (s *session) beginNames(r *request) {
	table := s.symbolTable()
	s.names = naming{schema: r.schema, day: journal.NoDay}
	if table == nil {
		return
	}
	c := &cursor{schema: r.schema, seq: r.floor}
	c.attach(s.dataset())
	c.look()
	if r.hasStart {
		c.seq = r.seq
	}
	c.entry = table.InEffect(r.schema, c.seq)
	s.names.entries, s.names.day = c.entry, c.dayThere(table)
}

// dayThere is the day of the cursor's next record; of the last one when it stands
// at the tail; on a tape without any of the newest date in the symbol table.
func (c *cursor) dayThere(table *journal.Symbols) journal.Day {
	if !table.Dated() {
		return journal.NoDay
	}
	if c.tape != nil && c.tail > c.tape.First() {
		if ts, err := c.timeOf(min(c.seq, c.tail-1)); err == nil {
			return journal.DayOf(ts)
		}
	}
	if c.entry > 0 {
		if m := table.At(c.entry - 1); m.To > 0 {
			return m.From
		}
	}
	return journal.NoDay
}

// timeOf is the index time of a record of the cursor's tape, wherever the cursor stands.
func (c *cursor) timeOf(seq uint64) (uint64, error) {
	seg, err := c.tape.Segment(seq)
	if err != nil {
		return 0, err
	}
	defer seg.Release()
	if _, err := seg.Check(seq, seq+1); err != nil {
		return 0, err
	}
	r := make([]byte, c.schema.RecordSize())
	_, err = seg.ReadAt(r, seg.Offset(seq))
	return feed.Record(r).IndexTime(), err
}

// readyNames prepares the names for the records of a cursor up to end. It reports
// whether each has to be looked at, how far that holds, and whether something is to
// be told before any goes on.
func (s *session) readyNames(c *cursor, end uint64) (to uint64, each, waits bool, err error) {
	table := s.symbolTable()
	to, ok, err := s.steady(c, table, end)
	if err != nil || ok {
		return to, false, false, err
	}
	run, differ := to-c.seq, uint64(len(s.names.differ))
	usual := !table.Dated() || c.same.one && c.same.day == s.names.day
	apart := c.entry != s.names.entries || c.schema != s.names.schema && table.Reused()
	switch {
	case !apart && usual && run >= differ, differ >= mostDiffer:
		s.restoreNames()
	case !apart && !usual && c.same.one && s.worthAWalk(run):
		s.rebase(c.same.day)
	default:
		return to, true, false, nil
	}
	// It is this cursor's turn again when that is told, or two of different days would
	// have the names changed to and fro and nothing sent.
	s.preferReplay = !s.preferReplay
	return to, false, true, nil
}
