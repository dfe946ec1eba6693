package gateway

import (
	"errors"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// errSeekBroke is what a search ends with that panicked.
var errSeekBroke = errors.New("the search broke off; the gateway's log says why")

// seek finds where requests begin and goes on with then. A time may have to be
// looked up in an index on disk: not on this loop. Requests that come meanwhile wait
// in s.requests, since lines take effect in the order in which they were sent.
func (s *session) seek(requests []request, then func([]request)) {
	d := s.dataset()
	if d == nil || !needsSeek(requests) {
		if s.resumeAll(d, requests) {
			then(requests)
		}
		return
	}
	s.seeking = true // the session stays on this loop meanwhile
	l := s.loop
	go func() {
		err := errSeekBroke
		l.contain(func() { err = seekAll(d, requests) })
		l.post(func() { s.found(d, requests, err, then) })
	}()
}

// found goes on where seek left off, unless the session has ended meanwhile.
func (s *session) found(d *journal.Dataset, requests []request, err error, then func([]request)) {
	s.seeking = false
	switch {
	case s.closed || s.ending || s.farewell != "":
		s.requests = nil // it was told why, or is gone
	case err != nil:
		s.fail(feed.ErrorInternal, "Cannot find the start of the replay: "+err.Error(), false)
	case s.resumeAll(d, requests):
		then(requests)
		s.admitLate()
	}
	if !s.closed {
		s.loop.enqueue(s)
	}
}

// needsSeek reports whether a request begins at a time that has to be looked up.
func needsSeek(requests []request) bool {
	for _, r := range requests {
		if r.hasStart && r.start > 0 {
			return true
		}
	}
	return false
}

// seekAll finds the first record of each request that starts at a time.
func seekAll(d *journal.Dataset, requests []request) (err error) {
	for i := range requests {
		r := &requests[i]
		tape := d.Tape(r.schema)
		if !r.hasStart || r.start == 0 || r.hasResume || tape == nil {
			continue
		}
		if r.seq, err = tape.Seek(feed.ClockReplay, r.start); err != nil {
			return err
		}
	}
	return nil
}

// resumeAll finds where the other requests begin: at a position, or with what is
// kept. When it cannot the session ends.
func (s *session) resumeAll(d *journal.Dataset, requests []request) bool {
	for i := range requests {
		r := &requests[i]
		switch {
		case r.hasResume:
			var err error
			if r.seq, err = resumeAt(d, r.schema, r.resume); err != nil {
				s.fail(feed.ErrorInvalidSubscription, err.Error(), false)
				return false
			}
		case r.hasStart && d != nil:
			if t := d.Tape(r.schema); t != nil {
				r.seq = max(r.seq, t.First()) // from the beginning is from what is kept
			}
		}
	}
	return true
}

// replayStart is the earliest start that was asked for, in ns, or now.
func (s *session) replayStart() uint64 {
	start := uint64(s.loop.now.UnixNano())
	for _, r := range s.requests {
		if r.hasStart && !r.hasResume {
			start = min(start, r.start)
		}
	}
	return start
}
