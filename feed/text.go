package feed

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// CString is the text in a NUL-padded field of a record, such as InstrumentDefMsg.RawSymbol[:]; it allocates the string.
func CString(field []byte) string {
	return string(field[:textLen(field)])
}

// textLen is the length of the text in a NUL-padded field; the field's own length when nothing ends it.
func textLen(field []byte) int {
	if n := bytes.IndexByte(field, 0); n >= 0 {
		return n
	}
	return len(field)
}

// cutAtNul is CString for a field that is a string already.
func cutAtNul(field string) string {
	text, _, _ := strings.Cut(field, "\x00")
	return text
}

// setText fills a field with text and zeros. The text is cut so that a NUL ends it, and between characters: readers in other
// languages refuse a field that is not UTF-8.
func setText(field []byte, text string) {
	if n := len(field) - 1; len(text) > n {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	clear(field[copy(field, text):])
}

// appendField appends text, which is shorter than size, and NULs up to size bytes.
func appendField(dst []byte, text string, size int) []byte {
	return appendZeros(append(dst, text...), size-len(text))
}

// appendZeros appends n zero bytes.
func appendZeros(dst []byte, n int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	clear(dst[at:])
	return dst
}

// viewString is b as a string in place; it is good as long as b does not change.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
