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
	past       bool   // a later record lay at the end or beyond it
}

// has reports whether a record is selected.
func (s *tapSpan) has(rec feed.Record, seq uint64) bool {
	at := s.schema.ReplayTime(rec)
	if s.start != nil && seq < s.goal && at < uint64(*s.start) {
		return false
	}
	if s.end == nil || at < uint64(*s.end) {
		return true
	}
	s.past = s.past || seq >= s.goal && at != feed.UndefTimestamp
	return false
}

// over reports whether nothing more can come, where seq is the next record.
func (s *tapSpan) over(seq uint64, now time.Time) bool {
	return s.end != nil && seq >= s.goal && (s.past || uint64(max(0, now.UnixNano())) >= uint64(*s.end))
}

// wait bounds the wait for a record by the end.
func (s *tapSpan) wait(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.end == nil {
		return context.WithCancel(ctx)
	}
	end := uint64(*s.end)
	return context.WithDeadline(ctx, time.Unix(int64(end/1e9), int64(end%1e9)))
}
