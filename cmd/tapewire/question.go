package main

import (
	"context"
	"strconv"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A session tells what nobody has published when it subscribes, and then no more than its span holds. So before it is said that something was never
// published, the gateway is asked once more: it may lie outside of the span, or have come meanwhile.

// questionPatience is how long the answer may take: to find an id without a name a gateway reads through a tape.
const questionPatience = 10 * time.Second

// beyondAll is a start behind all that is kept, ns.
const beyondAll = feed.UndefTimestamp - 1

// question asks a gateway for what was not heard of, and takes out what is there. Without an answer it stays as it is.
func (u *unheard) question(ctx context.Context, cfg feed.SubscriberConfig, schemas []string) error {
	ctx, cancel := context.WithTimeout(ctx, questionPatience)
	defer cancel()
	for pause := feed.RedialFirst; ; pause *= 2 {
		err := u.questionOnce(ctx, cfg, u.subscriptions(schemas))
		if err == nil || pause > time.Second { // what is left of the session before may count against a limit of the key
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// questionOnce asks in one session.
func (u *unheard) questionOnce(ctx context.Context, cfg feed.SubscriberConfig, asked []feed.Subscription) error {
	if len(asked) == 0 {
		return nil
	}
	sub, err := feed.DialSubscriber(ctx, cfg)
	if err != nil {
		return err
	}
	defer sub.Close()
	for _, s := range asked {
		if err := sub.Subscribe(s); err != nil {
			return err
		}
	}
	if _, err := sub.Start(); err != nil {
		return err
	}
	a := answer{unheard: unheard{IDs: u.IDs, Ties: u.Ties}, before: u, open: map[string]bool{}} // an id that is heard of is out, whatever follows
	for _, s := range asked {
		a.open[s.Schema.String()] = true
	}
	for rec, err := range sub.Records(ctx) {
		if err != nil {
			return err
		}
		if a.take(rec) {
			break
		}
	}
	*u = a.unheard
	return nil
}

// subscriptions ask for as little as shows what is there: of a schema alone, for an id that nobody has.
func (u *unheard) subscriptions(schemas []string) (list []feed.Subscription) {
	var ids, symbols []string
	for id := range u.IDs {
		ids = append(ids, strconv.FormatUint(uint64(id), 10))
	}
	for symbol := range u.Symbols {
		symbols = append(symbols, symbol)
	}
	for _, name := range schemas {
		schema, err := feed.ParseSchema(name)
		if err != nil {
			continue // nobody could subscribe to it
		}
		_, missing := u.Schemas[schema.RType()]
		switch {
		case len(symbols) > 0: // they mean the same in each schema
			list = append(list, feed.Subscription{Schema: schema, SType: feed.STypeRawSymbol, Symbols: symbols, Start: new(uint64(beyondAll))})
			symbols = nil
		case missing && len(ids) == 0:
			list = append(list, feed.Subscription{Schema: schema, SType: feed.STypeInstrumentID, Symbols: []string{"0"}, Start: new(uint64(beyondAll))})
		}
		if len(ids) > 0 {
			list = append(list, feed.Subscription{Schema: schema, SType: feed.STypeInstrumentID, Symbols: ids, Start: new(uint64)})
		}
	}
	return list
}

// answer takes what a session says to subscriptions, and what they were about.
type answer struct {
	unheard
	before *unheard
	open   map[string]bool // schemas whose past is still to come
}

// take reports whether nothing more can come that matters.
func (a *answer) take(rec feed.Record) (whole bool) {
	a.hear(rec)
	if !rec.RType().IsControl() {
		return len(a.IDs) == 0 // all else was told before the first record
	}
	m, ok := feed.View[feed.SystemMsg](rec)
	if !ok {
		return false
	}
	if m.Code == feed.SystemReplayCompleted {
		delete(a.open, replayedSchema(m.Text()))
		return len(a.open) == 0
	}
	w, err := lsg.ParseWaiting(m.Text())
	if err != nil || m.Code != feed.SystemUnset || w.InstrumentID != "" {
		return false
	}
	if schema, err := feed.ParseSchema(w.Schema); w.Symbol != "" || err == nil && a.before.Schemas[schema.RType()] != "" {
		a.wait(w)
	}
	return false
}
