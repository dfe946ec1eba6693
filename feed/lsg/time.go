package lsg

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// timeLayouts are the forms after integers: a date alone, then a date and a time with and without an offset. Go's parser takes a fraction after
// the seconds by itself.
var timeLayouts = []string{
	"2006-01-02",
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02T15:04",
	"2006-01-02T15:04Z07:00",
}

// maxTimeText is the longest text with a meaning: a date, a time with nine digits of fraction, and an offset. 35 bytes today.
const maxTimeText = 40

// dateDigits is the date that eight digits are: nobody means the 20 ms after 1970 that they would be as ns. Years outside of this range are no dates.
const (
	dateDigits    = "20060102"
	firstYear     = 1970
	yearAfterLast = 2101
)

// ParseTime reads a time as ns since 1970: an unsigned integer of ns, or ISO 8601 / RFC 3339 with up to nine digits of fraction. A date alone, with
// dashes or as the eight digits 20260105, is its midnight; a time without an offset is UTC; a space may stand for the T. It fails with ErrTime for anything else, for times before 1970
// or beyond what 64 bits hold, and for the value that DBN reserves for "undefined"; it never rounds.
func ParseTime(s string) (uint64, error) {
	if s == "" || len(s) > maxTimeText {
		return 0, badTime(s, "it is empty or too long")
	}
	if strings.Trim(s, "0123456789") == "" {
		if t, ok := dateOf(s); ok {
			return nanoseconds(s, t)
		}
		ns, err := strconv.ParseUint(s, 10, 64)
		if err != nil || ns == math.MaxUint64 {
			return 0, badTime(s, "it does not fit 64 bits")
		}
		return ns, nil
	}
	text := s
	if len(s) > 10 && (s[10] == ' ' || s[10] == 't') {
		text = s[:10] + "T" + s[11:]
	}
	if strings.HasSuffix(text, "z") {
		text = text[:len(text)-1] + "Z"
	}
	if fractionDigits(text) > 9 {
		return 0, badTime(s, "it has more than nine digits of fraction")
	}
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		return nanoseconds(s, t)
	}
	return 0, badTime(s, "it has no known form")
}

// dateOf reads eight digits as the date that they are, if they are one.
func dateOf(s string) (time.Time, bool) {
	if len(s) != len(dateDigits) {
		return time.Time{}, false
	}
	t, err := time.Parse(dateDigits, s)
	return t, err == nil && t.Year() >= firstYear && t.Year() < yearAfterLast
}

// nanoseconds goes by way of seconds, because Time.UnixNano ends in 2262 and the protocol's 64 bits in 2554.
func nanoseconds(s string, t time.Time) (uint64, error) {
	seconds := t.Unix()
	if seconds < 0 {
		return 0, badTime(s, "it lies before 1970")
	}
	if uint64(seconds) >= math.MaxUint64/uint64(time.Second) {
		return 0, badTime(s, "it does not fit 64 bits")
	}
	return uint64(seconds)*uint64(time.Second) + uint64(t.Nanosecond()), nil
}

// fractionDigits counts the digits after the decimal mark.
func fractionDigits(s string) int {
	_, fraction, ok := strings.Cut(s, ".")
	if !ok {
		_, fraction, _ = strings.Cut(s, ",")
	}
	return len(fraction) - len(strings.TrimLeft(fraction, "0123456789"))
}

func badTime(s, cause string) error {
	return fmt.Errorf("%w: %s: %s; write ns since 1970 or a form of 2026-01-02T03:04:05.123456789Z", ErrTime, quote(s), cause)
}
