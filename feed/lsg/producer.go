package lsg

import (
	"fmt"
	"strings"
)

// Codes of a ProducerError.
const (
	CodeAuth              = "auth"               // the key may not publish here
	CodeFenced            = "fenced"             // a newer session of the same name took over
	CodeBadMetadata       = "bad_metadata"       // the DBN metadata cannot be read or names another dataset
	CodeBadLength         = "bad_length"         // a record's length is impossible or not that of its schema
	CodeBadRType          = "bad_rtype"          // an unknown or deprecated rtype
	CodeSchemaMismatch    = "schema_mismatch"    // a record that does not belong to the schema of the metadata
	CodeUnknownInstrument = "unknown_instrument" // an ID that this session did not declare
	CodeBadTime           = "bad_time"           // a ts_event of 0 or undefined where the schema's replay goes by it
	CodeBadSymbol         = "bad_symbol"         // the answer to an instrument line: nobody could ask for this symbol
	CodeBadInstrument     = "bad_instrument"     // the answer to an instrument line: a field has no meaning
	CodeBadGap            = "bad_gap"            // the answer to a gap line that cannot be entered as it is
	CodeBadLine           = "bad_line"           // the answer to a line that is none of the protocol's
	CodeOffTick           = "off_tick"           // with strict=1: a price is not a multiple of its instrument's increment
	CodeNoStream          = "no_stream"          // existing=1, and nobody has published this stream
	CodeOwned             = "owned"              // the producer's name belongs to another key
	CodeIDConflict        = "id_conflict"        // the ID is another live symbol's
	CodeStreamHead        = "stream_head"        // the stream was begun with other data
	CodeLimit             = "limit"              // a named limit of the server
	CodeRemoved           = "removed"            // the dataset was removed
	CodeShutdown          = "shutdown"           // the server goes down
)

// What a ProducerError says about trying again.
const (
	RetryNever = "never" // the same input fails again
	RetryNow   = "now"
	RetryLater = "later" // after a pause
)

// EndSession is the in-band text with which a producer says that no record follows.
const EndSession = "end_session"

// What a ProducerError calls a line that has no name of its own in the answer.
const (
	LineGap        = "gap"
	LineInstrument = "instrument" // one without a symbol
	LineUnknown    = "unknown"
)

// Ack tells a producer that the first N data records of its stream are kept, at a level of AckWritten or AckSynced.
type Ack struct {
	N     uint64
	Level string
}

// ProducerError is the last line that a server sends to a producer, unless it names an Instrument or a Line. All records before Record stay in the tapes.
type ProducerError struct {
	Code       string
	Instrument string // the symbol of the instrument line that this answers: that one is refused, and the session goes on
	Line       string // LineGap, LineInstrument or LineUnknown: a line of that kind, which alone is refused; likewise
	Record     uint64 // with HasRecord: the number of the refused record in its stream, from 0
	HasRecord  bool
	Want, Got  string // what was expected and what came, where that says more than Text
	Retry      string // RetryNever, RetryNow or RetryLater
	Text       string
}

// Pause asks a producer to stop sending until a resume line comes, and says why, such as disk_full. Bytes already under way are not lost.
type Pause struct{ Reason string }

// IsAck, IsError, IsPause and IsResume tell the lines apart that a server sends to a producer; IsInstrument tells the fifth kind.
func IsAck(line string) bool    { return strings.HasPrefix(line, "ack=") }
func IsError(line string) bool  { return strings.HasPrefix(line, "error=") }
func IsPause(line string) bool  { return strings.HasPrefix(line, "pause=") }
func IsResume(line string) bool { return strings.HasPrefix(line, "resume=") }

// keyLine is the field by which an error answers a line other than a declaration.
const keyLine = "line"

// Alone reports whether the error refuses one line, and the session goes on.
func (e ProducerError) Alone() bool { return e.Instrument != "" || e.Line != "" }

// Append writes the line with its newline. It does not allocate when dst has room.
func (a Ack) Append(dst []byte) []byte {
	w := lineWriter{buf: dst, start: len(dst)}
	w.number("ack", a.N)
	w.optional("level", Clean(a.Level))
	return append(w.buf, '\n')
}

// ParseAck reads the line.
func ParseAck(line string) (Ack, error) {
	f, err := Parse(line)
	if err != nil {
		return Ack{}, err
	}
	n, ok, err := f.number("ack")
	if err != nil || !ok {
		return Ack{}, fmt.Errorf("%w: ack=%s; it counts records", ErrValue, quote(f.Get("ack")))
	}
	level, err := f.oneOf("level", AckWritten, AckSynced)
	return Ack{N: n, Level: level}, err
}

// Append writes the line with its newline; its values are cleaned.
func (e ProducerError) Append(dst []byte) []byte {
	w := lineWriter{buf: dst, start: len(dst)}
	w.text("error", Clean(e.Code))
	w.optional(keyInstrument, Clean(e.Instrument))
	w.optional(keyLine, Clean(e.Line))
	if e.HasRecord {
		w.number("record", e.Record)
	}
	w.optional("want", Clean(e.Want))
	w.optional("got", Clean(e.Got))
	w.optional("retry", Clean(e.Retry))
	w.optional("text", Clean(e.Text))
	return append(w.buf, '\n')
}

// ParseProducerError reads the line. Codes it does not know are kept: a newer server may have more of them.
func ParseProducerError(line string) (ProducerError, error) {
	f, err := Parse(line)
	if err != nil {
		return ProducerError{}, err
	}
	e := ProducerError{Code: f.Get("error"), Instrument: f.Get(keyInstrument), Line: f.Get(keyLine), Want: f.Get("want"), Got: f.Get("got"), Text: f.Get("text")}
	if e.Code == "" {
		return ProducerError{}, fmt.Errorf("%w: error", ErrMissing)
	}
	if e.Record, e.HasRecord, err = f.number("record"); err != nil {
		return ProducerError{}, err
	}
	e.Retry, err = f.oneOf("retry", RetryNever, RetryNow, RetryLater)
	return e, err
}

// Append writes the line with its newline; the reason is cleaned.
func (p Pause) Append(dst []byte) []byte {
	w := lineWriter{buf: dst, start: len(dst)}
	w.text("pause", Clean(p.Reason))
	return append(w.buf, '\n')
}

// ParsePause reads the line.
func ParsePause(line string) (Pause, error) {
	f, err := Parse(line)
	if err != nil {
		return Pause{}, err
	}
	reason, err := f.need("pause")
	return Pause{Reason: reason}, err
}

// AppendResume writes the line that ends a pause, with its newline.
func AppendResume(dst []byte) []byte { return append(dst, "resume=1\n"...) }
