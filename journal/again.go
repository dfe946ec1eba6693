package journal

import "fmt"

// storeAgain writes what the last process committed and the sync log does not vouch for once more, before it is synced. That process may have ended because
// a sync failed: then the kernel holds its pages for clean though they never reached the disk, and a sync of clean pages proves nothing.
//
// It also gives each segment that is not sealed its sums: those of the log, and those of what is stored again.
func (o *opening) storeAgain() error {
	last := &syncEntry{}
	if n := len(o.entries); n > 0 {
		last = o.entries[n-1]
	}
	for schema, t := range o.d.tapes {
		if t == nil {
			continue
		}
		for _, s := range *t.segs.Load() {
			to := min(t.Tail(), s.limit)
			if s.sealed.Load() || to <= s.base {
				continue
			}
			s.sums = o.carriedSums(s, to)
			s.proof = s.proofOf(s.sums, to)
			s.sums = s.joinSound(s.sums)
			// Without a state page to trust, recovery kept only what the sync log vouches for.
			if from := max(last.places[schema].tail, s.base); o.result.trusted && from < to {
				if err := s.storeAgain(from, to); err != nil {
					return fmt.Errorf("store unsynced records of %s again: %w", t.name(), err)
				}
			}
		}
	}
	for i, l := range o.d.sideLogs() {
		if l.file == nil {
			continue
		}
		if err := l.storeAgain(last.logs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Segment) storeAgain(from, to uint64) error {
	r := syncRange{schema: s.tape.schema, ordinal: s.ordinal, from: from, to: to}
	at := s.Offset(from)
	err := eachChunk(s.file, s.info(), from, to, func(b []byte) error {
		r.crc = updateCRC(r.crc, b)
		n, err := s.file.WriteAt(b, at)
		at += int64(n)
		return err
	})
	s.sums = joinSums(s.sums, r)
	return err
}

// storeAgain does it for the bytes of a log from an offset on. What was written anew was on disk before the file had its name.
func (l *sideLog) storeAgain(from int64) error {
	at := l.head.physical(from)
	b := make([]byte, max(l.head.physical(l.size.Load())-at, 0))
	_, err := l.file.ReadAt(b, at)
	if err == nil {
		_, err = l.file.WriteAt(b, at)
	}
	if err != nil && len(b) > 0 {
		return fmt.Errorf("store the end of %s again: %w", l.path, err)
	}
	return nil
}
