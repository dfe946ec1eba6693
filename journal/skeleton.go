package journal

import (
	"context"

	"github.com/tapewire/tapewire/feed"
)

// Journal is an open data directory.
type Journal struct{}

func Open(dir string, o Options) (*Journal, error)      { panic("soon") }
func (j *Journal) Close() error                         { panic("soon") }
func (j *Journal) Lookup(name string) *Dataset          { panic("soon") }
func (j *Journal) Create(name string) (*Dataset, error) { panic("soon") }
func (j *Journal) Datasets() []*Dataset                 { panic("soon") }
func (j *Journal) Watch(f func()) (cancel func())       { panic("soon") }

type Dataset struct{}

func (d *Dataset) Name() string                                   { panic("soon") }
func (d *Dataset) Epoch() uint64                                  { panic("soon") }
func (d *Dataset) Epochs() []Epoch                                { panic("soon") }
func (d *Dataset) Tape(s feed.Schema) *Tape                       { panic("soon") }
func (d *Dataset) Watch(committed, synced func()) (cancel func()) { panic("soon") }
func (d *Dataset) Symbols() *Symbols                              { panic("soon") }
func (d *Dataset) Gaps() []Gap                                    { panic("soon") }
func (d *Dataset) Err() error                                     { panic("soon") } // nil, ErrDiskFull, ErrSyncFailed, ErrFault
func (d *Dataset) OpenWriter(o WriterOptions) (*Writer, error)    { panic("soon") }

type Epoch struct {
	Number uint64
	Time   uint64     // wall ns
	First  []Position // each tape's first record of this epoch
}

type WriterOptions struct {
	Producer, Stream string
	Resume           uint64
	HasResume        bool
}

type Run struct {
	Schema feed.Schema
	Bytes  []byte
}

type Writer struct{}

func (w *Writer) Accepted() uint64                           { panic("soon") }
func (w *Writer) Synced() uint64                             { panic("soon") }
func (w *Writer) Append(runs []Run) (records int, err error) { panic("soon") }
func (w *Writer) Wait(ctx context.Context) error             { panic("soon") }
func (w *Writer) Map(id uint32, symbol string) error         { panic("soon") }
func (w *Writer) Instrument(in Instrument) (uint32, error)   { panic("soon") }
func (w *Writer) Gap(g Gap) error                            { panic("soon") }
func (w *Writer) Close()                                     { panic("soon") }

// Instrument is what a producer declares; the texts are kept as they were given.
type Instrument struct {
	Symbol, PriceIncrement, Lot, Currency, Class string
}

type Tape struct{}

func (t *Tape) Schema() feed.Schema                                  { panic("soon") }
func (t *Tape) RecordSize() int                                      { panic("soon") }
func (t *Tape) First() uint64                                        { panic("soon") }
func (t *Tape) Tail() uint64                                         { panic("soon") }
func (t *Tape) Seek(c feed.Clock, ts uint64) (seq uint64, err error) { panic("soon") }
func (t *Tape) Segment(seq uint64) (*Segment, error)                 { panic("soon") }
func (t *Tape) Marks() []Mark                                        { panic("soon") }

type Mark struct {
	Seq     uint64
	Gap     *Gap
	Mapping *Mapping
}

type Segment struct{}

func (s *Segment) Base() uint64                            { panic("soon") }
func (s *Segment) Limit() uint64                           { panic("soon") }
func (s *Segment) Offset(seq uint64) int64                 { panic("soon") }
func (s *Segment) Mapped(from, to uint64) []byte           { panic("soon") }
func (s *Segment) ReadAt(p []byte, off int64) (int, error) { panic("soon") }
func (s *Segment) Fd() int                                 { panic("soon") }
func (s *Segment) Release()                                { panic("soon") }

// Position is a place in a tape.
type Position struct {
	Schema feed.Schema
	Seq    uint64
}

type Symbols struct{}

func (s *Symbols) Len() int                                                          { panic("soon") }
func (s *Symbols) IDs(symbol string) []uint32                                        { panic("soon") }
func (s *Symbols) Symbol(id uint32) (string, bool)                                   { panic("soon") }
func (s *Symbols) SymbolAt(id uint32, schema feed.Schema, seq uint64) (string, bool) { panic("soon") }

type Gap struct {
	Schema               feed.Schema // SchemaNone: every tape
	FromTs, ToTs         uint64      // ns; UndefTimestamp: not known
	FromRecord, ToRecord uint64      // of the stream, for a resume beyond what was accepted
	Records              uint64      // lost, 0: not known
	Producer, Stream     string
	Cause                string // upstream, skipped, cut, expired, quarantined
	Time                 uint64 // wall ns
	At                   []Position
}

// Mapping is one entry of the symbol table.
type Mapping struct {
	ID         uint32
	Symbol     string
	Producer   string
	Instrument Instrument // what the producer declared, if it did
	Time       uint64     // wall ns
	At         []Position
}

func (s *Symbols) At(i int) Mapping { panic("soon") }

type OSDisk struct{ Disk }
