package feed

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// ResumingSubscriberConfig says what a ResumingSubscriber receives. Position need not be set.
type ResumingSubscriberConfig struct {
	SubscriberConfig
	Subscriptions []Subscription // one for each schema, without Resume and Snapshot
	Progress      []Progress     // of an earlier one, to go on there; schemas that are not among them begin where their subscription says

	Once    bool // do not try again: the end of the session is the end
	Patient bool // try again also when the first session does not come about

	// Lost is told why a session ended, or did not come about, and after which pause the next one is tried. It may be nil.
	Lost func(err error, pause time.Duration)
	// Again is told that there is a session again. It may be nil.
	Again func()

	pause time.Duration // RedialFirst, but for tests
}

// ResumingSubscriber is a Subscriber that outlives its connection: when a session is lost it dials again, after a pause that doubles and is spread,
// and goes on with the record behind the last one that it handed out. Each record comes once, in its tape's order, also with filters, also after
// kill -9 of the gateway. What a recovery cut meanwhile, or what is kept no more, is told as a gap, where it was.
//
// Its methods are for one goroutine, but for Close.
type ResumingSubscriber struct {
	cfg     ResumingSubscriberConfig
	courses []*course
	byType  [256]*course

	names SymbolMap           // of the present session
	stale map[uint32]string   // names of earlier sessions that this one has not told again
	never map[string]struct{} // symbols that the present session cannot serve
	held  Record              // came, and is behind a mapping at which the loop was left
	pause time.Duration
	moved bool // something new came in the present session

	ctx    context.Context // ends when the subscriber is closed
	cancel context.CancelCauseFunc

	mu  sync.Mutex
	sub *Subscriber // nil while there is no session
}

// DialResumingSubscriber connects, authenticates, subscribes and starts the session. The context bounds only that. A failure of this first session is
// returned, since it is most often a wrong setting; later ones are tried again unless the gateway says that this is of no use.
func DialResumingSubscriber(ctx context.Context, cfg ResumingSubscriberConfig) (*ResumingSubscriber, error) {
	cfg.SubscriberConfig.Position = true
	cfg.pause = cmp.Or(cfg.pause, RedialFirst)
	r := &ResumingSubscriber{cfg: cfg, stale: map[uint32]string{}, pause: cfg.pause}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	for _, sub := range cfg.Subscriptions {
		if err := r.add(sub); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(r.courses, func(c *course) bool { return !c.Ended }) {
		return nil, fmt.Errorf("%w: there are no Subscriptions, or their Progress has all come to its End", ErrConfig)
	}
	err := r.dial(ctx)
	if err != nil && cfg.Patient && r.again(ctx, err) {
		err = r.redial(ctx)
	}
	if err != nil {
		r.cancel(err)
		return nil, err
	}
	return r, nil
}

// add takes one subscription of the configuration.
func (r *ResumingSubscriber) add(sub Subscription) error {
	if slices.Equal(sub.Symbols, []string{lsg.AllSymbols}) {
		sub.Symbols = nil
	}
	if err := sub.check(); err != nil {
		return err
	}
	if sub.Resume != nil || sub.Snapshot {
		return fmt.Errorf("%w: Resume and Snapshot are not for a ResumingSubscriber; give Progress to go on", ErrConfig)
	}
	if other := r.byType[sub.Schema.RType()]; other != nil {
		return fmt.Errorf("%w: %s and %s are told apart by nothing in their records; give a schema one Subscription, and those of one record type a ResumingSubscriber each",
			ErrConfig, other.schema, sub.Schema)
	}
	c := &course{sub: sub, schema: sub.Schema, Progress: Progress{Schema: sub.Schema.String()}}
	for _, p := range r.cfg.Progress {
		if p.Schema == c.Schema {
			c.Progress = p
		}
	}
	r.courses = append(r.courses, c)
	r.byType[sub.Schema.RType()] = c
	return nil
}

// Progress is how far each schema has come, the record that was handed out last included.
func (r *ResumingSubscriber) Progress() []Progress {
	list := make([]Progress, len(r.courses))
	for i, c := range r.courses {
		list[i] = c.Progress
	}
	return list
}

// Name is the symbol of an instrument at this place of the stream; false: it has none.
func (r *ResumingSubscriber) Name(id uint32) (string, bool) { return r.names.Name(id) }

// Records iterates over all records like Subscriber.Records, over as many sessions as there are. It ends after one error: that of ctx, after which a
// new call goes on; ErrClosed; and what makes trying again useless: a refusal, a SessionError with the gateway's words, or ErrChanged when the
// gateway's tape is not the one that was being received.
//
// A name that an id had in an earlier session and has no more is ended by a mapping with an empty one before the id's next record.
func (r *ResumingSubscriber) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			sub := r.session()
			if sub == nil {
				if err := r.redial(ctx); err != nil {
					yield(nil, err)
					return
				}
				continue
			}
			began := time.Now()
			err := r.follow(ctx, sub, yield)
			if err == nil {
				return // the loop was left
			}
			if r.moved || time.Since(began) > RedialLongest {
				r.pause = r.cfg.pause
			}
			if r.useful(ctx, err) && !r.cfg.Once {
				if r.drop(sub); r.again(ctx, err) {
					continue
				}
			}
			yield(nil, cmp.Or(context.Cause(ctx), context.Cause(r.ctx), err))
			return
		}
	}
}

// follow hands out a session's records until it ends; nil: the loop was left.
func (r *ResumingSubscriber) follow(ctx context.Context, sub *Subscriber, yield func(Record, error) bool) error {
	if rec := r.held; rec != nil {
		r.held = nil
		if more, err := r.hand(sub, rec, yield); !more {
			return err
		}
	}
	for rec, err := range sub.Records(ctx) {
		if err != nil {
			return err
		}
		if retraction := r.retract(rec); retraction != nil && !yield(retraction, nil) {
			r.held = rec
			return nil
		}
		if more, err := r.hand(sub, rec, yield); !more {
			return err
		}
	}
	return nil
}

// hand hands out one record, if it is a new one; false: the loop was left, or the session cannot go on.
func (r *ResumingSubscriber) hand(sub *Subscriber, rec Record, yield func(Record, error) bool) (more bool, err error) {
	pass, err := r.take(sub, rec)
	if err != nil {
		return false, err
	}
	if pass && !yield(rec, nil) {
		return false, nil
	}
	if !rec.RType().IsControl() {
		return true, nil
	}
	if rec.RType() == RTypeError {
		if refused := r.Refused(); len(refused) == len(r.courses) { // nothing can come any more
			return false, refused[0]
		}
	}
	return r.tellEnds(yield), nil
}

// tellEnds says of subscriptions that all before their end has come, where a gateway does not.
func (r *ResumingSubscriber) tellEnds(yield func(Record, error) bool) (more bool) {
	for i, c := range r.courses {
		if !c.over(time.Now()) {
			continue
		}
		c.Ended = true
		text, err := lsg.End{Schema: c.Schema, ID: uint64(i + 1), Ts: *c.sub.End}.Text()
		if err == nil && !yield(AppendSystem(nil, now(), SystemUnset, text), nil) {
			return false
		}
	}
	return true
}

// take accounts for a record and reports whether it is to be handed out.
func (r *ResumingSubscriber) take(sub *Subscriber, rec Record) (pass bool, err error) {
	if !rec.RType().IsControl() {
		c := r.byType[rec.RType()]
		if c == nil {
			return true, nil
		}
		if sub.meta.TsOut {
			pass, err = c.data(rec[:len(rec)-TsOutSize])
		} else {
			pass, err = c.data(rec)
		}
		r.moved = r.moved || pass
		return pass, err
	}
	if m, ok := View[SymbolMappingMsg](rec); ok {
		delete(r.stale, m.InstrumentID)
		r.names.Learn(rec)
		return true, nil
	}
	if m, ok := View[SystemMsg](rec); ok {
		return r.system(m.Code, m.Text())
	}
	if m, ok := View[ErrorMsg](rec); ok && m.Code == ErrorSymbolResolutionFailed {
		r.unresolved(m.Text())
	}
	return true, nil
}

// system takes what the gateway says about the stream. What is not known passes. Error: ErrChanged.
func (r *ResumingSubscriber) system(code SystemCode, text string) (pass bool, err error) {
	switch {
	case code == SystemReplayCompleted:
		name, _ := strings.CutPrefix(text, "Finished ")
		if c := r.course(strings.TrimSuffix(name, " replay")); c != nil {
			return c.replayed()
		}
	case code != SystemUnset:
	case lsg.IsPosition(text):
		if p, err := lsg.ParsePosition(text); err == nil {
			if c := r.course(p.Schema); c != nil {
				c.at(p)
			}
		}
	case lsg.IsGap(text):
		if g, err := lsg.ParseGap(text); err == nil {
			return r.gap(text, g), nil
		}
	case lsg.IsEnd(text):
		if e, err := lsg.ParseEnd(text); err == nil {
			if c := r.course(e.Schema); c != nil {
				told := c.Ended
				c.Ended = true
				return !told, nil
			}
		}
	case lsg.IsWaiting(text):
		if w, err := lsg.ParseWaiting(text); err == nil && w.Symbol == "" {
			if c := r.course(w.Schema); c != nil {
				c.First = !c.Known
			}
		}
	}
	return true, nil
}

// gap takes a gap of one schema, or of all of them.
func (r *ResumingSubscriber) gap(text string, g lsg.Gap) (pass bool) {
	if g.Schema != "" {
		c := r.course(g.Schema)
		return c == nil || c.gap(text, g)
	}
	for _, c := range r.courses {
		pass = c.gap(text, g) || pass
	}
	return pass
}

func (r *ResumingSubscriber) course(schema string) *course {
	for _, c := range r.courses {
		if c.Schema == schema {
			return c
		}
	}
	return nil
}

// retract ends the name of rec's instrument where only an earlier session told it.
func (r *ResumingSubscriber) retract(rec Record) Record {
	if len(r.stale) == 0 || rec.RType().IsControl() {
		return nil
	}
	id := rec.InstrumentID()
	name, ok := r.stale[id]
	if !ok {
		return nil
	}
	delete(r.stale, id)
	return AppendSymbolMapping(nil, SymbolMappingFields{
		InstrumentID: id, TsEvent: now(), StypeIn: STypeRawSymbol, InSymbol: name, StypeOut: STypeRawSymbol, StartTs: UndefTimestamp, EndTs: UndefTimestamp,
	})
}

// Close closes the connection. It may be called from another goroutine, and ends a blocked iteration with ErrClosed.
func (r *ResumingSubscriber) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel(ErrClosed)
	if r.sub != nil {
		return r.sub.Close()
	}
	return nil
}
