package main

import (
	"bytes"
	"fmt"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// track holds what one session receives of one tape against that tape: each record must be the tape's next one that the session
// wants, but for what it was told was skipped.
type track struct {
	schema feed.Schema
	tape   *tape
	wanted []bool // by instrument id; nil: all
	tsOut  bool

	at     uint64 // the next record that may come
	loose  uint64 // a live session begins at or before it, nobody says where: until its first record, what lies below may be left out
	goal   uint64 // the end of the replay does not lie before it
	replay bool   // its end has not been told

	resume   lsg.Position // where a session that takes this one's place goes on
	resumes  bool         // there is such a position
	compared uint64       // records that were held against the tape
	quiet    uint64       // see silent
}

func (t *track) wants(r feed.Record) bool {
	if t.wanted == nil {
		return true
	}
	id := r.InstrumentID()
	return int(id) < len(t.wanted) && t.wanted[id]
}

// data takes a record of the session.
func (t *track) data(r feed.Record) error {
	for tail := t.tape.tail(); t.at < tail; t.at++ {
		due, err := t.tape.at(t.at)
		if err != nil {
			return err
		}
		if !t.wants(due) {
			continue
		}
		if t.same(r, due) {
			t.at++
			t.begun()
			t.compared++
			if t.wanted == nil {
				t.resume.Seq = t.at // without a filter a client can count on from the last position it was told
			}
			return nil
		}
		if t.at >= t.loose {
			return fmt.Errorf("%v: %s came, due was number %d of the tape, %s", t.schema, describe(r), t.at, describe(due))
		}
	}
	return fmt.Errorf("%v: %s came, and is not on the tape, which ends at %d", t.schema, describe(r), t.tape.tail())
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
		if t.at >= t.loose && t.wants(due) {
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
			if t.at >= t.loose {
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

// replayed takes the end of the replay.
func (t *track) replayed() error {
	if !t.replay {
		return fmt.Errorf("%v: the end of a replay is told that nobody waits for", t.schema)
	}
	t.replay = false
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
		if t.quiet >= t.loose && t.wants(r) {
			return false, nil
		}
	}
	return true, nil
}
