package main

import (
	"context"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// tapSpan is what --start and --end select, as a gateway's replay has it: of the records that were there when it began those whose time lies within,
// of later ones those before the end.
type tapSpan struct {
	schema     feed.Schema
	start, end *startTime
	goal       uint64 // seq of the first record that came later
	closing    bool   // the time of the end has come
	last       uint64 // the tail then: what lies below it is all
}

// has reports whether a record is selected.
func (s *tapSpan) has(rec feed.Record, seq uint64) bool {
	at := s.schema.ReplayTime(rec)
	if s.start != nil && seq < s.goal && at < uint64(*s.start) {
		return false
	}
	return s.end == nil || at < uint64(*s.end)
}

// over reports whether nothing more can come, where seq is the next record and tail the next to be written. As for a gateway the clock alone says when the
// end has come: a record's own time may be wrong.
func (s *tapSpan) over(seq, tail uint64, now time.Time) bool {
	if s.end == nil || uint64(max(0, now.UnixNano())) < uint64(*s.end) {
		return false
	}
	if !s.closing {
		s.closing, s.last = true, tail
	}
	return seq >= s.last
}

// wait bounds the wait for a record by the end.
func (s *tapSpan) wait(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.end == nil {
		return context.WithCancel(ctx)
	}
	end := uint64(*s.end)
	return context.WithDeadline(ctx, time.Unix(int64(end/1e9), int64(end%1e9)))
}
