package gateway

import (
	"slices"

	"github.com/tapewire/tapewire/feed"
)

// want is one subscription's share of a cursor. A cursor passes over the tape once
// for all its subscriptions, and each begins where it was asked to: a start belongs
// to its subscription alone.
type want struct {
	id     uint64 // of the request
	filter *filter
	from   uint64 // the first record that can be meant
	until  uint64 // the end of what was there when it was asked for: below it is replay
	start  uint64 // ns by the schema's replay clock: of a replay, what is earlier is not meant
	end    uint64 // ns: what is not earlier is not meant; feed.UndefTimestamp: there is no end

	held uint64 // of a replay beside a live cursor: from this record on that one leaves its instruments to this one

	had     []had     // what the session got of it before, by others
	dropped []dropped // what was unsubscribed since, and where

	closing bool // its end has come: what is committed from closeAt on is not for it
	closeAt uint64
}

// had is what another subscription of the session delivered, up to a record.
type had struct {
	want *want
	to   uint64
}

// dropped is what a subscription lost, from a record on.
type dropped struct {
	filter *filter
	from   uint64
}

// noEnd is the end of what goes on for good.
const noEnd = feed.UndefTimestamp

// asks reports whether the subscription means a record by its place and time.
func (w *want) asks(schema feed.Schema, seq uint64, r feed.Record) bool {
	switch {
	case seq < w.from:
		return false
	case w.end == noEnd && (w.start == 0 || seq >= w.until):
		return true
	}
	return w.holds(schema.ReplayTime(r), seq)
}

// holds is asks for a time. A record without one is meant: nobody can say that it is not.
func (w *want) holds(ts, seq uint64) bool {
	if ts == feed.UndefTimestamp {
		return true
	}
	return (ts >= w.start || seq >= w.until) && (w.end == noEnd || ts < w.end)
}

// means reports whether the subscription is about the record.
func (w *want) means(schema feed.Schema, seq uint64, r feed.Record, name string) bool {
	if !w.asks(schema, seq, r) || !w.filter.wants(r.InstrumentID(), name) {
		return false
	}
	for _, d := range w.dropped {
		if seq >= d.from && d.filter.wants(r.InstrumentID(), name) {
			return false
		}
	}
	return true
}

// passes reports whether the record is to be sent for this subscription: it means
// it, and the session has not got it for another one.
func (w *want) passes(schema feed.Schema, seq uint64, r feed.Record, name string) bool {
	if !w.means(schema, seq, r, name) {
		return false
	}
	for _, h := range w.had {
		if seq < h.to && h.want.means(schema, seq, r, name) {
			return false
		}
	}
	return true
}

// over reports whether from seq on the subscription means every record of its
// instruments, so that nobody has to look at it any more.
func (w *want) over(seq uint64) bool {
	if seq < w.from || seq < w.until || w.end != noEnd {
		return false
	}
	for _, h := range w.had {
		if seq < h.to {
			return false
		}
	}
	return true
}

// looks is how many subscriptions have to be looked at for a record.
func (c *cursor) looks() (n int) {
	for _, w := range c.wants {
		n += 1 + len(w.dropped)
		for _, h := range w.had {
			n += 1 + len(h.want.dropped)
		}
	}
	return n
}

// settle lets go of the subscriptions of a cursor once each means all that its
// filter passes.
func (c *cursor) settle() {
	for _, w := range c.wants {
		if !w.over(c.seq) {
			return
		}
	}
	c.wants = nil
}

// wanted reports whether one of the cursor's subscriptions means the record.
func (c *cursor) wanted(r feed.Record, name string) bool {
	if c.wants == nil {
		return true
	}
	for _, w := range c.wants {
		if w.passes(c.schema, c.seq, r, name) {
			return true
		}
	}
	return c.live != nil && c.heldBack(r, name)
}

// heldBack reports whether a live subscription means the record, whose instrument the
// live cursor leaves to this one: what a replay with an end does not mean any more is
// the other's all the same.
func (c *cursor) heldBack(r feed.Record, name string) bool {
	held := func(w *want) bool {
		return w.end != noEnd && c.seq >= w.held && w.filter.wants(r.InstrumentID(), name)
	}
	if !slices.ContainsFunc(c.wants, held) {
		return false
	}
	return slices.ContainsFunc(c.live.given, func(w *want) bool { return w.passes(c.schema, c.seq, r, name) })
}
