package feed

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// decoderBuffer is what a Decoder reads ahead, in bytes: many records at a time, little enough for many files at once.
const decoderBuffer = 64 << 10

// Decoder reads the metadata and then the records of a DBN file or stream, plain or zstd-compressed, of any version. A
// record is given as soon as its bytes are there, so a Decoder may read from a live connection. Memory is bounded by
// decoderBuffer, the metadata's size and, compressed, the zstd window of at most maxZstdWindow.
type Decoder struct {
	src      io.Reader // DBN, decompressed
	close    []func() error
	meta     Metadata
	version  uint8 // of the input
	tsOut    bool  // of the input
	upgrade  bool
	fragment bool

	buf      []byte
	at, end  int // buf[at:end] is read and not yet given
	upgraded []byte
	record   int // number of the next record
	err      error
}

// DecoderOption changes what a Decoder expects or gives.
type DecoderOption func(*Decoder)

// WithFragment declares that the input has no metadata and its records are of a DBN version, without ts_out: a fragment
// cannot be told from any other bytes. Metadata is then empty, with the schema and symbology types none.
func WithFragment(version uint8) DecoderOption {
	return func(d *Decoder) { d.fragment, d.version = true, version }
}

// WithoutUpgrade gives metadata and records as they are, in the input's version and with its ts_out; only lengths that
// cannot be are refused. Without it they come as version 3 without ts_out, and each is checked.
func WithoutUpgrade() DecoderOption {
	return func(d *Decoder) { d.upgrade = false }
}

// NewDecoder recognises the input by its first bytes and reads the metadata. ErrNotDBN: it is something else, or a fragment
// that was not declared. ErrLegacyDBZ: it has to be converted first. ErrMetadata and ErrVersion: as ParseMetadata. A cut
// input gives an error that wraps io.ErrUnexpectedEOF.
func NewDecoder(r io.Reader, opts ...DecoderOption) (*Decoder, error) {
	d := &Decoder{src: r, upgrade: true, buf: make([]byte, decoderBuffer)}
	for _, o := range opts {
		o(d)
	}
	if err := d.begin(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// OpenFile is NewDecoder on a file, which Close closes; errors name the path.
func OpenFile(path string, opts ...DecoderOption) (*Decoder, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d, err := NewDecoder(f, opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	d.close = append(d.close, f.Close)
	return d, nil
}

// Close releases what the decoder holds, and the file that OpenFile opened; not the reader that NewDecoder was given.
func (d *Decoder) Close() error {
	var err error
	for _, f := range d.close {
		err = errors.Join(err, f())
	}
	d.close = nil
	return err
}

// Metadata heads the records that Next gives: upgraded as they are. The caller may keep it.
func (d *Decoder) Metadata() *Metadata { return &d.meta }

// InputVersion is the DBN version that the input is written in.
func (d *Decoder) InputVersion() uint8 { return d.version }

// Next gives the next record, which is good until the next call. io.EOF: there are no more. An input cut within a record
// gives an error that wraps io.ErrUnexpectedEOF, a bad record a *RecordError with its number in the input. An error stays.
func (d *Decoder) Next() (Record, error) {
	if d.err != nil {
		return nil, d.err
	}
	r, err := d.next()
	if err != nil {
		d.err = err
		return nil, err
	}
	d.record++
	return r, nil
}

// Records gives all records as Next does, and at last the error that ended them, if it was not io.EOF.
func (d *Decoder) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			r, err := d.Next()
			if err == io.EOF {
				return
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// next takes a record from the buffer and upgrades it where it must be.
func (d *Decoder) next() (Record, error) {
	if d.at == d.end {
		if err := d.fill(1); err != nil {
			return nil, err
		}
	}
	size := int(d.buf[d.at]) * lengthUnit
	if size < HeaderSize {
		return nil, &RecordError{Err: ErrLength, Record: d.record, Want: "at least 16 bytes", Got: fmt.Sprintf("%d bytes", size)}
	}
	if d.end-d.at < size {
		if err := d.fill(size); err != nil {
			return nil, err
		}
	}
	r := Record(d.buf[d.at : d.at+size : d.at+size])
	d.at += size
	if !d.upgrade || d.version == Version && !d.tsOut && size == r.RType().RecordSize() {
		return r, nil
	}
	upgraded, err := Upgrade(d.upgraded[:0], r, d.version, d.tsOut)
	if err != nil {
		if bad, ok := errors.AsType[*RecordError](err); ok {
			bad.Record = d.record
		}
		return nil, err
	}
	d.upgraded = upgraded
	return upgraded, nil
}

// fill reads until n bytes are in the buffer, n being at most the size of a record.
func (d *Decoder) fill(n int) error {
	if len(d.buf)-d.at < n {
		d.end = copy(d.buf, d.buf[d.at:d.end])
		d.at = 0
	}
	have := d.end - d.at
	if have == 0 {
		d.at, d.end = 0, 0
	}
	got, err := io.ReadAtLeast(d.src, d.buf[d.end:], n-have)
	d.end += got
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF) && have+got == 0:
		return io.EOF
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("feed: record %d: the input is cut after %d of its bytes: %w", d.record, have+got, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("feed: record %d: %w", d.record, err)
}
