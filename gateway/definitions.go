package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// definitions knows where the newest definition of each instrument of a dataset
// is. It looks at the tape for that, and at each definition once, when the first
// producer declares an instrument. So a definition that a process before made, or
// somebody published, is never made a second time.
type definitions struct {
	mu     sync.Mutex // held from looking whether there is one to having made one
	newest map[uint32]uint64
	seen   uint64 // definitions before it are in newest
}

// inlineDefinitions is how many definitions the event loop looks at in one go.
const inlineDefinitions = 2048

// definitionsStep is how many are looked at while the lock is held.
const definitionsStep = 4096

// behind reports whether too many have not been looked at yet to do it here.
func (ds *definitions) behind(d *journal.Dataset) bool {
	t := d.Tape(feed.SchemaDefinition)
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return t != nil && t.Tail() > max(ds.seen, t.First())+inlineDefinitions
}

// catchUp looks at all there are.
func (ds *definitions) catchUp(ctx context.Context, d *journal.Dataset) error {
	for ds.behind(d) {
		if err := ctx.Err(); err != nil {
			return err
		}
		ds.mu.Lock()
		err := ds.look(d, definitionsStep)
		ds.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// look goes on over at most so many definitions. The caller holds mu.
func (ds *definitions) look(d *journal.Dataset, most uint64) error {
	t := d.Tape(feed.SchemaDefinition)
	if t == nil {
		return nil
	}
	if ds.newest == nil {
		ds.newest = map[uint32]uint64{}
	}
	tail := t.Tail()
	for ds.seen = max(ds.seen, t.First()); ds.seen < tail && most > 0; {
		if h, ok := t.NextHole(ds.seen); ok && h.From <= ds.seen {
			ds.seen = min(h.To, tail)
			continue
		}
		b, err := readRecords(t, ds.seen, min(tail, ds.seen+most))
		if err != nil {
			return err
		}
		for at := 0; at < len(b); at += t.RecordSize() {
			ds.newest[feed.Record(b[at:]).InstrumentID()] = ds.seen
			ds.seen++
			most--
		}
	}
	return nil
}

// of is the newest definition of an instrument by its present name. The caller
// holds mu and has looked.
func (ds *definitions) of(d *journal.Dataset, id uint32, symbol string) (m feed.InstrumentDefMsg, ok bool, err error) {
	t := d.Tape(feed.SchemaDefinition)
	seq, ok := ds.newest[id]
	if !ok || seq < t.First() {
		return m, false, nil
	}
	if h, hurt := t.NextHole(seq); hurt && h.From <= seq {
		return m, false, nil
	}
	b, err := readRecords(t, seq, seq+1)
	if err != nil {
		return m, false, err
	}
	found, ok := feed.View[feed.InstrumentDefMsg](feed.Record(b))
	if !ok || feed.CString(found.RawSymbol[:]) != symbol {
		return m, false, nil
	}
	return *found, true, nil
}

// readRecords copies records of a tape from seq on, up to end or where their
// segment ends, at least one.
func readRecords(t *journal.Tape, seq, end uint64) ([]byte, error) {
	seg, err := t.Segment(seq)
	if err != nil {
		return nil, err
	}
	defer seg.Release()
	if end, err = seg.Check(seq, min(end, seg.Limit())); err != nil {
		return nil, err
	}
	b := make([]byte, int(end-seq)*t.RecordSize())
	if mapped := seg.Mapped(seq, end); mapped != nil {
		copy(b, mapped)
		return b, nil
	}
	_, err = seg.ReadAt(b, seg.Offset(seq))
	return b, err
}

// declare gives an instrument its id, and has its definition on the tape before
// anybody is told of it: one for each id and change of what is declared.
func (in *ingest) declare(decl lsg.Instrument) (id uint32, err error) {
	d, defs := in.p.feed.dataset, &in.p.feed.definitions
	for defs.behind(d) {
		if err := in.aside(func(ctx context.Context) error { return defs.catchUp(ctx, d) }); err != nil {
			return 0, err // the line is taken again
		}
	}
	defs.mu.Lock()
	defer defs.mu.Unlock()
	if err := defs.look(d, inlineDefinitions+definitionsStep); err != nil {
		return 0, fmt.Errorf("the definitions of %s cannot be read: %w", d.Name(), err)
	}
	entry := journal.Instrument{
		Symbol: decl.Symbol, PriceIncrement: decl.PriceIncrement, Lot: decl.Lot, Currency: decl.Currency, Class: decl.Class,
	}
	if id, err = in.p.writer.Instrument(entry); err != nil {
		return 0, err
	}
	old, defined, err := defs.of(d, id, decl.Symbol)
	if err != nil {
		return 0, err
	}
	if defined && old.Contradicts(decl) { // whoever published it meant other sizes
		if id, err = in.p.writer.InstrumentAnew(entry); err != nil {
			return 0, err
		}
		defined = false
	} else if !defined {
		if old, err = in.former(id, decl.Symbol); err != nil {
			return 0, err
		}
	}
	def := old
	def.InstrumentID = id
	if err := def.Declare(decl); err != nil {
		return 0, err
	}
	if defined && def == old {
		return id, nil
	}
	now := uint64(time.Now().UnixNano())
	def.TsEvent, def.TsRecv, def.SecurityUpdateAction = now, now, feed.UpdateAdd
	if defined {
		def.SecurityUpdateAction = feed.UpdateModify
	}
	return id, in.p.writer.Note(feed.SchemaDefinition, feed.Bytes(&def)) // when it has to wait, the line is taken again
}

// former is what a new id's definition begins with: that of the id which the symbol
// had before its tick or lot changed, since what is left out stays as it was. It may be
// another producer's, and the line may be taken for the second time: so it is looked for
// on the tape, where the newest is, and not remembered.
func (in *ingest) former(id uint32, symbol string) (feed.InstrumentDefMsg, error) {
	d := in.p.feed.dataset
	for id := range in.p.writer.KnownIDs(symbol) {
		if m, ok, err := in.p.feed.definitions.of(d, id, symbol); ok || err != nil {
			return m, err
		}
	}
	return feed.NewDefinition(id, symbol), nil
}
