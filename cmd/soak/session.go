package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// session is one connection of a subscriber, checked record by record.
type session struct {
	run    *run
	plan   *plan
	sub    *feed.Subscriber
	choke  *choke // for one that is going to stall
	tracks map[feed.Schema]*track
	mapped []bool // by instrument id: its symbol was told
	acks   int
	skip   uint64 // records that an error said were skipped; the gap that follows says where
	taken  uint64 // data records
	missed bool   // it was told that records have expired
}

const (
	look       = 250 * time.Millisecond // how often a session looks whether it is time for something else
	shortBeat  = 5 * time.Second        // the shortest heartbeat
	beatMargin = 5 * time.Second        // what was committed so long before a heartbeat must have come before it
)

// open connects, subscribes and starts. The tapes are opened and looked at around it: what a live session begins with lies between.
func (r *run) open(ctx context.Context, p *plan) (*session, error) {
	s := &session{run: r, plan: p, tracks: map[feed.Schema]*track{}}
	b, starts := r.books[p.dataset], map[feed.Schema]uint64{}
	for _, schema := range p.schemas {
		t, err := r.track(p, schema, starts)
		if err != nil {
			return s, fmt.Errorf("%w: %w", errOwn, err)
		}
		s.tracks[schema] = t
	}
	addr := r.gateway.addr
	if p.stallFor > 0 {
		c, err := newChoke(addr)
		if err != nil {
			return s, fmt.Errorf("%w: %w", errOwn, err)
		}
		s.choke, addr = c, c.addr()
	}
	sub, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{
		Addr: addr, Dataset: datasets[p.dataset], TsOut: p.tsOut, Position: p.position, SlowReader: p.slow, Heartbeat: shortBeat, Client: "tapewire soak",
	})
	if err != nil {
		return s, err
	}
	s.sub = sub
	for _, x := range p.subscriptions(b, starts) {
		if err := sub.Subscribe(x); err != nil {
			return s, err
		}
	}
	_, err = sub.Start()
	return s, err
}

// errOwn: something failed that does not depend on whether the gateway is there.
var errOwn = errors.New("this program")

// track places a track where a session is going to begin.
func (r *run) track(p *plan, schema feed.Schema, starts map[feed.Schema]uint64) (*track, error) {
	tp, err := openTape(r.where, p.dataset, schema)
	if err != nil {
		return nil, err
	}
	t := &track{schema: schema, tape: tp, follower: r.follower(p.dataset, schema), wanted: r.books[p.dataset].wanted(p.symbols), tsOut: p.tsOut}
	tail := tp.tail()
	t.goal, t.replay = tail, true
	switch p.from {
	case fromPosition:
		t.at, t.resume, t.resumes = p.resume[schema].Seq, p.resume[schema], true
		return t, nil
	case live:
		t.at, t.loose, t.replay = tail, unplaced, false
		return t, nil
	case fromTime:
		rec, err := tp.at(tail - min(tail, p.back))
		if err != nil {
			return t, err
		}
		t.start = rec.TsEvent()
		starts[schema] = t.start
	}
	// What is kept begins here, or further on by the time the gateway looks.
	if t.at, err = tp.first(); err != nil {
		return t, err
	}
	t.begins, t.loose = []uint64{t.at}, unplaced
	if p.from == fromTime {
		t.at, err = t.follower.find(tp, t.start, t.at)
	}
	return t, err
}

func (s *session) close() {
	if s.sub != nil {
		s.sub.Close()
	}
	if s.choke != nil {
		s.choke.close()
	}
	for _, t := range s.tracks {
		t.tape.close()
	}
}

// receive takes records for a while, or until there are no more. It returns nil when it is time to look at something else.
func (s *session) receive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, look)
	defer cancel()
	before := s.taken
	defer func() { s.run.tally.received.Add(s.taken - before) }()
	for r, err := range s.sub.Records(ctx) {
		if err == nil {
			err = s.take(r)
			if err != nil {
				return fmt.Errorf("%w: %w", errWrong, err)
			}
			if s.plan.most > 0 && s.taken >= s.plan.most {
				return nil
			}
			continue
		}
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return nil
		}
		return err
	}
	return nil
}

// errWrong: what was received is not what had to come.
var errWrong = errors.New("wrong")

func (s *session) take(r feed.Record) error {
	switch r.RType() {
	case feed.RTypeMbp0:
		return s.data(feed.SchemaTrades, r)
	case feed.RTypeMbp1:
		return s.data(feed.SchemaMbp1, r)
	case feed.RTypeSymbolMapping:
		return s.mapping(r)
	case feed.RTypeSystem:
		return s.system(r)
	case feed.RTypeError:
		return s.error(r)
	}
	return fmt.Errorf("a record of type %#x came", uint8(r.RType()))
}

func (s *session) data(schema feed.Schema, r feed.Record) error {
	t := s.tracks[schema]
	if t == nil {
		return fmt.Errorf("%s came, of a schema that was not asked for", describe(r))
	}
	if s.acks < len(s.tracks) {
		return fmt.Errorf("%s came before the subscriptions were confirmed", describe(r))
	}
	if id := int(r.InstrumentID()); id >= len(s.mapped) || !s.mapped[id] {
		return fmt.Errorf("%s came before its symbol was told", describe(r))
	}
	s.taken++
	return t.data(r)
}

func (s *session) mapping(r feed.Record) error {
	m, ok := feed.View[feed.SymbolMappingMsg](r)
	if !ok {
		return errors.New("a symbol mapping has the wrong size")
	}
	for symbol := range symbols {
		if symbolName(symbol) == m.OutSymbol() && s.run.books[s.plan.dataset].id(symbol) == m.InstrumentID {
			for len(s.mapped) <= int(m.InstrumentID) {
				s.mapped = append(s.mapped, false)
			}
			s.mapped[m.InstrumentID] = true
			return nil
		}
	}
	return fmt.Errorf("id %d is said to be %q", m.InstrumentID, m.OutSymbol())
}

func (s *session) system(r feed.Record) error {
	m, ok := feed.View[feed.SystemMsg](r)
	if !ok {
		return errors.New("a system record has the wrong size")
	}
	text := m.Text()
	switch {
	case m.Code == feed.SystemSubscriptionAck:
		s.acks++
		for _, t := range s.tracks {
			if err := t.placed(time.Now()); err != nil {
				return err
			}
		}
		return nil
	case m.Code == feed.SystemHeartbeat:
		return s.heartbeat(m.TsEvent)
	case m.Code == feed.SystemSlowReader:
		s.run.tally.warnings.Add(1)
		return nil
	case m.Code == feed.SystemReplayCompleted:
		for schema, t := range s.tracks {
			if text == "Finished "+schema.String()+" replay" {
				return t.replayed()
			}
		}
	case lsg.IsPosition(text):
		p, err := lsg.ParsePosition(text)
		if err != nil {
			return err
		}
		for schema, t := range s.tracks {
			if p.Schema == schema.String() && s.plan.position {
				return t.position(p)
			}
		}
	case lsg.IsGap(text):
		return s.gap(text)
	}
	return fmt.Errorf("system record %v came: %s", m.Code, text)
}

// heartbeat checks that nothing was due long before the gateway said that there is nothing. In a replay it may be looking for what
// the filter passes.
func (s *session) heartbeat(sentNs uint64) error {
	s.run.tally.heartbeats.Add(1)
	for schema, t := range s.tracks {
		if t.replay || t.loose == unplaced {
			continue
		}
		sent := time.Unix(0, int64(sentNs))
		if err := t.pass(s.run.follower(s.plan.dataset, schema).tailAt(sent.Add(-beatMargin)), "a heartbeat came"); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) gap(text string) error {
	g, err := lsg.ParseGap(text)
	if err != nil {
		return err
	}
	for schema, t := range s.tracks {
		switch {
		case g.Schema != schema.String() || s.acks < len(s.tracks):
		case g.Cause == lsg.CauseSkipped && s.plan.skips(schema):
			return s.skipped(t, g)
		case g.Cause == lsg.CauseExpired:
			return s.expired(t, g)
		}
	}
	return fmt.Errorf("a gap came that nobody caused: %s", text)
}

func (s *session) skipped(t *track, g lsg.Gap) error {
	if g.Records != s.skip {
		return fmt.Errorf("%d records were skipped by the error record, %d by the gap", s.skip, g.Records)
	}
	s.skip = 0
	s.run.tally.skips.Add(1)
	s.run.tally.skipped.Add(g.Records)
	return t.skipped(g)
}

func (s *session) expired(t *track, g lsg.Gap) error {
	if !s.missed {
		s.missed = true
		s.run.tally.missed.Add(1)
	}
	if g.HasAt {
		s.run.tally.stoodIn.Add(1)
		return t.expired(g, time.Now())
	}
	s.run.tally.agedOut.Add(1)
	return t.agedOut(g)
}

func (s *session) error(r feed.Record) error {
	m, ok := feed.View[feed.ErrorMsg](r)
	if !ok {
		return errors.New("an error record has the wrong size")
	}
	switch {
	case m.Code == feed.ErrorSkippedRecords && scan(strings.TrimPrefix(m.Text(), "Slow client detected for mbp-1. "), "Skipped %d records", &s.skip):
		return nil
	case m.Code == feed.ErrorInternal && strings.Contains(m.Text(), "shutting down"):
		return nil // the end that follows is judged by whoever ended the gateway
	}
	return fmt.Errorf("error record %v came: %s", m.Code, m.Text())
}
