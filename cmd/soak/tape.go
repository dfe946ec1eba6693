package main

import (
	"errors"
	"fmt"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// tape is one tape at any position, read in place through a local tap: the gateway's own, and the mirror's for what has expired there.
// It is for one goroutine.
type tape struct {
	tap      *journal.Tap
	old      *journal.Tap // nil until something is read from the mirror
	openOld  func() (*journal.Tap, error)
	run      feed.Record // the records from..to
	from, to uint64
}

// where is the directories in which tapes are read.
type where struct {
	data   string // the gateway's
	mirror string // see mirror; "": there is none
}

// openTape opens a tape.
func openTape(w where, dataset int, schema feed.Schema) (*tape, error) {
	tap, err := journal.OpenTap(w.data, datasets[dataset], schema)
	if err != nil {
		return nil, err
	}
	t := &tape{tap: tap}
	if w.mirror != "" {
		t.openOld = func() (*journal.Tap, error) { return journal.OpenTap(w.mirror, datasets[dataset], schema) }
	}
	return t, nil
}

func (t *tape) close() {
	_ = t.tap.Close()
	if t.old != nil {
		_ = t.old.Close()
	}
}

// tail is the end of the committed records.
func (t *tape) tail() uint64 { return t.tap.Tail() }

// first is the oldest record that the gateway still has a file of: it lets go of the records first, and removes the file then.
func (t *tape) first() (uint64, error) {
	t.from, t.to = 0, 0 // the tap lets go of what it has mapped
	err := t.tap.SeekTime(feed.ClockEvent, 0)
	return t.tap.Seq(), err
}

// limit is the end of the segment that holds record seq; the tail, when that is in it.
func (t *tape) limit(seq uint64) (uint64, error) {
	err := t.move(seq)
	return t.to, err
}

// at is record seq, which is committed. It is good until the next call.
func (t *tape) at(seq uint64) (feed.Record, error) {
	if seq < t.from || seq >= t.to {
		if err := t.move(seq); err != nil {
			return nil, fmt.Errorf("read record %d of the tape: %w", seq, err)
		}
	}
	size := uint64(t.tap.RecordSize())
	at := (seq - t.from) * size
	return t.run[at : at+size : at+size], nil
}

func (t *tape) move(seq uint64) error {
	t.from, t.to = 0, 0
	err := t.read(t.tap, seq)
	if !errors.Is(err, journal.ErrAgedOut) || t.openOld == nil {
		return err
	}
	if t.old == nil {
		if t.old, err = t.openOld(); err != nil {
			return fmt.Errorf("mirror: %w", err)
		}
	}
	if err = t.read(t.old, seq); err != nil {
		err = fmt.Errorf("mirror: %w", err)
	}
	return err
}

// read takes the records from seq to the end of its segment.
func (t *tape) read(tap *journal.Tap, seq uint64) error {
	if tap.Seq() != seq {
		if err := tap.Seek(seq); err != nil {
			return err
		}
	}
	run, err := tap.Next()
	if err != nil {
		return err
	}
	if run == nil {
		return fmt.Errorf("%w: it ends there", journal.ErrBeyondTail)
	}
	t.run, t.from, t.to = run, seq, tap.Seq()
	return nil
}
