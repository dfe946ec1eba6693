package lsg

import (
	"fmt"
	"strconv"
	"strings"
)

// Head says what a stream's records begin with: the digest of the first so many. The producer claims it on a line before start_session, and whoever goes on
// with the stream is told of it with the authentication, to compare: so a file that has grown is told from another one. What is digested is the
// producer's affair; the server keeps it as it is.
type Head struct {
	Records uint64
	Digest  string // hex
}

// String is the form on the line, N:HEX.
func (h Head) String() string { return strconv.FormatUint(h.Records, 10) + ":" + h.Digest }

// IsHead tells whether a line claims a head.
func IsHead(line string) bool { return strings.HasPrefix(line, "head=") }

// ParseHead reads the line.
func ParseHead(line string) (Head, error) {
	f, err := Parse(line)
	if err != nil {
		return Head{}, err
	}
	if err := f.only("head"); err != nil {
		return Head{}, err
	}
	return parseHead(f.Get("head"))
}

func parseHead(value string) (Head, error) {
	number, digest, ok := strings.Cut(value, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || n > MaxRecords || digest == "" || len(digest) > MaxDigest || strings.Trim(digest, "0123456789abcdef") != "" {
		return Head{}, fmt.Errorf("%w: head=%s; write RECORDS:DIGEST, a number and at most %d hex digits", ErrValue, quote(value), MaxDigest)
	}
	return Head{Records: n, Digest: digest}, nil
}

// Append writes the line with its newline.
func (h Head) Append(dst []byte) ([]byte, error) {
	if _, err := parseHead(h.String()); err != nil {
		return dst, err
	}
	w := lineWriter{buf: dst, start: len(dst)}
	w.text("head", h.String())
	return w.line()
}
