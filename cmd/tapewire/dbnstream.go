package main

import (
	"fmt"
	"io"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// dbnStream writes DBN to a pipe, where nothing can be completed later. A header cannot name what is still to come, so it names nobody and no schema, and
// each record's name stands before it, as in a captured live session: readers take a header with a schema as the promise that all records have its size.
//
// Two kinds of readers take names from it. Those that follow the stream (tapewire publish, the Rust and C++ clients) know an id by the mapping that came
// last. Python's DBNStore goes by dates: of an id's mappings the one that begins last on or before a record's day. So each id is told once for each day, from
// that day on; what holds for a part of a day has no days at all, which leaves that day without a name there.
type dbnStream struct {
	*delayedWriter
	warn     io.Writer
	meta     feed.Metadata
	encoder  *feed.Encoder // nil before the first record
	symbols  *symbolDays
	told     feed.SymbolMap // as who follows the stream has it
	nameless bool           // the header's schema matters more than names
}

func newDBNStream(out *delayedWriter, warn io.Writer, meta feed.Metadata) *dbnStream {
	// Only the header tells tbbo from mbp-1.
	d := &dbnStream{delayedWriter: out, warn: warn, meta: meta, symbols: newSymbolDays(), nameless: meta.Schema == feed.SchemaTbbo}
	if !d.nameless {
		d.meta.Schema = feed.SchemaNone
	}
	return d
}

// Control learns symbols; other control records do not go into the stream.
func (d *dbnStream) Control(rec feed.Record) error {
	d.symbols.learn(rec)
	return nil
}

// Data passes a record on, behind its name.
func (d *dbnStream) Data(rec feed.Record) error {
	if err := d.begin(rec.IndexTime()); err != nil {
		return err
	}
	if !d.nameless {
		if err := d.name(rec); err != nil {
			return err
		}
	}
	return d.encoder.Write(rec)
}

// name tells who a record is, unless its readers know.
func (d *dbnStream) name(rec feed.Record) error {
	id, is := rec.InstrumentID(), d.symbols.see(rec)
	was, _ := d.told.Name(id)
	if !is.news && is.name == was {
		return nil
	}
	m := feed.SymbolMappingFields{
		InstrumentID: id, TsEvent: rec.TsEvent(), StypeIn: feed.STypeRawSymbol, InSymbol: is.name, StypeOut: feed.STypeRawSymbol, OutSymbol: is.name,
	}
	if is.day != journal.NoDay {
		m.StartTs, m.EndTs = is.day.Start(), is.day.Start()
		if is.name != "" && !is.mixed {
			m.EndTs = feed.UndefTimestamp
		}
	}
	if is.name == "" {
		m.InSymbol = was // as a gateway ends a name
	}
	mapping := feed.AppendSymbolMapping(nil, m)
	d.told.Learn(mapping)
	return d.encoder.Write(mapping)
}

// begin writes the header, unless it is written.
func (d *dbnStream) begin(start uint64) (err error) {
	if d.encoder != nil {
		return nil
	}
	if d.nameless {
		fmt.Fprintf(d.warn, "a stream of %s has no names, since only a header without them says what its records are; -o FILE.dbn has both\n", d.meta.Schema)
	}
	d.meta.Start = start
	d.encoder, err = feed.NewEncoder(d.delayedWriter, d.meta)
	return err
}

// Close ends the stream; one without records is whole, too.
func (d *dbnStream) Close() error {
	if err := d.begin(0); err != nil {
		return err
	}
	return d.delayedWriter.Close()
}
