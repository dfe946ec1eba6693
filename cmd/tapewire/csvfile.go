package main

import (
	"strconv"
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// csvFile writes the lines that the dbn tool writes with --csv --map-symbols: numbers as DBN has them, prices in 1e-9 and times in ns, and in the
// last column the symbol.
type csvFile struct {
	*delayedWriter
	columns []csvColumn
	symbols feed.SymbolMap
	header  string // "": it is written
	line    []byte
}

// newCSV heads the file, unless it goes on with one that is.
func newCSV(w *delayedWriter, schema feed.Schema, headed bool) *csvFile {
	names := csvNames(schema)
	c := &csvFile{delayedWriter: w, columns: csvColumns(schema, names)}
	if !headed {
		c.header = strings.Join(names, ",") + ",symbol\n"
	}
	return c
}

// Control learns the symbols.
func (c *csvFile) Control(rec feed.Record) error {
	c.symbols.Learn(rec)
	return nil
}

// Data writes a line.
func (c *csvFile) Data(rec feed.Record) error {
	if err := c.head(); err != nil {
		return err
	}
	b := c.line[:0]
	for i := range c.columns {
		b = append(c.columns[i].append(b, rec), ',')
	}
	symbol, _ := c.symbols.Name(rec.InstrumentID())
	c.line = append(appendCSVText(b, symbol), '\n')
	_, err := c.Write(c.line)
	return err
}

// head writes the names of the columns, unless they are there.
func (c *csvFile) head() error {
	if c.header == "" {
		return nil
	}
	_, err := c.Write([]byte(c.header))
	c.header = ""
	return err
}

// Close ends the file; one without records has its header.
func (c *csvFile) Close() error {
	if err := c.head(); err != nil {
		return err
	}
	return c.delayedWriter.Close()
}

// appendCSVText quotes what needs it.
func appendCSVText(b []byte, text string) []byte {
	if !strings.ContainsAny(text, ",\"\r\n") {
		return append(b, text...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(text, `"`, `""`)...)
	return append(b, '"')
}

// append writes the column's value.
func (c *csvColumn) append(b []byte, rec feed.Record) []byte {
	field := rec[c.offset : c.offset+c.size]
	switch c.kind {
	case csvText:
		return appendCSVText(b, feed.CString(field))
	case csvChar:
		if field[0] == 0 {
			return b
		}
		return appendCSVText(b, string(rune(field[0])))
	}
	n := uint64(0)
	for i := len(field) - 1; i >= 0; i-- { // little-endian
		n = n<<8 | uint64(field[i])
	}
	if c.kind == csvSigned {
		unused := 64 - 8*len(field)
		return strconv.AppendInt(b, int64(n<<unused)>>unused, 10)
	}
	return strconv.AppendUint(b, n, 10)
}
