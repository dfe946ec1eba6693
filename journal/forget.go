package journal

import (
	"go.uber.org/zap"
)

// forgetStep is how many streams are looked at in one go: appends wait meanwhile.
const forgetStep = 1024

// forgettable is a stream that is one and whose slot another one may have: none of its records is kept, nobody writes it, and its count is on disk. When the same
// data is published again it is a new stream, and nothing is there twice. The caller holds openMu, so that nobody begins to write it.
func (d *Dataset) forgettable(is func(*stream) bool) (found *stream) {
	d.eachStream(func(s *stream) bool {
		if is(s) && !d.needsStream(s) {
			found = s
		}
		return found == nil
	})
	return found
}

// eachStream visits all streams as long as visit says so, which is called with mu held.
func (d *Dataset) eachStream(visit func(*stream) bool) {
	for from, more := 0, true; more; from += forgetStep {
		d.mu.Lock()
		end := min(from+forgetStep, len(d.streams))
		for i := from; i < end && more; i++ {
			more = visit(d.streams[i])
		}
		more = more && end < len(d.streams)
		d.mu.Unlock()
	}
}

// needsStream says whether a stream's count has to be known: of one that a writer has open, or one with records that are kept. Of what an earlier process wrote it is
// not known where its records lie: then all that was there at the opening counts. The caller holds mu.
func (d *Dataset) needsStream(s *stream) bool {
	w := d.writers[s.producer]
	switch {
	case w != nil && w.stream == s, s.dirty, s.synced.Load() != s.count.Load(), s.count.Load() > maxSeq/2:
		return true
	case s.records() == 0:
		return false
	case s.ended == nil:
		return true
	}
	for _, p := range s.ended {
		if t := d.Tape(p.Schema); t != nil && t.First() < p.Seq {
			return true
		}
	}
	return false
}

// leave notes where the tapes end that the stream's records are in. The caller holds mu.
func (d *Dataset) leave(s *stream) {
	if s.records() == 0 {
		return
	}
	if s.ended != nil && s.wrote == 0 {
		return // nothing since
	}
	all := s.earlier || s.wrote == 0 // which are only skipped
	ended := make([]Position, 0, 4)
	for _, p := range d.positions() {
		if all || s.wrote&(1<<p.Schema) != 0 {
			ended = append(ended, p)
		}
	}
	s.ended = ended
}

// warnOfStreams says in the log that the table fills up, while there is time. The caller holds openMu.
func (d *Dataset) warnOfStreams() {
	d.mu.Lock()
	n := len(d.streams)
	d.mu.Unlock()
	if n < MaxStreams*tableWarn/100 || d.streamFrames%forgetStep != 0 {
		return
	}
	if used := d.neededStreams(); used >= MaxStreams*tableWarn/100 {
		d.log.Warn("the table of streams fills up; beyond its limit no new stream is taken until records expire", zap.Int("streams", used), zap.Int("limit", MaxStreams))
	}
}

func (d *Dataset) neededStreams() (used int) {
	d.eachStream(func(s *stream) bool {
		if d.needsStream(s) {
			used++
		}
		return true
	})
	return used
}

// rewriteStreams puts one entry in the log for each stream, when most of the log is others.
func (d *Dataset) rewriteStreams() error {
	superfluous := 0
	d.openMu.Lock()
	due := d.streamFrames > 2*len(d.streams)+streamsSlack
	d.openMu.Unlock()
	if !due {
		return nil
	}
	err := d.streamsLog.rewrite(func(emit func([]byte)) int64 {
		d.openMu.Lock() // orders appends, and keeps the list as it is
		defer d.openMu.Unlock()
		superfluous = d.streamFrames - len(d.streams)
		var b []byte
		for _, s := range d.streams {
			d.nameOwner(s)
			b = s.append(b[:0])
			emit(b)
		}
		return d.streamsLog.size.Load()
	})
	if err == nil {
		d.openMu.Lock()
		d.streamFrames -= superfluous
		d.openMu.Unlock()
	}
	return err
}
