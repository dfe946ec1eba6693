package gateway

import (
	"errors"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/journal"
)

// pump sends what the session has coming until its socket is full, nothing is
// left, or about budget bytes were sent or scanned. It reports whether more is
// left.
//
// The order within a turn: first what was staged and did not fit the socket,
// then the rest of a record that was cut, then what the session must be told,
// then records. So control records only ever appear between records.
func (s *session) pump(budget int) (more bool) {
	if s.loop.cold {
		for _, c := range s.cursors {
			c.prefetch()
		}
	}
	for budget > 0 {
		var n int
		var idle bool
		var err error
		switch {
		case s.closed || !s.writable || s.shutDown:
			return false
		case len(s.out) > 0:
			n, err = s.flush()
		case s.ending:
			s.linger()
			return false
		case s.partial != nil:
			n, err = s.sendRun(s.partial, s.partial.seq+1, s.partial.size-s.partial.off)
		default:
			n, idle, err = s.step(budget)
			if errors.Is(err, journal.ErrDamaged) || errors.Is(err, journal.ErrAgedOut) {
				err = nil // the tape has a hole there now, which the next step tells of and passes over
			}
			if errors.Is(err, journal.ErrFiles) {
				s.awaitFiles()
				return false
			}
		}
		if err != nil {
			s.broken(err)
			return false
		}
		if idle {
			return false
		}
		budget -= n
	}
	return true
}

// broken ends a session whose socket or tape failed.
func (s *session) broken(err error) {
	if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		s.loop.srv.log.Warn("session broke", zap.Uint64("session", s.id), zap.Error(err))
	}
	s.lost("send", err)
}

// step stages or sends the next piece. It returns the bytes spent of the budget
// and idle when there is nothing to do.
func (s *session) step(budget int) (n int, idle bool, err error) {
	s.loop.staging = s.loop.staging[:0]
	s.loop.sendNs = 0
	for _, c := range s.cursors {
		c.attach(s.dataset())
		c.look()
	}
	staged, busy, err := s.tell()
	switch {
	case err != nil:
		return 0, false, err
	case staged:
		n = len(s.loop.staging)
		return n, false, s.emit()
	case busy:
		return busyStep, false, nil
	}
	if s.halfClosed && !s.ending && !s.owesMore() {
		s.ending, s.said = true, "closed by the client"
		return 1, false, nil
	}
	if !s.begun || s.ending {
		return 0, true, nil
	}
	group := s.choose()
	switch {
	case len(group) == 0 && s.unnamed():
		return 1, false, nil // somebody was named since tell looked, below records that are there already
	case len(group) == 0:
		return 0, true, nil
	case len(group) == 1 && group[0].skipTo > 0:
		n, err = s.skip(group[0], budget)
		return max(n, 1), false, err
	case len(group) == 1 && group[0].plain() && !s.auth.TsOut:
		n, err = s.sendPlain(group[0], budget)
	default:
		n, err = s.gather(group, budget)
	}
	if err != nil {
		return 0, false, err
	}
	if len(s.loop.staging) == 0 {
		return max(n, 1), false, nil
	}
	s.path = pathGather
	return max(n, 1), false, s.emit()
}

// busyStep is what a step counts against a turn that found many names to look at and
// none to tell, in bytes.
const busyStep = 64 << 10

// passStep is what it counts to pass over a block none of whose records is meant.
const passStep = 4 << 10

// plain reports whether the cursor's records go out as they lie on the tape, but for
// those that are too early or too late.
func (c *cursor) plain() bool {
	if !c.filter.everything() || intervalOf(c.schema) > 0 || len(c.wants) > 1 {
		return false
	}
	if c.wants != nil && c.live != nil && c.wants[0].end != noEnd && c.seq >= c.wants[0].held {
		return false // a live subscription means others of these
	}
	return c.wants == nil || c.wants[0].filter.everything() && len(c.wants[0].had)+len(c.wants[0].dropped) == 0
}

// sendPlain sends records of a plain cursor: from the tape itself as far as all of
// them are meant and have the names that the client knows, one by one elsewhere.
func (s *session) sendPlain(c *cursor, budget int) (int, error) {
	to, each, waits, err := s.readyNames(c, c.limit())
	if err != nil || waits {
		return 0, err
	}
	if !each && c.wants != nil {
		var none bool
		if to, each, none, err = c.timely(c.wants[0], to); err != nil {
			return 0, err
		}
		if none {
			c.moveTo(to)
			return passStep, nil
		}
	}
	if each {
		return s.gatherOne(c, budget)
	}
	return s.sendRun(c, to, budget)
}

// timely says how far, below end, the records from c.seq on are all meant by their
// times, or none of them is; each: they have to be looked at.
func (c *cursor) timely(w *want, end uint64) (to uint64, each, none bool, err error) {
	if w.end == noEnd && (w.start == 0 || c.seq >= w.until) {
		return end, false, false, nil
	}
	times, to, err := c.tape.Times(c.seq, end)
	if err != nil {
		return 0, false, false, err
	}
	least, most := times.MinReplay, times.MaxReplay
	if least > most {
		return to, true, false, nil
	}
	all := w.holds(least, c.seq) && w.holds(most, c.seq)
	none = most < w.start && c.seq < w.until || w.end != noEnd && least >= w.end
	return to, !all, none, nil
}

// choose returns the cursors to serve next: those that skip, then by turns
// those that are live and those that replay. Each kind is merged in itself, so
// that a live schema does not wait for the replay of another.
func (s *session) choose() []*cursor {
	live, replaying := s.loop.live[:0], s.loop.replaying[:0]
	for _, c := range s.cursors {
		switch {
		case !c.ready():
			c.caughtUp()
			c.chunk = nil
		case c.skipTo > 0:
			s.loop.live = append(live[:0], c)
			return s.loop.live
		case c.replaying || c.behind:
			replaying = append(replaying, c)
		default:
			live = append(live, c)
		}
	}
	s.loop.live, s.loop.replaying = live, replaying
	s.preferReplay = !s.preferReplay
	if len(live) == 0 || len(replaying) > 0 && s.preferReplay {
		return replaying
	}
	return live
}

// sendRun sends the next run of one cursor, from the tape itself: records before to,
// and at most about budget bytes of them.
func (s *session) sendRun(c *cursor, to uint64, budget int) (int, error) {
	seg, err := c.segment()
	if err != nil {
		return 0, err
	}
	records := max(1, (budget+c.off)/c.size)
	end := min(to, c.limit(), seg.Limit(), c.seq+uint64(records)) // to open the file may have shown that it ends sooner
	if c.off > 0 {
		end = max(end, c.seq+1) // a record that was begun is completed whatever comes next
	} else if end, err = seg.Check(c.seq, end); err != nil {
		return 0, err
	}
	n, path, err := s.loop.sender.run(s.fd, seg, c.seq, end, c.off, int(end-c.seq)*c.size, s.local && !s.loop.cold)
	if n > 0 {
		from := c.seq
		c.advance(n)
		s.sentRecords += c.seq - from
		s.sent(n, path)
	}
	s.partial = nil
	if c.off > 0 {
		s.partial = c
	} else if unreadable(err) {
		err = c.unreadable(seg, err)
	}
	return n, s.sendResult(err)
}

// sendResult turns a full socket into a state.
func (s *session) sendResult(err error) error {
	if errors.Is(err, unix.EAGAIN) {
		s.blocked()
		return nil
	}
	return err
}

func (s *session) sent(n int, path string) {
	s.lastSent = s.loop.now
	s.sentBytes += uint64(n)
	s.path = path
}

// emit sends the staging buffer. What the socket does not take is kept with the
// session, at most limits.Staging bytes.
func (s *session) emit() error {
	if len(s.out) > 0 {
		return errors.New("gateway: bytes were staged before older ones had left") // they would overtake them
	}
	n, err := s.loop.sender.staged(s.fd, s.loop.staging)
	if rest := s.loop.staging[n:]; len(rest) > 0 {
		s.out = append(s.out[:0], rest...)
	}
	if n > 0 {
		s.lastSent = s.loop.now
		s.sentBytes += uint64(n)
	}
	return s.sendResult(err)
}

// flush sends what emit had to keep.
func (s *session) flush() (int, error) {
	n, err := s.loop.sender.staged(s.fd, s.out)
	if n > 0 {
		s.lastSent = s.loop.now
		s.sentBytes += uint64(n)
	}
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil // an idle session holds no buffer
	}
	return n, s.sendResult(err)
}
