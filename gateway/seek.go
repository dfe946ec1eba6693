package gateway

import (
	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// needsSeek reports whether a request begins at a time that has to be looked up.
func needsSeek(requests []request) bool {
	for _, r := range requests {
		if r.hasStart && r.start > 0 {
			return true
		}
	}
	return false
}

// seekAll finds the first record of each request that starts at a time, by seq.
func seekAll(d *journal.Dataset, requests []request) ([]uint64, error) {
	found := make([]uint64, len(requests))
	for i, r := range requests {
		tape := d.Tape(r.schema)
		if !r.hasStart || r.start == 0 || tape == nil {
			continue
		}
		var err error
		if found[i], err = tape.Seek(feed.ClockReplay, r.start); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// resumeAll finds where the requests that go on from a position do, by seq.
func resumeAll(d *journal.Dataset, requests []request) ([]uint64, error) {
	seqs := make([]uint64, len(requests))
	for i, r := range requests {
		if !r.hasResume {
			continue
		}
		var err error
		if seqs[i], err = resumeAt(d, r.schema, r.resume); err != nil {
			return nil, err
		}
	}
	return seqs, nil
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
