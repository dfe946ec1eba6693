package lsg

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Head says how a stream begins: the SHA-256 of its first Records records, their bytes one after the other as the producer sends them. How many are taken is
// the producer's choice. A stream keeps its head, so that who goes on with it is found out when the data is other data.
type Head struct {
	Records uint64 // 0: no head
	Sum     [sha256.Size]byte
}

// ParseHead reads the form of a line, N:HEX.
func ParseHead(s string) (Head, error) {
	n, sum, _ := strings.Cut(s, ":")
	var h Head
	var err error
	if h.Records, err = strconv.ParseUint(n, 10, 62); err != nil || h.Records == 0 || len(sum) != hex.EncodedLen(len(h.Sum)) {
		return Head{}, fmt.Errorf("%w: head=%s; write the number of records, ':' and their SHA-256 as 64 hex digits", ErrValue, quote(s))
	}
	if _, err := hex.Decode(h.Sum[:], []byte(sum)); err != nil {
		return Head{}, fmt.Errorf("%w: head=%s; the SHA-256 is 64 hex digits", ErrValue, quote(s))
	}
	return h, nil
}

// String is the form of a line; empty for no head.
func (h Head) String() string {
	if h.Records == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%x", h.Records, h.Sum)
}

// head reads the field; no head when it is absent.
func (f Fields) head() (Head, error) {
	value, ok := f.Lookup("head")
	if !ok {
		return Head{}, nil
	}
	return ParseHead(value)
}
