package feed

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Buffers of a client's connection, in bytes.
const (
	lineBuffer   = 4 << 10   // lines of text; it grows up to lsg.MaxLine
	recordBuffer = 256 << 10 // a subscriber's records: the larger, the fewer reads while catching up
)

// inbox is the receiving end of a connection: bytes that have come and not been used yet. One goroutine at a time may use it.
type inbox struct {
	conn net.Conn
	buf  []byte
	from int // first unused byte
	to   int // end of what has come
}

func newInbox(conn net.Conn, size int) *inbox {
	return &inbox{conn: conn, buf: make([]byte, size)}
}

// resize gives the inbox a new buffer and keeps what has come.
func (in *inbox) resize(size int) {
	buf := make([]byte, max(size, in.to-in.from))
	in.to = copy(buf, in.buf[in.from:in.to])
	in.from, in.buf = 0, buf
}

// fill reads once more. The unused bytes move to the front first, so that records stay aligned; slices of the buffer become invalid.
func (in *inbox) fill() error {
	if in.from > 0 {
		in.to = copy(in.buf, in.buf[in.from:in.to])
		in.from = 0
	}
	if in.to == len(in.buf) {
		in.resize(2 * len(in.buf))
	}
	n, err := in.conn.Read(in.buf[in.to:])
	in.to += n
	if n > 0 {
		return nil // an error comes again with the next read
	}
	return err
}

// line returns the next line without its newline, however its bytes are split over reads.
func (in *inbox) line() (string, error) {
	for {
		line, n, err := lsg.CutLine(in.buf[in.from:in.to])
		if err != nil {
			return "", err
		}
		if n > 0 {
			in.from += n
			return string(line), nil
		}
		if err := in.fill(); err != nil {
			if errors.Is(err, io.EOF) && in.to > in.from {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// take returns the next n bytes; they are valid until the next call that reads.
func (in *inbox) take(n int) ([]byte, error) {
	for in.to-in.from < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	in.from += n
	return in.buf[in.from-n : in.from], nil
}

// record returns the next whole record, or nil when more bytes must be read. The record aliases the buffer.
func (in *inbox) record() (Record, error) {
	if in.from == in.to {
		return nil, nil
	}
	size := int(in.buf[in.from]) * lengthUnit
	if size < HeaderSize {
		return nil, fmt.Errorf("%w: %d bytes, a header alone has %d; the stream cannot be read on", ErrLength, size, HeaderSize)
	}
	if in.to-in.from < size {
		return nil, nil
	}
	in.from += size
	return Record(in.buf[in.from-size : in.from : in.from]), nil
}
