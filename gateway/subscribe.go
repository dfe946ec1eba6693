package gateway

import (
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
	end       uint64 // ns, exclusive; noEnd: none
	remove    bool   // takes a subscription back
	refused   string // why it is not served; the others of the session are

	floor uint64 // the tail when it came, for what is live only
	seq   uint64 // where a replay begins
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
	s.audited(&r)
	s.requests = append(s.requests, r)
	s.admitLate()
}

// newRequest checks what lsg does not know: schemas, stypes and what this gateway
// serves. An error is of a line that makes no sense; one that does, and asks for what
// is not served, is refused by itself.
func newRequest(sub lsg.Subscription) (request, error) {
	r := request{
		id: sub.ID, symbols: sub.Symbols, hasStart: sub.HasStart || sub.HasResume, start: sub.Start, resume: sub.Resume, hasResume: sub.HasResume, end: noEnd,
	}
	if sub.HasEnd {
		r.end = sub.End
	}
	var err error
	if r.schema, err = feed.ParseSchema(sub.Schema); err != nil {
		return r, err
	}
	if r.stype, err = feed.ParseSType(sub.StypeIn); err != nil {
		r.refused = fmt.Sprintf("stype_in=%s is not known here; use raw_symbol or instrument_id", clip(sub.StypeIn))
		return r, nil
	}
	switch {
	case sub.Snapshot:
		r.refused = "snapshot=1 is not served here; use start=0 and build the book from the tape"
	case r.symbols == nil:
	case r.stype == feed.STypeInstrumentID:
		for _, symbol := range r.symbols {
			if _, err := strconv.ParseUint(symbol, 10, 32); err != nil {
				r.refused = fmt.Sprintf("instrument_id %s is not an unsigned 32-bit number", clip(symbol))
			}
		}
	case r.stype != feed.STypeRawSymbol:
		r.refused = fmt.Sprintf("stype_in=%s is not served here; use raw_symbol or instrument_id", r.stype)
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
		_, why := notServed(err)
		s.sayFarewell(feed.ErrorInternal, "dataset "+s.auth.Dataset+" is "+why+" and not served; its operator knows more")
		return
	}
	s.group.attach()
	requests := s.requests
	s.requests = nil
	s.seek(requests, s.begin)
}

// begin puts the cursors in place and has the subscriptions told.
func (s *session) begin(requests []request) {
	s.begun = true
	s.lastSent = s.loop.now
	for i := range requests {
		requests[i].floor = s.tailOf(requests[i].schema)
	}
	for _, r := range requests {
		s.admit(r)
	}
	if s.auth.Position {
		s.intros = append(s.intros, intro{kind: introPositions})
	}
}

// admitLate takes the requests of a session that has begun, in their order: each is
// served as one that came before, from its start on too. Behind one whose place is
// being looked up all wait, or an unsubscribe would overtake what it takes back.
func (s *session) admitLate() {
	for s.begun && !s.seeking && s.farewell == "" && len(s.requests) > 0 {
		next := s.requests[:1:1]
		s.requests = s.requests[1:]
		next[0].floor = s.tailOf(next[0].schema)
		s.seek(next, func(found []request) { s.admit(found[0]) })
	}
}

// tailOf is the end of what is committed of a schema.
func (s *session) tailOf(schema feed.Schema) uint64 {
	if d := s.dataset(); d != nil {
		if t := d.Tape(schema); t != nil {
			return t.Tail()
		}
	}
	return 0
}

// admit has a request told, and served from its place on.
func (s *session) admit(r request) {
	switch {
	case r.refused != "":
		s.loop.srv.metrics.rejects(feed.ErrorSymbolResolutionFailed.String()).Inc()
		s.intros = append(s.intros, intro{kind: introRefused, request: r})
		return
	case r.remove:
		s.intros = append(s.intros, intro{kind: introUnsubscribe, request: r, filter: newFilter()})
		return
	}
	s.intros = append(s.intros, intro{kind: introSubscribe, request: r, filter: newFilter()})
}

// enlist makes a request whose symbols are resolved a part of its cursor.
func (s *session) enlist(r *request, f *filter) {
	w := &want{id: r.id, filter: f, from: r.floor, end: r.end}
	c := s.liveCursor(r)
	if r.hasStart {
		c = s.replayCursor(r, w)
	}
	if w.end != noEnd && w.end <= uint64(s.loop.now.UnixNano()) {
		w.closing, w.closeAt = true, max(w.until, w.from)
	}
	c.filter.add(f.clone())
	switch {
	case c.live != nil: // held back there until it is replayed
		w.held = c.live.seq
		c.live.filter.remove(f)
	default:
		for _, b := range s.cursors {
			if b.live == c {
				c.filter.remove(b.filter)
			}
		}
	}
	c.given = append(c.given, w)
	c.wants = c.given
	c.settle()
	s.group.replace(s)
}

// unsubscribe takes a request's symbols from the cursors of its schema. They stay,
// for what may be subscribed again.
func (s *session) unsubscribe(r *request, f *filter) {
	for _, c := range s.cursors {
		if c.schema != r.schema {
			continue
		}
		c.filter.remove(f.clone())
		for _, w := range c.given {
			w.dropped = append(w.dropped, dropped{f, c.seq})
		}
	}
	s.group.replace(s)
}
