package main

import (
	"bufio"
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
	warn    io.Writer
	room    int         // bytes of the header; 0: nothing was written yet
	bytes   int64       // of the records
	log     *mappingLog // nil: the file is not gone on with
}

func newDBNFile(f *os.File, meta feed.Metadata, warn io.Writer) *dbnFile {
	return &dbnFile{out: newDelayedWriter(f, nil), f: f, meta: meta, symbols: newSymbolDays(), warn: warn}
}

// continueDBNFile goes on behind so many bytes of records, with the symbols that they had.
func continueDBNFile(f *os.File, meta feed.Metadata, warn io.Writer, bytes int64, log *mappingLog) (*dbnFile, error) {
	d := newDBNFile(f, meta, warn)
	d.log = log
	if bytes == 0 {
		return d, f.Truncate(0)
	}
	prelude := make([]byte, feed.PreludeSize)
	if _, err := f.ReadAt(prelude, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	room, err := feed.MetadataSize(prelude)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if has := info.Size() - int64(room); has < bytes {
		return nil, shorter(f.Name(), has, bytes)
	}
	if err := f.Truncate(int64(room) + bytes); err != nil {
		return nil, err
	}
	d.room, d.bytes = room, bytes
	if err := d.recall(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	_, err = f.Seek(0, io.SeekEnd)
	return d, err
}

// recall learns what the file's records and their mappings say of symbols. What they are called from here on the next session tells.
func (d *dbnFile) recall() error {
	mappings := d.log.entries
	at := int64(0)
	learn := func() {
		for ; len(mappings) > 0 && mappings[0].at <= at; mappings = mappings[1:] {
			d.symbols.learn(mappings[0].record)
		}
	}
	if _, err := d.f.Seek(int64(d.room), io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(d.f, 1<<20)
	rec := make(feed.Record, feed.MaxRecordSize)
	for ; at < d.bytes; at += int64(len(rec)) {
		if _, err := io.ReadFull(in, rec[:feed.HeaderSize]); err != nil {
			return err
		}
		size := rec.Size()
		if size < feed.HeaderSize || size > feed.MaxRecordSize {
			return fmt.Errorf("the bytes at record byte %d are no record; it was changed, so choose another file", at)
		}
		rec = rec[:size]
		if _, err := io.ReadFull(in, rec[feed.HeaderSize:]); err != nil {
			return err
		}
		learn()
		d.symbols.see(rec)
		rec = rec[:size:cap(rec)]
	}
	learn()
	return d.log.forget(d)
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
	if d.log == nil {
		return nil
	}
	return d.log.add(d.bytes, rec)
}

// Data appends a record.
func (d *dbnFile) Data(rec feed.Record) error {
	if d.room == 0 {
		if err := d.begin(); err != nil {
			return err
		}
	}
	d.symbols.see(rec)
	n, err := d.out.Write(rec)
	d.bytes += int64(n)
	return err
}

// Sync puts records and mappings on disk, the mappings first.
func (d *dbnFile) Sync() (bytes int64, mappings int, err error) {
	if mappings, err = d.log.sync(); err == nil {
		err = d.out.Flush()
	}
	if err == nil {
		err = d.f.Sync()
	}
	if err != nil {
		err = fmt.Errorf("-o %s: %w", d.f.Name(), err)
	}
	return d.bytes, mappings, err
}

// Close completes the header, and tells which names it cannot have.
func (d *dbnFile) Close() error {
	err := d.complete()
	d.symbols.tellMixed(d.warn, d.f.Name())
	if d.log != nil {
		err = errors.Join(err, d.log.close())
	}
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
	if err = errors.Join(err, larger.Sync(), larger.Close()); err != nil {
		return err
	}
	return os.Rename(larger.Name(), path)
}
