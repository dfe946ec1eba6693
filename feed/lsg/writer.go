package lsg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// lineWriter puts fields one after another into buf and keeps the first error, so that an Append function reads as the list of its fields.
type lineWriter struct {
	buf   []byte
	start int // where this line begins in buf
	err   error
}

func (w *lineWriter) key(key string) {
	if len(w.buf) > w.start {
		w.buf = append(w.buf, '|')
	}
	w.buf = append(w.buf, key...)
}

// word writes a bare word such as gap.
func (w *lineWriter) word(word string) { w.key(word) }

// text writes key=value and refuses a value that would end the field or the line. The error does not show the value, which may be auth's.
func (w *lineWriter) text(key, value string) {
	if w.err == nil && (strings.IndexByte(value, '|') >= 0 || controlAt(value) >= 0) {
		w.err = fmt.Errorf("%w: the value of %s holds '|' or a control character; take it out", ErrForbidden, key)
	}
	w.key(key)
	w.buf = append(append(w.buf, '='), value...)
}

// optional writes the field unless its value is empty.
func (w *lineWriter) optional(key, value string) {
	if value != "" {
		w.text(key, value)
	}
}

func (w *lineWriter) number(key string, n uint64) {
	w.key(key)
	w.buf = strconv.AppendUint(append(w.buf, '='), n, 10)
}

// time writes ns so that ParseTime reads them back: a leading zero keeps those that look like a date from being one.
func (w *lineWriter) time(key string, ns uint64) {
	w.key(key)
	w.buf = append(w.buf, '=')
	at := len(w.buf)
	w.buf = strconv.AppendUint(w.buf, ns, 10)
	if _, date := dateOf(string(w.buf[at:])); date {
		w.buf = slices.Insert(w.buf, at, '0')
	}
}

func (w *lineWriter) flag(key string, on bool) {
	if on {
		w.number(key, 1)
	} else {
		w.number(key, 0)
	}
}

// line ends the line and returns the whole buffer, or the buffer as it was before the line with the first error.
func (w *lineWriter) line() ([]byte, error) {
	if w.err == nil && len(w.buf)-w.start > MaxLine {
		w.err = fmt.Errorf("%w: line of %d bytes, the limit is %d; split it", ErrTooLong, len(w.buf)-w.start, MaxLine)
	}
	if w.err != nil {
		return w.buf[:w.start], w.err
	}
	return append(w.buf, '\n'), nil
}

// inBand returns the line as the text of a SystemMsg. It refuses what that record would cut.
func (w *lineWriter) inBand() (string, error) {
	if w.err == nil && len(w.buf)-w.start > MaxInBand {
		w.err = fmt.Errorf("%w: %d bytes inside a SystemMsg, the limit is %d", ErrTooLong, len(w.buf)-w.start, MaxInBand)
	}
	if w.err != nil {
		return "", w.err
	}
	return string(w.buf[w.start:]), nil
}
