package gateway

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// A position is (epoch, seq): it names a record of a tape for ever, because the
// epoch changes whenever a recovery cut records. A session that asks for them
// (position=1) is told where it stands, and can go on exactly there later
// (resume=EPOCH:SEQ), with filters too.

// positionEvery is how often a session is told where it stands, while it moves.
const positionEvery = time.Second

// positionsDue reports whether it is time to tell positions.
func (s *session) positionsDue(now time.Time) bool {
	if !s.auth.Position || now.Sub(s.positionsTold) < positionEvery {
		return false
	}
	for _, c := range s.cursors {
		if c.tape != nil && c.seq != c.told && !s.twins(c.schema) {
			return true
		}
	}
	return false
}

// tellPositions stages the position of every cursor that has moved. It reports
// false when they do not fit any more. One that skips is told when the skip is:
// who resumed at a place in it would not hear of what lies before. A schema that
// two cursors serve has no place: it is told once they are one.
func (s *session) tellPositions() bool {
	for _, c := range s.cursors {
		if c.tape == nil || c.skipTo > 0 || c.wasTold && c.seq == c.told || s.twins(c.schema) {
			continue
		}
		if !s.room(1) {
			return false
		}
		c.told, c.wasTold = c.seq, true
		text, err := lsg.Position{Schema: c.schema.String(), Epoch: s.dataset().Epoch(), Seq: c.seq}.Text()
		if err != nil { // only a text of ours that is too long
			s.loop.srv.log.Error("a position could not be told", zap.Uint64("session", s.id), zap.Error(err))
			continue
		}
		s.stageSystem(feed.SystemUnset, text)
	}
	s.positionsTold = s.loop.now
	return true
}

// resumeAt is the seq at which a position of an earlier session goes on. Records
// that a recovery cut since then are told by the mark that stands at the cut, those
// that are kept no more by the hole that is in their place. A position of another
// history (of a directory that this one is a copy of, or was restored over) is
// refused: what it had seen of that one is not here, and nobody can say how much.
func resumeAt(d *journal.Dataset, schema feed.Schema, p lsg.Position) (uint64, error) {
	var tail uint64
	if d != nil {
		if t := d.Tape(schema); t != nil {
			tail = t.Tail()
		}
	}
	seq := p.Seq
	if d != nil {
		if p.Epoch > d.Epoch() {
			return 0, fmt.Errorf("resume=%d:%d is of an epoch to come, or of a dataset that was removed; this tape is at epoch %d: begin with start=", p.Epoch, p.Seq, d.Epoch())
		}
		known := p.Seq == 0 // who has seen nothing has lost nothing: a session of before the dataset's first record has no epoch
		for _, e := range d.Epochs() {
			known = known || e.Number == p.Epoch
			if e.Number <= p.Epoch {
				continue
			}
			for _, at := range e.First {
				if at.Schema == schema {
					seq = min(seq, at.Seq)
				}
			}
		}
		if !known {
			return 0, fmt.Errorf("resume=%d:%d is of another history, this tape never had that epoch: was the data directory copied or restored, or the dataset removed and made again? begin with start=", p.Epoch, p.Seq)
		}
		if seq < p.Seq && !cutAt(d, schema, seq, p.Seq) {
			return 0, fmt.Errorf("resume=%d:%d is of another history, this tape left it at record %d: was the data directory copied or restored? "+
				"begin with resume=%d:%d or start=", p.Epoch, p.Seq, seq, d.Epoch(), seq)
		}
	}
	if seq > tail {
		return 0, fmt.Errorf("resume=%d:%d is beyond the end of the tape, which is %d; was the data directory replaced?", p.Epoch, p.Seq, tail)
	}
	return seq, nil
}

// cutAt says whether the ledger tells that records [from, to) were cut.
func cutAt(d *journal.Dataset, schema feed.Schema, from, to uint64) bool {
	for _, g := range d.Gaps() {
		if g.Cause != journal.CauseCut || g.Schema != schema {
			continue
		}
		for _, at := range g.At {
			if at.Schema == schema && at.Seq == from && g.Records >= to-from {
				return true
			}
		}
	}
	return false
}
