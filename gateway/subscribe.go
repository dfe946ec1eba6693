package gateway

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// request is one complete subscription, its chunks joined.
type request struct {
	id        uint64
	schema    feed.Schema
	stype     feed.SType
	symbols   []string     // nil: every symbol
	hasStart  bool         // replay from start, or from resume
	start     uint64       // ns
	resume    lsg.Position // with hasResume
	hasResume bool
	late      bool // came after start_session
	remove    bool // takes a subscription back
}

// subscribe takes one subscription line, or one that takes a subscription back.
// Lines of one request share an id and come as chunks, the last of them marked.
func (s *session) subscribe(line string) {
	limits := &s.loop.srv.limits
	parse, remove := lsg.ParseSubscription, lsg.IsUnsubscribe(line)
	if remove {
		parse = lsg.ParseUnsubscribe
	}
	sub, err := parse(line)
	if err != nil {
		s.fail(feed.ErrorInvalidSubscription, err.Error(), false)
		return
	}
	s.asked++
	s.symbols += len(sub.Symbols)
	if s.asked > limits.SubscriptionsPerSession {
		s.fail(feed.ErrorInvalidSubscription, fmt.Sprintf("More than %d subscription lines; ask for ALL_SYMBOLS or open another session", limits.SubscriptionsPerSession), false)
		return
	}
	if s.symbols > limits.SymbolsPerSession {
		s.fail(feed.ErrorInvalidSubscription, fmt.Sprintf("More than %d symbols; ask for ALL_SYMBOLS or open another session", limits.SymbolsPerSession), false)
		return
	}
	if err := s.claims.symbols.set(int64(s.symbols)); err != nil {
		s.fail(feed.ErrorInvalidSubscription, err.Error(), false)
		return
	}
	r, err := newRequest(sub)
	if err != nil {
		s.fail(feed.ErrorInvalidSubscription, err.Error(), false)
		return
	}
	r.remove = remove
	if c := s.chunk; c != nil && c.id == r.id && c.schema == r.schema && c.stype == r.stype && c.remove == r.remove {
		if c.symbols == nil || r.symbols == nil {
			c.symbols = nil // ALL_SYMBOLS in one chunk is all of them
		} else {
			c.symbols = append(c.symbols, r.symbols...)
		}
	} else {
		s.finishChunk()
		s.chunk = &r
	}
	if sub.IsLast {
		s.finishChunk()
	}
}

// finishChunk completes the request whose chunks were collected.
func (s *session) finishChunk() {
	if s.chunk == nil {
		return
	}
	r := *s.chunk
	s.chunk = nil
	r.late = s.started
	s.audited(&r)
	if !s.begun {
		s.requests = append(s.requests, r)
		return
	}
	s.admit(r, s.dataset())
}

// newRequest checks what lsg does not know: schemas, stypes and what this
// gateway serves.
func newRequest(sub lsg.Subscription) (request, error) {
	r := request{
		id: sub.ID, symbols: sub.Symbols, hasStart: sub.HasStart || sub.HasResume, start: sub.Start, resume: sub.Resume, hasResume: sub.HasResume,
	}
	var err error
	if r.schema, err = feed.ParseSchema(sub.Schema); err != nil {
		return r, err
	}
	if r.stype, err = feed.ParseSType(sub.StypeIn); err != nil {
		return r, err
	}
	switch {
	case sub.Snapshot:
		return r, fmt.Errorf("snapshot=1 is not served here; use start=0 and build the book from the tape")
	case r.symbols == nil:
		return r, nil
	case r.stype == feed.STypeInstrumentID:
		for _, symbol := range r.symbols {
			if _, err := strconv.ParseUint(symbol, 10, 32); err != nil {
				return r, fmt.Errorf("instrument_id %s is not an unsigned 32-bit number", clip(symbol))
			}
		}
	case r.stype != feed.STypeRawSymbol:
		return r, fmt.Errorf("stype_in=%s is not served here; use raw_symbol or instrument_id", r.stype)
	}
	return r, nil
}

// dataset is nil until somebody publishes to it.
func (s *session) dataset() *journal.Dataset { return s.group.dataset }

// start begins the session: what was subscribed is resolved to positions, and
// from then on data flows.
func (s *session) start() {
	if s.started {
		return
	}
	s.finishChunk()
	s.started = true
	s.arrival.over()
	s.intros = append(s.intros, intro{kind: introMetadata, from: s.replayStart()})
	if s.failure != "" {
		s.sayFarewell(s.failCode, s.failure)
		return
	}
	if err := s.loop.srv.journal.Damaged(s.auth.Dataset); err != nil {
		why := "damaged"
		if errors.Is(err, journal.ErrVersion) {
			why = "of another version of tapewire"
		}
		s.sayFarewell(feed.ErrorInternal, "dataset "+s.auth.Dataset+" is "+why+" and not served; its operator knows more")
		return
	}
	s.group.attach()
	d := s.dataset()
	if d == nil || !needsSeek(s.requests) {
		s.begin(d, nil)
		return
	}
	// Finding a time may read an index from disk: not on this loop.
	requests := s.requests
	go s.loop.contain(func() {
		found, err := seekAll(d, requests)
		s.loop.post(func() {
			switch {
			case s.closed:
			case err != nil:
				s.fail(feed.ErrorInternal, "Cannot find the start of the replay: "+err.Error(), false)
			default:
				s.begin(d, found)
			}
			s.loop.enqueue(s)
		})
	})
}

// begin puts the cursors in place. found holds the seqs of requests with a time.
func (s *session) begin(d *journal.Dataset, found []uint64) {
	resumed, err := resumeAll(d, s.requests)
	if err != nil {
		s.fail(feed.ErrorInvalidSubscription, err.Error(), false)
		return
	}
	s.begun = true
	s.lastSent = s.loop.now
	for i, r := range s.requests {
		switch {
		case r.late || r.remove: // late: came while the positions were looked up
		case r.hasResume:
			s.place(r, d, resumed[i])
		case i < len(found):
			s.place(r, d, found[i])
		default:
			s.place(r, d, 0)
		}
	}
	for _, r := range s.requests {
		s.admit(r, d)
	}
	s.requests = nil
	if s.auth.Position {
		s.intros = append(s.intros, intro{kind: introPositions})
	}
}

// place makes the cursor of a request, or moves an existing one back: there is
// one cursor per schema, at the earliest position that was asked for.
func (s *session) place(r request, d *journal.Dataset, seq uint64) {
	c := s.cursor(r.schema)
	if c == nil {
		c = &cursor{schema: r.schema, size: r.schema.RecordSize(), filter: newFilter()}
		s.cursors = append(s.cursors, c)
		c.attach(d)
		c.look()
		c.goal = c.tail
		c.place(c.tail, false)
	}
	if !r.hasStart || r.late {
		return
	}
	if c.tape != nil && !r.hasResume {
		seq = max(seq, c.tape.First()) // from the beginning is from what is kept
	}
	if !c.replaying || seq < c.seq {
		c.place(seq, true)
		c.aged = agedOut(c.tape, r)
	}
	c.replaying = true
}

// agedOut is what a replay from a time misses because it is kept no more; nil when
// nothing is known to be missing, as for one from the beginning.
func agedOut(tape *journal.Tape, r request) *journal.Gap {
	if tape == nil || r.hasResume || r.start == 0 {
		return nil
	}
	g, ok := tape.Expired()
	if !ok || g.ToTs == feed.UndefTimestamp || g.ToTs < r.start {
		return nil
	}
	g.FromTs, g.ToTs = max(g.FromTs, r.start), g.ToTs+1
	return &g
}

func (s *session) cursor(schema feed.Schema) *cursor {
	for _, c := range s.cursors {
		if c.schema == schema {
			return c
		}
	}
	return nil
}

// admit adds a request's symbols to its cursor and has them told.
func (s *session) admit(r request, d *journal.Dataset) {
	if r.remove {
		s.dismiss(r, d)
		return
	}
	if r.late {
		s.place(r, d, 0)
	}
	s.group.replace(s)
	c := s.cursor(r.schema)
	s.intros = append(s.intros, intro{kind: introAck, request: r})
	if c.tape == nil {
		s.intros = append(s.intros, intro{kind: introWaiting, request: r})
	}
	var table *journal.Symbols
	if d != nil {
		table = d.Symbols()
	}
	if r.symbols == nil {
		c.filter = nil
		if !s.all {
			s.all, s.nextMap = true, 0 // tell every mapping, from the first
		}
		return
	}
	if table != nil && !s.all && s.nextMap == 0 {
		s.nextMap = table.Len() // what is there already is told by the intro
	}
	for _, symbol := range r.symbols {
		switch {
		case c.filter == nil: // takes everything already
			continue
		case r.stype == feed.STypeInstrumentID:
			id, _ := strconv.ParseUint(symbol, 10, 32) // checked by newRequest
			c.filter.addID(uint32(id))
		default:
			c.filter.addSymbol(symbol, table, c.schema, c.seq)
		}
	}
	s.intros = append(s.intros, intro{kind: introSymbols, request: r})
}

// dismiss takes a request's symbols from its cursor. The cursor stays, at the
// tail, for what may be subscribed again.
func (s *session) dismiss(r request, d *journal.Dataset) {
	s.group.replace(s)
	s.intros = append(s.intros, intro{kind: introUnsubscribed, request: r})
	c := s.cursor(r.schema)
	if c == nil {
		return
	}
	if r.symbols == nil {
		c.filter = newFilter()
		return
	}
	if c.filter == nil {
		c.filter = allBut()
	}
	for _, symbol := range r.symbols {
		if r.stype == feed.STypeInstrumentID {
			id, _ := strconv.ParseUint(symbol, 10, 32) // checked by newRequest
			c.filter.removeID(uint32(id))
			continue
		}
		var ids []uint32
		if d != nil {
			ids = d.Symbols().IDs(symbol)
		}
		c.filter.removeSymbol(symbol, ids)
	}
}
