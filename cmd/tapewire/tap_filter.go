package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// tapFilter is what --symbols selects, as a gateway does: a symbol is the very same one, or the only one that differs in case alone. That is decided when
// there is one, and fixed then. A number is an instrument id, too.
type tapFilter struct {
	all     bool
	names   map[string]struct{} // as the tape has them
	ids     map[uint32]struct{}
	waiting []string // nobody has borne yet
	known   int      // length of the symbol table when they were last looked for
	unheard unheard
}

func newTapFilter(asked names) *tapFilter {
	if asked.all() {
		asked = nil
	}
	f := &tapFilter{all: len(asked) == 0, names: map[string]struct{}{}, ids: map[uint32]struct{}{}, waiting: asked}
	for _, symbol := range asked {
		if id, err := strconv.ParseUint(symbol, 10, 32); err == nil {
			f.ids[uint32(id)] = struct{}{}
		}
	}
	return f
}

// begin finds what is there and tells of the rest. It fails when nothing can ever come.
func (f *tapFilter) begin(tap *journal.Tap, w io.Writer) error {
	if f.all {
		return nil
	}
	if err := tap.Refresh(); err != nil {
		return err
	}
	asked := len(f.waiting)
	f.look(tap, w)
	if len(f.unheard.Ties) == asked {
		return withExit(exitRefused, errors.New("none of --symbols can come, as told above"))
	}
	for _, symbol := range f.waiting {
		if id, err := strconv.ParseUint(symbol, 10, 32); err == nil {
			if _, known := tap.Symbol(uint32(id)); !known {
				f.unheard.wait(lsg.Waiting{InstrumentID: symbol})
			}
			continue
		}
		f.unheard.wait(lsg.Waiting{Symbol: symbol})
		fmt.Fprintf(w, "waiting: nobody has published %s yet\n", lsg.Printable(symbol))
	}
	return nil
}

// look finds what has come to be there. Of what can mean several it tells.
func (f *tapFilter) look(tap *journal.Tap, w io.Writer) {
	if len(f.waiting) == 0 || tap.SymbolsLen() == f.known {
		return
	}
	f.known = tap.SymbolsLen()
	var waiting []string
	for _, asked := range f.waiting {
		symbol, others := tap.Match(asked)
		switch {
		case symbol != "":
			f.names[symbol] = struct{}{}
			f.unheard.found(asked)
		case len(others) > 0:
			f.unheard.tie(asked)
			delete(f.unheard.Symbols, asked)
			fmt.Fprintln(w, lsg.Printable(lsg.Ambiguous(asked, others).Text()))
		default:
			waiting = append(waiting, asked)
		}
	}
	f.waiting = waiting
}

// verdict is what a tap that came to its end lacks: what was never published, as opposed to what does not lie in its span.
func (f *tapFilter) verdict(ctx context.Context, tap *journal.Tap, t *tapCmd, w io.Writer) error {
	if err := tap.Refresh(); err != nil { // a name may have come without records
		return err
	}
	f.look(tap, w)
	if tap.Tail() > 0 {
		f.unheard.Schemas = nil
	}
	if len(f.unheard.IDs) > 0 {
		if err := f.unheard.lookThrough(ctx, t); err != nil {
			return err
		}
	}
	return f.unheard.verdict(t.Dataset)
}

// lookThrough looks for ids without a name in all that is kept of a tape.
func (u *unheard) lookThrough(ctx context.Context, t *tapCmd) error {
	schema, err := feed.ParseSchema(t.Schema)
	if err != nil {
		return err
	}
	tap, err := journal.OpenTap(t.Data, t.Dataset, schema)
	if err != nil {
		return err
	}
	defer tap.Close()
	if err := tap.SeekTime(feed.ClockReplay, 0); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, questionPatience)
	defer cancel()
	for goal := tap.Tail(); tap.Seq() < goal && len(u.IDs) > 0 && ctx.Err() == nil; {
		b, err := tap.Next()
		if hole := (*journal.MissingError)(nil); err != nil && !errors.As(err, &hole) {
			return err
		}
		for ; len(b) > 0; b = b[tap.RecordSize():] { // at most a segment
			u.hear(feed.Record(b[:tap.RecordSize()]))
		}
	}
	return nil
}

// wants says whether an instrument is selected, by its name or by its id.
func (f *tapFilter) wants(id uint32, name string) bool {
	if f.all {
		return true
	}
	if _, ok := f.names[name]; ok {
		return true
	}
	_, ok := f.ids[id]
	return ok
}
