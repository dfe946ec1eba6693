package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// dbnStream writes DBN to a pipe, where nothing can be completed later: the header, which waits for the first record, names the symbols known by
// then, for all days. There are only data records after it, since tools expect those of the header's schema.
type dbnStream struct {
	*delayedWriter
	warn    io.Writer
	meta    feed.Metadata
	encoder *feed.Encoder // nil before the first record
}

// The days of a mapping that holds for all records.
const (
	firstDay = 19700101
	endDay   = 21000101
)

func newDBNStream(out *delayedWriter, warn io.Writer, meta feed.Metadata) *dbnStream {
	return &dbnStream{delayedWriter: out, warn: warn, meta: meta}
}

// Control learns symbols; one that comes too late for the header is told.
func (d *dbnStream) Control(rec feed.Record) error {
	m, ok := feed.View[feed.SymbolMappingMsg](rec)
	if !ok {
		return nil
	}
	symbol, id := m.OutSymbol(), strconv.FormatUint(uint64(m.InstrumentID), 10)
	if d.encoder != nil {
		_, err := fmt.Fprintf(d.warn, "instrument %s is %s, which came too late for the header; -o FILE.dbn would have it\n", id, lsg.Printable(symbol))
		return err
	}
	for i := range d.meta.Mappings {
		if known := &d.meta.Mappings[i]; known.Intervals[0].Symbol == id {
			known.RawSymbol, d.meta.Symbols[i] = symbol, symbol
			return nil
		}
	}
	d.meta.Symbols = append(d.meta.Symbols, symbol)
	d.meta.Mappings = append(d.meta.Mappings, feed.SymbolMapping{RawSymbol: symbol, Intervals: []feed.MappingInterval{{StartDate: firstDay, EndDate: endDay, Symbol: id}}})
	return nil
}

// Data passes a record on.
func (d *dbnStream) Data(rec feed.Record) error {
	if err := d.begin(rec.IndexTime()); err != nil {
		return err
	}
	return d.encoder.Write(rec)
}

// begin writes the header, unless it is written.
func (d *dbnStream) begin(start uint64) (err error) {
	if d.encoder == nil {
		d.meta.Start = start
		d.encoder, err = feed.NewEncoder(d.delayedWriter, d.meta)
	}
	return err
}

// Close ends the stream; one without records is whole, too.
func (d *dbnStream) Close() error {
	if err := d.begin(0); err != nil {
		return err
	}
	return d.delayedWriter.Close()
}
