// Package lsg parses and formats the text lines of the Live protocol: greeting, challenge and response, authentication, subscriptions,
// start_session, and the lines that tapewire adds for producers.
//
// It promises that every spelling of the Python, Rust, C++ and dbn-go clients is understood, whatever the order of the fields and whichever
// of them are left out; that keys it does not know are ignored; that a line it writes can be read back to the same values; and that bad
// input of any kind yields an error that names the field. It never panics and never holds more than one line.
//
// It does not: open sockets, know records or schemas, look up keys, or decide what a server allows (heartbeat range, datasets, rights).
// Those belong to its callers.
//
// A line is `key=value` fields joined by '|', ended by '\n'. Append functions write the newline; Text functions return the form that
// travels inside a SystemMsg record, without one. Parse functions take a line without its newline and tolerate a carriage return at its end.
// Values cannot hold '|' or a control character. Data that does (a symbol, a name) is refused with ErrForbidden; prose that does (the text of
// an error) is cleaned, because an error must always get out.
package lsg

import (
	"bytes"
	"fmt"
	"time"
)

// Version is the lsg_version that the greeting names, one that the official clients have met in the field.
const Version = "0.9.4"

// Limits of one line and its parts.
const (
	MaxLine           = 1 << 20 // bytes without the newline; dbn-go sends all its symbols on one line
	MaxFields         = 64      // fields of one line; the longest known line has 12
	MaxSymbolsPerLine = 1 << 16 // symbols of one subscription line
	MaxSymbol         = 70      // bytes; DBN's symbol strings are 71 with their NUL
	MaxDataset        = 15      // bytes; DBN's dataset string is 16 with its NUL
	MaxName           = 128     // bytes of a producer's name or stream ID; a digest in hex fits, also behind a prefix
	MaxRecords        = 1 << 62 // records of a stream or a tape; a count is never near the end of its 64 bits
	MaxProse          = 512     // bytes of an error's text; the rest is cut
	MaxCause          = 64      // bytes of the cause of a gap
	MaxInBand         = 302     // bytes of a line inside a SystemMsg: 303 with its NUL
)

// Heartbeat intervals that the Live protocol documents. Parsing does not enforce the range: what to do outside of it is the server's choice.
const (
	DefaultHeartbeat = 30 * time.Second // when the field is absent
	MinHeartbeat     = 5 * time.Second
	MaxHeartbeat     = 1800 * time.Second
)

// CutLine finds the first line of b. It returns the line without its newline and the number of bytes to drop from b, newline included; zero
// bytes mean that the line is not complete yet. ErrTooLong says that no line can come of it: the peer does not speak this protocol.
// The line aliases b.
func CutLine(b []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(b[:min(len(b), MaxLine+1)], '\n')
	if i >= 0 {
		return b[:i], i + 1, nil
	}
	if len(b) > MaxLine {
		return nil, 0, fmt.Errorf("%w: no newline within %d bytes; end each line with \\n and split symbols over several lines", ErrTooLong, MaxLine)
	}
	return nil, 0, nil
}
