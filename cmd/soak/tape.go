package main

import (
	"fmt"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// tape is one tape at any position, read in place through a local tap. It is for one goroutine.
type tape struct {
	tap      *journal.Tap
	run      feed.Record // the records from..to
	from, to uint64
}

// openTape opens a tape of the journal in dir.
func openTape(dir string, dataset int, schema feed.Schema) (*tape, error) {
	tap, err := journal.OpenTap(dir, datasets[dataset], schema)
	if err != nil {
		return nil, err
	}
	return &tape{tap: tap}, nil
}

func (t *tape) close() { _ = t.tap.Close() }

// tail is the end of the committed records.
func (t *tape) tail() uint64 { return t.tap.Tail() }

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
	if t.tap.Seq() != seq {
		if err := t.tap.Seek(seq); err != nil {
			return err
		}
	}
	run, err := t.tap.Next()
	if err != nil {
		return err
	}
	if run == nil {
		return fmt.Errorf("%w: it ends there", journal.ErrBeyondTail)
	}
	t.run, t.from, t.to = run, seq, t.tap.Seq()
	return nil
}
