package lsg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Field is one key=value of a line. A bare word (start_session, gap) is a Field with an empty Value.
type Field struct{ Key, Value string }

// Fields are the fields of one line, in the order in which they came.
type Fields []Field

// Parse splits one line into its fields. It tolerates one trailing '\r' and one trailing '|', which real peers send. It fails with ErrLine for
// an empty line, an empty or repeated key or a control character, and with ErrTooLong beyond MaxLine or MaxFields.
// Bytes above ASCII are let through: exchanges do list symbols that hold them.
func Parse(line string) (Fields, error) {
	if len(line) > MaxLine {
		return nil, fmt.Errorf("%w: line of %d bytes, the limit is %d", ErrTooLong, len(line), MaxLine)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\r"), "|")
	if line == "" {
		return nil, fmt.Errorf("%w: it is empty; send key=value fields joined by '|'", ErrLine)
	}
	if i := controlAt(line); i >= 0 {
		return nil, fmt.Errorf("%w: control character 0x%02x at byte %d; values are plain text", ErrLine, line[i], i)
	}
	count := strings.Count(line, "|") + 1
	if count > MaxFields {
		return nil, fmt.Errorf("%w: %d fields, the limit is %d", ErrTooLong, count, MaxFields)
	}
	fields := make(Fields, 0, count)
	for part := range strings.SplitSeq(line, "|") {
		key, value, _ := strings.Cut(part, "=")
		if key == "" {
			return nil, fmt.Errorf("%w: field %d has no key; write it as key=value", ErrLine, len(fields)+1)
		}
		if _, twice := fields.Lookup(key); twice {
			return nil, fmt.Errorf("%w: field %s appears twice; send it once", ErrLine, quote(key))
		}
		fields = append(fields, Field{key, value})
	}
	return fields, nil
}

// parseInBand reads a line that begins with a word of its own.
func parseInBand(word, text string) (Fields, error) {
	f, err := Parse(text)
	if err == nil && f[0].Key != word {
		err = fmt.Errorf("%w: it begins with the word %s", ErrLine, word)
	}
	return f, err
}

// Lookup returns the value of key and whether the line has it.
func (f Fields) Lookup(key string) (string, bool) {
	for i := range f {
		if f[i].Key == key {
			return f[i].Value, true
		}
	}
	return "", false
}

// Get returns the value of key, or "" when the line does not have it.
func (f Fields) Get(key string) string {
	value, _ := f.Lookup(key)
	return value
}

// Append writes the fields as one line with its newline. It fails with ErrForbidden when a value cannot go on a line, and leaves dst as it was.
func (f Fields) Append(dst []byte) ([]byte, error) {
	w := lineWriter{buf: dst, start: len(dst)}
	for _, field := range f {
		w.text(field.Key, field.Value)
	}
	return w.line()
}

// need returns the value of a field that must be there and must not be empty.
func (f Fields) need(key string) (string, error) {
	value := f.Get(key)
	if value == "" {
		return "", fmt.Errorf("%w: %s", ErrMissing, key)
	}
	return value, nil
}

// flag reads a 0/1 field; absent is what the caller says.
func (f Fields) flag(key string, absent bool) (bool, error) {
	value, ok := f.Lookup(key)
	switch {
	case !ok:
		return absent, nil
	case value == "0":
		return false, nil
	case value == "1":
		return true, nil
	}
	return false, fmt.Errorf("%w: %s=%s; write 0 or 1", ErrValue, key, quote(value))
}

// number reads an unsigned decimal field and says whether it is there.
func (f Fields) number(key string) (uint64, bool, error) {
	value, ok := f.Lookup(key)
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("%w: %s=%s; write an unsigned 64-bit decimal", ErrValue, key, quote(value))
	}
	return n, true, nil
}

// numberTo reads an unsigned decimal field whose range ends at most.
func (f Fields) numberTo(key string, most uint64) (uint64, bool, error) {
	n, ok, err := f.number(key)
	if err == nil && n > most {
		err = fmt.Errorf("%w: %s=%d; it is at most %d", ErrValue, key, n, most)
	}
	return n, ok, err
}

// only refuses a field that is none of the keys.
func (f Fields) only(keys ...string) error {
	for i := range f {
		if !slices.Contains(keys, f[i].Key) {
			return fmt.Errorf("%w: unknown field %s; a line like this has %s", ErrLine, quote(f[i].Key), strings.Join(keys, ", "))
		}
	}
	return nil
}

// time reads a field in any form of ParseTime and says whether it is there.
func (f Fields) time(key string) (uint64, bool, error) {
	value, ok := f.Lookup(key)
	if !ok {
		return 0, false, nil
	}
	ns, err := ParseTime(value)
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", key, err)
	}
	return ns, true, nil
}

// oneOf reads a field with a closed list of values; "" when it is absent.
func (f Fields) oneOf(key string, allowed ...string) (string, error) {
	value, ok := f.Lookup(key)
	if !ok {
		return "", nil
	}
	for _, a := range allowed {
		if value == a {
			return value, nil
		}
	}
	return "", fmt.Errorf("%w: %s=%s; write one of: %s", ErrValue, key, quote(value), strings.Join(allowed, ", "))
}

// Clean makes prose fit for a line: '|' becomes '/', control characters become spaces, and what exceeds MaxProse bytes is cut.
func Clean(s string) string {
	if len(s) > MaxProse {
		s = strings.ToValidUTF8(s[:MaxProse], "")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '|':
			return '/'
		case isControl(r):
			return ' '
		}
		return r
	}, s)
}

// controlAt returns the place of the first control character, or -1. U+0080 to U+009F are some, too: terminals act on them.
func controlAt(s string) int {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f || s[i] == 0xc2 && i+1 < len(s) && s[i+1] >= 0x80 && s[i+1] < 0xa0 {
			return i
		}
	}
	return -1
}

// quote shows a value in an error: quoted, so that it cannot forge a log line, and short, so that it cannot flood one.
func quote(s string) string {
	const shown = 48
	if len(s) > shown {
		return strconv.Quote(s[:shown]) + "..."
	}
	return strconv.Quote(s)
}
