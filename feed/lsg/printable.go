package lsg

import (
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Printable makes text from outside fit for a person's terminal: what a terminal would act on instead of showing it becomes a question mark. These are
// the control characters, U+0080 to U+009F among them and bytes that are no UTF-8, which some terminals take for those; and the characters that
// reorder a line. Newlines and tabs stay.
func Printable(s string) string {
	for i, r := range s {
		if !harmless(r, s[i:]) {
			return string(AppendPrintable(make([]byte, 0, len(s)), s))
		}
	}
	return s
}

// AppendPrintable appends what Printable makes of s.
func AppendPrintable[T ~string | ~[]byte](dst []byte, s T) []byte {
	text := string(s)
	for i, r := range text {
		if !harmless(r, text[i:]) {
			r = '?'
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// Escaped makes text from outside fit for a line that names it: control characters and bytes that are no UTF-8 are written as Go writes them, such as \x01 or
// \u0085. So it can be told which one of several was meant.
func Escaped(s string) string {
	var b []byte
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !harmless(r, s[i:]):
			b = fmt.Appendf(b, `\x%02x`, s[i])
		case isControl(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b = append(b, quoted[1:len(quoted)-1]...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// harmless looks at the rune that s begins with.
func harmless(r rune, s string) bool {
	switch {
	case r == '\n', r == '\t':
		return true
	case r < 0x7f:
		return r >= ' '
	case r == utf8.RuneError:
		_, size := utf8.DecodeRuneInString(s)
		return size > 1 // U+FFFD itself may be shown
	}
	return !isControl(r)
}

// isControl says whether a terminal acts on r, above ASCII or not.
func isControl(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// PrintableWriter passes on text as Printable makes it. What is written at once must not end within a character.
type PrintableWriter struct{ To io.Writer }

// Write writes p, changed or not.
func (w PrintableWriter) Write(p []byte) (int, error) {
	if _, err := w.To.Write(AppendPrintable(make([]byte, 0, len(p)), p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
