package journal

import (
	"encoding/binary"

	"github.com/tapewire/tapewire/feed"
)

// Times is the least and greatest of each clock over a stretch of records; undefined times do not count, and a clock without any has Min > Max. The replay
// clock is the one that start= and end= go by, see feed.Schema.ReplayTime.
type Times struct{ MinEvent, MaxEvent, MinRecv, MaxRecv, MinReplay, MaxReplay uint64 }

var noTimes = Times{MinEvent: undefTime, MinRecv: undefTime, MinReplay: undefTime}

// has says whether any record of the stretch has a time of the clock that is not before ts.
func (s *Times) has(c feed.Clock, ts uint64) bool {
	least, greatest := s.by(c)
	return least <= greatest && greatest >= ts
}

// by is the least and the greatest time of a clock.
func (s *Times) by(c feed.Clock) (least, greatest uint64) {
	switch c {
	case feed.ClockRecv:
		return s.MinRecv, s.MaxRecv
	case feed.ClockReplay:
		return s.MinReplay, s.MaxReplay
	}
	return s.MinEvent, s.MaxEvent
}

func (s *Times) add(o Times) {
	s.MinEvent, s.MaxEvent = min(s.MinEvent, o.MinEvent), max(s.MaxEvent, o.MaxEvent)
	s.MinRecv, s.MaxRecv = min(s.MinRecv, o.MinRecv), max(s.MaxRecv, o.MaxRecv)
	s.addReplay(o.MinReplay, o.MaxReplay)
}

func (s *Times) addReplay(least, greatest uint64) {
	s.MinReplay, s.MaxReplay = min(s.MinReplay, least), max(s.MaxReplay, greatest)
}

// index is the span by which DBN orders records: ts_recv where there is one.
func (s *Times) index() (from, to uint64) {
	if s.MinRecv <= s.MaxRecv {
		return s.MinRecv, s.MaxRecv
	}
	return s.MinEvent, s.MaxEvent
}

// top is the greatest of all.
func (s *Times) top() uint64 { return max(s.MaxEvent, s.MaxRecv) }

// layout is where a schema's records have their times.
type layout struct {
	schema feed.Schema
	size   int
	recv   int // offset of ts_recv; negative: none
	flags  int // offset of the flags; negative: none
	byRecv bool
}

var layouts = func() (all [feed.NumSchemas]layout) {
	for s := range feed.Schema(feed.NumSchemas) {
		all[s] = layout{s, s.RecordSize(), s.TsRecvOffset(), s.FlagsOffset(), s.ReplayClock() == feed.ClockRecv}
	}
	return all
}()

// whole counts the records that b begins with, up to the first whose header is not one of the schema, and takes the greatest of their times; 0 when they have none.
func (l *layout) whole(b []byte) (n int, greatest uint64) {
	le, length, rtype := binary.LittleEndian, byte(l.size/4), byte(l.schema.RType())
	recv := max(l.recv, eventOffset) // where there is none, ts_event twice
	for ; len(b) >= l.size; b = b[l.size:] {
		if b[0] != length || b[1] != rtype {
			break
		}
		n++
		greatest = max(greatest, le.Uint64(b[eventOffset:])+1, le.Uint64(b[recv:])+1) // undefined is 0 then
	}
	return n, max(greatest, 1) - 1
}

// at is a record's time by a clock; undefTime when it has none.
func (l *layout) at(c feed.Clock, r []byte) uint64 {
	switch {
	case c == feed.ClockReplay:
		return l.schema.ReplayTime(r)
	case c == feed.ClockEvent:
		return binary.LittleEndian.Uint64(r[eventOffset:])
	case l.recv >= 0:
		return binary.LittleEndian.Uint64(r[l.recv:])
	}
	return undefTime
}

// times is those of whole records.
func (l *layout) times(b []byte) Times {
	le, k, undefined, flags := binary.LittleEndian, noTimes, false, byte(0)
	flagsAt := max(l.flags, 0) // byte 0 is the length, which is read and not looked at
	for rest := b; len(rest) >= l.size; rest = rest[l.size:] {
		flags |= rest[flagsAt]
		if ts := le.Uint64(rest[eventOffset:]); ts != undefTime {
			k.MinEvent, k.MaxEvent = min(k.MinEvent, ts), max(k.MaxEvent, ts)
		} else {
			undefined = true
		}
		if l.recv < 0 {
			continue
		}
		if ts := le.Uint64(rest[l.recv:]); ts != undefTime {
			k.MinRecv, k.MaxRecv = min(k.MinRecv, ts), max(k.MaxRecv, ts)
		} else {
			undefined = true
		}
	}
	switch {
	case undefined || l.flags >= 0 && !l.byRecv && feed.Flags(flags)&feed.FlagSnapshot != 0:
		for rest := b; len(rest) >= l.size; rest = rest[l.size:] { // not all by one clock
			if ts := l.schema.ReplayTime(rest[:l.size]); ts != undefTime {
				k.addReplay(ts, ts)
			}
		}
	case l.byRecv:
		k.MinReplay, k.MaxReplay = k.MinRecv, k.MaxRecv
	default:
		k.MinReplay, k.MaxReplay = k.MinEvent, k.MaxEvent
	}
	return k
}
