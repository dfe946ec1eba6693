package feed

import (
	"fmt"
	"io"
)

// Encoder writes a DBN version 3 file or stream: metadata, then records. It holds nothing back: each call is one write, so
// give it a bufio.Writer where that matters, and flush it at the end.
type Encoder struct {
	w      io.Writer
	suffix int // bytes of ts_out
	record int // number of the next record
}

// NewEncoder writes the metadata, which must be of version 3. ErrVersion and ErrTooLarge as Metadata.Append, or the
// writer's error.
func NewEncoder(w io.Writer, m Metadata) (*Encoder, error) {
	if m.Version != Version {
		return nil, fmt.Errorf("%w %d: records are written as version %d; upgrade them and the metadata", ErrVersion, m.Version, Version)
	}
	head, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	e := &Encoder{w: w}
	if m.TsOut {
		e.suffix = TsOutSize
	}
	return e, nil
}

// Write writes one whole record, with ts_out exactly if the metadata says so. A *RecordError with ErrRType or ErrLength: it
// is not one of version 3; nothing is written then.
func (e *Encoder) Write(r Record) error {
	if len(r) < HeaderSize {
		return fmt.Errorf("%w: a record needs %d, got %d", ErrShort, HeaderSize, len(r))
	}
	rt := r.RType()
	if !rt.Known() {
		return &RecordError{Err: ErrRType, Record: e.record, Want: "a known record type", Got: rt.String()}
	}
	if want := rt.RecordSize() + e.suffix; r.Size() != want || len(r) != want {
		return &RecordError{Err: ErrLength, Record: e.record, Want: bytesOf(want, rt), Got: fmt.Sprintf("length %d in %d bytes", r.Size(), len(r))}
	}
	if _, err := e.w.Write(r); err != nil {
		return err
	}
	e.record++
	return nil
}
