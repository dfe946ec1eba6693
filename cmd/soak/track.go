package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// track holds what one session receives of one tape against that tape: each record must be the tape's next one that the session
// wants, but for what it was told was skipped or has expired.
type track struct {
	schema   feed.Schema
	tape     *tape
	follower *follower
	wanted   []bool // by instrument id; nil: all
	tsOut    bool
	start    uint64 // the time that the session begins with; 0: it begins otherwise

	at     uint64   // the next record that may come
	loose  uint64   // the session begins at or before it, nobody says where: until its first record, what lies below may be left out
	begins []uint64 // where the tape may have begun, when the session did; for a replay from a time or the beginning
	aged   bool     // that of the time where it begins nothing is kept was told
	goal   uint64   // the end of the replay does not lie before it
	replay bool     // its end has not been told
	seam   bool     // it was, and no record has come since: where the replay ended lies before the next one

	resume   lsg.Position // where a session that takes this one's place goes on
	resumes  bool         // there is such a position
	compared uint64       // records that were held against the tape
	quiet    uint64       // see silent
}

// unplaced is a track's loose until the session is confirmed.
const unplaced = ^uint64(0)

// placed takes that the session is confirmed: it has its place.
func (t *track) placed(now time.Time) (err error) {
	switch {
	case t.loose != unplaced:
	case !t.replay:
		t.loose = t.tape.tail()
	default:
		if t.begins, err = t.follower.begins(t.tape, t.begins[0], now); err != nil {
			return err
		}
		t.loose = t.begins[len(t.begins)-1]
		if t.start > 0 {
			t.loose, err = t.follower.find(t.tape, t.start, t.loose)
		}
	}
	return err
}

func (t *track) wants(r feed.Record) bool {
	if t.wanted == nil {
		return true
	}
	id := r.InstrumentID()
	return int(id) < len(t.wanted) && t.wanted[id]
}

// early reports whether a record lies before the time that the session begins with. A replay leaves such out, wherever they are on the tape; what
// is committed behind its goal comes whatever its time.
func (t *track) early(r feed.Record) bool { return t.start > 0 && r.TsEvent() < t.start }

// data takes a record of the session.
func (t *track) data(r feed.Record) error {
	if err := t.told(); err != nil {
		return err
	}
	for tail := t.tape.tail(); t.at < tail; t.at++ {
		due, err := t.tape.at(t.at)
		if err != nil {
			return err
		}
		if !t.wants(due) || t.replay && t.early(due) {
			continue
		}
		if t.same(r, due) {
			t.at++
			t.seam = false
			t.begun()
			t.compared++
			if t.wanted == nil {
				t.resume.Seq = t.at // without a filter a client can count on from the last position it was told
			}
			return nil
		}
		if t.at >= t.loose && !(t.seam && t.early(due)) {
			return fmt.Errorf("%v: %s came, due was number %d of the tape, %s", t.schema, describe(r), t.at, describe(due))
		}
	}
	return fmt.Errorf("%v: %s came, and is not on the tape, which ends at %d", t.schema, describe(r), t.tape.tail())
}

// told checks that a session which begins with a time of which something has expired was told so before its first record.
func (t *track) told() error {
	if t.compared > 0 || t.start == 0 || t.aged {
		return nil
	}
	first, err := t.follower.find(t.tape, t.start, 0)
	if err == nil && first < t.begins[0] {
		err = fmt.Errorf("%v: the session begins with number %d, the tape with %d, and that this has expired was not told", t.schema, first, t.begins[0])
	}
	return err
}

// begun notes that it is known where the session stands: from here on nothing may be left out.
func (t *track) begun() {
	if t.loose > 0 {
		t.loose, t.quiet = 0, 0
	}
}

// same compares a record that was received with one of the tape.
func (t *track) same(r, due feed.Record) bool {
	if !t.tsOut {
		return bytes.Equal(r, due)
	}
	return len(r) == len(due)+feed.TsOutSize && r.Size() == len(r) && bytes.Equal(r[1:len(due)], due[1:])
}

// pass checks that nothing was left out below limit, and goes there.
func (t *track) pass(limit uint64, what string) error {
	for ; t.at < limit; t.at++ {
		due, err := t.tape.at(t.at)
		if err != nil {
			return err
		}
		if t.at >= t.loose && t.wants(due) && !((t.replay || t.seam) && t.early(due)) {
			return fmt.Errorf("%v: %s, but number %d of the tape, %s, has not come", t.schema, what, t.at, describe(due))
		}
	}
	return nil
}

// position takes what the session is told about where it stands.
func (t *track) position(p lsg.Position) error {
	if p.Seq < t.at || p.Seq > t.tape.tail() || p.Epoch != t.tape.tap.Epoch() {
		return fmt.Errorf("%v: told to be at %d:%d, is at %d:%d", t.schema, p.Epoch, p.Seq, t.tape.tap.Epoch(), t.at)
	}
	err := t.pass(p.Seq, fmt.Sprintf("told to be at %d", p.Seq))
	t.begun()
	t.resume, t.resumes = p, true
	return err
}

// skipped takes a gap that slow reading led to: it has exactly so many records that the session wants.
func (t *track) skipped(g lsg.Gap) error {
	if !g.HasAt || g.At.Seq < t.at || g.At.Seq > t.tape.tail() {
		return fmt.Errorf("%v: told that it goes on at %d behind a gap, was at %d", t.schema, g.At.Seq, t.at)
	}
	least, most := uint64(0), uint64(0)
	for ; t.at < g.At.Seq; t.at++ {
		r, err := t.tape.at(t.at)
		if err != nil {
			return err
		}
		if t.wants(r) {
			most++
			if t.at >= t.loose && !(t.seam && t.early(r)) {
				least++
			}
		}
	}
	if g.Records < least || g.Records > most {
		return fmt.Errorf("%v: told that %d records were skipped before %d, the tape has %d there", t.schema, g.Records, g.At.Seq, least)
	}
	t.begun()
	t.resume.Seq = g.At.Seq
	return nil
}

// expired takes a gap in place of records that have expired: those before g.At.Seq, from where the gateway has the session. It counts all records of the
// tape, and from what it has looked at for the session: with a filter that is ahead of the last record that the session was sent, but only by records
// that the session does not want.
func (t *track) expired(g lsg.Gap, now time.Time) error {
	if !g.HasAt || g.At.Epoch != t.tape.tap.Epoch() || g.Records == 0 || g.At.Seq < t.at+g.Records {
		return fmt.Errorf("%v: told that %d records before %d:%d have expired, was at %d:%d", t.schema, g.Records, g.At.Epoch, g.At.Seq, t.tape.tap.Epoch(), t.at)
	}
	if err := t.follower.gone(t.tape, g.At.Seq, now); err != nil {
		return fmt.Errorf("%v: %w", t.schema, err)
	}
	if err := t.pass(g.At.Seq-g.Records, fmt.Sprintf("told that %d records before %d have expired", g.Records, g.At.Seq)); err != nil {
		return err
	}
	t.at, t.resume.Seq = g.At.Seq, g.At.Seq
	t.begun()
	return nil
}

// agedOut takes a gap that says of which time nothing is kept, where the session begins: from the time that it asked for to the greatest of the records
// before one where the tape may have begun.
func (t *track) agedOut(g lsg.Gap) error {
	if t.start == 0 || t.compared > 0 || t.aged || g.Records > 0 {
		return fmt.Errorf("%v: a gap came that nobody caused: %+v", t.schema, g)
	}
	t.aged = true
	for _, first := range t.begins {
		greatest, err := t.follower.greatestBefore(t.tape, first)
		if err != nil {
			return err
		}
		if first > 0 && g.ToTs > t.start && g.ToTs == greatest+1 && g.FromTs == max(t.start, t.follower.earliest()) {
			return nil
		}
	}
	return fmt.Errorf("%v: told that %d to %d has expired, asked for from %d on; the tape began at one of %v", t.schema, g.FromTs, g.ToTs, t.start, t.begins)
}

// replayed takes the end of the replay.
func (t *track) replayed() error {
	if !t.replay {
		return fmt.Errorf("%v: the end of a replay is told that nobody waits for", t.schema)
	}
	t.replay, t.seam = false, true
	return t.pass(t.goal, "the replay is finished")
}

// silent reports whether the session has everything that is on the tape.
func (t *track) silent() (bool, error) {
	t.quiet = max(t.quiet, t.at)
	for tail := t.tape.tail(); t.quiet < tail; t.quiet++ {
		r, err := t.tape.at(t.quiet)
		if err != nil {
			return false, err
		}
		if t.quiet >= t.loose && t.wants(r) && !((t.replay || t.seam) && t.early(r)) {
			return false, nil
		}
	}
	return true, nil
}
