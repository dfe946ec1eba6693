package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tapewire/tapewire/feed"
)

// dbnFile writes data records as a DBN file that any tool opens. Its header names symbols, which are known only at the end: room is left for it,
// and a valid header without them stands there meanwhile, so that the file is good whenever the program dies.
type dbnFile struct {
	out     *delayedWriter
	f       *os.File
	meta    feed.Metadata
	symbols *symbolDays
	room    int // bytes of the header; 0: nothing was written yet
}

func newDBNFile(f *os.File, meta feed.Metadata) *dbnFile {
	return &dbnFile{out: newDelayedWriter(f, nil), f: f, meta: meta, symbols: newSymbolDays()}
}

// headroom is what the header may grow by beyond the mappings known at its first record: in bytes, and as a share.
const (
	headroomBytes = 4 << 10
	headroomShare = 4 // a quarter
)

// begin leaves room for the header. Mappings come before their records, so that most are known by now.
func (d *dbnFile) begin() error {
	meta := d.meta
	d.symbols.fill(&meta, true)
	full, err := meta.Append(nil)
	if err != nil {
		return err
	}
	d.room = (len(full) + len(full)/headroomShare + headroomBytes) &^ 7
	head, err := d.meta.AppendPadded(nil, d.room)
	if err != nil {
		return err
	}
	_, err = d.out.Write(head)
	return err
}

// Control learns symbols; control records do not go into the file.
func (d *dbnFile) Control(rec feed.Record) error {
	d.symbols.learn(rec)
	return nil
}

// Data appends a record.
func (d *dbnFile) Data(rec feed.Record) error {
	if d.room == 0 {
		if err := d.begin(); err != nil {
			return err
		}
	}
	d.symbols.see(rec)
	_, err := d.out.Write(rec)
	return err
}

// Close completes the header.
func (d *dbnFile) Close() error {
	err := d.complete()
	if err = errors.Join(err, d.f.Close()); err != nil {
		return fmt.Errorf("-o %s: %w", d.f.Name(), err)
	}
	return nil
}

func (d *dbnFile) complete() error {
	if d.room == 0 {
		if err := d.begin(); err != nil {
			return err
		}
	}
	if err := d.out.Close(); err != nil {
		return err
	}
	d.symbols.fill(&d.meta, false)
	head, err := d.meta.AppendPadded(nil, d.room)
	if errors.Is(err, feed.ErrTooLarge) {
		return d.rewrite()
	}
	if err != nil {
		return err
	}
	_, err = d.f.WriteAt(head, 0)
	return err
}

// rewrite makes the file anew with a larger header: more symbols came than there was room for.
func (d *dbnFile) rewrite() error {
	path := d.f.Name()
	larger, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer os.Remove(larger.Name()) // fails when all went well: it was renamed
	if _, err = feed.NewEncoder(larger, d.meta); err == nil {
		_, err = d.f.Seek(int64(d.room), io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(larger, d.f)
	}
	if err = errors.Join(err, larger.Close()); err != nil {
		return err
	}
	return os.Rename(larger.Name(), path)
}
