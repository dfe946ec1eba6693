package main

import (
	"bufio"
	le "encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/tapewire/tapewire/feed"
)

// mappingLog is FILE.symbols: the symbol mappings that came while a DBN file was written, each with the place from which it holds. The file's header
// names symbols by days, and only at the end; this is what the next run makes it from. An entry is eight bytes, the length of the records before it,
// little-endian, and a SymbolMappingMsg.
type mappingLog struct {
	f       *os.File
	buf     *bufio.Writer
	entries []loggedMapping // what was there when it was opened
	names   feed.SymbolMap
	count   int
	dirty   bool
}

type loggedMapping struct {
	at     int64 // bytes of records
	record feed.Record
}

const (
	mappingRecordSize = int(unsafe.Sizeof(feed.SymbolMappingMsg{}))
	mappingEntrySize  = 8 + mappingRecordSize
)

// openMappingLog opens a log and keeps its first n entries; what follows was not saved.
func openMappingLog(path string, n int) (*mappingLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	l := &mappingLog{f: f, buf: bufio.NewWriter(f), count: n}
	if err := l.read(n); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w; choose another file for -o", path, err), f.Close())
	}
	return l, nil
}

func (l *mappingLog) read(n int) error {
	b := make([]byte, n*mappingEntrySize)
	if _, err := io.ReadFull(l.f, b); err != nil {
		return fmt.Errorf("it lacks some of its %d symbol mappings: %w", n, err)
	}
	for ; len(b) > 0; b = b[mappingEntrySize:] {
		e := loggedMapping{int64(le.LittleEndian.Uint64(b)), feed.Record(b[8:mappingEntrySize])}
		if _, ok := feed.View[feed.SymbolMappingMsg](e.record); !ok {
			return errors.New("it holds something else than symbol mappings")
		}
		l.names.Learn(e.record)
		l.entries = append(l.entries, e)
	}
	return l.f.Truncate(int64(n * mappingEntrySize))
}

// add keeps a mapping that says something new.
func (l *mappingLog) add(at int64, rec feed.Record) error {
	m, ok := feed.View[feed.SymbolMappingMsg](rec)
	if !ok {
		return nil
	}
	if name, _ := l.names.Name(m.InstrumentID); name == m.OutSymbol() {
		return nil
	}
	l.names.Learn(rec)
	l.count, l.dirty = l.count+1, true
	_, err := l.buf.Write(le.LittleEndian.AppendUint64(nil, uint64(at)))
	if err == nil {
		_, err = l.buf.Write(rec[:mappingRecordSize])
	}
	return err
}

// forget ends all names: an earlier run's session told them, and the next one tells what holds.
func (l *mappingLog) forget(d *dbnFile) error {
	for _, e := range l.entries {
		id := e.record.InstrumentID()
		if name, ok := l.names.Name(id); ok {
			if err := d.Control(mappingOf(id, "", e.record.TsEvent())); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	l.entries = nil
	return nil
}

// sync returns when all is on disk, with the number of mappings.
func (l *mappingLog) sync() (count int, err error) {
	if l == nil || !l.dirty {
		return l.len(), nil
	}
	if err = l.buf.Flush(); err == nil {
		err = l.f.Sync()
	}
	l.dirty = err != nil
	return l.count, err
}

func (l *mappingLog) len() int {
	if l == nil {
		return 0
	}
	return l.count
}

func (l *mappingLog) close() error { return errors.Join(l.buf.Flush(), l.f.Close()) }
