package gateway

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// intro is something a session is told once, in order, before data goes on.
type intro struct {
	kind    introKind
	request request
	from    uint64  // introMetadata: start of the replay, ns
	filter  *filter // introSubscribe, introUnsubscribe: what is resolved so far
	acked   bool    // introSubscribe: the request is
	next    int     // the first symbol that is not resolved yet
	nextID  int     // and the first of its ids that is not looked at
	cursor  *cursor // introInterval
}

type introKind uint8

const (
	introMetadata introKind = iota
	introSubscribe
	introUnsubscribe
	introRefused
	introHeartbeat
	introInterval
	introPositions
)

// tell stages the control records that are due, as many as fit. It reports
// whether it staged any, and whether it has more to do first: data waits until
// nothing is left to tell.
func (s *session) tell() (staged, busy bool, err error) {
	before := len(s.loop.staging)
	if s.begun && s.farewell == "" && !s.walkOn() { // a subscription must not be resolved with half the names of one day
		return len(s.loop.staging) > before, true, nil
	}
	told, err := s.tellIntros()
	if err != nil {
		return false, false, err
	}
	switch {
	case !told:
		busy = true
	case !s.begun:
	case !s.walkOn() || !s.freshen() || !s.follow():
		busy = true
	default:
		for s.join() {
		}
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
	return len(s.loop.staging) > before, busy, nil
}

// room reports whether n more control records fit the staging buffer.
func (s *session) room(n int) bool {
	const largest = 320 + 8 // a SystemMsg with ts_out
	return cap(s.loop.staging)-len(s.loop.staging) >= n*largest
}

// tellIntros reports whether all are told.
func (s *session) tellIntros() (all bool, err error) {
	for work := walkStep; len(s.intros) > 0; s.intros = s.intros[1:] {
		if !s.room(2) || work <= 0 {
			return false, nil
		}
		switch in := &s.intros[0]; in.kind {
		case introMetadata:
			m := feed.Metadata{
				Version: 3, Dataset: s.auth.Dataset, Schema: feed.SchemaNone, Start: in.from, End: feed.UndefTimestamp,
				StypeIn: feed.STypeNone, StypeOut: feed.STypeInstrumentID, TsOut: s.auth.TsOut,
			}
			if s.loop.staging, err = m.Append(s.loop.staging); err != nil {
				return false, fmt.Errorf("metadata: %w", err)
			}
		case introRefused:
			s.stageError(feed.ErrorSymbolResolutionFailed, lsg.Unresolved{ID: in.request.id, Reason: in.request.refused}.Text(), true)
		case introHeartbeat:
			s.stageSystem(feed.SystemHeartbeat, "Heartbeat")
		case introInterval:
			s.tellInterval(in.cursor)
		case introPositions:
			if !s.tellPositions() {
				return false, nil
			}
		case introUnsubscribe:
			if !s.resolve(in, &work, false) {
				return false, nil
			}
			s.unsubscribe(&in.request, in.filter)
			s.stageSystem(feed.SystemUnsubscribeAck, fmt.Sprintf("Unsubscription request for %s data succeeded", in.request.schema))
		case introSubscribe:
			if !s.tellSubscription(in, &work) {
				return false, nil
			}
		}
	}
	s.intros = nil
	return true, nil
}

// tellSubscription confirms a request, tells the names of what it asks for, and
// makes it a part of its cursor. It reports whether it came to the end.
func (s *session) tellSubscription(in *intro, work *int) bool {
	r := &in.request
	if !in.acked {
		in.acked = true
		s.stageSystem(feed.SystemSubscriptionAck, fmt.Sprintf("Subscription request %d for %s data succeeded", r.id, r.schema))
		if s.tapeOf(r.schema) == nil {
			s.tellWaiting(r.schema)
		}
		if s.names.entries == 0 && s.names.walk == nil {
			s.beginNames(r)
		}
	}
	if r.symbols == nil {
		in.filter.all = true
		s.tellAllNames()
	} else if !s.resolve(in, work, true) {
		return false
	}
	s.enlist(r, in.filter)
	return true
}

// tapeOf is nil until the first record of a schema.
func (s *session) tapeOf(schema feed.Schema) *journal.Tape {
	if d := s.dataset(); d != nil {
		return d.Tape(schema)
	}
	return nil
}

// tellWaiting says that there is nothing yet, which a misspelt name would
// otherwise look like for ever.
func (s *session) tellWaiting(schema feed.Schema) {
	what := "dataset " + s.auth.Dataset
	if s.dataset() != nil {
		what = schema.String() + " of " + what
	}
	s.stageWaiting(lsg.Waiting{Schema: schema.String(), Words: "nothing is published to " + what + " yet; what is will follow"})
}

// tellMarks tells what takes effect exactly where the cursor stands.
func (s *session) tellMarks(c *cursor) {
	for s.room(1) {
		m := c.mark()
		if m == nil || m.Seq > c.seq || c.off > 0 {
			return
		}
		c.nextMark++
		if m.Gap.Cause == journal.CauseQuarantined && m.Seq == c.begun {
			continue // it came through the hole, and was told there what of it it lacks
		}
		s.stageGap(lsg.Gap{Schema: c.schema.String(), FromTs: orLeftOut(m.Gap.FromTs), ToTs: orLeftOut(m.Gap.ToTs), Cause: m.Gap.Cause, Records: m.Gap.Records})
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
	if h.Cause == journal.CauseQuarantined {
		c.begun = h.To
	}
	c.moveTo(h.To)
}

// tellProgress tells the end of a replay and what slow reading led to.
func (s *session) tellProgress(c *cursor) {
	if c.replaying && c.seq >= c.goal && s.room(1) {
		c.replaying = false
		s.stageSystem(feed.SystemReplayCompleted, "Finished "+c.schema.String()+" replay")
	}
	if c.wants != nil {
		c.settle()
		if c.wants == nil {
			s.group.replace(s)
		}
	}
	s.tellEnd(c)
	if c.warn && s.room(1) {
		c.warn = false
		s.stageSystem(feed.SystemSlowReader, fmt.Sprintf("Warning: slow reading of %s, %d bytes behind", c.schema, c.lag()))
	}
	if c.skipTo > 0 && c.seq >= c.skipTo {
		s.tellSkip(c)
	}
}

func (s *session) stageSystem(code feed.SystemCode, text string) {
	s.stageRecord(feed.AppendSystem(s.loop.scratch[:0], s.loop.stamp(), code, text))
}

func (s *session) stageError(code feed.ErrorCode, text string, last bool) {
	s.stageRecord(feed.AppendError(s.loop.scratch[:0], s.loop.stamp(), code, text, last))
}

func (s *session) stageGap(g lsg.Gap) {
	text, err := g.Text()
	if err != nil { // only a text of ours that is too long
		s.loop.srv.log.Error("a gap could not be told", zap.Uint64("session", s.id), zap.Error(err))
		return
	}
	s.stageSystem(feed.SystemUnset, text)
}

func (s *session) stageWaiting(w lsg.Waiting) {
	w.Dataset = s.auth.Dataset
	text, err := w.Text()
	if err != nil { // a line may hold what an answer may not
		s.loop.srv.log.Error("a wait could not be told", zap.Uint64("session", s.id), zap.Error(err))
		return
	}
	s.stageSystem(feed.SystemUnset, text)
}

func (s *session) stageMapping(id uint32, stype feed.SType, asked, raw string) {
	s.stageRecord(feed.AppendSymbolMapping(s.loop.scratch[:0], feed.SymbolMappingFields{
		InstrumentID: id, TsEvent: s.loop.stamp(), StypeIn: stype, InSymbol: asked, StypeOut: feed.STypeRawSymbol, OutSymbol: raw,
		StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp,
	}))
}

// stageRecord adds one record to the staging buffer, stamped where the session
// asked for it. The caller has checked that there is room.
func (s *session) stageRecord(r feed.Record) {
	if s.auth.TsOut {
		s.loop.staging = feed.AppendWithTsOut(s.loop.staging, r, s.loop.stamp())
		return
	}
	s.loop.staging = append(s.loop.staging, r...)
}
