package gateway

import (
	"fmt"
	"strconv"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// intro is something a session is told once, in order, before data goes on.
type intro struct {
	kind    introKind
	request request
	from    uint64 // introMetadata: start of the replay, ns
	next    int    // introSymbols: the first symbol not told yet
}

type introKind uint8

const (
	introMetadata introKind = iota
	introAck
	introSymbols
	introHeartbeat
	introUnsubscribed
	introWaiting
	introPositions
)

// tell stages the control records that are due, as many as fit. It reports
// whether it staged any: data waits until nothing is left to tell.
func (s *session) tell() (staged bool, err error) {
	before := len(s.loop.staging)
	if err := s.tellIntros(); err != nil {
		return false, err
	}
	if s.begun && len(s.intros) == 0 {
		s.tellMappings()
		for _, c := range s.cursors {
			s.tellMarks(c)
			s.tellHole(c)
			s.tellProgress(c)
		}
	}
	if s.farewell != "" && len(s.intros) == 0 && s.room(1) {
		s.stageError(s.farewellCode, s.farewell, true)
		s.farewell = ""
		s.ending = true
	}
	return len(s.loop.staging) > before, nil
}

// mostRoom is how many control records fit an empty staging buffer.
func (s *session) mostRoom() int { return cap(s.loop.staging) / (320 + 8) }

// room reports whether n more control records fit the staging buffer.
func (s *session) room(n int) bool {
	const largest = 320 + 8 // a SystemMsg with ts_out
	return cap(s.loop.staging)-len(s.loop.staging) >= n*largest
}

func (s *session) tellIntros() error {
	for len(s.intros) > 0 && s.room(1) {
		in := &s.intros[0]
		switch in.kind {
		case introMetadata:
			m := feed.Metadata{
				Version: 3, Dataset: s.auth.Dataset, Schema: feed.SchemaNone, Start: in.from, End: feed.UndefTimestamp,
				StypeIn: feed.STypeNone, StypeOut: feed.STypeInstrumentID, TsOut: s.auth.TsOut,
			}
			b, err := m.Append(s.loop.staging)
			if err != nil {
				return fmt.Errorf("metadata: %w", err)
			}
			s.loop.staging = b
		case introAck:
			if !s.tellAck(in.request) {
				return nil
			}
		case introHeartbeat:
			s.stageSystem(feed.SystemHeartbeat, "Heartbeat")
		case introPositions:
			if !s.tellPositions() {
				return nil
			}
		case introWaiting:
			s.tellWaiting(in.request.schema)
		case introUnsubscribed:
			s.stageSystem(feed.SystemUnsubscribeAck, fmt.Sprintf("Unsubscription request for %s data succeeded", in.request.schema))
		case introSymbols:
			if !s.tellSymbols(in) {
				return nil
			}
		}
		s.intros = s.intros[1:]
	}
	if len(s.intros) == 0 {
		s.intros = nil
	}
	return nil
}

// tellAck confirms a subscription, and says what became of a start that came
// too late. It reports false when both do not fit any more.
func (s *session) tellAck(r request) bool {
	if !s.room(2) {
		return false
	}
	s.stageSystem(feed.SystemSubscriptionAck, fmt.Sprintf("Subscription request %d for %s data succeeded", r.id, r.schema))
	if r.late && r.hasStart {
		s.stageSystem(feed.SystemUnset, fmt.Sprintf("start of subscription request %d is ignored: it came after start_session; open another session to replay", r.id))
	}
	return true
}

// tellWaiting says that there is nothing yet, which a misspelt name would
// otherwise look like for ever.
func (s *session) tellWaiting(schema feed.Schema) {
	what := "dataset " + s.auth.Dataset
	if s.dataset() != nil {
		what = schema.String() + " of " + what
	}
	s.stageSystem(feed.SystemUnset, fmt.Sprintf("waiting|dataset=%s|schema=%s|text=nothing is published to %s yet; what is will follow", s.auth.Dataset, schema, what))
}

// tellSymbols tells the mapping of each symbol of a request, or that there is
// none yet. It reports whether it came to the end.
func (s *session) tellSymbols(in *intro) bool {
	r := &in.request
	c := s.cursor(r.schema)
	var table *journal.Symbols
	if d := s.dataset(); d != nil {
		table = d.Symbols()
	}
	for ; in.next < len(r.symbols); in.next++ {
		symbol := r.symbols[in.next]
		if ids := s.idsOf(table, symbol); !s.room(max(1, min(ids, s.mostRoom()))) {
			return false
		}
		if r.stype == feed.STypeInstrumentID {
			id, _ := strconv.ParseUint(symbol, 10, 32) // checked by newRequest
			s.tellID(table, c, uint32(id), symbol)
			continue
		}
		if !s.tellSymbol(table, c, symbol) {
			s.stageError(feed.ErrorSymbolResolutionFailed, "Failed to resolve symbol '"+withoutSecrets(symbol)+"': nobody has published it yet; its data follows once somebody does", true)
		}
	}
	return true
}

// tellSymbol tells the mapping that symbol has where the cursor stands. A symbol
// that has ids only at other positions of the tape is known, too.
func (s *session) tellSymbol(table *journal.Symbols, c *cursor, symbol string) (known bool) {
	if table == nil {
		return false
	}
	for _, id := range table.IDs(symbol) {
		known = true
		if at, ok := table.SymbolAt(id, c.schema, c.seq); ok && at == symbol {
			s.stageMapping(id, feed.STypeRawSymbol, symbol, symbol)
		}
	}
	return known
}

// tellID tells the mapping of an id. Where instruments are declared at all, one
// that is not is worth a word; it passes all the same.
func (s *session) tellID(table *journal.Symbols, c *cursor, id uint32, asked string) {
	if table == nil {
		return
	}
	if raw, ok := table.SymbolAt(id, c.schema, c.seq); ok {
		s.stageMapping(id, feed.STypeInstrumentID, asked, raw)
		return
	}
	if _, known := table.Symbol(id); !known && table.Len() > 0 {
		s.stageError(feed.ErrorSymbolResolutionFailed, "Failed to resolve symbol '"+asked+"': no instrument has this id yet; its data follows once somebody publishes it", true)
	}
}

// idsOf is how many ids a symbol ever had.
func (s *session) idsOf(table *journal.Symbols, symbol string) int {
	if table == nil {
		return 0
	}
	return len(table.IDs(symbol))
}

// tellMappings follows the symbol log: what took effect before a cursor's start,
// or before its tape began. Later mappings are marks of the tape. The cursors'
// tails were taken before the log's length is, so that a record's mapping always
// comes first.
func (s *session) tellMappings() {
	d := s.dataset()
	if d == nil {
		return
	}
	table := d.Symbols()
	for n := table.Len(); s.nextMap < n && s.room(1); s.nextMap++ {
		m := table.At(s.nextMap)
		tell := false
		for _, c := range s.cursors {
			if effect(&m, c.schema) < c.from && s.learn(c, m.ID, m.Symbol) {
				tell = true
			}
		}
		if tell {
			s.stageMapping(m.ID, feed.STypeRawSymbol, m.Symbol, m.Symbol)
		}
	}
}

// learn lets a cursor's filter take in a mapping. It reports whether the session
// must be told.
func (s *session) learn(c *cursor, id uint32, symbol string) bool {
	had := c.filter != nil && c.filter.lists(id)
	tell := c.filter.learn(id, symbol)
	switch {
	case c.filter == nil || c.filter.lists(id) == had:
	case had:
		s.group.replace(s)
	default:
		s.group.wants(s, id)
	}
	return tell
}

// effect is the seq from which a mapping holds on the tape of a schema.
func effect(m *journal.Mapping, schema feed.Schema) uint64 {
	for _, at := range m.At {
		if at.Schema == schema {
			return at.Seq
		}
	}
	return 0
}

// tellMarks tells what takes effect exactly where the cursor stands.
func (s *session) tellMarks(c *cursor) {
	for s.room(1) {
		m := c.mark()
		if m == nil || m.Seq > c.seq || c.off > 0 {
			return
		}
		c.nextMark++
		switch {
		case m.Mapping != nil:
			if s.learn(c, m.Mapping.ID, m.Mapping.Symbol) {
				s.stageMapping(m.Mapping.ID, feed.STypeRawSymbol, m.Mapping.Symbol, m.Mapping.Symbol)
			}
		case m.Gap != nil:
			s.stageGap(lsg.Gap{Schema: c.schema.String(), FromTs: orLeftOut(m.Gap.FromTs), ToTs: orLeftOut(m.Gap.ToTs), Cause: m.Gap.Cause, Records: m.Gap.Records})
		}
	}
}

// tellHole says how many records cannot be served where the cursor stands, and why, and goes on behind them.
func (s *session) tellHole(c *cursor) {
	if c.aged != nil && s.room(1) {
		s.stageGap(lsg.Gap{Schema: c.schema.String(), Cause: c.aged.Cause, FromTs: orLeftOut(c.aged.FromTs), ToTs: orLeftOut(c.aged.ToTs)})
		c.aged = nil
	}
	h, ok := c.hole()
	if !ok || !s.room(3) {
		return
	}
	if c.skipped > 0 { // told first, with its own place: who goes on behind the hole later must not miss it
		to := c.skipTo
		s.tellSkip(c)
		c.skipTo = to
	}
	s.stageGap(lsg.Gap{
		Schema: c.schema.String(), Cause: h.Cause, Records: h.To - c.seq, At: lsg.Position{Epoch: s.dataset().Epoch(), Seq: h.To}, HasAt: true,
	})
	if h.Cause == journal.CauseDamaged {
		s.loop.srv.metrics.damaged.Add(int(h.To - c.seq))
	}
	c.moveTo(h.To)
}

// tellProgress tells the end of a replay and what slow reading led to.
func (s *session) tellProgress(c *cursor) {
	if c.replaying && c.seq >= c.goal && s.room(1) {
		c.replaying = false
		s.stageSystem(feed.SystemReplayCompleted, "Finished "+c.schema.String()+" replay")
	}
	if c.warn && s.room(1) {
		c.warn = false
		s.stageSystem(feed.SystemSlowReader, fmt.Sprintf("Warning: slow reading of %s, %d bytes behind", c.schema, c.lag()))
	}
	if c.skipTo > 0 && c.seq >= c.skipTo {
		s.tellSkip(c)
	}
}

func (s *session) stageSystem(code feed.SystemCode, text string) {
	s.stageRecord(feed.AppendSystem(s.loop.scratch[:0], s.loop.sendNs, code, text))
}

func (s *session) stageError(code feed.ErrorCode, text string, last bool) {
	s.stageRecord(feed.AppendError(s.loop.scratch[:0], s.loop.sendNs, code, text, last))
}

func (s *session) stageGap(g lsg.Gap) {
	text, err := g.Text()
	if err != nil { // only a text of ours that is too long
		s.loop.srv.log.Error("a gap could not be told", zap.Uint64("session", s.id), zap.Error(err))
		return
	}
	s.stageSystem(feed.SystemUnset, text)
}

func (s *session) stageMapping(id uint32, stype feed.SType, asked, raw string) {
	s.stageRecord(feed.AppendSymbolMapping(s.loop.scratch[:0], feed.SymbolMappingFields{
		InstrumentID: id, TsEvent: s.loop.sendNs, StypeIn: stype, InSymbol: asked, StypeOut: feed.STypeRawSymbol, OutSymbol: raw,
		StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp,
	}))
}

// stageRecord adds one record to the staging buffer, stamped where the session
// asked for it. The caller has checked that there is room.
func (s *session) stageRecord(r feed.Record) {
	if s.auth.TsOut {
		s.loop.staging = feed.AppendWithTsOut(s.loop.staging, r, s.loop.sendNs)
		return
	}
	s.loop.staging = append(s.loop.staging, r...)
}
